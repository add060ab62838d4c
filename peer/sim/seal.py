"""The guard of a simulation: whoever reaches for the real world gets an error that names him.

It is there because the mistakes that it catches are silent: the virtual clock jumps over a worker thread that
is still busy (trio issue #456), and a wall-clock time or a stray descriptor only makes some runs differ.

It catches mistakes, not malice: names are replaced where they are looked up, in the modules that own them and
in ours and users' that imported them by name. The interpreter's own modules keep what they have, since they
serve other threads too; so private ones (`_socket`, `_io`), `ctypes`, and what is written in C and opens
files itself (as `sqlite3`) are ways out.
"""

import _thread
import builtins
import datetime
import io
import os
import random
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import trio._core._thread_cache as trio_threads

Unless = Callable[..., object]
"""Of the arguments of a call: whether it needs nothing real."""


def _never(*_: object, **__: object) -> bool:
    return False


@dataclass(frozen=True)
class Forbidden:
    """Names of one owner that a simulated node may not call; they work for callers in the exempt modules, and
    with arguments that make them harmless."""

    owner: Any
    names: tuple[str, ...]
    exempt: tuple[str, ...] = ()
    unless: Unless = _never


def _first(*arguments: object, **_: object) -> bool:
    """A time to convert, a seed: without it the clock is read, or the system's randomness."""
    return bool(arguments) and arguments[0] is not None


def _second(*arguments: object, **_: object) -> bool:
    return len(arguments) > 1


def _seeded(_: object, x: object = None) -> bool:
    return x is not None


def _seed_given(a: object = None, *_: object, **__: object) -> bool:
    return a is not None


# Tracebacks and warnings quote their source lines.
READERS = ("linecache", "tokenize", "_pytest")

# A log record carries the time; trio's runner times its instruments and its real clock.
TIMERS = ("logging", "trio", "_pytest", "hypothesis")

# A copy of a generator is made empty, and then gets the state of the other.
COPIERS = ("copy", "pickle", "hypothesis")

FORBIDDEN = (
    Forbidden(trio_threads.ThreadCache, ("start_thread_soon",)),
    Forbidden(threading.Thread, ("start",)),
    Forbidden(_thread, ("start_new_thread",)),
    Forbidden(socket.socket, ("__init__",)),
    Forbidden(socket, ("socketpair", "getaddrinfo", "getnameinfo", "gethostbyname", "gethostbyname_ex")),
    Forbidden(socket, ("gethostbyaddr", "gethostname", "getservbyname", "getservbyport", "if_nameindex")),
    Forbidden(select, ("select", "poll", "epoll", "kqueue")),
    Forbidden(signal, ("alarm", "setitimer", "pause", "sigwait", "sigtimedwait"), ("pytest_timeout",)),
    Forbidden(signal, ("sigwaitinfo",)),
    Forbidden(subprocess.Popen, ("__init__",)),
    Forbidden(builtins, ("open",), READERS),
    Forbidden(io, ("open", "open_code"), READERS),
    Forbidden(os, ("open", "mkdir", "rmdir", "rename", "replace", "remove", "unlink", "link", "symlink")),
    Forbidden(os, ("scandir", "listdir", "fork", "forkpty", "system", "posix_spawn", "posix_spawnp")),
    Forbidden(
        os, ("execv", "execve", "kill", "killpg", "pipe", "pipe2", "openpty", "eventfd", "memfd_create")
    ),
    Forbidden(os, ("urandom", "getrandom", "times", "getloadavg", "mkfifo", "mknod", "chown", "chdir")),
    Forbidden(os, ("stat", "lstat", "access", "statvfs", "chmod", "utime", "truncate", "readlink"), READERS),
    Forbidden(os, ("getxattr", "setxattr", "listxattr", "removexattr", "lchown", "chroot", "pidfd_open")),
    Forbidden(random, ("_urandom",)),  # what `secrets` and `SystemRandom` draw from
    Forbidden(random, ("seed",), COPIERS, _seed_given),
    Forbidden(random.Random, ("seed",), (*COPIERS, "random"), _seeded),  # its `__init__` is guarded itself
    Forbidden(random.Random, ("__init__",), COPIERS, _seeded),
    Forbidden(ssl, ("RAND_bytes",)),
    Forbidden(uuid, ("uuid1",)),
    Forbidden(time, ("time", "time_ns", "monotonic", "monotonic_ns"), TIMERS),
    Forbidden(time, ("perf_counter", "perf_counter_ns", "process_time", "process_time_ns"), TIMERS),
    Forbidden(time, ("thread_time", "thread_time_ns", "clock_gettime", "clock_gettime_ns"), TIMERS),
    Forbidden(time, ("localtime", "gmtime", "ctime", "asctime"), TIMERS, _first),
    Forbidden(time, ("strftime",), TIMERS, _second),
    Forbidden(time, ("sleep",)),
)

CLOCKS = (datetime.datetime, datetime.date)
"""Classes of `datetime` that also are wall clocks."""

CLOCK_NAMES = ("now", "utcnow", "today")


class SealedError(RuntimeError):
    """A simulation reached for the real world. Not an OSError, so that nothing handles it by mistake."""


@contextmanager
def sealed() -> Iterator[None]:
    """Make threads, sockets, files, processes, clocks and chance an error, on this thread, while inside."""
    thread = threading.get_ident()
    replaced: list[tuple[Any, str, Any]] = []
    guards: dict[int, Any] = {}

    def replace(owner: Any, name: str, original: Any, guard: Any) -> None:
        replaced.append((owner, name, original))
        guards[id(original)] = guard
        setattr(owner, name, guard)

    try:
        for forbidden in FORBIDDEN:
            for name in forbidden.names:
                original = getattr(forbidden.owner, name, None)  # not every platform has them all
                if original is not None:
                    guard = _guard(original, name, forbidden.exempt, forbidden.unless, thread)
                    replace(forbidden.owner, name, original, guard)
        for clock in CLOCKS:
            replace(datetime, clock.__name__, clock, _without_clock(clock, thread))
        for module, name, original in _imported_by_name(guards):
            replaced.append((module, name, original))
            setattr(module, name, guards[id(original)])
        yield
    finally:
        for owner, name, original in reversed(replaced):
            setattr(owner, name, original)


def _imported_by_name(guards: dict[int, Any]) -> list[tuple[Any, str, Any]]:
    """Where else the guarded objects have a name: ``from time import time`` copies it into the module."""
    found: list[tuple[Any, str, Any]] = []
    for module_name, module in list(sys.modules.items()):
        installed = "-packages" in (getattr(module, "__file__", None) or "")  # libraries: thousands of names
        if installed or module_name.partition(".")[0] in sys.stdlib_module_names or module_name == __name__:
            continue
        namespace = getattr(module, "__dict__", {})
        found += [(module, name, value) for name, value in list(namespace.items()) if id(value) in guards]
    return found


class _Clockless(type):
    """A class in whose place another one stands for a while: what it makes and knows is the other's."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.__base__(*args, **kwargs)  # type: ignore[misc]  # not None: only made below

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__base__)  # type: ignore[arg-type]

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.__base__)  # type: ignore[arg-type]


def _without_clock(original: type, thread: int) -> type:
    """It cannot be changed itself, being written in C."""
    names = [name for name in CLOCK_NAMES if hasattr(original, name)]
    guards = {
        name: staticmethod(_guard(getattr(original, name), name, TIMERS, _never, thread)) for name in names
    }
    return _Clockless(original.__name__, (original,), dict(guards))


def _guard(
    original: Callable[..., Any], name: str, exempt: tuple[str, ...], unless: Unless, thread: int
) -> Callable[..., Any]:
    label = f"{getattr(original, '__module__', '') or ''}.{getattr(original, '__qualname__', name)}".lstrip(
        "."
    )

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == thread and not unless(*args, **kwargs):
            frame = sys._getframe(1)
            while frame.f_globals is globals() and frame.f_back is not None:  # a seal within a seal
                frame = frame.f_back
            caller = frame.f_globals.get("__name__", "")
            if caller.partition(".")[0] not in exempt:
                raise SealedError(f"{label} was called in a simulation, by {caller}")
        return original(*args, **kwargs)

    return guarded
