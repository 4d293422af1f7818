"""The networks that may be looked at, and the promise that nothing else ever is."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from agents.networks import interfaces

PRIVATE = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8")
)
WIDEST = 20
"""Prefix of the widest range: 4,094 addresses."""
MOST = 16_384
"""Addresses of one sweep."""


class BadRange(ValueError):
    """A range that nobody may sweep."""


@dataclass(frozen=True)
class OnLink:
    """An own interface whose whole network may be swept: only there is a broadcast allowed."""

    address: str
    broadcast: str


class Ranges:
    """Private IPv4 ranges of one site."""

    def __init__(self, ranges: Iterable[str]) -> None:
        """Raises BadRange for what is public, too wide, no range, or too much together."""
        self._networks = [_network(text) for text in ranges]
        self._own = frozenset(_own_addresses())
        if sum(network.num_addresses for network in self._networks) > MOST:
            raise BadRange(f"more than {MOST} addresses")

    def __contains__(self, address: str) -> bool:
        try:
            one = ipaddress.IPv4Address(address)
        except ValueError:
            return False
        return any(one in network for network in self._networks)

    def hosts(self) -> Iterator[str]:
        """Every address once, taking turns between the ranges; not this machine's own."""
        seen: set[ipaddress.IPv4Address] = set()
        for turn in zip_longest(*(network.hosts() for network in self._networks)):
            for address in turn:
                if address is not None and address not in seen and str(address) not in self._own:
                    seen.add(address)
                    yield str(address)

    def on_link(self) -> list[OnLink]:
        """The interfaces on which asking everybody asks nobody outside the ranges."""
        found = []
        for own in interfaces():
            if any(own.network.subnet_of(allowed) for allowed in self._networks):
                found.append(OnLink(str(own.ip), str(own.network.broadcast_address)))
        return found


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        raise BadRange(f"'{text[:40]}' is no IPv4 range") from None
    if not any(network.subnet_of(private) for private in PRIVATE):
        raise BadRange(f"{network} is not private")
    if network.prefixlen < WIDEST:
        raise BadRange(f"{network} is wider than /{WIDEST}")
    return network


def _own_addresses() -> list[str]:
    return [str(own.ip) for own in interfaces()]
