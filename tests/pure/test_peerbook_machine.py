"""Whatever happens to a peer book, in any order: it agrees with a small world of addresses and nodes."""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from peer.errors import ByeCode
from peer.ids import Address, LinkId
from peer.swarm.known import Source
from peer.swarm.peerbook import STILL_BANNED, Noted, PeerBook, Turned, Welcome
from tests.pure.peerbook_kit import TRACKER, at, node


class BookMachine(RuleBasedStateMachine):
    """A small world of addresses and nodes, and everything that can happen to them."""

    numbers = st.integers(1, 12)

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pages = PeerBook(node(6), Random(1), links_max=8, links_dialled_max=5)
        self.dialling: list[Address] = []
        self.links: dict[int, int] = {}
        self.banned: set[int] = set()
        self.counter = 0

    @rule(number=numbers, port=st.sampled_from([7701, 7702, 80, 0]), source=st.sampled_from(Source))
    def add(self, number: int, port: int, source: Source) -> None:
        self.pages.add(at(number, port), source, self.now, informant=TRACKER)

    @rule(number=numbers, source=st.sampled_from(Source))
    def add_with_node(self, number: int, source: Source) -> None:
        noted = self.pages.add(at(number), source, self.now, node=node(number), informant=TRACKER)
        assert (noted is Noted.BANNED) == (number in self.banned and number != 6) or noted is Noted.SELF

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def dial(self) -> None:
        deadline = self.pages.next_deadline(self.now)
        dials = self.pages.next_dials(self.now)
        assert bool(dials) == (deadline is not None and deadline <= self.now)
        for known in dials:
            assert known.address not in self.dialling
            assert known.node != node(6)
            assert all(node(number) != known.node for number in self.links.values())
            self.dialling.append(known.address)

    @rule(which=st.integers(0, 9), outcome=st.sampled_from(["failed", "rest", "self", "peer"]))
    def end_dial(self, which: int, outcome: str) -> None:
        if which >= len(self.dialling):
            return
        address = self.dialling.pop(which)
        if outcome == "failed":
            self.pages.failed(address, self.now)
        elif outcome == "rest":
            self.pages.rest(address, self.now)
        else:
            number = 6 if outcome == "self" else int(address.host.rpartition(".")[2])
            self.meet(number, address)

    @rule(number=numbers, listens=st.sampled_from([0, 7701]))
    def meet_inbound(self, number: int, listens: int) -> None:
        self.meet(number, None, listens)

    def meet(self, number: int, address: Address | None, listens: int = 0) -> None:
        self.counter += 1
        verdict = self.pages.connected(
            LinkId(self.counter), node(number), self.now, remote=at(number), dialled=address, listens=listens
        )
        if number == 6:
            assert verdict == Turned(ByeCode.SELF)
        elif number in self.banned:
            assert verdict == Turned(ByeCode.CORRUPT, STILL_BANNED)
        if isinstance(verdict, Welcome):
            if verdict.close is not None:
                assert self.links.pop(verdict.close) == number
            self.links[self.counter] = number

    @rule(which=st.integers(0, 9), clean=st.booleans())
    def part(self, which: int, clean: bool) -> None:
        if which < len(self.links):
            link = list(self.links)[which]
            del self.links[link]
            self.pages.disconnected(LinkId(link), self.now, clean=clean)

    @rule(number=numbers)
    def ban(self, number: int) -> None:
        self.pages.ban(node(number), at(number).host)
        self.banned.add(number)
        self.dialling = [a for a in self.dialling if a != at(number)]

    @rule()
    def tell(self) -> None:
        told = {peer.node for peer in self.pages.tell(50)}
        assert told <= {node(number) for number in self.links.values()}

    @invariant()
    def the_books_agree(self) -> None:
        self.pages.check_invariants()
        assert self.pages.statistics().connected == len(self.links)
        for link in self.pages.overdue(self.now):
            assert list(self.links.values()).count(self.links[link]) == 2


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
