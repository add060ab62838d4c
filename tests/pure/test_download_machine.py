"""Any order of events: it stays consistent, asks only what it may, and ends with an honest source."""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from peer.bitfield import Bitfield
from peer.errors import RejectCode
from peer.ids import LinkId, PieceIndex
from peer.limits import REQUEST_TIMEOUT_S
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
CODES = st.sampled_from(list(RejectCode))


class Remote:
    """The other side of a link, and what it may be told."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.holds: set[int] = set()
        self.choking = True
        self.wanted = False
        self.expelled = False
        self.asked: dict[int, int] = {}  # piece -> bytes sent; in the order of asking
        self.withdrawn: set[int] = set()
        self.told_bitfield = False


class Machine(RuleBasedStateMachine):
    """Fakes on the other side of every link, that answer, lie, choke, reject and vanish."""

    @initialize(
        count=st.integers(1, 8), seed=st.integers(0, 1000), some=st.booleans(), links=st.integers(0, 4)
    )
    def begin(self, count: int, seed: int, some: bool, links: int) -> None:
        self.count = count
        self.rng = Random(seed)
        self.now = 0.0
        wanted = Bitfield(count, full=not some)
        if some:
            for piece in range(0, count, 2):
                wanted.add(piece)
        self.download = Download([SIZE] * count, Bitfield(count), wanted, Random(seed))
        self.links: dict[int, Remote] = {}
        self.verifying: list[tuple[int, int]] = []
        self.finished = self.announced = 0
        self.received = self.kept = 0
        self.held_back = False
        self.next = 1
        for _ in range(links):
            self.arrive(self.rng.choice([1, 2, 256]), self.rng.choice([0.5, 1.0, 1.0]))

    # --- what the download says

    def do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Ask(link, piece):
                    self.asked(self.links[link], piece)
                case Withdraw(link, piece):
                    remote = self.links[link]
                    assert piece in remote.asked, "withdrawn but not open"
                    assert piece not in remote.withdrawn, "withdrawn twice"
                    remote.withdrawn.add(piece)
                case Express(link, interested):
                    assert self.links[link].wanted != interested, "said what was said before"
                    assert not self.links[link].expelled
                    self.links[link].wanted = interested
                case Expel(link, _):
                    self.links[link].expelled = True
                    self.links[link].asked.clear()
                case Announce():
                    self.announced += 1
                case Finished():
                    self.finished += 1
                    assert self.download.finished

    def asked(self, remote: Remote, piece: int) -> None:
        assert not remote.choking, "asked of a link that chokes us"
        assert not remote.expelled
        assert not self.held_back
        assert piece in remote.holds, "asked for what the link has not"
        assert piece not in remote.asked, "asked twice at once"
        assert self.download.state(PieceIndex(piece)) is PieceState.IN_FLIGHT
        remote.asked[piece] = 0
        remote.withdrawn.discard(piece)
        assert len(remote.asked) <= remote.window, "beyond the window"

    def pick(self) -> tuple[LinkId, Remote]:
        number = self.rng.choice(sorted(self.links))
        return LinkId(number), self.links[number]

    def pick_busy(self) -> tuple[LinkId, Remote]:
        """A link of which something is asked, if there is one."""
        busy = sorted(number for number, remote in self.links.items() if remote.asked)
        number = self.rng.choice(busy or sorted(self.links))
        return LinkId(number), self.links[number]

    def arrive(self, window: int, share: float) -> None:
        """A link that holds something and serves us."""
        self.join(window)
        link = LinkId(self.next - 1)
        self.tell_bitfield(link, share)
        self.links[link].choking = False
        self.do(self.download.choked(link, False, self.now))

    # --- what happens to it

    @rule(window=st.sampled_from([1, 2, 256]))
    def join(self, window: int) -> None:
        link = LinkId(self.next)
        self.next += 1
        self.links[link] = Remote(window)
        self.do(self.download.joined(link, window, self.now))

    @precondition(lambda self: self.links)
    @rule()
    def widen(self) -> None:
        link, remote = self.pick()
        remote.window += 1
        self.do(self.download.widened(link, self.now))

    @precondition(lambda self: self.links)
    @rule(share=st.sampled_from([0.0, 0.5, 1.0]))
    def bitfield(self, share: float) -> None:
        link, _ = self.pick()
        self.tell_bitfield(link, share)

    def tell_bitfield(self, link: LinkId, share: float) -> None:
        remote = self.links[link]
        if remote.told_bitfield:
            return
        remote.told_bitfield = True
        bits = Bitfield(self.count)
        for piece in range(self.count):
            if self.rng.random() < share:
                bits.add(piece)
                remote.holds.add(piece)
        self.do(self.download.bitfield(link, bits, self.now))

    @precondition(lambda self: self.links)
    @rule(many=st.integers(1, 4))
    def have(self, many: int) -> None:
        link, remote = self.pick()
        news = [PieceIndex(self.rng.randrange(self.count)) for _ in range(many)]
        remote.told_bitfield = True
        remote.holds.update(news)
        self.do(self.download.have_pieces(link, news, self.now))

    @precondition(lambda self: self.links)
    @rule(rejects=st.sampled_from(["before", "after", "never"]))
    def choke(self, rejects: str) -> None:
        link, remote = self.pick()
        dropped = [piece for piece, sent in remote.asked.items() if not sent]
        if rejects == "before":
            for piece in dropped:
                self.reject_one(link, remote, piece, RejectCode.CHOKED)
        remote.choking = True
        self.do(self.download.choked(link, True, self.now))
        if rejects == "after":
            for piece in dropped:
                self.reject_one(link, remote, piece, RejectCode.CHOKED)

    @precondition(lambda self: self.links)
    @rule()
    def unchoke(self) -> None:
        link, remote = self.pick()
        remote.choking = False
        self.do(self.download.choked(link, False, self.now))

    @precondition(lambda self: self.links)
    @rule(share=st.sampled_from([0.5, 1.0]))
    def newcomer(self, share: float) -> None:
        self.arrive(256, share)

    @precondition(lambda self: self.links)
    @rule(count=st.sampled_from([1, 400, SIZE]), first=st.booleans())
    def send(self, count: int, first: bool) -> None:
        link, remote = self.pick_busy()
        if not remote.asked:
            return
        begun = [piece for piece, sent in remote.asked.items() if sent]
        piece = begun[0] if begun else (sorted(remote.asked)[0] if first else list(remote.asked)[-1])
        self.send_some(link, remote, piece, count)

    def send_some(self, link: LinkId, remote: Remote, piece: int, count: int) -> None:
        count = min(count, SIZE - remote.asked[piece])
        remote.asked[piece] += count
        self.received += count
        self.do(self.download.progressed(link, PieceIndex(piece), count, self.now))
        if remote.asked.get(piece) == SIZE:
            before = self.download.state(PieceIndex(piece))
            withdrawn = piece in remote.withdrawn
            del remote.asked[piece]  # the slot is free when we hear of it
            self.do(self.download.arrived(link, PieceIndex(piece), self.now))
            after = self.download.state(PieceIndex(piece))
            if before is not PieceState.VERIFYING and after is PieceState.VERIFYING:
                assert not withdrawn, "the session has thrown these bytes away"
                self.verifying.append((link, piece))

    @precondition(lambda self: self.links)
    @rule(code=CODES)
    def reject(self, code: RejectCode) -> None:
        link, remote = self.pick_busy()
        if remote.asked:
            piece = self.rng.choice(sorted(remote.asked))
            code = RejectCode.CANCELLED if piece in remote.withdrawn else code
            self.reject_one(link, remote, piece, code)

    def reject_one(self, link: LinkId, remote: Remote, piece: int, code: RejectCode) -> None:
        del remote.asked[piece]
        if code in {RejectCode.NOT_HELD, RejectCode.UNREADABLE}:
            remote.holds.discard(piece)
        self.do(self.download.rejected(link, PieceIndex(piece), code, self.now))

    @precondition(lambda self: self.links)
    @rule()
    def leave(self) -> None:
        link, _ = self.pick()
        commands = self.download.left(link, self.now)
        del self.links[link]
        self.do(commands)

    @precondition(lambda self: self.verifying)
    @rule(how=st.sampled_from(["good", "good", "good", "bad", "unstored"]))
    def check(self, how: str) -> None:
        number, index = self.verifying.pop(0)
        link, piece = LinkId(number), PieceIndex(index)
        if how == "good":
            self.kept += SIZE
            self.do(self.download.verified(link, piece, self.now))
        elif how == "bad":
            self.do(self.download.failed(link, piece, self.now))
            assert link not in self.links or self.links[link].expelled
        else:
            self.do(self.download.unstored(link, piece, self.now))

    @rule()
    def lose(self) -> None:
        held = list(self.download.bits.indices())
        if held:
            self.do(self.download.lost(PieceIndex(self.rng.choice(held)), self.now))
            assert not self.download.finished

    @rule()
    def want_more(self) -> None:
        self.do(self.download.want([PieceIndex(self.rng.randrange(self.count))], self.now))

    @rule(on=st.booleans())
    def hold(self, on: bool) -> None:
        self.held_back = on
        self.do(self.download.hold(on, self.now))

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.5, 3.0, REQUEST_TIMEOUT_S + 1]))
    def wait(self, seconds: float) -> None:
        """Time passes as the glue lets it: ticks come when they are wanted."""
        until = self.now + seconds
        while (due := self.download.next_deadline(self.now)) is not None and due <= until:
            self.now = max(self.now, due)
            self.do(self.download.tick(self.now))
            after = self.download.next_deadline(self.now)
            assert after is None or after > self.now, "a tick that wants a tick at once never ends"
        self.now = until

    # --- what is always so

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "download"):
            return
        self.download.check_invariants()
        said = self.download.statistics()
        assert said.received_bytes == self.received
        in_hand = sum(
            sent for r in self.links.values() for p, sent in r.asked.items() if p not in r.withdrawn
        ) + SIZE * len(self.verifying)
        # Every byte is kept, or wasted, or still of use; an answer given up may be revived and counted twice.
        assert said.wasted_bytes + self.kept + in_hand >= self.received

    def teardown(self) -> None:
        """An honest source comes, nobody else is of any use: it ends, in bounded time."""
        if not hasattr(self, "download"):
            return
        if self.held_back:
            self.hold(False)
        while self.verifying:
            self.check("good")
        link = LinkId(self.next)
        honest = self.links[link] = Remote(2)
        honest.holds.update(range(self.count))
        self.do(self.download.joined(link, 2, self.now))
        self.do(self.download.bitfield(link, Bitfield(self.count, full=True), self.now))
        honest.choking = False
        self.do(self.download.choked(link, False, self.now))
        steps = 0
        while not self.download.finished:
            steps += 1
            assert steps < 20 * (self.count + 20), "it does not end"
            if honest.asked:
                piece = next(iter(honest.asked))
                if piece in honest.withdrawn:
                    self.reject_one(link, honest, piece, RejectCode.CANCELLED)
                else:
                    self.send_some(link, honest, piece, SIZE)
                while self.verifying:
                    self.check("good")
            else:
                self.wait(1.0)
            self.download.check_invariants()
        self.download.check_invariants()
        assert not any(remote.wanted for remote in self.links.values() if not remote.expelled)


TestMachine = Machine.TestCase
TestMachine.settings = settings(report_multiple_bugs=False)
