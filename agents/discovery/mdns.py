"""Who announces a printer or SSH by mDNS. Names are not kept: at a guest's they are a person's."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from agents.discovery.ranges import Ranges

log = logging.getLogger(__name__)

TYPES = {
    "_ipp._tcp.local.": "printer",
    "_ipps._tcp.local.": "printer",
    "_printer._tcp.local.": "printer",
    "_pdl-datastream._tcp.local.": "printer",
    "_ssh._tcp.local.": "ssh",
}
"""Only what a municipality looks after; a guest's phone announces none of these."""
MOST = 512


@dataclass
class Announced:
    """What one address announces."""

    ways: set[str] = field(default_factory=set)
    model: str = ""
    """Of a printer, as its record says."""


async def listen(interfaces: Sequence[str], ranges: Ranges, seconds: float) -> dict[str, Announced]:
    """Address → what is announced there, for addresses within the ranges only.

    `interfaces`: own addresses whose whole network may be asked.
    """
    found: dict[str, Announced] = {}
    names: dict[str, str] = {}

    def changed(
        zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is not ServiceStateChange.Removed and len(names) < MOST:
            names[name] = service_type

    try:
        zeroconf = AsyncZeroconf(interfaces=list(interfaces), ip_version=IPVersion.V4Only)
    except OSError as error:
        log.warning("mDNS cannot be listened to: %s", error.strerror)
        return found
    try:
        browser = AsyncServiceBrowser(zeroconf.zeroconf, list(TYPES), handlers=[changed])
        await asyncio.sleep(seconds)
        await browser.async_cancel()
        infos = [AsyncServiceInfo(kind, name) for name, kind in names.items()]
        asked = (info.async_request(zeroconf.zeroconf, 1000) for info in infos)
        await asyncio.gather(*asked, return_exceptions=True)
    finally:
        await zeroconf.async_close()
    for info in infos:
        for address in info.parsed_addresses(IPVersion.V4Only):
            if address in ranges:
                one = found.setdefault(address, Announced())
                one.ways.add(TYPES[info.type])
                one.model = one.model or _model(info)
    return found


def _model(info: AsyncServiceInfo) -> str:
    if TYPES[info.type] != "printer":
        return ""
    said = info.decoded_properties.get("ty") or info.decoded_properties.get("product") or ""
    return "".join(filter(str.isprintable, said)).strip("() ")[:100]
