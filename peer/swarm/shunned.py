"""Networks that nobody is let in from for a while, because one of them has held up the whole node."""

from peer.limits import TLS_SHUNNED_MAX, TLS_SHUNNED_S
from peer.swarm.addresses import is_loopback, network_of


class Shunned:
    """Remembers the last TLS_SHUNNED_MAX networks, each for TLS_SHUNNED_S. Times in seconds, of one clock."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def add(self, host: str, now: float) -> None:
        """Somebody at this address did it. (This machine's own addresses are many peers' in a lab.)"""
        if is_loopback(host):
            return
        network = network_of(host)
        self._since.pop(network, None)
        self._since[network] = now
        if len(self._since) > TLS_SHUNNED_MAX:
            del self._since[next(iter(self._since))]

    def has(self, host: str, now: float) -> bool:
        """Whether somebody of its network did it so lately."""
        since = self._since.get(network_of(host))
        return since is not None and now - since < TLS_SHUNNED_S

    def __len__(self) -> int:
        return len(self._since)
