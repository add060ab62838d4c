"""Who is shunned, and for how long."""

from peer.limits import TLS_SHUNNED_MAX, TLS_SHUNNED_S
from peer.swarm.shunned import Shunned


def test_a_network_is_shunned_for_a_while_and_this_machine_never() -> None:
    shunned = Shunned()
    for host in ("192.0.2.1", "2001:db8::1", "127.0.0.1"):
        shunned.add(host, 10.0)
    assert shunned.has("192.0.2.1", 10.0 + TLS_SHUNNED_S / 2)
    assert shunned.has("2001:db8::2", 10.0), "of the same /64"
    assert not shunned.has("192.0.2.1", 10.0 + TLS_SHUNNED_S)
    assert not shunned.has("192.0.2.2", 10.0)
    assert not shunned.has("127.0.0.1", 10.0)


def test_who_does_it_again_is_shunned_from_then_on() -> None:
    shunned = Shunned()
    shunned.add("192.0.2.1", 10.0)
    shunned.add("192.0.2.1", 10.0 + TLS_SHUNNED_S / 2)
    assert shunned.has("192.0.2.1", 10.0 + TLS_SHUNNED_S)
    assert len(shunned) == 1


def test_the_last_of_many_are_remembered() -> None:
    shunned = Shunned()
    for number in range(TLS_SHUNNED_MAX + 1):
        shunned.add(f"10.1.{number >> 8}.{number & 255}", 20.0)
    assert len(shunned) == TLS_SHUNNED_MAX
    assert not shunned.has("10.1.0.0", 20.0)
    assert shunned.has("10.1.0.1", 20.0)
