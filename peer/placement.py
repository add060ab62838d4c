"""What a mirror keeps, and the folder of each share: a ledger that decides and remembers. Pure.

Names come from strangers, and the same name may be given to another share, in another spelling, or by another
publisher at another tracker. So the ledger gives each share id a folder of its own, once and for all: its
published name if nothing else has it, else the name with the beginning of the share id behind it. What
differs only in case or normalisation counts as the same name, and NAME.part as well, where a fetch begins.

For each publisher and name it also knows the highest serial that it saw, so an old entry that a tracker shows
again is not taken for news.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any, Final

from peer.ids import ID_BYTES, NodeId, ShareId
from peer.limits import MIRROR_LEDGER_BYTES_MAX, MIRROR_REMEMBERED_MAX, MIRROR_SHARES_MAX, NAME_BYTES_MAX
from peer.paths import check_component, fold, landing_name
from peer.published import PublishedShare

STATE_FOLDER: Final = ".manyhands"
"""Where a mirror keeps its own files, beside the shares. No share can be called so."""

PART: Final = ".part"

_FORMAT: Final = 1


class Verdict(Enum):
    """What an entry is to a mirror."""

    NEW = "new"
    KEPT = "kept already"
    OLD = "older than what this publisher has said before"
    FULL = "more than a mirror keeps"
    TOO_LARGE = "too large for what is left of its room"


@dataclass(frozen=True, slots=True)
class Kept:
    """One share of a mirror. folder: below the mirror's folder. retired: a newer one has taken its place."""

    folder: str
    name: str
    share: ShareId
    size: int
    serial: int
    node: NodeId
    complete: bool = False
    retired: bool = False


class Ledger:
    """All shares of one mirror, by share id, in the order in which they came."""

    def __init__(self, kept: Iterable[Kept] = ()) -> None:
        self._kept: dict[ShareId, Kept] = {}
        self._taken = {fold(STATE_FOLDER), fold(STATE_FOLDER + PART)}  # names of folders, as disks see them
        self._serials: dict[tuple[NodeId, str], int] = {}  # the highest of each publisher and name
        self._current = 0
        self._bytes = 0
        for one in kept:
            self._add(one)

    def __iter__(self) -> Iterator[Kept]:
        return iter(tuple(self._kept.values()))

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, share: ShareId) -> Kept | None:
        """The share, if it is or was kept."""
        return self._kept.get(share)

    @property
    def current(self) -> list[Kept]:
        """What is to be seeded or fetched; complete ones first."""
        return sorted((k for k in self._kept.values() if not k.retired), key=lambda k: not k.complete)

    def judge(self, entry: PublishedShare, bytes_max: int | None = None) -> Verdict:
        """Whether the entry is to be taken up with `place`. bytes_max: for all shares, retired ones too."""
        if entry.serial < self._serials.get(_key(entry), 0):
            return Verdict.OLD
        there = self._kept.get(entry.share)
        if there is not None and not there.retired:
            return Verdict.KEPT
        if self._current >= MIRROR_SHARES_MAX:
            return Verdict.FULL
        held = self._bytes - (there.size if there is not None else 0)
        if bytes_max is not None and held + entry.size > bytes_max:
            return Verdict.TOO_LARGE
        return Verdict.NEW

    def place(self, entry: PublishedShare, there: Collection[str] = ()) -> Kept:
        """Take a new entry up and give it a folder. there: names on the disk, as `fold` leaves them.

        A share that was retired comes back to the folder that it had.
        """
        before = self._drop(entry.share)
        folder = before.folder if before is not None else self._free_folder(entry, there)
        kept = Kept(folder, entry.name, entry.share, entry.size, entry.serial, entry.node)
        self._add(kept)
        self._forget_some()
        return kept

    def renewed(self, entry: PublishedShare) -> None:
        """A share that is kept is published anew, perhaps after another in its place: it is the latest."""
        kept = self._kept[entry.share]
        if _key(kept) == _key(entry) and entry.serial > kept.serial:
            self._add(replace(kept, serial=entry.serial))

    def completed(self, share: ShareId) -> list[Kept]:
        """The share is here. Returns what it takes the place of: now retired, no longer to be seeded."""
        kept = self._kept[share] = replace(self._kept[share], complete=True)
        older = [
            k
            for k in self._kept.values()
            if _key(k) == _key(kept) and k.serial < kept.serial and not k.retired
        ]
        for one in older:
            self._kept[one.share] = replace(one, retired=True)
        self._current -= len(older)
        return older

    def _add(self, kept: Kept) -> None:
        self._drop(kept.share)
        self._kept[kept.share] = kept
        self._taken |= {fold(kept.folder), fold(kept.folder + PART)}
        self._serials[_key(kept)] = max(kept.serial, self._serials.get(_key(kept), 0))
        self._current += not kept.retired
        self._bytes += kept.size

    def _drop(self, share: ShareId) -> Kept | None:
        kept = self._kept.pop(share, None)
        if kept is not None:
            self._current -= not kept.retired
            self._bytes -= kept.size
        return kept

    def _free_folder(self, entry: PublishedShare, there: Collection[str]) -> str:
        digits, name = entry.share.hex(), landing_name(entry.name, entry.share)
        for tail in ("", *(f".{digits[:count]}" for count in (8, 16, 32, 64))):
            folder = _clipped(name, NAME_BYTES_MAX - len(tail)) + tail
            both = (fold(folder), fold(folder + PART))
            if not any(one in self._taken or one in there for one in both):
                return folder
        raise ValueError(f"every name for {entry.name!r} is taken: move away {folder!r}")

    def _forget_some(self) -> None:
        """Of what is retired, the oldest go first. Their folders stay on the disk, and the names taken."""
        for one in list(self._kept.values()):
            if len(self._kept) <= MIRROR_REMEMBERED_MAX:
                return
            if one.retired:
                self._drop(one.share)

    # --- as a file

    def encode(self) -> bytes:
        """As text, for a file that a person may read."""
        shares = [asdict(k) | {"share": k.share.hex(), "node": k.node.hex()} for k in self._kept.values()]
        return json.dumps({"format": _FORMAT, "shares": shares}, indent=1, ensure_ascii=False).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Ledger":
        """Read it back. Raises ValueError with a sentence for what is no ledger, or not one of ours."""
        if len(data) > MIRROR_LEDGER_BYTES_MAX:
            raise ValueError(f"it is longer than {MIRROR_LEDGER_BYTES_MAX} bytes")
        try:
            whole = json.loads(data)
            if whole["format"] != _FORMAT:
                raise ValueError(
                    f"its format is {whole['format']!r}, not {_FORMAT}: a newer version wrote it"
                )
            ledger = cls(_read(fields) for fields in whole["shares"])
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"it is not a list of shares ({type(error).__name__})") from None
        ledger.check_invariants()
        return ledger

    def check_invariants(self) -> None:
        """Raise ValueError unless every name is legal and no two shares have one folder; AssertionError for
        books that do not agree."""
        assert self._current == sum(not kept.retired for kept in self._kept.values())
        assert self._bytes == sum(kept.size for kept in self._kept.values())
        taken = {fold(STATE_FOLDER), fold(STATE_FOLDER + PART)}
        for kept in self._kept.values():
            check_component(kept.folder)
            for name in (fold(kept.folder), fold(kept.folder + PART)):
                if name in taken:
                    raise ValueError(f"the folder {kept.folder!r} is there twice")
            taken |= {fold(kept.folder), fold(kept.folder + PART)}


def _read(fields: dict[str, Any]) -> Kept:
    share, node = bytes.fromhex(fields["share"]), bytes.fromhex(fields["node"])
    size, serial = fields["size"], fields["serial"]
    flags = (fields["complete"], fields["retired"])
    texts = (fields["folder"], fields["name"])
    right = (
        len(share) == len(node) == ID_BYTES
        and all(type(text) is str for text in texts)
        and all(type(number) is int and number >= 0 for number in (size, serial))
        and all(type(flag) is bool for flag in flags)
    )
    if not right:
        raise ValueError("a share in it is malformed")
    return Kept(*texts, ShareId(share), size, serial, NodeId(node), *flags)


def _key(one: Kept | PublishedShare) -> tuple[NodeId, str]:
    return one.node, fold(one.name)


def _clipped(name: str, bytes_max: int) -> str:
    return name.encode()[:bytes_max].decode("utf-8", "ignore")
