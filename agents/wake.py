"""Waking a device that sleeps: magic packets on its network, then asking until it answers.

A laptop that was told its next reset wakes by its own clock (RTC) and is awake when the order
comes. This is the second way; the third is a person. It belongs to one order and ends with it.
"""

import asyncio
import logging
import re
import socket
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from ipaddress import IPv4Address, ip_address

from agents.clock import Clock
from agents.driver import DriverError, Misconfigured, Unreachable
from agents.messages import Target, Wake
from agents.networks import broadcasts

log = logging.getLogger(__name__)

BOOT_S = {"laptop": 120.0, "display": 60.0}
"""Kind of device that can be woken → how long it takes from the packet to the answer in 19 of 20
cases. Devices of other kinds are on or have a switch."""
PACKETS = 3
PACKET_PAUSE_S = 5.0
ASK_AGAIN_S = 3.0
STAGGER_S = 1.5
"""Between two devices of a site: thirty laptops that start at once trip a fuse, or the DHCP."""
PORT = 9
_MAC = re.compile(r"([0-9a-f]{2})[:.-]?" * 5 + r"([0-9a-f]{2})", re.IGNORECASE)


def magic_packet(mac: str) -> bytes:
    """What wakes the device with this address. Raises Misconfigured when it is none."""
    found = _MAC.fullmatch(mac.strip())
    address = bytes.fromhex("".join(found.groups())) if found else b""
    if not found or address[0] & 1 or not any(address):
        raise Misconfigured("its MAC address is not one of a device")
    return b"\xff" * 6 + address * 16


class Waker:
    """One for all sites of an agent. `networks`: where to send instead of the device's own."""

    def __init__(
        self,
        clock: Clock,
        networks: Sequence[IPv4Address] = (),
        boot_s: Mapping[str, float] = BOOT_S,
    ) -> None:
        self._clock, self._boot_s = clock, boot_s
        self._networks = list(networks)
        self._turns: defaultdict[str, float] = defaultdict(float)

    async def rouse(
        self,
        site: str,
        target: Target,
        complaint: Callable[[], Awaitable[DriverError | None]],
        until: datetime,
    ) -> Wake | None:
        """Wake the device if it does not answer, and wait, at most `until`; None: it was awake.

        `complaint` asks the device and tells what was wrong. Raises Misconfigured.
        """
        if not _silent(await complaint()):
            return None
        if not target.mac:
            return Wake(method="none", result="switched_off")
        packet = magic_packet(target.mac)
        await self._turn(site)
        began = self._clock.monotonic()
        window = min(self._boot_s[target.kind], (until - self._clock.now()).total_seconds())
        calling = asyncio.create_task(self._call(target, packet))
        try:
            while error := await complaint():
                if self._clock.monotonic() - began >= window:
                    if _silent(error):
                        return Wake(method="magic_packet", result="asleep")
                    break  # it is there: what it complains of, the reset will tell
                # A system that is just starting refuses everybody for a while.
                await self._clock.sleep(ASK_AGAIN_S)
        finally:
            calling.cancel()
            # Not awaited itself: neither its failure nor our own cancellation is its end.
            await asyncio.wait([calling])
            if not calling.cancelled() and (failure := calling.exception()):
                log.warning("%s: nothing was sent that would wake it: %s", target.device, failure)
        took = round(self._clock.monotonic() - began, 1)
        return Wake(method="magic_packet", result="woken", seconds=took)

    async def _turn(self, site: str) -> None:
        now = self._clock.monotonic()
        mine = max(now, self._turns[site])
        self._turns[site] = mine + STAGGER_S
        await self._clock.sleep(mine - now)

    async def _call(self, target: Target, packet: bytes) -> None:
        places = self._networks or await _places(target.address)
        for number in range(PACKETS):
            if number:
                await self._clock.sleep(PACKET_PAUSE_S)
            sent = [_send(packet, place) for place in places]
            if not any(sent):
                log.warning("%s: no network takes a packet that would wake it", target.device)


def _silent(error: DriverError | None) -> bool:
    return type(error) is Unreachable


async def _places(address: str) -> list[IPv4Address]:
    """The address for everybody of the network in which the device stands, else of all of ours."""
    own = broadcasts()
    loop = asyncio.get_running_loop()
    known = set()
    # The name of a sleeping device may be unknown just now.
    with suppress(OSError, UnicodeError):
        for *_, place in await loop.getaddrinfo(address, None, family=socket.AF_INET):
            known.add(ip_address(place[0]))
    near = [everybody for net, everybody in own.items() if any(one in net.network for one in known)]
    return near or list(own.values())


def _send(packet: bytes, place: IPv4Address) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.setblocking(False)
        try:
            return sender.sendto(packet, (str(place), PORT)) == len(packet)
        except OSError as error:
            log.debug("no packet to %s: %s", place, error.strerror)
            return False
