"""What projectors say over UDP 4352: answers to a search, and news of themselves.

Anybody in the network can send such datagrams. Nothing they say is believed: an answer to a search
is a place to look at, news a reason to look soon.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Callable
from typing import ClassVar

from agents.pjlink import protocol

log = logging.getLogger(__name__)

SEARCH = b"%2SRCH\r"
LONGEST = 1024
MOST_LINES = 8
_ANSWER = re.compile(r"%2ACKN=((?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2})", re.IGNORECASE)
_NEWS = re.compile(r"%2(LKUP|ERST|POWR|INPT)=(.{1,32})", re.IGNORECASE)
_MAC = re.compile(r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)


def lines(data: bytes) -> list[str]:
    """The lines of one datagram, without padding; none when it is too long to be PJLink."""
    if len(data) > LONGEST:
        return []
    parts = data.split(b"\r")[:MOST_LINES]
    texts = (part.strip(b"\0\n ").decode("ascii", errors="replace") for part in parts)
    return [text for text in texts if text]


def found_mac(line: str) -> str:
    """The hardware address in an answer to a search; empty when it is none."""
    found = _ANSWER.fullmatch(line)
    return found[1].lower().replace("-", ":") if found else ""


def is_news(line: str) -> bool:
    """Whether this is a notification that makes sense."""
    found = _NEWS.fullmatch(line)
    if not found:
        return False
    if found[1].upper() == "LKUP":
        return bool(_MAC.fullmatch(found[2]))
    try:
        return bool(protocol.facts(found[1].upper(), found[2]))
    except ValueError:
        return False


Heard = Callable[[str, str], None]
"""Called with the sender's address and one line."""


class Ear(asyncio.DatagramProtocol):
    """One UDP socket for all who listen in this process: there is only one port 4352."""

    _ears: ClassVar[dict[tuple[asyncio.AbstractEventLoop, int], "Ear"]] = {}

    def __init__(self) -> None:
        self._listeners: list[Heard] = []
        self.transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def join(cls, heard: Heard, port: int = protocol.PORT) -> "Ear":
        """Listen from now on. Raises OSError when another program has the port."""
        key = (asyncio.get_running_loop(), port)
        ear = cls._ears.get(key)
        if ear is None:
            ear = cls()
            cls._ears[key] = ear
            ear._listeners.append(heard)
            try:
                await _open(ear, port)
            except OSError:
                del cls._ears[key]
                raise
        else:
            ear._listeners.append(heard)
        return ear

    def leave(self, heard: Heard) -> None:
        self._listeners.remove(heard)
        if not self._listeners:
            for key in [key for key, ear in self._ears.items() if ear is self]:
                del self._ears[key]
            if self.transport:
                self.transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for line in lines(data):
            for heard in list(self._listeners):
                heard(addr[0], line)

    def error_received(self, exc: Exception) -> None:
        """An ICMP complaint about something that we sent; the search does not depend on it."""


async def _open(ear: Ear, port: int) -> None:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.bind(("", port))
        loop = asyncio.get_running_loop()
        ear.transport, _ = await loop.create_datagram_endpoint(lambda: ear, sock=bound)
    except OSError:
        bound.close()
        raise
