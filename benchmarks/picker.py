"""What a choice costs: microseconds, by pieces, links and what the links hold.

    python -m benchmarks.picker [--choices 2000] [--quick]

Links take turns; each choice is taken, so the sets change as they do in a download. "busy" adds, for each
choice, as many haves of other links as a swarm has at that size (every link's pieces over all choices), which
is what makes bounds stale. The other side is the classic way: pieces sorted by availability in buckets, moved
by one swap for each have, and scanned from the rarest for one that the link holds (Cohen 2003, libtorrent).
"""

import argparse
import time
from array import array
from collections.abc import Callable, Iterator
from random import Random

from benchmarks.machine import describe
from peer.bitfield import Bitfield
from peer.ids import LinkId, PieceIndex
from peer.swarm.picker import Picker

SCAN_PATIENCE_S = 3.0
"""The classic way may take minutes where links are sparse: each case is cut after this."""


class SortedPicker:
    """The classic way: `order` holds the open pieces by availability, `start[a]` is where count a begins."""

    def __init__(self, piece_count: int, holdings: dict[LinkId, Bitfield], rng: Random) -> None:
        self.holdings = holdings
        counts = [0] * piece_count
        for bits in holdings.values():
            for piece in bits.indices():
                counts[piece] += 1
        self.counts = array("H", counts)
        pieces = list(range(piece_count))
        rng.shuffle(pieces)
        pieces.sort(key=counts.__getitem__)
        self.order = array("l", pieces)
        self.place = array("l", bytes(8 * piece_count))
        for place, piece in enumerate(pieces):
            self.place[piece] = place
        self.start = array("l", [0] * (len(holdings) + 2))
        for count in counts:
            for above in range(count + 1, len(self.start)):
                self.start[above] += 1
        self.taken = bytearray(piece_count)

    def choose(self, link: LinkId) -> PieceIndex | None:
        bits, taken = self.holdings[link], self.taken
        for piece in self.order:
            if not taken[piece] and piece in bits:
                return PieceIndex(piece)
        return None

    def take(self, piece: PieceIndex) -> None:
        self.taken[piece] = 1

    def add(self, link: LinkId, piece: PieceIndex) -> bool:
        if not self.holdings[link].add(piece):
            return False
        count = self.counts[piece]
        last = self.start[count + 1] - 1
        other, place = self.order[last], self.place[piece]
        self.order[place], self.order[last] = other, piece
        self.place[other], self.place[piece] = place, last
        self.start[count + 1] = last
        self.counts[piece] = count + 1
        return True


def dense(pieces: int, links: int, rng: Random) -> Iterator[Bitfield]:
    """Each holds three quarters, at random."""
    for _ in range(links):
        yield _bits(pieces, rng.getrandbits(pieces) | rng.getrandbits(pieces))


def sparse(pieces: int, links: int, rng: Random) -> Iterator[Bitfield]:
    """Each holds one piece in five hundred."""
    for _ in range(links):
        yield _of(pieces, rng.sample(range(pieces), max(1, pieces // 500)))


def correlated(pieces: int, links: int, rng: Random) -> Iterator[Bitfield]:
    """All but one hold the same half; the last link holds the other half as well, which is the rarer."""
    half = rng.sample(range(pieces), pieces // 2)
    for _ in range(links - 1):
        yield _of(pieces, half)
    yield Bitfield(pieces, full=True)


def seeds(pieces: int, links: int, rng: Random) -> Iterator[Bitfield]:
    """Everybody holds everything."""
    for _ in range(links):
        yield Bitfield(pieces, full=True)


def useless(pieces: int, links: int, rng: Random) -> Iterator[Bitfield]:
    """Each holds one piece, the same, which is taken first; then there is nothing to choose."""
    for _ in range(links):
        yield _of(pieces, [pieces // 2])


CASES: tuple[Callable[[int, int, Random], Iterator[Bitfield]], ...] = (
    dense, sparse, correlated, seeds, useless,
)  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--choices", type=int, default=2000, help="choices to measure in each case")
    options.add_argument("--quick", action="store_true", help="leave out the classic way")
    chosen = options.parse_args()
    print(describe())
    print(f"{'pieces':>8} {'links':>5} {'holding':<11} {'us/choice':>9} {'busy':>7} {'sorted':>9}"
          f" {'ratio':>7}"
          f" {'us/have':>8} {'ms/join':>8} {'ms/leave':>8}")  # fmt: skip
    for links in (50, 500):
        for pieces in (1_000, 10_000, 100_000):
            for case in CASES:
                show(case, pieces, links, chosen.choices, compare=not chosen.quick)


def show(
    case: Callable[[int, int, Random], Iterator[Bitfield]],
    pieces: int,
    links: int,
    choices: int,
    *,
    compare: bool,
) -> None:
    """One line of the table."""
    rng = Random(f"{case.__name__} {pieces} {links}")
    held = {LinkId(i): bits for i, bits in enumerate(case(pieces, links, rng))}
    choices = min(choices, pieces // 2)

    def fresh() -> tuple[Picker, float]:
        picker = Picker(pieces, Bitfield(pieces, full=True), Random(1))
        begin = time.perf_counter()
        for link, bits in held.items():
            picker.join(link)
            picker.set_bits(link, bits)
        return picker, (time.perf_counter() - begin) / links

    picker, join = fresh()
    calm = choose_all(picker, links, choices)
    begin = time.perf_counter()
    for link in held:
        picker.leave(link)
    leave = (time.perf_counter() - begin) / links
    picker, _ = fresh()
    busy, have = choose_among_haves(picker, pieces, links, choices, rng)
    line = f"{pieces:>8} {links:>5} {case.__name__:<11} {calm * 1e6:>9.1f} {busy * 1e6:>7.1f}"
    if compare:
        classic = choose_all(
            SortedPicker(pieces, {k: b.copy() for k, b in held.items()}, rng), links, choices
        )
        line += f" {classic * 1e6:>9.1f} {calm / classic:>7.2f}"
    else:
        line += f" {'-':>9} {'-':>7}"
    print(f"{line} {have * 1e6:>8.2f} {join * 1e3:>8.3f} {leave * 1e3:>8.3f}", flush=True)


def choose_all(picker: Picker | SortedPicker, links: int, choices: int) -> float:
    """Seconds a choice, links in turn."""
    begin = time.perf_counter()
    made = 0
    while made < choices:
        piece = picker.choose(LinkId(made % links))
        if piece is not None:
            picker.take(piece)
        made += 1
        if not made % 64 and time.perf_counter() - begin > SCAN_PATIENCE_S:
            break
    return (time.perf_counter() - begin) / made


def choose_among_haves(
    picker: Picker, pieces: int, links: int, choices: int, rng: Random
) -> tuple[float, float]:
    """Seconds a choice, seconds a have: each choice after the haves of as many links as there are."""
    choosing = having = 0.0
    for made in range(choices):
        news = [
            (LinkId(int(rng.random() * links)), PieceIndex(int(rng.random() * pieces))) for _ in range(links)
        ]
        begin = time.perf_counter()
        for link, piece in news:
            picker.add(link, piece)
        middle = time.perf_counter()
        piece_chosen = picker.choose(LinkId(made % links))
        if piece_chosen is not None:
            picker.take(piece_chosen)
        choosing += time.perf_counter() - middle
        having += middle - begin
    return choosing / choices, having / choices / links


def _bits(pieces: int, number: int) -> Bitfield:
    size = (pieces + 7) // 8
    return Bitfield.from_bytes((number << (8 * size - pieces)).to_bytes(size, "big"), pieces)


def _of(pieces: int, held: list[int]) -> Bitfield:
    bits = Bitfield(pieces)
    for piece in held:
        bits.add(piece)
    return bits


if __name__ == "__main__":
    main()
