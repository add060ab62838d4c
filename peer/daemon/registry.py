"""Which shares a daemon knows, what a new one does to them, and which one somebody means. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from unicodedata import normalize

from peer.daemon.records import Role, ShareRecord
from peer.errors import LinkError, UsageError
from peer.ids import ShareId
from peer.limits import SHARE_PEERS_MAX, SHARE_TRACKERS_MAX, SHARES_KNOWN_MAX
from peer.magnet import parse

PREFIX_DIGITS_MIN = 4
"""Of an id, to name a share by: shorter ones are more likely a name."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What becomes of a new record.

    record: to be kept. known: the share was known before. restart: what runs of it must begin anew.
    replaces: shares that it takes the place of.
    """

    record: ShareRecord
    known: bool
    restart: bool
    replaces: tuple[ShareId, ...] = ()


class Registry:
    """The records by share id, in the order in which they came."""

    def __init__(self) -> None:
        self._records: dict[ShareId, ShareRecord] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[ShareRecord]:
        return iter(self._records.values())

    def __contains__(self, share: object) -> bool:
        return share in self._records

    def get(self, share: ShareId) -> ShareRecord | None:
        return self._records.get(share)

    @property
    def next_order(self) -> int:
        """For a record that comes last."""
        return 1 + max((record.order for record in self), default=0)

    def put(self, record: ShareRecord) -> None:
        """Keep a record, in place of an older one of the same share."""
        self._records[record.share] = record

    def remove(self, share: ShareId) -> None:
        self._records.pop(share, None)

    def consider(self, new: ShareRecord) -> Admission:
        """What a new record would do; nothing is changed. UsageError where it cannot stand beside another."""
        replaces = tuple(
            record.share  # other content at the same path: the old bytes are not there any more
            for record in self
            if new.role is record.role is Role.SHARE and record.path == new.path and record.share != new.share
        )
        old = self._records.get(new.share)
        if old is not None:
            return replace(rejoin(old, new), replaces=replaces)
        if len(self) - len(replaces) >= SHARES_KNOWN_MAX:
            raise UsageError(f"{SHARES_KNOWN_MAX} shares are known: `peer remove` one, or use another --home")
        if new.role is Role.GET:
            for record in self:
                if record.role is Role.GET and record.shown == new.shown:
                    raise UsageError(
                        f"{new.shown} is where another share goes ({record.share.hex()[:12]}):"
                        " choose another folder with -o"
                    )
        return Admission(new, known=False, restart=False, replaces=replaces)

    def find(self, text: str) -> ShareRecord:
        """The share that somebody means by its id, the beginning of it, its link, its name or its path.

        Raises UsageError if there is none, or more than one.
        """
        found = self._matching(text)
        if not found:
            raise UsageError(f"no share is called {text[:100]!r}: `peer list` shows them")
        if len(found) > 1:
            ids = ", ".join(record.share.hex()[:12] for record in found[:4])
            more = " and more" if len(found) > 4 else ""
            raise UsageError(f"{text[:100]!r} may be several shares: name one by its id ({ids}{more})")
        return found[0]

    def _matching(self, text: str) -> list[ShareRecord]:
        if text[:7].lower() == "magnet:":
            try:
                share = parse(text).share
            except LinkError as error:
                raise UsageError(str(error)) from error
            return [record for record in (self._records.get(share),) if record is not None]
        name = normalize("NFC", text)  # as names here are; a Mac's shell completes them decomposed
        named = [r for r in self if name == r.name or text in (r.path, r.shown)]
        if named:
            return named
        digits = text.lower()
        if len(digits) >= PREFIX_DIGITS_MIN and set(digits) <= set("0123456789abcdef"):
            return [r for r in self if r.share.hex().startswith(digits)]
        return []


def rejoin(old: ShareRecord, new: ShareRecord) -> Admission:
    """A share that is known is named again: join what is there, or say where it is (UsageError)."""
    if old.role is not new.role:
        doing = "is shared from" if old.role is Role.SHARE else "goes into"
        raise UsageError(
            f"this share {doing} {old.shown} already: `peer remove {old.share.hex()[:12]}` first,"
            " or use another --home"
        )
    if new.role is Role.GET and old.shown != new.shown:
        digits = old.share.hex()[:12]
        there = "copy it from there" if old.complete else f"`peer status {digits}` says how it stands"
        raise UsageError(
            f"this share goes into {old.shown} already: {there}, or `peer remove {digits}` first"
        )
    other = new.role is Role.GET and set(old.only) != set(new.only)
    merged = replace(
        new,
        order=old.order,
        complete=new.complete or (old.complete and not other),
        trackers=_joined(new.trackers, old.trackers, SHARE_TRACKERS_MAX),
        peers=_joined(new.peers, old.peers, SHARE_PEERS_MAX),
        publish=new.publish or old.publish,
        piece_order=new.piece_order or old.piece_order,
        up=old.up if new.up is None else new.up,
        down=old.down if new.down is None else new.down,
        total_bytes=new.total_bytes or old.total_bytes,
        files=new.files or old.files,
    )
    moved = old.path != new.path or old.trackers != merged.trackers or old.peers != merged.peers
    reordered = old.piece_order != merged.piece_order and not merged.complete
    return Admission(merged, known=True, restart=other or moved or reordered or new.role is Role.SHARE)


def _joined(new: Sequence[str], old: Sequence[str], most: int) -> tuple[str, ...]:
    """Each once, the new ones first: all of these, and of the old ones what there is room for."""
    return tuple(dict.fromkeys((*new, *old)))[: max(most, len(new))]
