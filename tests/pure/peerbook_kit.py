"""What the tests of the peer book share: nodes and their addresses, a book, and ways into it."""

from random import Random

from peer.ids import Address, LinkId, NodeId
from peer.swarm.peerbook import PeerBook, Turned, Welcome

TRACKER = "192.0.2.250"


def node(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "big"))


def at(number: int, port: int = 7701) -> Address:
    return Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", port)


ME = node(100)


def book(seed: int = 1, **options: object) -> PeerBook:
    return PeerBook(ME, Random(seed), **options)  # type: ignore[arg-type]


def dialled(pages: PeerBook, now: float) -> list[Address]:
    found = [dial.address for dial in pages.next_dials(now)]
    pages.check_invariants()
    return found


def arrive(pages: PeerBook, link: int, number: int, now: float = 0.0, port: int = 7701) -> Welcome | Turned:
    """Node `number` dials us."""
    remote = Address(at(number).host, 50_000 + link)
    verdict = pages.connected(LinkId(link), node(number), now, remote=remote, listens=port)
    pages.check_invariants()
    return verdict


def reach(pages: PeerBook, link: int, number: int, now: float = 0.0) -> Welcome | Turned:
    """We dialled node `number` and its hello is here."""
    verdict = pages.connected(LinkId(link), node(number), now, remote=at(number), dialled=at(number))
    pages.check_invariants()
    return verdict
