"""A policy of a user's own: what it is asked, and one line for whatever is wrong with its answers.

The class has any of three methods; what it has not stays as the node, or the tracker, does it::

    class Greedy:
        def choose_piece(self, pieces, copies, rng):
            return min(pieces, key=copies)

        def choose_peers(self, peers, slots, seeding, rng):
            return sorted(peers, key=lambda peer: -peer.received_bytes)[:slots]

        def introduce(self, peers, count, rng):
            return rng.sample(peers, count)

* ``choose_piece`` is asked what to request of one connection next. ``pieces``: a list of piece numbers,
  ascending, never empty. ``copies(piece)``: how many connected peers hold it. Returns one of ``pieces``.
* ``choose_peers`` is asked whom to serve until the next round, and, when slots become free between rounds, to
  whom else to give them. ``peers``: those that want something, each with ``link`` (its number),
  ``received_rate``, ``received_bytes``, ``sent_bytes`` and ``joined_at``. ``slots``: how many the node would
  serve. ``seeding``: whether it has everything. Returns some of ``peers``.
* ``introduce`` is the tracker: whom is a newcomer told of? ``peers``: some that are there, at random, never
  none, each with ``number``, ``share`` (0 to 1, how much it has) and ``links``. Returns some of ``peers``, of
  which the first ``count`` are told.

``rng`` is a `random.Random` of the seed: use it and nothing else for chance. Each peer has an object of its
own, made without arguments, and a new one when it comes back from a crash; the tracker has one for the run.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from inspect import iscoroutinefunction, signature
from random import Random
from reprlib import repr as short
from typing import Any, Final, TypeVar

from peer.errors import UsageError
from peer.ids import PieceIndex
from peer.swarm.choker import PeerView

METHODS: Final = {
    "choose_piece": ("pieces", "copies", "rng"),
    "choose_peers": ("peers", "slots", "seeding", "rng"),
    "introduce": ("peers", "count", "rng"),
}
"""What a class may have, and what each is called with."""

REASON_CHARS: Final = 200
"""Of what a user's exception says: the line must stay one."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A peer that a newcomer may be told of. share: how much it has, 0 to 1. links: how many it has."""

    number: int
    share: float
    links: int


class PolicyError(Exception):
    """The user's policy failed while a world was running, in one line. None of the node's own errors: nothing
    in a node may take it for something that a peer or a disk did."""


class PolicyInterruptedError(PolicyError):
    """The user interrupted the program while the policy was deciding, perhaps for ever."""


@contextmanager
def errors_are_usage() -> Iterator[None]:
    """Around the run of a world: what is wrong with a policy comes out as a UsageError, however deep in whose
    tasks it happened, and whatever else fell over it; an interruption as a KeyboardInterrupt."""
    try:
        yield
    except (PolicyError, BaseExceptionGroup) as error:
        found = _first_error(error)
        if found is None:
            raise
        if isinstance(found, PolicyInterruptedError):
            raise KeyboardInterrupt(str(found)) from None
        raise UsageError(str(found)) from None


def _first_error(error: BaseException) -> PolicyError | None:
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _first_error(one))), None)
    return error if isinstance(error, PolicyError) else None


@cache
def _interruptible() -> Callable[[Callable[[], T]], T]:
    """Calls what is given; Ctrl-C has its effect there at once, also where trio keeps it off its own loop."""
    from trio.lowlevel import disable_ki_protection

    @disable_ki_protection
    def call(method: Callable[[], T]) -> T:
        return method()

    return call


class Rule:
    """One object of the user's class. Its methods return what the user's do, checked; they raise
    PolicyError."""

    def __init__(self, name: str, user: type[Any]) -> None:
        self._name = name
        self._object = self._asked("__init__", user)

    @property
    def takes_hints(self) -> bool:
        """Whether pieces that a link would rather leave to others are kept from it for a while."""
        return self._asked("takes_hints", lambda: bool(getattr(self._object, "takes_hints", True)))

    def check(self, method: str) -> None:
        """Raises UsageError unless it can be called as it will be."""
        taken = METHODS[method]
        called = getattr(self._object, method)
        try:
            signature(called).bind(*taken)
            fits = not iscoroutinefunction(called)
        except TypeError:
            fits = False
        except ValueError:  # written in C: that will be seen
            fits = True
        if not fits:
            raise UsageError(f"policy {self._name}: it must be def {method}(self, {', '.join(taken)})")

    def choose_piece(
        self, pieces: list[PieceIndex], copies: Callable[[PieceIndex], int], rng: Random
    ) -> PieceIndex:
        """One of the pieces."""
        method = "choose_piece"

        def found() -> tuple[Any, int | None]:
            chosen = self._object.choose_piece(list(pieces), copies, rng)
            return chosen, pieces.index(chosen) if chosen in pieces else None

        chosen, at = self._asked(method, found)
        if at is None:
            raise self._wrong(method, chosen, "one of the pieces it was given")
        return pieces[at]  # not what it returned, which need not be an int to be equal to one

    def choose_peers(self, peers: list[PeerView], slots: int, seeding: bool, rng: Random) -> list[PeerView]:
        """Some of the peers, each once."""
        return self._some("choose_peers", peers, slots, seeding, rng)

    def introduce(self, peers: list[Candidate], count: int, rng: Random) -> list[Candidate]:
        """At most so many of the peers, each once."""
        return self._some("introduce", peers, count, rng)[:count] if peers else []

    def _some(self, method: str, offered: list[T], *args: Any) -> list[T]:
        known = {id(one): one for one in offered}

        def found() -> tuple[Any, list[Any] | None]:
            told = getattr(self._object, method)(list(offered), *args)
            return told, list(told) if isinstance(told, Iterable) else None

        told, chosen = self._asked(method, found)
        if chosen is None:
            raise self._wrong(method, told, "a list of some of the peers it was given")
        for one in chosen:
            if id(one) not in known:
                raise self._wrong(method, [one], "a list of some of the peers it was given")
        return list({id(one): one for one in chosen}.values())

    def _wrong(self, method: str, returned: object, wanted: str) -> PolicyError:
        return PolicyError(
            f"policy {self._name}: {method} returned {_shown(returned)}: it must return {wanted}"
        )

    def _asked(self, method: str, call: Callable[[], T]) -> T:
        try:
            return _interruptible()(call)
        except BaseException as error:  # no cancellation reaches the call: whatever it is, it is the user's
            where = f"policy {self._name}: {method}{line_of(error, self._name.rpartition(':')[0])}"
            if isinstance(error, KeyboardInterrupt):
                raise PolicyInterruptedError(where) from None
            raise PolicyError(f"{where}: {reason(error)}") from None


def line_of(error: BaseException, path: str) -> str:
    """Where in the user's file it happened."""
    number, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            number = trace.tb_lineno
        trace = trace.tb_next
    return f", line {number}" if number is not None else ""


def reason(error: BaseException) -> str:
    """Which error it is and what it says, in one line."""
    text = _safely(str, error)
    return _clipped(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _shown(value: object) -> str:
    return _clipped(_safely(short, value))


def _safely(say: Callable[[Any], str], value: object) -> str:
    try:
        return say(value)
    except Exception as error:
        return f"({type(error).__name__} when asked for its text)"


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= REASON_CHARS else f"{line[:REASON_CHARS]}..."
