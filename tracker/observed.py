"""What an observed address means to a tracker: how it is written, whom it is counted with, who can use it.

A tracker believes the socket and nothing else (docs/decisions/observed-addresses.md).
"""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observed:
    """One observed host.

    host: as it is told to others; an IPv4 address that came through an IPv6 socket is written as IPv4.
    network: whom it shares its limits with. One IPv4 address; an IPv6 /64, because a customer is given at
    least that much and could take each member's address from it.
    loopback: it means the machine that asks, so it is of use only to askers on the tracker's own machine.
    """

    host: str
    network: str
    loopback: bool


def observe(host: str) -> Observed:
    """Classify a host as a stream reports it. A name that is no address is a network of its own."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return Observed(host, host, loopback=False)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return Observed(host, f"{int(address) >> 64:x}/64", address.is_loopback)
        address = address.ipv4_mapped
    return Observed(str(address), str(address), address.is_loopback)
