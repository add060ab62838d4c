"""What comes from the local network is read with suspicion."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ids import Address, NodeId, ShareId
from peer.limits import LAN_ADDRESSES_MAX, LAN_ANSWERS_MAX
from peer.net.dnssd import instance_name, parse_name, usable_addresses
from peer.net.lan import lan_key
from peer.net.mdns import SERVICE_TYPE

NODE = NodeId(bytes(range(32)))
KEY = lan_key(ShareId(bytes(32)))


def test_a_name_is_read_as_it_is_written() -> None:
    name = instance_name(KEY, NODE)
    assert len(name.partition(".")[0]) <= 63, "a DNS label"
    assert parse_name(name) == (KEY, NODE.hex()[:12])


@given(st.text())
def test_any_text_is_a_name_or_none(text: str) -> None:
    parsed = parse_name(text)
    assert parsed is None or text == f"{parsed[0]}-{parsed[1]}.{SERVICE_TYPE}"


@pytest.mark.parametrize(
    "name",
    ["", "x", f"{KEY}.{SERVICE_TYPE}", f"{KEY}-short.{SERVICE_TYPE}", f"{KEY}-{'0' * 12}._http._tcp.local."],
)
def test_other_names_are_nobody(name: str) -> None:
    assert parse_name(name) is None


@pytest.mark.parametrize(
    "node",
    ["\x01" * 12, "\x7f" + "0" * 11, "\ufffd" * 12, "A" * 12, "0" * 11 + "\n", "_" * 12, "\u0660" * 12],
)
def test_a_name_that_no_node_has_is_nobody(node: str) -> None:
    """The key is there for all to hear, and zeroconf raises for control characters: that ended a download."""
    assert parse_name(f"{KEY}-{node}.{SERVICE_TYPE}") is None


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "::1",
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "224.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:169.254.1.1",
        "example.com",
        "",
        "1.2.3",
    ],
)
def test_addresses_that_mean_nothing_elsewhere_are_left_out(text: str) -> None:
    assert usable_addresses([text], 7701) == []


def test_addresses_are_few_and_distinct() -> None:
    texts = [f"10.0.0.{n}" for n in range(100)] * 2
    found = usable_addresses(["10.0.0.0", "10.0.0.0", "2001:db8::1"], 7701)
    assert found == [Address("10.0.0.0", 7701), Address("2001:db8::1", 7701)]
    assert len(usable_addresses(texts, 7701)) == LAN_ADDRESSES_MAX


def test_an_answer_of_ten_thousand_addresses_is_not_read_to_its_end() -> None:
    def answer() -> Iterator[str]:
        for number in range(10_000):
            assert number < LAN_ANSWERS_MAX
            yield "127.0.0.1"

    assert usable_addresses(answer(), 7701) == []


def test_one_host_has_one_spelling() -> None:
    """An IPv4 address inside an IPv6 one was told as another one, and as loopback it was dialled."""
    found = usable_addresses(["::ffff:10.0.0.1", "10.0.0.1", "2001:DB8:0::1"], 7701)
    assert found == [Address("10.0.0.1", 7701), Address("2001:db8::1", 7701)]


@pytest.mark.parametrize("port", [None, 0, -1, 22, 80, 1023, 1 << 16])
def test_ports_that_are_none(port: int | None) -> None:
    assert usable_addresses(["10.0.0.1"], port) == []
