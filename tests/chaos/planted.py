"""Bugs, planted one at a time: the harness must find each within a thousand seeds. `make planted`.

python -m tests.chaos.planted               all of them, and at which seed each is found
python -m tests.chaos.planted lost-have     this one

A harness that finds nothing may be looking at nothing. Each bug is a patch of production code of a few lines,
of a kind that a reviewer might let pass.
"""

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any
from unittest.mock import patch

import trio

import peer.intake
from peer.bitfield import Bitfield
from peer.connection import Connection, Ending, Handler
from peer.errors import ByeCode, RejectCode
from peer.ids import Address, FileIndex, LinkId, NodeId, PieceIndex, RequestId
from peer.link import Link
from peer.member import Member
from peer.outflow import Outflow
from peer.pacing import Pacer
from peer.store.filesystem import PathParts
from peer.store.incoming import IncomingStore
from peer.store.journal import Journal
from peer.store.ledger import Ledger
from peer.store.places import Places
from peer.swarm.commands import Command
from peer.swarm.download import Download
from peer.swarm.known import Known, KnownAddresses
from peer.swarm.peerbook import PeerBook, Turned, Welcome
from peer.swarm.supplier import Supplier
from peer.target import Target
from peer.wire.messages import Choke
from peer.wire.requests import Answer, OpenRequests
from tests.chaos.plan import draw
from tests.chaos.play import play
from tests.chaos.violation import Violation, first_of
from tests.store_kit import NAME

SEEDS = 1000


def skip_verify() -> AbstractContextManager[Any]:
    """Bytes are believed without a look at their hash."""
    return patch.object(peer.intake, "piece_matches", lambda data, digest: True)


def record_before_sync() -> AbstractContextManager[Any]:
    """The journal says durable, and then the data is synced."""

    def checkpoint(self: IncomingStore, *, keep_cached: bool = True) -> None:
        with self._state:
            pieces = self._ledger.undurable()
        if self._journal is not None and pieces:
            with suppress(OSError):
                self._record(self._journal, pieces)
        real(self, keep_cached=keep_cached)

    real = IncomingStore._checkpoint
    return patch.object(IncomingStore, "_checkpoint", checkpoint)


def off_by_one() -> AbstractContextManager[Any]:
    """The last piece of a bitfield whose size is no multiple of eight is left out when it travels."""
    real = Bitfield.to_bytes

    def to_bytes(self: Bitfield) -> bytes:
        data = bytearray(real(self))
        if len(self) % 8 and data:
            data[-1] &= ~(1 << (8 - len(self) % 8)) & 0xFF
        return bytes(data)

    return patch.object(Bitfield, "to_bytes", to_bytes)


def no_timeout() -> AbstractContextManager[Any]:
    """A request is waited for without end."""
    return patch.object(Supplier, "is_overdue", lambda self, now: False)


def ban_the_honest() -> AbstractContextManager[Any]:
    """Whose connection breaks is banned like a liar."""

    def look_back(self: Member, link: Link, ending: Ending) -> None:
        if ending.code is None:
            self.book.ban(link.node, link.host)
        real(self, link, ending)

    real = Member._look_back
    return patch.object(Member, "_look_back", look_back)


def double_unchoke() -> AbstractContextManager[Any]:
    """Whoever is served is told so again in every round."""

    def choke(self: Link, on: bool) -> None:
        self.choked = on
        self.connection.send(Choke(on))

    def unchoke(self: Outflow, link: Link) -> None:
        if link.choked:
            self.upload.unchoke(link.id)
        choke(link, False)

    return patch.object(Outflow, "unchoke", unchoke)


def lost_have() -> AbstractContextManager[Any]:
    """What is told first of several pieces is lost."""
    real = Link.flush_news

    def flush_news(self: Link) -> None:
        if len(self.news) > 1:
            del self.news[0]
        real(self)

    return patch.object(Link, "flush_news", flush_news)


def leak_on_cancel() -> AbstractContextManager[Any]:
    """A connection that is cancelled does not close its stream."""

    async def run(self: Connection, handler: Handler) -> Ending:
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            nursery.start_soon(self._write_loop, handler)
            await self._read_loop(handler)
        self._closing = True
        await trio.aclose_forcefully(self._stream)
        return self._ending or Ending("closed")

    return patch.object(Connection, "run", run)


def accept_unsolicited() -> AbstractContextManager[Any]:
    """An answer to no request is taken like one that was cancelled, instead of ending the connection."""

    def begin_data(self: OpenRequests, request: RequestId, offset: int, total: int, payload: int) -> Answer:
        if request not in self._open:
            self._open[request] = Answer(None, cancelled=True)
            self._next_id = max(self._next_id, request + 1)
        return real(self, request, offset, total, payload)

    real = OpenRequests.begin_data
    return patch.object(OpenRequests, "begin_data", begin_data)


def resume_without_check() -> AbstractContextManager[Any]:
    """What the last run left is held without being hashed."""

    def check(self: IncomingStore, piece: PieceIndex) -> bool:
        with self._state:
            self._ledger.proved(piece)
            return piece in self._ledger.held

    return patch.object(IncomingStore, "check", check)


def journal_never_synced() -> AbstractContextManager[Any]:
    """What the journal says is left to the kernel."""
    return patch.object(Journal, "sync", lambda self: None)


def names_never_synced() -> AbstractContextManager[Any]:
    """The data of a download is durable, the names of its files are not."""

    def sync(
        self: Places, files: Iterable[FileIndex], fresh: Iterable[PathParts], *, keep_cached: bool = True
    ) -> None:
        real(self, files, (), keep_cached=keep_cached)

    real = Places.sync
    return patch.object(Places, "sync", sync)


def spare_the_liar() -> AbstractContextManager[Any]:
    """Who sent bad bytes may come back."""
    return patch.object(PeerBook, "ban", lambda self, node, host, why: None)


def no_limit() -> AbstractContextManager[Any]:
    """`--up` is asked, and not listened to."""
    return patch.object(Pacer, "ask", lambda self, *asked, **more: True)


def waste_twice() -> AbstractContextManager[Any]:
    """What was received for a request that is withdrawn is counted again when the other side closes it."""
    real = Download.rejected

    def rejected(
        self: Download, link: LinkId, piece: PieceIndex, code: RejectCode, now: float
    ) -> list[Command]:
        asked = self._asked(link, piece)
        if asked is not None and asked.withdrawn:
            self._endgame.duplicate_bytes += asked.received
        return real(self, link, piece, code, now)

    return patch.object(Download, "rejected", rejected)


def waste_never() -> AbstractContextManager[Any]:
    """Answers that break off with their link are forgotten."""
    real = Download._drop

    def drop(self: Download, supplier: Supplier, now: float, out: list[Command]) -> None:
        before = self._received.partial
        real(self, supplier, now, out)
        self._received.partial = before

    return patch.object(Download, "_drop", drop)


def ask_in_pairs() -> AbstractContextManager[Any]:
    """A link is given a late piece before it is looked whether there are others to ask for."""
    real = Download._open_piece

    def open_piece(self: Download, supplier: Supplier) -> PieceIndex | None:
        late = self._late_piece(supplier, trio.current_time())
        return late if late is not None else real(self, supplier)

    return patch.object(Download, "_open_piece", open_piece)


def forget_the_partial() -> AbstractContextManager[Any]:
    """What the last run left in NAME.part is fetched again."""
    return patch.object(Ledger, "recorded", lambda self, piece, *, sure: None)


def dial_for_ever() -> AbstractContextManager[Any]:
    """An address whose dial was too slow stays marked as being dialled."""
    real = KnownAddresses.failed

    def failed(self: KnownAddresses, address: Address, now: float) -> None:
        known = self._dialling.get(address)
        real(self, address, now)
        if known is not None and known.failures == 1:
            self._dialling[address] = known

    return patch.object(KnownAddresses, "failed", failed)


def dial_oneself() -> AbstractContextManager[Any]:
    """Where a node meets itself it is dialled again."""

    return patch.object(
        PeerBook, "own_address", lambda self, address: self._known.failed(address, trio.current_time())
    )


def let_the_crowd_in() -> AbstractContextManager[Any]:
    """An address may have as many links as there are."""
    return patch.object(PeerBook, "_full", lambda self, host, dialled: len(self._links) >= self._links_max)


def give_up_at_once() -> AbstractContextManager[Any]:
    """An address that did not answer once is never dialled again, whoever named it."""
    return patch.object(Known, "is_given_up", property(lambda self: self.failures > 0))


def old_limit() -> AbstractContextManager[Any]:
    """A node keeps to the highest rate that it was ever given."""
    real = Pacer.set_rate

    def set_rate(self: Pacer, rate: float | None) -> None:
        before = self.limiter.rate
        real(self, rate if before is None or rate is None else max(before, rate))

    return patch.object(Pacer, "set_rate", set_rate)


def share_limit_unheard() -> AbstractContextManager[Any]:
    """The limit of a share is told to nobody."""
    return patch.object(Pacer, "set_share_rate", lambda self, share, rate: None)


def clean_up_too_much() -> AbstractContextManager[Any]:
    """A run with other files (`--only`) removes those that it does not want."""
    real = IncomingStore.complete

    def complete(self: IncomingStore) -> Any:
        completed = real(self)
        for file in map(FileIndex, range(len(self._manifest.files))):
            if file not in self.wanted_files:
                with suppress(OSError):
                    self._places.folder.remove((NAME, *self._manifest.files[file].path))
        return completed

    return patch.object(IncomingStore, "complete", complete)


def keep_the_old_link() -> AbstractContextManager[Any]:
    """Who is connected is not welcome again, and nobody looks whether the old link is dead."""
    stack = ExitStack()
    duplicate = Turned(ByeCode.DUPLICATE)

    def against(self: PeerBook, node: NodeId, dialled: bool, now: float) -> Welcome | Turned:
        return duplicate if self._by_node.get(node) else Welcome()

    stack.enter_context(patch.object(PeerBook, "_against_existing", against))
    stack.enter_context(patch.object(Connection, "tick", lambda self, now: None))
    return stack


def everybody_is_welcome() -> AbstractContextManager[Any]:
    """A node that is connected already is connected once more."""
    return patch.object(PeerBook, "_against_existing", lambda *arguments: Welcome())


def offer_what_is_gone() -> AbstractContextManager[Any]:
    """What the end of a download with `--only` takes away is offered all the same."""

    async def complete(self: Target, forget: Callable[[PieceIndex], object]) -> None:
        await real(self, lambda piece: None)

    real = Target.complete
    return patch.object(Target, "complete", complete)


BUGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "skip-verify": skip_verify,
    "record-before-sync": record_before_sync,
    "off-by-one": off_by_one,
    "no-timeout": no_timeout,
    "ban-the-honest": ban_the_honest,
    "double-unchoke": double_unchoke,
    "lost-have": lost_have,
    "leak-on-cancel": leak_on_cancel,
    "accept-unsolicited": accept_unsolicited,
    "resume-without-check": resume_without_check,
    "journal-never-synced": journal_never_synced,
    "names-never-synced": names_never_synced,
    "spare-the-liar": spare_the_liar,
    "no-limit": no_limit,
    "waste-twice": waste_twice,
    "waste-never": waste_never,
    "ask-in-pairs": ask_in_pairs,
    "forget-the-partial": forget_the_partial,
    "dial-for-ever": dial_for_ever,
    "dial-oneself": dial_oneself,
    "let-the-crowd-in": let_the_crowd_in,
    "give-up-at-once": give_up_at_once,
    "old-limit": old_limit,
    "share-limit-unheard": share_limit_unheard,
    "clean-up-too-much": clean_up_too_much,
    "keep-the-old-link": keep_the_old_link,
    "everybody-is-welcome": everybody_is_welcome,
    "offer-what-is-gone": offer_what_is_gone,
}


def find(name: str, seeds: Iterable[int]) -> tuple[int, str] | None:
    """The first of these seeds in which an invariant does not hold with the bug in place, and how.

    Any other error is raised: it is the bug as planted here that no longer fits the program. (One whose
    arguments had changed counted as found, by its own TypeError.)
    """
    with BUGS[name]():
        for seed in seeds:
            outcome = play(draw(seed))
            if outcome.error is not None and not isinstance(first_of(outcome.error), Violation):
                raise outcome.error
            if outcome.failure is not None:
                return seed, outcome.failure
    return None


def main() -> int:
    """Plant them; 0 if all were found."""
    missed = 0
    for name in sys.argv[1:] or BUGS:
        found = find(name, range(SEEDS))
        missed += found is None
        print(
            f"{name:22} " + ("NOT FOUND" if found is None else f"seed {found[0]:4}  {found[1][:120]}"),
            flush=True,
        )
    print(f"{missed} of {len(sys.argv[1:] or BUGS)} were not found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
