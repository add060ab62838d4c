"""What the tests of the download policy share: a download, and links that are described by strings."""

from collections import Counter
from random import Random

from peer.bitfield import Bitfield
from peer.ids import LinkId, PieceIndex
from peer.swarm.download import Ask, Command, Download, PieceState, Probe, Withdraw
from peer.swarm.picker import Picker
from peer.swarm.policies import MakePicker

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
        self,
        *links: str,
        have: str = "",
        wanted: str = "",
        window: int = 256,
        seed: int = 1,
        make_picker: MakePicker = Picker,
    ) -> None:
        count = len(links[0])
        self.now = 0.0
        self.download = Download(
            [SIZE] * count, bits(have or "." * count), bits(wanted or "x" * count), Random(seed), make_picker
        )
        self.said: list[Command] = []
        self.dead: set[int] = set()  # links that are gone without a word
        self.sent: Counter[tuple[int, int]] = Counter()
        for number, held in enumerate(links, 1):
            link = LinkId(number)
            self.do("joined", link, window)
            self.do("bitfield", link, bits(held))
        for number in range(1, len(links) + 1):
            self.do("choked", LinkId(number), False)

    def do(self, event: str, *args: object) -> list[Command]:
        commands: list[Command] = getattr(self.download, event)(*args, self.now)
        if len(self.download.bits) <= 100:
            self.download.check_invariants()
        self.said += commands
        for command in commands:
            if isinstance(command, Probe) and command.link not in self.dead:
                self.do("alive", command.link)
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

    def waiting(self, link: int) -> list[int]:
        """Pieces that are in flight on the link, as far as we know."""
        return [p for p in self.asked(link) if self.download.state(PieceIndex(p)) is PieceState.IN_FLIGHT]

    def send(self, link: int, piece: int, count: int) -> list[Command]:
        """A part of the piece comes."""
        self.sent[link, piece] += count
        return self.do("progressed", LinkId(link), PieceIndex(piece), count)

    def deliver(self, link: int, piece: int) -> list[Command]:
        """The whole piece comes and is good."""
        out = self.do("arrived", LinkId(link), PieceIndex(piece))
        if self.download.state(PieceIndex(piece)) is PieceState.VERIFYING:
            out = out + self.do("verified", LinkId(link), PieceIndex(piece))
        return out

    def wait(self, seconds: float) -> list[Command]:
        """Time passes, with all ticks that were wanted."""
        out: list[Command] = []
        until = self.now + seconds
        while (due := self.download.next_deadline(self.now)) is not None and due <= until:
            self.now = due
            out += self.do("tick")
        self.now = until
        return out

    def arrive(self, link: int, piece: int) -> bool:
        """The whole piece comes; whether it is to be verified."""
        self.do("arrived", LinkId(link), PieceIndex(piece))
        return self.download.state(PieceIndex(piece)) is PieceState.VERIFYING

    def run(self, link: int, rate: float, seconds: float) -> None:
        """The link answers in order, at so many bytes a second, in steps of a tenth of a piece."""
        until = self.now + seconds
        step = SIZE // 10
        while self.now < until and self.waiting(link):
            piece = self.waiting(link)[0]
            self.wait(step / rate)
            if piece not in self.waiting(link):
                continue  # withdrawn meanwhile
            self.send(link, piece, step)
            if self.sent[link, piece] == SIZE:
                self.deliver(link, piece)
