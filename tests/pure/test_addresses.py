"""Which addresses may be dialled, and on whose word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ids import Address, KnownPeer
from peer.swarm.addresses import canonical, is_loopback, may_tell, usable


@pytest.mark.parametrize(
    "host", ["192.0.2.7", "10.0.0.1", "127.0.0.1", "2001:db8::1", "::1", "fe80::1%eth0", "example.org"]
)
def test_where_somebody_may_listen(host: str) -> None:
    assert usable(Address(host, 7701))
    assert not usable(Address(host, 0))
    assert not usable(Address(host, 65536))


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "240.0.0.1",
        "ff02::1",
        "",
        "::ffff:0.0.0.0",
        "::ffff:224.0.0.1",
    ],
)
def test_where_nobody_can_listen(host: str) -> None:
    assert not usable(Address(host, 7701))


@pytest.mark.parametrize(
    ("informant", "host", "allowed"),
    [
        ("192.0.2.1", "192.0.2.9", True),
        ("192.0.2.1", "10.0.0.9", True),
        ("192.0.2.1", "127.0.0.1", False),
        ("192.0.2.1", "::1", False),
        ("192.0.2.1", "::ffff:127.0.0.1", False),
        ("192.0.2.1", "169.254.1.1", False),
        ("10.0.0.1", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("tracker.example", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "127.3.2.1", True),
        ("localhost", "127.0.0.1", True),  # as a tracker is named on the command line
        ("localhost", "fe80::1", True),
        ("127.0.0.1", "10.0.0.9", True),
        ("127.0.0.1", "fe80::1", True),
        ("169.254.1.1", "169.254.1.2", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.1", "victim.example", False),
        ("127.0.0.1", "localhost", False),
    ],
)
def test_an_informant_tells_only_of_its_own_class_of_addresses(
    informant: str, host: str, allowed: bool
) -> None:
    assert may_tell(informant, Address(host, 7701)) is allowed


def test_nobody_makes_us_dial_a_privileged_port() -> None:
    assert not may_tell("192.0.2.1", Address("192.0.2.9", 25))
    assert not may_tell("127.0.0.1", Address("127.0.0.1", 1023))
    assert may_tell("192.0.2.1", Address("192.0.2.9", 1024))


def test_one_spelling_for_one_address() -> None:
    assert canonical(Address("::ffff:192.0.2.7", 1)) == Address("192.0.2.7", 1)
    assert canonical(Address("2001:0DB8:0:0::1", 1)) == Address("2001:db8::1", 1)
    assert canonical(Address("Example.ORG.", 1)) == Address("example.org", 1)


def test_loopback_by_every_name() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost")))
    assert not any(map(is_loopback, ("192.0.2.1", "::", "example.org", "")))


@given(st.text(max_size=30), st.text(max_size=30), st.integers(-5, 70_000))
def test_any_text_is_judged(host: str, informant: str, port: int) -> None:
    address = Address(host, port)
    usable(address)
    may_tell(informant, address)
    assert canonical(canonical(address)) == canonical(address)


@pytest.mark.parametrize(
    "port", ["0", "65536", "0000019999999", "1" * 5000, "-1", "+1", "1_0", "\u0661", " 1", ""]
)
def test_what_is_no_port(port: str) -> None:
    """Of a long one only the first digits were looked at, and the whole of it was taken."""
    with pytest.raises(ValueError, match="port"):
        Address.parse(f"example.org:{port}")


def test_a_port_may_have_zeros_before_it() -> None:
    assert Address.parse("example.org:000007701") == Address("example.org", 7701)


@pytest.mark.parametrize("text", ["192.0.2.7:7701", f"{'ab' * 32}@[2001:db8::1]:7701"])
def test_a_known_peer_is_read_as_it_is_written(text: str) -> None:
    assert str(KnownPeer.parse(text)) == text


@pytest.mark.parametrize("node", ["", "ab", "zz" * 32, "ab" * 33, " " + "ab" * 31 + "a"])
def test_what_is_no_known_peer(node: str) -> None:
    with pytest.raises(ValueError, match="NODEID"):
        KnownPeer.parse(f"{node}@192.0.2.7:7701")
