"""What became of a scenario, in whatever world it was run."""

from dataclasses import dataclass

PATIENCE = 20.0
"""In virtual time a run ends so many times its bound, and PATIENCE_S, after the last has come, whoever is not
complete."""
PATIENCE_S = 300.0


def gives_up_at(bound: float | None, last_comes: float) -> float:
    """When a run in virtual time is ended that has not come to an end itself. last_comes: when the last peer
    comes, or comes back, before which nobody can have waited for it in vain."""
    return last_comes + PATIENCE * (bound or 0.0) + PATIENCE_S


@dataclass(slots=True)
class Member:
    """What became of one peer. Times in seconds since the beginning, by the world's clock; None: never."""

    group: int
    number: int
    joined: float
    done: float | None = None
    wasted_bytes: int = 0
    origin_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of all of them. ``wrong``: copies that were called complete and were not the file.

    ``trace_hash``: empty where no run is like another.
    """

    members: tuple[Member, ...]
    ended: float
    wrong: int
    trace_hash: str

    @property
    def last(self) -> float | None:
        """When the last of them was complete; None if somebody never was."""
        times = [member.done for member in self.members if member.done is not None]
        return max(times) if times and len(times) == len(self.members) else None
