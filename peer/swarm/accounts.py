"""What each node gave and got on links that are gone. Pure.

A choker that knew only links would take whoever comes back for a newcomer: its first pieces for nothing
again, and the front of the queue at a seed that serves the least served first. (A node can take a new
identity, which costs it nothing; then it has lost its credit as well.)
"""

from dataclasses import dataclass

from peer.ids import NodeId
from peer.limits import LEDGER_NODES_MAX


@dataclass(frozen=True, slots=True)
class Account:
    """Payload bytes over closed links: received from the node, sent to it."""

    received_bytes: int = 0
    sent_bytes: int = 0


NOTHING = Account()


class Accounts:
    """The accounts of the nodes that left last."""

    def __init__(self, nodes_max: int = LEDGER_NODES_MAX) -> None:
        self._nodes_max = nodes_max
        self._table: dict[NodeId, Account] = {}

    def __len__(self) -> int:
        return len(self._table)

    def of(self, node: NodeId) -> Account:
        """What is known of a node; nothing, for a stranger."""
        return self._table.get(node, NOTHING)

    def close(self, node: NodeId, received_bytes: int, sent_bytes: int) -> None:
        """A link to this node is gone, on which so much went either way."""
        if not (received_bytes or sent_bytes):
            return  # a crowd of visitors shall not push out those that we dealt with
        before = self._table.pop(node, NOTHING)
        self._table[node] = Account(before.received_bytes + received_bytes, before.sent_bytes + sent_bytes)
        if len(self._table) > self._nodes_max:
            del self._table[next(iter(self._table))]
