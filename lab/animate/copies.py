"""How many copies of each piece there are, over time: the rarest, the mean, the most common.

Legout, Urvoy-Keller & Michiardi (2006) draw it so: while some pieces are at the origin only, a swarm is in
its *transient state*, which cannot end before the origin has sent each piece once, F/u_s. Pure.
"""

from dataclasses import dataclass

from lab.animate.story import Story

POINTS = 300
"""Of a curve: more cannot be seen."""


@dataclass(frozen=True, slots=True)
class Copies:
    """At `times`: copies among the peers that began without, of the rarest, the mean and the most common."""

    times: list[float]
    least: list[int]
    mean: list[float]
    most: list[int]

    @property
    def transient_s(self) -> float | None:
        """Until every piece has a copy beside the origin's; None if that never was so."""
        return next((t for t, least in zip(self.times, self.least, strict=True) if least), None)


def copies(story: Story) -> Copies:
    """The curves of a story."""
    counts = [0] * story.pieces
    held: list[set[int]] = [set() for _ in story.actors]
    found = Copies([], [], [], [])
    events = iter(story.events)
    event = next(events, None)
    for step in range(POINTS + 1):
        now = story.seconds * step / POINTS
        while event is not None and event[0] <= now:
            _apply(event, story, counts, held)
            event = next(events, None)
        found.times.append(now)
        found.least.append(min(counts))
        found.mean.append(sum(counts) / len(counts))
        found.most.append(max(counts))
    return found


def _apply(event: list[object], story: Story, counts: list[int], held: list[set[int]]) -> None:
    _, kind, peer, *rest = event
    assert isinstance(peer, int)
    if story.actors[peer].origin:
        return
    if kind == "g":
        piece = rest[1]
        assert isinstance(piece, int)
        if piece not in held[peer]:
            held[peer].add(piece)
            counts[piece] += 1
    elif kind == "h":
        pieces = range(story.pieces) if rest[0] is None else rest[0]
        assert isinstance(pieces, list | range)
        for piece in held[peer]:
            counts[piece] -= 1
        held[peer] = set(pieces)
        for piece in held[peer]:
            counts[piece] += 1
