"""The rules of a peer connection, once for both sides: who may say what, when.

There are two sides and one rule book: `record` takes a message, who says it and who hears it, and knows
neither which side is us nor who dialled. So we cannot hold the other side to rules that we do not keep
ourselves. (The idea is h11's: one state machine, without the role.)

A side begins SILENT. Its hello makes it GREETED until the other one's hello is there too: then both are OPEN.
A goodbye leaves it CLOSED. So the side that dialled says hello at once, the side that accepted may first look
which share the hello is about, and neither says anything else before it knows the other's window.

Two things are deliberately legal, because they cross on the wire: asking a side that chokes (it rejects), and
cancelling what has just been answered (nothing happens).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from peer.limits import PINGS_OPEN_MAX, WINDOW_MAX
from peer.wire.messages import (
    Bitfield,
    Bye,
    Cancel,
    Choke,
    Data,
    Have,
    Hello,
    Interested,
    Message,
    Peers,
    Ping,
    Pong,
    Reject,
    Request,
    RequestManifest,
)
from peer.wire.requests import Answer, OpenRequests, RuleError


class State(StrEnum):
    """Where one side of a connection stands. (A text, because an `Enum` is hashed in Python: slowly.)"""

    SILENT = "silent"
    GREETED = "greeted"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(slots=True)
class Side:
    """What the rules remember of one side. requests, pings: its own that are not answered yet."""

    state: State = State.SILENT
    hello: Hello | None = None
    has_bitfield: bool = False
    requests: OpenRequests = field(default_factory=OpenRequests)
    pings: deque[int] = field(default_factory=deque)

    def window_left(self, other: "Side") -> int:
        """How many more requests this side may make of the other one now."""
        return min(other.hello.window, WINDOW_MAX) - len(self.requests) if other.hello else 0

    @property
    def may_ping(self) -> bool:
        """Whether this side may send one more ping now."""
        return len(self.pings) < PINGS_OPEN_MAX

    def check_invariants(self, other: "Side") -> None:
        """Raise AssertionError if the state contradicts itself."""
        self.requests.check_invariants()
        assert len(self.pings) <= PINGS_OPEN_MAX
        if self.state is State.SILENT:
            assert self.hello is None
        if self.state is State.GREETED:
            assert self.hello is not None
            assert other.state in (State.SILENT, State.CLOSED)
        if self.state is State.OPEN:
            assert self.hello is not None
            assert other.hello is not None
        assert not self.requests or self.window_left(other) >= 0


def record(message: Message, sender: Side, receiver: Side) -> Answer | None:
    """Remember that a message was said; what it means for a request, where it is about one.

    Raises RuleError, with a sentence, for a message that the sender must not say now; nothing has changed
    then. Of a `Data` only the beginning is recorded: `OpenRequests.add_data` follows its bytes.
    """
    rule = _RULES[sender.state].get(type(message))
    if rule is None:
        raise RuleError(f"{type(message).__name__.lower()} is not allowed while {sender.state.value}")
    return rule(message, sender, receiver)


# --- one rule a kind of message


def _hello(message: Hello, sender: Side, receiver: Side) -> None:
    sender.hello = message
    sender.state = State.GREETED
    if receiver.state is State.GREETED:
        sender.state = receiver.state = State.OPEN


def _bitfield(_: Bitfield, sender: Side, __: Side) -> None:
    if sender.has_bitfield:
        raise RuleError("a second bitfield")
    sender.has_bitfield = True


def _have(_: Have, sender: Side, __: Side) -> None:
    if not sender.has_bitfield:
        raise RuleError("a have before the bitfield")


def _anything(_: Message, __: Side, ___: Side) -> None:
    pass


def _request(message: Request | RequestManifest, sender: Side, receiver: Side) -> Answer:
    if sender.window_left(receiver) <= 0:
        raise RuleError(f"{len(sender.requests)} requests are open, which is the whole window")
    answer = Answer(message.piece if type(message) is Request else None)
    sender.requests.open(message.id, answer)
    return answer


def _data(message: Data, _: Side, receiver: Side) -> Answer:
    return receiver.requests.begin_data(message.id, message.offset, message.total, message.payload)


def _reject(message: Reject, _: Side, receiver: Side) -> Answer:
    return receiver.requests.close(message.id)


def _cancel(message: Cancel, sender: Side, _: Side) -> Answer | None:
    return sender.requests.cancel(message.id)


def _ping(message: Ping, sender: Side, _: Side) -> None:
    if not sender.may_ping:
        raise RuleError(f"{PINGS_OPEN_MAX} pings are open already")
    sender.pings.append(message.number)


def _pong(message: Pong, _: Side, receiver: Side) -> None:
    if not receiver.pings or receiver.pings[0] != message.number:
        raise RuleError("a pong that does not answer the oldest open ping")
    receiver.pings.popleft()


def _bye(_: Bye, sender: Side, __: Side) -> None:
    sender.state = State.CLOSED


_Rule = Callable[[Any, Side, Side], Answer | None]

_RULES: Final[dict[State, dict[type[Any], _Rule]]] = {
    State.SILENT: {Hello: _hello, Bye: _bye},
    State.GREETED: {Bye: _bye},
    State.OPEN: {
        Bitfield: _bitfield,
        Have: _have,
        Interested: _anything,
        Choke: _anything,
        Request: _request,
        RequestManifest: _request,
        Data: _data,
        Reject: _reject,
        Cancel: _cancel,
        Ping: _ping,
        Pong: _pong,
        Peers: _anything,
        Bye: _bye,
    },
    State.CLOSED: {},
}
"""What a side may say in which state. `Announce` and `Announced` belong to trackers, never here."""

LEGAL: Final = {state: frozenset(rules) for state, rules in _RULES.items()}
