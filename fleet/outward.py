"""Where the service itself connects to, for people who name an address: which may be reached, and
whose word is believed about who answers there."""

import ipaddress
import ssl
from collections.abc import Iterable
from functools import cache

import certifi

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
PLATFORM = ipaddress.ip_address("168.63.129.16")
"""A cloud's host service behind an address that looks public."""


def may_read(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether it may be reached: public, or in a network that was named for it."""
    embedded = _embedded(address)
    if embedded is not None:
        return may_read(embedded, allowed)
    if any(address in network for network in allowed):
        return True
    return address.is_global and not address.is_multicast and address != PLATFORM


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to (mapped, NAT64, 6to4)."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


@cache
def trust() -> ssl.SSLContext:
    """The machine's own authorities (a county may have one) and those of the web.

    Loading them takes a moment: call it before the time of whoever answers is counted.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
