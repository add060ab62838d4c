"""What a daemon keeps of a share, as bytes. Pure.

The record is small, JSON, and durable before the daemon says that it knows the share; a person can read it.
The stamps are the files of a share in the states in which they were hashed: with them a restarted daemon
serves at once what has not changed, and hashes nothing.
"""

import json
import math
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from peer.errors import StorageError
from peer.ids import ID_BYTES, Address, KnownPeer, ShareId
from peer.limits import FILES_MAX, PATH_DEPTH_MAX, SHARE_RECORD_BYTES_MAX
from peer.store.filesystem import FileState, PathParts
from peer.swarm.orders import ORDERS

RECORD_VERSION: Final = 1

OPTIONAL: Final = "optional"
"""Key of a record for what a program that does not know it may do without. Every other field must be known: a
limit that is passed over is no limit. So a new field goes in here, or raises the version."""

STAMPS_VERSION: Final = 1


class Role(StrEnum):
    """How a share came here."""

    SHARE = "share"
    """The user's own files, served where they lie."""
    GET = "get"
    """Fetched, or being fetched, into a folder."""


@dataclass(frozen=True, slots=True)
class ShareRecord:
    """One known share.

    path: of a SHARE the file or folder, of a GET the folder that it goes into. complete: everything wanted is
    there. only: the patterns of a GET that does not want all. publish: its name in its trackers' catalogues.
    up, down: bytes a second, None for no limit.
    announce, announce_host: where others reach it, with a port of its own or by the one that is listened on.
    order: shares are listed by it. seed_s: a GET is removed when it has been complete for so long, None for
    never. total_bytes, files: 0 while not known. piece_order: of a GET that asked for one, by its name.
    """

    share: ShareId
    role: Role
    name: str
    path: str
    order: int
    complete: bool = False
    paused: bool = False
    trackers: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    announce: str | None = None
    up: float | None = None
    down: float | None = None
    seed_s: float | None = None
    total_bytes: int = 0
    files: int = 0
    publish: str | None = None
    piece_order: str | None = None
    announce_host: str | None = None

    @property
    def shown(self) -> str:
        """Where it is, as a person would write it."""
        return self.path if self.role is Role.SHARE else f"{self.path.rstrip('/')}/{self.name}"

    @property
    def rests(self) -> bool:
        """Whether nothing of it needs to be at work: it can be served when somebody asks."""
        return self.complete and not self.only

    def encode(self) -> bytes:
        """As JSON."""
        values: dict[str, Any] = {
            item.name: value for item in fields(self) if (value := getattr(self, item.name)) != item.default
        }
        values["share"] = self.share.hex()
        if self.announce_host is not None:  # came later: who does not know it makes links without it
            values[OPTIONAL] = {"announce_host": values.pop("announce_host")}
        return (json.dumps({"version": RECORD_VERSION, **values}, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes, expected: ShareId) -> "ShareRecord":
        """Read it back. Raises StorageError for what is damaged, or of a newer program.

        What is OPTIONAL and unknown here is passed over, and lost when the record is written anew.
        """
        try:
            values = json.loads(data[: SHARE_RECORD_BYTES_MAX + 1])
            version = values.pop("version")
            if type(version) is int and version > RECORD_VERSION:
                raise StorageError(f"its record is of version {version}: update this program")
            known = {item.name for item in fields(cls)}
            extra = values.pop(OPTIONAL, {})
            values |= {name: extra[name] for name in extra.keys() & known}
            unknown = sorted(map(str, values.keys() - known))
            if unknown:  # of a newer program, and perhaps a limit: neither passed over nor thrown away
                name = repr(unknown[0][:40])
                raise StorageError(f"its record has {name}, which is unknown here: update this program")
            values["share"] = ShareId(bytes.fromhex(values["share"]))
            values["role"] = Role(values["role"])
            for name in ("trackers", "peers", "only"):
                items = values.get(name, [])
                if type(items) is not list:
                    raise ValueError(name)
                values[name] = tuple(items)
            record = cls(**values)
        except StorageError:
            raise
        except Exception as error:  # whatever JSON, or what was in it, could not be
            raise StorageError("its record is damaged: remove it, and share or get it again") from error
        if record.share != expected or not record._is_sound():
            raise StorageError("its record is damaged: remove it, and share or get it again")
        return record

    def _is_sound(self) -> bool:
        texts = (self.name, self.path, *self.trackers, *self.peers, *self.only)
        optional = (self.announce, self.announce_host, self.publish)
        rates = (self.up, self.down, self.seed_s)
        return (
            len(self.share) == ID_BYTES
            and all(type(text) is str and "\0" not in text for text in texts)
            and self.path.startswith("/")
            and bool(self.name)
            and "/" not in self.name
            and all(text is None or type(text) is str for text in optional)
            and (self.piece_order is None or self.piece_order in tuple(ORDERS))
            and self._are_addresses()
            and all(rate is None or (_is_number(rate) and 0 <= rate < math.inf) for rate in rates)
            and {type(self.complete), type(self.paused)} == {bool}
            and {type(number) for number in (self.order, self.total_bytes, self.files)} == {int}
            and min(self.total_bytes, self.files) >= 0
        )

    def _are_addresses(self) -> bool:
        """Whether every address in it is one: who reads them later does not ask."""
        try:
            for text in (*self.trackers, *filter(None, [self.announce])):
                Address.parse(text)
            if (host := self.announce_host) is not None and Address.parse(host, 1).host != host:
                return False
            for text in self.peers:
                KnownPeer.parse(text)
        except ValueError:
            return False
        return True

    def with_limits(self, up: float | None, down: float | None) -> "ShareRecord":
        """None leaves a limit as it is; infinity takes it away."""
        return replace(self, up=_changed(self.up, up), down=_changed(self.down, down))


def _changed(before: float | None, asked: float | None) -> float | None:
    if asked is None:
        return before
    return None if asked == math.inf else asked


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


@dataclass(frozen=True, slots=True)
class Stamps:
    """root: absolute path of a folder. paths, states: of each file of the manifest, by its index: the path
    below the root as the disk spells it, and the state in which its bytes were the manifest's."""

    root: str
    paths: tuple[PathParts, ...]
    states: tuple[FileState, ...] = field(repr=False)

    def encode(self) -> bytes:
        """As msgpack."""
        rows = [
            (path, state.size, state.mtime_ns, state.ctime_ns, state.inode, state.executable)
            for path, state in zip(self.paths, self.states, strict=True)
        ]
        packed: bytes = msgpack.packb((STAMPS_VERSION, self.root, rows), unicode_errors="surrogateescape")
        return packed

    @classmethod
    def decode(cls, data: bytes) -> "Stamps":
        """Read them back. Raises StorageError."""
        try:
            version, root, rows = msgpack.unpackb(
                data,
                use_list=False,
                max_array_len=max(FILES_MAX, PATH_DEPTH_MAX),
                max_map_len=0,
                max_ext_len=0,
                unicode_errors="surrogateescape",
            )
            if version != STAMPS_VERSION or type(root) is not str or not root.startswith("/"):
                raise ValueError(version)
            paths = tuple(_path(row[0]) for row in rows)
            states = tuple(_state(row) for row in rows)
        except Exception as error:  # msgpack raises ValueError, RecursionError, UnicodeDecodeError and more
            raise StorageError("its stamps are damaged: share it again") from error
        return cls(root, paths, states)


def _path(parts: object) -> PathParts:
    """The components, none of which leads elsewhere."""
    if type(parts) is not tuple or not all(
        type(part) is str and part not in ("", ".", "..") and "/" not in part and "\0" not in part
        for part in parts
    ):
        raise ValueError(parts)
    return parts


def _state(row: tuple[object, ...]) -> FileState:
    _, size, mtime_ns, ctime_ns, inode, executable = row
    if (
        type(size) is not int
        or type(mtime_ns) is not int
        or type(ctime_ns) is not int
        or type(inode) is not int
        or type(executable) is not bool
    ):
        raise ValueError(row)
    return FileState(size, mtime_ns, ctime_ns, inode, executable)
