"""What an earlier run left of a download, judged piece by piece. Pure.

| the journal says  | the files                              | the piece is |
|-------------------|----------------------------------------|--------------|
| anything          | missing, or too short for it           | not here     |
| durable           | there                                  | held         |
| durable, clean    | there, modified since the clean end    | doubtful     |
| written           | there                                  | doubtful     |
| nothing readable  | there                                  | doubtful     |
"""

from collections.abc import Container, Mapping

from peer.bitfield import Bitfield
from peer.ids import FileIndex, PieceIndex
from peer.store.filesystem import FileState
from peer.store.layout import Layout
from peer.store.ledger import Ledger
from peer.store.records import Contents, Lost, Record, Written


def claimed(contents: Contents | None, piece_count: int) -> Bitfield:
    """The pieces that may be there. contents: None without a readable journal."""
    if contents is None:
        return Bitfield(piece_count, full=True)
    pieces = contents.durable.copy()
    pieces.update(contents.hinted)
    return pieces


def judge(
    ledger: Ledger,
    layout: Layout,
    contents: Contents | None,
    states: Mapping[FileIndex, FileState],
    good: Container[FileIndex],
) -> None:
    """Enter into the ledger what is held and what is doubtful.

    states: of the files in NAME.part. good: files known to be right at the target.
    """
    times = None if contents is None else contents.times_ns
    for piece in map(PieceIndex, claimed(contents, layout.piece_count).indices()):
        sure = contents is not None and piece in contents.durable
        for part in layout.segments(piece):
            if part.file in good:
                continue
            state = states.get(part.file)
            if state is None or state.size < part.offset + part.length:
                break
            if times is not None and times[part.file : part.file + 1] != (state.mtime_ns,):
                sure = False
        else:
            ledger.recorded(piece, sure=sure)


def corrections(ledger: Ledger, contents: Contents) -> list[Record]:
    """What an old journal must be told before anything else is appended to it: whatever follows a clean end
    takes its times away, and with them the doubt about files that were modified since."""
    lost = contents.durable.copy()
    lost.difference_update(ledger.durable)
    if lost.is_empty:
        return []
    there = lost.copy()
    there.intersection_update(ledger.doubtful)
    return [Lost(tuple(lost.indices())), Written(tuple(there.indices()))]
