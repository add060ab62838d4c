"""Where others reach this machine, as its user says: with a port, or with the one that is listened on."""

import pytest

from peer.ids import Address
from peer.net.outward import OutwardAddress, reachable


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("files.example", "files.example:7811"),
        ("files.example:9", "files.example:9"),
        ("files.example:1", "files.example:1"),
        ("files.example:2", "files.example:2"),
        ("2001:db8::1", "[2001:db8::1]:7811"),
        ("[2001:db8::1]", "[2001:db8::1]:7811"),
        ("[2001:db8::1]:9", "[2001:db8::1]:9"),
    ],
)
def test_a_link_has_the_port_that_is_listened_on_unless_another_is_named(text: str, link: str) -> None:
    address = OutwardAddress.parse(text)
    assert [str(one) for one in reachable(address, None, 7811)] == [link]
    assert OutwardAddress.parse(str(address)) == address
    assert address.at(7811) == Address.parse(link)


@pytest.mark.parametrize("text", ["", ":9", "host:0", "host:65536", "host:port", "a b", "[::1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|port|IPV6"):
        OutwardAddress.parse(text)
