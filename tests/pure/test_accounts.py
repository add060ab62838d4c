"""What nodes gave and got outlives their links."""

from hypothesis import given
from hypothesis import strategies as st

from peer.ids import NodeId
from peer.swarm.accounts import Account, Accounts

NODES = st.integers(0, 5).map(lambda number: NodeId(bytes([number]) * 32))
LINKS = st.lists(st.tuples(NODES, st.integers(0, 1000), st.integers(0, 1000)))


@given(LINKS)
def test_a_node_that_comes_back_has_what_all_its_links_moved(links: list[tuple[NodeId, int, int]]) -> None:
    accounts = Accounts()
    for node, received, sent in links:
        accounts.close(node, received, sent)
    for node in {node for node, _, _ in links}:
        mine = [(received, sent) for other, received, sent in links if other == node]
        assert accounts.of(node) == Account(sum(r for r, _ in mine), sum(s for _, s in mine))


@given(LINKS, st.integers(1, 3))
def test_memory_is_bounded_and_the_latest_are_kept(links: list[tuple[NodeId, int, int]], most: int) -> None:
    accounts = Accounts(most)
    latest = None
    for node, received, sent in links:
        accounts.close(node, received, sent)
        latest = node if received or sent else latest
        assert len(accounts) <= most
    assert latest is None or accounts.of(latest) != Account()


def test_visitors_that_moved_nothing_push_nobody_out() -> None:
    accounts = Accounts(1)
    accounts.close(NodeId(bytes(32)), 5, 0)
    for number in range(1, 10):
        accounts.close(NodeId(bytes([number]) * 32), 0, 0)
    assert accounts.of(NodeId(bytes(32))).received_bytes == 5
