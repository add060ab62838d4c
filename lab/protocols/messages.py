"""The conversation that all three grammars must carry, and the rules that any decoder must enforce.  PURE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from peer.errors import RemoteProtocolError

SHARE_BYTES: Final = 32

MESSAGE_BYTES_MAX: Final = 1 << 20
"""A longer message is refused before it is collected: nobody may fill our memory by not finishing."""

FILES_MAX: Final = 10_000
NAME_CHARS_MAX: Final = 1024
NUMBER_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Request:
    """Please send this piece of this share."""

    id: int
    share: bytes
    piece: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes that were asked for."""

    id: int
    piece: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Listing:
    """What the share holds: names and sizes."""

    id: int
    files: tuple[tuple[str, int], ...]


Message: TypeAlias = Request | Answer | Listing

KINDS: Final[Mapping[str, type[Message]]] = {"request": Request, "answer": Answer, "listing": Listing}


def kind_of(message: Message) -> str:
    return type(message).__name__.lower()


def build(kind: Any, fields: Mapping[str, Any]) -> Message:
    """A message from what a parser found, checked: known kind, exactly its fields, exact types, ranges.

    A parser only knows that the sentence is well-formed; that it makes sense is checked here, once for all
    grammars. Raises RemoteProtocolError.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise RemoteProtocolError("unknown kind of message")
    wanted = KINDS[kind].__dataclass_fields__.keys()
    if fields.keys() != wanted:
        raise RemoteProtocolError(f"a {kind} has the fields {', '.join(wanted)}")
    checked: dict[str, Any] = {name: _CHECKS[name](fields[name]) for name in wanted}
    return KINDS[kind](**checked)


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:  # a bool is an int to Python, not to us
        raise RemoteProtocolError("a number is missing or out of range")
    return value


def _share(value: Any) -> bytes:
    if not isinstance(value, bytes) or len(value) != SHARE_BYTES:
        raise RemoteProtocolError(f"a share id is {SHARE_BYTES} bytes")
    return value


def _data(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise RemoteProtocolError("data is not bytes")
    return value


def _files(value: Any) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, list | tuple) or len(value) > FILES_MAX:
        raise RemoteProtocolError("files is not a list, or too long")
    return tuple(_file(entry) for entry in value)


def _file(entry: Any) -> tuple[str, int]:
    if not isinstance(entry, list | tuple) or len(entry) != 2:
        raise RemoteProtocolError("a file is a name and a size")
    name, size = entry
    if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS_MAX:
        raise RemoteProtocolError("a file name is missing or too long")
    if any("\ud800" <= c <= "\udfff" for c in name):  # JSON can smuggle in half a character
        raise RemoteProtocolError("a file name is no text")
    return name, _number(size)


_CHECKS: Final = {"id": _number, "piece": _number, "share": _share, "data": _data, "files": _files}
