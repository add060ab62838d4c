"""The smallest part of a plan that still fails in the same way: greedy, coarse parts first."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from tests.chaos.plan import THROUGHOUT, Fault, FaultPlan


@dataclass(frozen=True, slots=True)
class Part:
    """What is left of a plan. None: all. As the options of `python -m tests.chaos` that play it."""

    peers: tuple[int, ...] | None = None
    events: tuple[int, ...] | None = None
    hostile: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    """Faults that are no events: left out."""

    def of(self, plan: FaultPlan) -> FaultPlan:
        """The plan with only this left in it."""
        peers = plan.peers
        if self.peers is not None:
            peers = tuple(
                replace(peer, knows=tuple(number for number in peer.knows if number in self.peers))
                for peer in plan.peers
                if peer.number in self.peers
            )
        numbers = {peer.number for peer in peers}
        return replace(
            plan,
            peers=peers,
            events=tuple(
                event
                for index, event in enumerate(plan.events)
                if (self.events is None or index in self.events) and event.peer in numbers
            ),
            hostile=tuple(
                fault for fault in plan.hostile if self.hostile is None or fault.value in self.hostile
            ),
            faults=frozenset(fault for fault in plan.faults if fault.value not in self.without),
        )

    def options(self) -> str:
        """As they are typed."""
        texts = []
        for name in ("peers", "events", "hostile"):
            value = getattr(self, name)
            if value is not None:
                texts.append(f"--{name} {','.join(map(str, value)) or 'none'}")
        if self.without:
            texts.append(f"--without {','.join(self.without)}")
        return " ".join(texts)


def shrink(plan: FaultPlan, fails: Callable[[FaultPlan], bool]) -> Part:
    """Leave out kinds of faults, hostile hosts, peers and single events while it still fails."""
    part = Part(
        tuple(peer.number for peer in plan.peers),
        tuple(range(len(plan.events))),
        tuple(fault.value for fault in plan.hostile),
    )
    smaller = True
    while smaller:
        smaller = False
        for candidate in _candidates(plan, part):
            if candidate != part and fails(candidate.of(plan)):
                part, smaller = candidate, True
                break
    return part


def _candidates(plan: FaultPlan, part: Part) -> Iterator[Part]:
    peers, events, hostile = part.peers or (), part.events or (), part.hostile or ()
    if hostile:
        yield replace(part, hostile=())
    kinds = {plan.events[index].fault: None for index in events}
    for kind in kinds:
        yield replace(part, events=_without(events, _of_kind(plan, events, kind)))
    for fault in THROUGHOUT:
        if fault not in plan.faults:
            continue
        if fault.value not in part.without:
            yield replace(part, without=tuple(sorted((*part.without, fault.value))))
    for name in hostile:
        yield replace(part, hostile=tuple(other for other in hostile if other != name))
    for number in peers[1:]:
        left = tuple(other for other in peers if other != number)
        if any(not peer.has_it for peer in plan.peers if peer.number in left):
            lost = [index for index in events if plan.events[index].peer == number]
            yield replace(part, peers=left, events=_without(events, lost))
    for index in events:
        yield replace(part, events=_without(events, (index,)))


def _of_kind(plan: FaultPlan, events: Iterable[int], kind: Fault) -> list[int]:
    return [index for index in events if plan.events[index].fault is kind]


def _without(events: Iterable[int], gone: Iterable[int]) -> tuple[int, ...]:
    leave = set(gone)
    return tuple(index for index in events if index not in leave)
