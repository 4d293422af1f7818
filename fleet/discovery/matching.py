"""Is what was found a device that the inventory knows? Pure, from rows that were read before."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from agents.messages import FoundHost
from inventory import Service, Sort

_NO_SERIAL = re.compile(
    r"(0+|x+|none|unknown|notset|na|defaultstring|tobefilledbyoem|123456789?0?)"
)
"""What makers write where a serial number should be."""


@dataclass(frozen=True)
class Known:
    """What matching needs to know of a device of the inventory."""

    id: str
    site: str
    service: Service
    address: str
    port: int | None
    serial: str
    mac: str
    answers: bool
    """It answered its last look at that address."""


@dataclass(frozen=True)
class Match:
    """`sort` None: all is as the inventory has it. `follow`: the address may be written at once."""

    device: str | None = None
    sort: Sort | None = None
    follow: bool = False


def bare(serial: str) -> str:
    """A serial number without case and separators; empty for what is none."""
    plain = re.sub(r"[^0-9a-z]", "", serial.casefold())
    return "" if len(plain) < 4 or _NO_SERIAL.fullmatch(plain) else plain


class Directory:
    """The devices of the inventory by serial number, MAC address and address."""

    def __init__(self, devices: Iterable[Known]) -> None:
        self._by_serial: dict[str, Known] = {}
        self._by_mac: dict[str, Known] = {}
        self._by_place: dict[tuple[str, str], list[Known]] = {}
        for device in devices:
            if serial := bare(device.serial):
                self._by_serial.setdefault(serial, device)
            if device.mac:
                self._by_mac.setdefault(device.mac, device)
            if device.service != Service.RETIRED:
                self._by_place.setdefault((device.site, device.address), []).append(device)

    def match(self, site: str, host: FoundHost) -> Match:
        """What this find means for its site."""
        by_serial = self._by_serial.get(bare(host.serial))
        by_mac = self._by_mac.get(host.mac) if host.mac else None
        device = by_serial or by_mac
        here = self._by_place.get((site, host.address), [])
        if device is None:
            return self._stranger(host, here)
        if device.site != site:
            return Match(device.id, Sort.ELSEWHERE)
        if device.service == Service.RETIRED:
            return Match(device.id, Sort.RETIRED)
        at_its_place = device.address == host.address or not _is_number(device.address)
        contradicts = by_serial is not None and by_mac is not None and by_serial is not by_mac
        if contradicts or (device.answers and not at_its_place):
            return Match(device.id, Sort.DOUBLE)
        if at_its_place:
            return Match(device.id)
        free = all(other.port != device.port for other in here)
        return Match(device.id, Sort.MOVED, follow=bool(by_serial and host.proved and free))

    def _stranger(self, host: FoundHost, here: list[Known]) -> Match:
        for device in here:
            if not (bare(device.serial) and bare(host.serial)) and not (device.mac and host.mac):
                return Match(device.id)  # nothing speaks against it
        return Match(None, Sort.NEW)


def _is_number(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
