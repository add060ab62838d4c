"""What all six servers serve: files in memory, behind a protocol of one-line requests.

    GET name        OK 1024 and the file's 1,024 bytes
    SUM name n      its BLAKE2b digest, computed n times: heavy work in C, which lets other threads run
    COUNT n         counts to n: heavy work in Python, which holds the interpreter's lock
    HIT name        one more hit for the file; answers how many there are now
    HITS name       how many there are
    FAIL            a bug: the handler raises
    CRASH           a worse bug: the process dies, as from a fault in C code

An answer is ``OK n`` and a newline, then n bytes; or ``NO reason`` and a newline. Try one by hand::

    python -m lab.servers.thread_server --port 7000 some/folder
    printf 'GET notes.txt\\n' | nc 127.0.0.1 7000
"""

import hashlib
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

REQUEST_BYTES_MAX: Final = 1024
"""A longer line is no request: nobody may fill our memory by not ending one."""

COUNT_MAX: Final = 10**9
ROUNDS_MAX: Final = 10**7

DISK_S: Final = 0.0002
"""How long a slow disk takes: HIT waits that long between reading its counter and writing it."""


class HandlerError(Exception):
    """The handler failed: this conversation ends, the server goes on."""


class Library:
    """Files by name, and hits counted in plain memory: whoever shares it, shares its dangers."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.hits: Counter[str] = Counter()

    @classmethod
    def of_folder(cls, folder: Path) -> "Library":
        return cls({path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()})

    def answer(self, request: bytes) -> list[bytes]:
        """What to send for one request line, in order. Raises HandlerError."""
        if not request.endswith(b"\n"):
            raise HandlerError("a request without an end")
        verb, *words = request.decode("ascii", "replace").split()[:4] or [""]
        if verb not in self._handlers or len(words) != self._handlers[verb][0]:
            return [b"NO such request\n"]
        if self._handlers[verb][1] and words[0] not in self.files:
            return [b"NO such file\n"]
        try:
            body = self._handlers[verb][2](self, *words)
        except ValueError:
            return [b"NO sense in this number\n"]
        return [f"OK {len(body)}\n".encode(), body]

    @staticmethod
    def is_heavy(request: bytes) -> bool:
        """Whether the answer takes so long that others would notice."""
        return request.startswith((b"SUM ", b"COUNT "))

    def _get(self, name: str) -> bytes:
        return self.files[name]

    def _sum(self, name: str, rounds: str) -> bytes:
        digest = b""
        for _ in range(_number(rounds, ROUNDS_MAX)):
            digest = hashlib.blake2b(self.files[name]).digest()
        return digest.hex().encode()

    def _count(self, to: str) -> bytes:
        number = 0
        for _ in range(_number(to, COUNT_MAX)):
            number += 1
        return str(number).encode()

    def _hit(self, name: str) -> bytes:
        before = self.hits[name]
        time.sleep(DISK_S)  # any call that waits: meanwhile another thread may read the same number
        self.hits[name] = before + 1
        return str(before + 1).encode()

    def _hits(self, name: str) -> bytes:
        return str(self.hits[name]).encode()

    def _fail(self) -> bytes:
        raise HandlerError("a bug in the handler")

    def _crash(self) -> bytes:
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(10)  # not reached
        return b""

    # verb: number of words, whether the first is a file's name, what to do
    _handlers: Final[Mapping[str, tuple[int, bool, Callable[..., bytes]]]] = {
        "GET": (1, True, _get),
        "SUM": (2, True, _sum),
        "COUNT": (1, False, _count),
        "HIT": (1, True, _hit),
        "HITS": (1, True, _hits),
        "FAIL": (0, False, _fail),
        "CRASH": (0, False, _crash),
    }


def talk(conn: socket.socket, library: Library) -> None:
    """One client from its first request to its goodbye, in calls that wait: sequential, process and thread
    server share it. A client's trouble ends its own conversation and nobody else's.
    """
    try:
        with conn, conn.makefile("rb") as requests:
            while request := requests.readline(REQUEST_BYTES_MAX):
                for part in library.answer(request):
                    conn.sendall(part)
    except (OSError, HandlerError) as error:
        complain(error)


def complain(error: Exception) -> None:
    """One line on stderr."""
    print(f"a conversation ended: {error}", file=sys.stderr, flush=True)


def _number(text: str, largest: int) -> int:
    number = int(text)
    if not 0 <= number <= largest:
        raise ValueError(text)
    return number
