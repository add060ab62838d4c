"""The download policy against links that are described by strings."""

from random import Random

import pytest

from peer.bitfield import Bitfield
from peer.errors import LocalProtocolError, RejectCode
from peer.ids import LinkId, PieceIndex
from peer.swarm.download import (
    Announce,
    Ask,
    Command,
    Download,
    Expel,
    Express,
    Finished,
    PieceState,
    Withdraw,
)

SIZE = 1000


def bits(text: str) -> Bitfield:
    """``x`` is held, anything else is not."""
    made = Bitfield(len(text))
    for i, letter in enumerate(text):
        if letter == "x":
            made.add(i)
    return made


class Bench:
    """A download, and links that hold what strings say, unchoked."""

    def __init__(
        self, *links: str, have: str = "", wanted: str = "", window: int = 256, seed: int = 1
    ) -> None:
        count = len(links[0])
        self.now = 0.0
        self.download = Download(
            [SIZE] * count, bits(have or "." * count), bits(wanted or "x" * count), Random(seed)
        )
        self.said: list[Command] = []
        for number, held in enumerate(links, 1):
            link = LinkId(number)
            self.do("joined", link, window)
            self.do("bitfield", link, bits(held))
            self.do("choked", link, False)

    def do(self, event: str, *args: object) -> list[Command]:
        commands: list[Command] = getattr(self.download, event)(*args, self.now)
        self.download.check_invariants()
        self.said += commands
        return commands

    def asked(self, link: int) -> list[int]:
        """Pieces asked of the link and not withdrawn, in order."""
        found: list[int] = []
        for command in self.said:
            if isinstance(command, Ask) and command.link == link:
                found.append(command.piece)
            elif isinstance(command, Withdraw) and command.link == link:
                found.remove(command.piece)
        return found

    def deliver(self, link: int, piece: int) -> list[Command]:
        """The whole piece comes and is good."""
        out = self.do("arrived", LinkId(link), PieceIndex(piece))
        if self.download.state(PieceIndex(piece)) is PieceState.VERIFYING:
            out = out + self.do("verified", LinkId(link), PieceIndex(piece))
        return out


def test_one_seed_gives_everything() -> None:
    bench = Bench("xxxxx")
    assert Express(LinkId(1), True) in bench.said
    while not bench.download.finished:
        waiting = [p for p in bench.asked(1) if bench.download.state(PieceIndex(p)) == PieceState.IN_FLIGHT]
        bench.now += 0.1
        bench.deliver(1, waiting[0])
    assert sorted(bench.asked(1)) == [0, 1, 2, 3, 4]
    assert Finished() in bench.said
    assert bench.said[-1] == Finished() or Express(LinkId(1), False) in bench.said
    assert {c.piece for c in bench.said if isinstance(c, Announce)} == {0, 1, 2, 3, 4}


def test_a_link_that_chokes_gives_its_pieces_back() -> None:
    bench = Bench("xx")
    assert len(bench.asked(1)) == 2
    bench.do("choked", LinkId(1), True)
    assert bench.download.state(PieceIndex(0)) == PieceState.IN_FLIGHT, "its answer may be under way"
    bench.do("rejected", LinkId(1), PieceIndex(0), RejectCode.CHOKED)
    bench.do("rejected", LinkId(1), PieceIndex(1), RejectCode.CHOKED)
    bench.said.clear()
    bench.do("choked", LinkId(1), False)
    assert sorted(bench.asked(1)) == [0, 1]


def test_a_bad_piece_expels_its_sender_and_is_asked_elsewhere() -> None:
    bench = Bench("x", "x")
    (first,) = [c.link for c in bench.said if isinstance(c, Ask)]
    bench.do("arrived", first, PieceIndex(0))
    commands = bench.do("failed", first, PieceIndex(0))
    assert [type(c) for c in commands] == [Expel, Ask]
    other = LinkId(3 - first)
    assert Ask(other, PieceIndex(0)) in commands
    assert bench.deliver(other, 0)[-2:] == [Express(other, False), Finished()]
    assert bench.download.statistics().corrupt_bytes == SIZE


def test_a_piece_that_the_link_lacks_after_all_is_not_asked_there_again() -> None:
    bench = Bench("x")
    commands = bench.do("rejected", LinkId(1), PieceIndex(0), RejectCode.NOT_HELD)
    assert commands == [Express(LinkId(1), False)]
    assert Ask(LinkId(1), PieceIndex(0)) in bench.do("have_pieces", LinkId(1), (PieceIndex(0),))


def test_strangers_are_a_bug_of_ours() -> None:
    bench = Bench("x")
    with pytest.raises(LocalProtocolError):
        bench.do("progressed", LinkId(9), PieceIndex(0), 1)
    with pytest.raises(LocalProtocolError):
        bench.do("verified", LinkId(1), PieceIndex(0))
