"""Search for projectors of class 2: one broadcast, and whoever answers tells its MAC address."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from agents.pjlink import protocol
from agents.pjlink.datagrams import SEARCH, Ear, found_mac, lines

log = logging.getLogger(__name__)

WAIT_S = 3.0
MOST_FOUND = 4096


async def search(
    places: Iterable[str],
    allowed: Callable[[str], bool],
    *,
    seconds: float = WAIT_S,
    port: int = protocol.PORT,
) -> Mapping[str, str]:
    """Address → MAC address of the projectors that answered; `places`: broadcast addresses.

    Some answer to the port that asked, others to UDP 4352: both are listened on. When another
    program has 4352, only the first kind is heard. Who is not `allowed` was not asked.
    """
    found: dict[str, str] = {}

    def heard(sender: str, line: str) -> None:
        mac = found_mac(line)
        if mac and allowed(sender) and len(found) < MOST_FOUND:
            found.setdefault(sender, mac)

    ear: Ear | None = None
    with suppress(OSError):
        ear = await Ear.join(heard, port)
    asking: asyncio.DatagramTransport | None = None
    try:
        asking = await _ask(heard)
        for place in places:
            asking.sendto(SEARCH, (place, port))
        await asyncio.sleep(seconds)
    except OSError as error:
        log.warning("projectors cannot be searched: %s", error.strerror)
    finally:
        if asking:
            asking.close()
        if ear:
            ear.leave(heard)
    return found


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[str, str], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for line in lines(data):
            self._heard(addr[0], line)

    def error_received(self, exc: Exception) -> None:
        """A network that cannot be reached has no projectors for us."""


async def _ask(heard: Callable[[str, str], None]) -> asyncio.DatagramTransport:
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asking.setblocking(False)
        asking.bind(("", 0))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Asking(heard), sock=asking
        )
    except OSError:
        asking.close()
        raise
    return transport
