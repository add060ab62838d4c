"""Which piece to ask a link for: rarest first, honest random ties, at a cost that hardly grows.

Theory of operation. A choice is a question about sets: among the pieces that this link holds and nobody was
asked for yet (`open`), which are held by the fewest links? The sets are big integers, one bit a piece, and so
the question is answered for thousands of pieces at once:

* Availability is kept *bit-sliced*: ``planes[k]`` is the set of pieces whose count has bit k set. Adding a
  link's whole bitfield is a binary addition with carry over whole sets; adding one piece touches two planes
  on average. The rarest pieces of a candidate set are found from the highest plane down: where some candidate
  has a zero bit, the others are out. That is one operation for each bit of the number of links: log2(links).
* A tie is broken uniformly: the k-th set bit for a random k, found by halving: log2(block). While all links
  are seeds, it goes to the first.
* Links that hold everything (seeds) are only counted.
* News from which nothing follows at once (`note`) is counted when the next question is asked: what has come
  by then from several links mostly has nothing in common, and is added as one set.

Pieces are cut into blocks of `PICKER_BLOCK_PIECES`, so that touching one piece stays cheap. With more than
one block each link keeps a heap of blocks by a *lower bound* of the availability of its best candidate there.
A choice looks into the top block; a bound that was too low is raised and the block sinks. Bounds only need to
be lower ones, so other links' haves, and pieces that are taken, cost nothing here. What could break a bound:
a link leaving lowers availabilities by at most one, so keys are kept as availability + number of departures
so far, which never falls; a piece that opens again, or that a link has got, marks its block, and marked
blocks are queued again at the link's next choices. First bounds are *floors*, the rarest open piece of a
block whoever holds it, computed once for all links. All seeds share one heap.

Alternatives not taken: pieces sorted by availability (libtorrent, Cohen) make a link that holds little scan
nearly everything; a heap of pieces for each link costs every link for every have.

Limits of this answer: shares of more than a few blocks get a piece that is among the rarest (bounds grow
stale while availability rises, and a choice looks into a bounded number of blocks); between blocks a tie goes
by block, not by piece.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace
from random import Random
from typing import Final

from peer.bitfield import BIT, BLOCK_MASK, BLOCK_SHIFT, Bitfield, Block
from peer.errors import LocalProtocolError
from peer.ids import LinkId, PieceIndex
from peer.limits import PICKER_LOOKS_MAX, PICKER_NEWS_MAX, PICKER_NOTES_MAX
from peer.swarm.piecesets import add_to, bits_of, count_in, least_held, random_bit, subtract_from

_TIE_BITS: Final = 16
"""Random bits in a heap key, so that blocks of equal bound come in random order."""


class _Holdings:
    """What one link holds, and its heap of blocks (only for shares of several blocks)."""

    __slots__ = ("blocks", "dirty", "epoch", "heap", "is_seed", "news", "seen")

    def __init__(self, blocks: list[int], *, is_seed: bool) -> None:
        self.blocks = blocks
        self.is_seed = is_seed
        self.heap: list[int] = []  # (bound + departures) << tie and block bits | tie | block
        self.news: list[int] = []  # blocks in which this link may have got a candidate since it chose
        self.dirty = 0  # the same, one bit a block
        self.epoch = -1  # the heap was built in this epoch; another one: build again
        self.seen = 0  # how much of the picker's `reopened` has been taken into the heap

    def mark(self, at: int) -> None:
        """There is news in this block."""
        if not self.dirty >> at & 1:
            self.dirty |= 1 << at
            self.news.append(at)


class Picker:
    """Who holds what, which pieces are open, and the choice between them.

    A piece is *needed* when it is wanted and not had, and *open* when it is needed and nobody was asked for
    it; the caller (`Download`) moves pieces between these with `take`, `reopen`, `need` and `settle`. Raises
    LocalProtocolError for a link that it does not know.
    """

    __slots__ = (
        "_block_bits", "_changes", "_departures", "_epoch", "_floors", "_floors_due", "_full",
        "_links", "_many", "_needed", "_noted", "_open", "_planes", "_reopened", "_rng", "_seed",
        "_seeds", "needed_count", "open_count", "piece_count",
    )  # fmt: skip

    def __init__(self, piece_count: int, needed: Bitfield, rng: Random) -> None:
        if len(needed) != piece_count:
            raise LocalProtocolError(f"{len(needed)} bits for {piece_count} pieces")
        self.piece_count = piece_count
        self._rng = rng
        self._open = needed.blocks.copy()
        self._needed = list(self._open)
        self._full = Bitfield(piece_count, full=True).blocks
        self._planes: list[list[int]] = [[] for _ in self._full]
        self._seeds = 0
        self._seed = _Holdings(self._full, is_seed=True)
        self._links: dict[LinkId, _Holdings] = {}
        self._noted: list[tuple[LinkId, Iterable[Block]]] = []
        self._departures = 0
        self._reopened: list[int] = []
        self._epoch = 0
        self._floors = [0] * len(self._full)  # a bound for every link, by block
        self._changes = self._floors_due = 0
        self._many = len(self._full) > 1
        self._block_bits = max(1, len(self._full)).bit_length()
        self.open_count = needed.count
        self.needed_count = needed.count

    # --- links

    def join(self, link: LinkId) -> None:
        """A link that holds nothing yet."""
        if link in self._links:
            raise LocalProtocolError(f"link {link} has joined before")
        self._links[link] = _Holdings([0] * len(self._full), is_seed=False)

    def leave(self, link: LinkId) -> None:
        """The link is gone, and what it held is that much rarer."""
        self._forget(self._holdings(link))
        del self._links[link]

    def set_bits(self, link: LinkId, bits: Bitfield) -> None:
        """Replace all that is known about the link."""
        if len(bits) != self.piece_count:
            raise LocalProtocolError(f"{len(bits)} bits for {self.piece_count} pieces")
        held = self._holdings(link)
        self._forget(held)
        if bits.is_full:
            self._links[link] = self._seed  # all of them choose alike, from one heap
            self._seeds += 1
            return
        self._links[link] = held = _Holdings(bits.blocks.copy(), is_seed=False)
        self._changes += bits.count
        for planes, block in zip(self._planes, held.blocks, strict=True):
            add_to(planes, block)

    def add(self, link: LinkId, piece: PieceIndex) -> bool:
        """The link holds one more. Whether that is news."""
        held = self._holdings(link)
        at, bit = piece >> BLOCK_SHIFT, BIT[piece & BLOCK_MASK]
        if held.blocks[at] & bit:
            return False
        held.blocks[at] |= bit
        add_to(self._planes[at], bit)
        if self._many:
            self._changes += 1
            held.mark(at)
        return True

    def add_blocks(self, link: LinkId, news: Iterable[Block]) -> tuple[PieceIndex | None, bool]:
        """The link holds these as well. Of the news among them: one that is needed, and whether any is open.

        The same as `add` for each piece, in less time.
        """
        held = self._holdings(link)
        needed: PieceIndex | None = None
        is_open = False
        for at, pieces in news:
            before = held.blocks[at]
            fresh = pieces & ~before
            held.blocks[at] = before | fresh
            add_to(self._planes[at], fresh)
            if self._many:
                self._news_of(held, at, fresh)
            wanted = fresh & self._needed[at]
            if wanted:
                needed = PieceIndex((at << BLOCK_SHIFT) + wanted.bit_length() - 1)
                is_open = is_open or bool(wanted & self._open[at])
        return needed, is_open

    def note(self, link: LinkId, news: Iterable[Block]) -> None:
        """The link holds these as well, but nothing follows from it now: it is counted before the next
        question is answered, together with what else has come by then."""
        self._noted.append((link, news))
        if len(self._noted) >= PICKER_NOTES_MAX:
            self._count_noted()

    def remove(self, link: LinkId, piece: PieceIndex) -> bool:
        """The link does not hold this one after all. Whether we thought so."""
        held = self._holdings(link)
        at, bit = piece >> BLOCK_SHIFT, BIT[piece & BLOCK_MASK]
        if not held.blocks[at] & bit:
            return False
        if held.is_seed:
            self._seeds -= 1
            self._links[link] = held = _Holdings(list(self._full), is_seed=False)
            for planes, block in zip(self._planes, held.blocks, strict=True):
                add_to(planes, block)
        held.blocks[at] ^= bit
        subtract_from(self._planes[at], bit)
        self._departures += 1
        return True

    def _forget(self, held: _Holdings) -> None:
        if held.is_seed:
            self._seeds -= 1
            return  # the order among pieces stays as it was
        for planes, block in zip(self._planes, held.blocks, strict=True):
            if block:
                subtract_from(planes, block)
        self._departures += 1

    # --- pieces

    def take(self, piece: PieceIndex) -> None:
        """An open piece was asked for."""
        at, bit = piece >> BLOCK_SHIFT, BIT[piece & BLOCK_MASK]
        if not self._open[at] & bit:
            raise LocalProtocolError(f"piece {piece} is not open")
        self._open[at] ^= bit
        self.open_count -= 1

    def reopen(self, piece: PieceIndex) -> None:
        """Nobody is asked for it any more."""
        at, bit = piece >> BLOCK_SHIFT, BIT[piece & BLOCK_MASK]
        if self._open[at] & bit or not self._needed[at] & bit:
            raise LocalProtocolError(f"piece {piece} cannot be opened")
        self._open[at] |= bit
        self.open_count += 1
        if self._many:
            self._mark(at)

    def need(self, piece: PieceIndex) -> None:
        """It is wanted now, and open."""
        at, bit = piece >> BLOCK_SHIFT, BIT[piece & BLOCK_MASK]
        if self._needed[at] & bit:
            raise LocalProtocolError(f"piece {piece} is needed already")
        self._needed[at] |= bit
        self.needed_count += 1
        self.reopen(piece)

    def settle(self, piece: PieceIndex) -> None:
        """We have it now, or want it no more."""
        at, bit = piece >> BLOCK_SHIFT, BIT[piece & BLOCK_MASK]
        if not self._needed[at] & bit:
            raise LocalProtocolError(f"piece {piece} is not needed")
        self._needed[at] ^= bit
        self.needed_count -= 1
        if self._open[at] & bit:
            self._open[at] ^= bit
            self.open_count -= 1

    # --- questions

    @property
    def takes_hints(self) -> bool:
        """Whether it does as well to choose another piece than this one, if a link says so."""
        return True

    @property
    def in_order(self) -> bool:
        """Whether ties go to the first piece: everybody here holds everything, so there is nobody to spread
        different pieces among, and disks and the hash of a whole file like what comes in order."""
        return self._seeds == len(self._links)

    def __contains__(self, link: object) -> bool:
        return link in self._links

    def holds(self, link: LinkId, piece: PieceIndex) -> bool:
        """Whether the link holds the piece."""
        if self._noted:
            self._count_noted()
        held = self._links.get(link) or self._holdings(link)
        return held.blocks[piece >> BLOCK_SHIFT] & BIT[piece & BLOCK_MASK] != 0

    def is_open(self, piece: PieceIndex) -> bool:
        return self._open[piece >> BLOCK_SHIFT] & BIT[piece & BLOCK_MASK] != 0

    def is_needed(self, piece: PieceIndex) -> bool:
        return self._needed[piece >> BLOCK_SHIFT] & BIT[piece & BLOCK_MASK] != 0

    def availability(self, piece: PieceIndex) -> int:
        """How many links hold the piece."""
        if self._noted:
            self._count_noted()
        return self._seeds + count_in(self._planes[piece >> BLOCK_SHIFT], BIT[piece & BLOCK_MASK])

    def has_open_held(self) -> bool:
        """Whether any link holds an open piece."""
        if not self.open_count or self._seeds:
            return self.open_count > 0
        if self._noted:
            self._count_noted()
        return any(
            candidates & plane
            for candidates, planes in zip(self._open, self._planes, strict=True)
            for plane in planes
        )

    def witness(self, link: LinkId) -> PieceIndex | None:
        """Some piece that the link holds and we need, asked for or not; None if there is none."""
        for at, (held, needed) in enumerate(zip(self._holdings(link).blocks, self._needed, strict=True)):
            both = held & needed
            if both:
                return PieceIndex((at << BLOCK_SHIFT) + both.bit_length() - 1)
        return None

    def candidates(self, link: LinkId) -> list[PieceIndex]:
        """All open pieces that the link holds, ascending. Costs as much as there are: for choices that look
        at each of them."""
        held = self._holdings(link).blocks
        return [
            PieceIndex((at << BLOCK_SHIFT) + bit)
            for at, (block, open_) in enumerate(zip(held, self._open, strict=True))
            for bit in bits_of(block & open_)
        ]

    def choose(self, link: LinkId) -> PieceIndex | None:
        """The open piece to ask this link for: one of the rarest that it holds. None: it has none."""
        held = self._holdings(link)
        if self._many:
            return self._choose_of_many(held)
        candidates = held.blocks[0] & self._open[0] if self._full else 0
        if not candidates:
            return None
        rarest, _ = least_held(self._planes[0], candidates)
        return PieceIndex(self._one_of(rarest))

    def choose_any(self, link: LinkId) -> PieceIndex | None:
        """A random open piece that the link holds, however common. None: it has none."""
        held = self._holdings(link).blocks
        first = int(self._rng.random() * len(held))
        for at in (*range(first, len(held)), *range(first)):
            candidates = held[at] & self._open[at]
            if candidates:
                return PieceIndex((at << BLOCK_SHIFT) + random_bit(candidates, self._rng))
        return None

    def check_invariants(self) -> None:
        """For tests: counts agree with sets, planes with what links hold, bounds with what can be chosen."""
        self._count_noted()
        assert self.open_count == sum(block.bit_count() for block in self._open)
        assert self.needed_count == sum(block.bit_count() for block in self._needed)
        assert self._seeds == sum(held.is_seed for held in self._links.values())
        for at, full in enumerate(self._full):
            assert self._open[at] & ~self._needed[at] == 0
            assert self._needed[at] & ~full == 0
            planes: list[int] = []
            for held in self._links.values():
                if not held.is_seed:
                    add_to(planes, held.blocks[at])
            assert planes == self._planes[at]
        if self._many:
            for at, candidates in enumerate(self._open):
                assert self._floors[at] <= least_held(self._planes[at], candidates)[1] + self._departures
            for held in self._links.values():
                self._check_heap(held)

    def _check_heap(self, held: _Holdings) -> None:
        if held.epoch != self._epoch:
            return
        bounds: dict[int, int] = {}
        for entry in held.heap:
            at, key = entry & ((1 << self._block_bits) - 1), entry >> self._block_bits + _TIE_BITS
            bounds[at] = min(key, bounds.get(at, key))
        for at, block in enumerate(held.blocks):
            candidates = block & self._open[at]
            if candidates and not held.dirty >> at & 1 and at not in self._reopened[held.seen :]:
                assert bounds[at] <= least_held(self._planes[at], candidates)[1] + self._departures

    def _choose_of_many(self, held: _Holdings) -> PieceIndex | None:
        """Look into blocks in the order of their bounds until none can be better, or it was enough."""
        heap = self._refreshed(held)
        key_shift = self._block_bits + _TIE_BITS
        block_mask = (1 << self._block_bits) - 1
        best = best_at = best_key = 0
        looks = PICKER_LOOKS_MAX
        while heap and looks:
            at = heap[0] & block_mask
            candidates = held.blocks[at] & self._open[at]
            if not candidates:
                heappop(heap)
                continue
            if best and best_key <= heap[0] >> key_shift:
                break
            rarest, availability = least_held(self._planes[at], candidates)
            key = availability + self._departures
            if not best or key < best_key:
                best, best_at, best_key = rarest, at, key
            # The entry goes back with its true bound and a new tie: the next choice may fall elsewhere.
            heapreplace(heap, self._entry(key, at))
            looks -= 1
        return PieceIndex((best_at << BLOCK_SHIFT) + self._one_of(best)) if best else None

    def _one_of(self, rarest: int) -> int:
        return (rarest & -rarest).bit_length() - 1 if self.in_order else random_bit(rarest, self._rng)

    def _entry(self, key: int, at: int) -> int:
        tie = at if self.in_order else int(self._rng.random() * (1 << _TIE_BITS))
        return (key << _TIE_BITS | tie) << self._block_bits | at

    def _refreshed(self, held: _Holdings) -> list[int]:
        """The link's heap, with entries for blocks in which it may have gained a candidate.

        At most `PICKER_NEWS_MAX` of these are taken up in one choice; the others wait for the next ones, so
        that a flood of haves does not make a choice dear.
        """
        if held.epoch != self._epoch or len(held.heap) > 4 * len(self._full):
            self._renew_floors()
            held.heap = [
                self._entry(self._floor(held, at), at) for at, block in enumerate(held.blocks) if block
            ]
            heapify(held.heap)
            held.epoch, held.dirty, held.seen = self._epoch, 0, len(self._reopened)
            held.news.clear()
            return held.heap
        for at in self._reopened[held.seen :]:
            held.mark(at)
        held.seen = len(self._reopened)
        news = PICKER_NEWS_MAX if held.heap else len(self._full)
        while held.news and news:
            at = held.news.pop(0)
            held.dirty ^= 1 << at
            heappush(held.heap, self._entry(self._floor(held, at), at))
            news -= 1
        return held.heap

    def _floor(self, held: _Holdings, at: int) -> int:
        """A bound for what this link holds in the block: who is no seed is itself counted as a holder."""
        return self._floors[at] if held.is_seed else max(self._floors[at], 1 + self._departures)

    def _renew_floors(self) -> None:
        """Look again at what the rarest open piece of each block is, whoever holds it, if much has changed.

        It is a bound for every link, shared so that a link's first choice need not look into each block.
        """
        if self._changes < self._floors_due:
            return
        self._floors_due = self._changes + self.piece_count // 16
        for at, candidates in enumerate(self._open):
            _, availability = least_held(self._planes[at], candidates)
            self._floors[at] = availability + self._departures

    def _mark(self, at: int) -> None:
        """The block has a new open piece: tell every link at its next choice."""
        self._floors[at] = 0
        if len(self._reopened) > 2 * len(self._full):
            self._reopened.clear()
            self._epoch += 1  # whoever has not read all of it looks at every block again
        else:
            self._reopened.append(at)

    def _count_noted(self) -> None:
        """Count what was noted: sets that have nothing in common as one, which they mostly are."""
        noted, self._noted = self._noted, []
        links = self._links
        sums = dict[int, int]()
        for link, news in noted:
            held = links[link]
            blocks = held.blocks
            for at, pieces in news:
                before = blocks[at]
                fresh = pieces & ~before
                blocks[at] = before | fresh
                so_far = sums.get(at, 0)
                if fresh & so_far:
                    add_to(self._planes[at], so_far)
                    so_far = 0
                sums[at] = so_far | fresh
                if self._many:
                    self._news_of(held, at, fresh)
        for at, pieces in sums.items():
            add_to(self._planes[at], pieces)

    def _news_of(self, held: _Holdings, at: int, fresh: int) -> None:
        """A link has got these of a block of many."""
        if fresh:
            self._changes += fresh.bit_count()
            held.mark(at)

    def _holdings(self, link: LinkId) -> _Holdings:
        if self._noted:
            self._count_noted()
        try:
            return self._links[link]
        except KeyError:
            raise LocalProtocolError(f"link {link} has not joined") from None
