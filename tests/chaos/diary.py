"""What a machine has told of itself, and what it was sure of in one moment."""

from dataclasses import dataclass

import trio

from peer.ids import FileIndex, NodeId
from peer.member import Phase
from peer.sim.world import SimFetch
from peer.trace import Field


class Diary:
    """An event trace that keeps who sent a piece that did not verify, and when."""

    def __init__(self) -> None:
        self.bad: list[tuple[float, NodeId]] = []

    def event(self, event: str, **fields: Field) -> None:
        if event == "bad":
            self.bad.append((trio.current_time(), NodeId(bytes.fromhex(str(fields["node"])))))


@dataclass(frozen=True, slots=True)
class Certain:
    """What no kill and no power loss may take from a getter: the files that were complete, or its durable
    pieces in NAME.part."""

    files: frozenset[FileIndex] = frozenset()
    durable: tuple[int, ...] = ()


def certain_of(fetch: SimFetch | None) -> Certain:
    """As of now."""
    if fetch is None or fetch.error is not None:
        return Certain()
    store = fetch.target._store
    if fetch.member.complete.is_set() and store is not None:
        return Certain(files=store.wanted_files)
    if store is None or store._journal is None or fetch.member.phase is not Phase.FETCHING:
        return Certain()
    return Certain(durable=tuple(filter(store._in_partial, store._ledger.durable.indices())))
