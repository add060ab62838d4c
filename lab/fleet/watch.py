"""What a tracker's counts tell about a swarm: who has begun, who is done, and when it is over. Pure.

The origin is one of the seeders from the start; everybody else who is counted as a seeder has finished. A
peer announces at once when it begins and when it is complete, so the counts are as old as the last look.
"""

from dataclasses import dataclass, field

from lab import bounds

SETTLED_S = 15.0
"""Without a downloader for this long after the last copy: nobody else is coming."""


@dataclass(slots=True)
class Watch:
    """Follows one swarm. wanted: how many copies end it; None: when all that came are done. Times in seconds.

    begun: when the first downloader was seen. done: for each copy, when it was first counted, from ``begun``.
    """

    wanted: int | None = None
    begun: float | None = None
    done: list[float] = field(default_factory=list)
    most_at_once: int = 0
    changed: float = 0.0

    def look(self, now: float, seeders: int, leechers: int) -> None:
        """The counts as they are now. Fewer seeders than before have only gone home."""
        copies = max(0, seeders - 1)
        if self.begun is None:
            if not leechers and not copies:
                return
            self.begun = self.changed = now
        if leechers or copies > len(self.done):
            self.changed = now
        self.most_at_once = max(self.most_at_once, leechers)
        self.done += [now - self.begun] * (copies - len(self.done))

    def over(self, now: float) -> bool:
        """Whether there is nothing left to wait for."""
        if self.wanted is not None:
            return len(self.done) >= self.wanted
        return self.begun is not None and bool(self.done) and now - self.changed >= SETTLED_S


@dataclass(frozen=True, slots=True)
class Conditions:
    """The file (bytes) and everybody's uplink (bytes a second; None: not limited, so theory says nothing)."""

    file_bytes: int
    up: float | None

    def server_bound(self, peers: int) -> float | None:
        """Until one server alone has served so many."""
        if self.up is None:
            return None
        return float(bounds.client_server(8.0 * self.file_bytes, 8 * self.up, peers, None).time)

    def swarm_bound(self, peers: int) -> float | None:
        """No swarm is faster: max{F/u, N·F/(u + N·u)}."""
        if self.up is None:
            return None
        ups = [8 * self.up] * peers
        return float(bounds.kumar_ross(8.0 * self.file_bytes, [8 * self.up], ups, None).time)
