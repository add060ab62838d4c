"""Which addresses may be dialled, and on whose word. Pure.

On hearsay (from a tracker or by peer exchange) never port 0, unspecified, multicast or reserved addresses,
never privileged ports, never names. Loopback and link-local addresses only if the informant is of that
class itself: a tracker on this machine may tell of peers on this machine (a demonstration on 127.0.0.1 is
whole), one on the internet may not. Private networks are allowed from everybody: many a swarm lives in one,
with a tracker outside.
"""

import ipaddress
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

from peer.ids import PORT_MAX, Address
from peer.limits import HOSTS_REMEMBERED_MAX, PORT_PRIVILEGED_MAX

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class _Reach(Enum):
    """From where a host can be reached."""

    NOWHERE = "nowhere"
    NAMED = "wherever its name leads"
    LOOPBACK = "this machine"
    LINK_LOCAL = "this link"
    ANYWHERE = "anywhere"


@lru_cache(HOSTS_REMEMBERED_MAX)
def canonical_host(host: str) -> str:
    """One spelling for one host: IPv4 inside IPv6 is IPv4, IPv6 is compressed, names are lower case."""
    ip = as_ip(host)
    return host.lower().rstrip(".") if ip is None else str(ip)


def canonical(address: Address) -> Address:
    """One spelling for one address."""
    host = canonical_host(address.host)
    return address if host == address.host else Address(host, address.port)


@lru_cache(HOSTS_REMEMBERED_MAX)
def as_ip(host: str) -> IpAddress | None:
    """The host as an IP address, IPv4 inside IPv6 as IPv4; None if it is a name."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


@lru_cache(HOSTS_REMEMBERED_MAX)
def _reach_of(host: str) -> _Reach:
    ip = as_ip(host)
    if ip is None:
        return _Reach.NAMED if host else _Reach.NOWHERE
    reserved = isinstance(ip, ipaddress.IPv4Address) and (ip.packed[0] == 0 or ip.packed[0] >= 240)
    if ip.is_unspecified or ip.is_multicast or reserved:
        return _Reach.NOWHERE
    if ip.is_loopback:
        return _Reach.LOOPBACK
    return _Reach.LINK_LOCAL if ip.is_link_local else _Reach.ANYWHERE


@lru_cache(HOSTS_REMEMBERED_MAX)
def network_of(host: str) -> str:
    """Whom a host shares its limits with: one IPv4 address; an IPv6 /64, because a customer is given at least
    that much. A name that is no address is a network of its own."""
    ip = as_ip(host)
    if isinstance(ip, ipaddress.IPv6Address):
        return f"{int(ip) >> 64:x}/64"
    return host.lower() if ip is None else str(ip)


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by its address; ``localhost`` counts too."""
    ip = as_ip(host)
    return host.lower() == "localhost" if ip is None else ip.is_loopback


def usable(address: Address) -> bool:
    """Whether anybody could listen there: not port 0, not unspecified, multicast, broadcast or reserved."""
    return 0 < address.port <= PORT_MAX and _reach_of(address.host) is not _Reach.NOWHERE


def may_tell(informant: str, address: Address) -> bool:
    """Whether this informant (a host as the socket saw it) may make us dial this on its word alone."""
    if address.port <= PORT_PRIVILEGED_MAX:
        return False
    reach = _reach_of(address.host)
    if reach is _Reach.ANYWHERE:
        return True
    if reach is _Reach.NAMED or reach is _Reach.NOWHERE:
        return False  # a name would make us ask a name server of the informant's choice
    teller = _reach_of(informant)
    return is_loopback(informant) or (reach is _Reach.LINK_LOCAL and teller is _Reach.LINK_LOCAL)
