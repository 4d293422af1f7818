"""Is it there? ICMP echo, or a TCP connection where this machine may not send ICMP."""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from statistics import median

from agents.credentials import Credentials
from agents.driver import Misconfigured, Unreachable
from agents.messages import Facts, Order, Target

TRIES = 3
ENOUGH = 2
"""So many of the tries must be answered: a single lost packet is no news."""
MARGIN_S = 0.1
MAX_TRY_S = 2.0
PORTS = (443, 80, 22)
"""Where to knock when the target names no port. A refusal is an answer too."""


class Ping:
    """Needs no credential. `options={"via": "tcp"}`: for networks that drop ICMP."""

    def __init__(self, credentials: Credentials, state: Path) -> None:
        pass

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        """`round_trip_s`: the median of the answered tries. Raises Unreachable."""
        via = target.options.get("via", "icmp")
        if via not in ("icmp", "tcp"):
            raise Misconfigured(f"via must be icmp or tcp, not {via!r}")
        limit = max(timeout.total_seconds() - MARGIN_S, 0.1)
        try:
            async with asyncio.timeout(limit):
                address = await _resolve(target.address)
                ping = (await _icmp(address)) if via == "icmp" else None
                knock = ping or _knock(address, target.port)
                trips = await _answered(knock, min(limit / (TRIES + 0.5), MAX_TRY_S))
        except TimeoutError:
            raise Unreachable("no answer within the time limit") from None
        return {"round_trip_s": round(median(trips), 6)}

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        """Nothing can be reset by a ping; an order without steps asks for nothing."""
        if order.steps:
            raise Misconfigured("a device that is only pinged cannot be reset")

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        return await self.poll(target, timeout)

    async def close(self) -> None:
        pass


Try = Callable[[], Awaitable[None]]
"""Returns when the device answered; raises OSError when it cannot be reached."""


async def _answered(one_try: Try, seconds: float) -> list[float]:
    """Round trips of the answered tries, as soon as the result is certain."""
    loop = asyncio.get_running_loop()
    trips: list[float] = []
    for number in range(TRIES):
        began = loop.time()
        with suppress(OSError):  # TimeoutError too
            async with asyncio.timeout(seconds):
                await one_try()
            trips.append(loop.time() - began)
        if len(trips) == ENOUGH or len(trips) + TRIES - 1 - number < ENOUGH:
            break
    if len(trips) < ENOUGH:
        raise Unreachable("no answer")
    return trips


async def _resolve(name: str) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable("its name cannot be resolved") from None
    return str(found[0][4][0])


def _knock(address: str, port: int | None) -> Try:
    async def knock_one(number: int) -> None:
        with suppress(ConnectionRefusedError):
            _, writer = await asyncio.open_connection(address, number)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def knock() -> None:
        doors = [asyncio.ensure_future(knock_one(number)) for number in ([port] if port else PORTS)]
        try:
            for door in asyncio.as_completed(doors):
                with suppress(OSError):
                    await door
                    return
            raise OSError("no port answers")
        finally:
            for task in doors:
                task.cancel()
            await asyncio.gather(*doors, return_exceptions=True)

    return knock


async def _icmp(address: str) -> Try | None:
    """None: this machine lets us send no ICMP."""
    six = isinstance(ip_address(address.partition("%")[0]), IPv6Address)
    opened = _open(six)
    if opened is None:
        return None
    opened.close()

    async def ping() -> None:
        loop = asyncio.get_running_loop()
        connection = _open(six)
        if connection is None:
            raise PermissionError
        with connection:
            connection.setblocking(False)
            # Connecting takes no time here: from now on only this device is heard.
            connection.connect((address, 0))
            token = os.urandom(16)
            await loop.sock_sendall(connection, _request(six, token))
            while not _is_reply(await loop.sock_recv(connection, 2048), six, token):
                pass

    return ping


def _open(six: bool) -> socket.socket | None:
    """The socket that any user may open where `net.ipv4.ping_group_range` allows it, else raw."""
    family = socket.AF_INET6 if six else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        with suppress(PermissionError):
            return socket.socket(family, kind, protocol)
    return None


def _request(six: bool, token: bytes) -> bytes:
    """An echo request; the token tells our reply from every other."""
    kind = 128 if six else 8
    body = token[:4] + token
    # For IPv6 the kernel fills in the checksum: it covers addresses that we do not know.
    checksum = 0 if six else _checksum(struct.pack("!BBH", kind, 0, 0) + body)
    return struct.pack("!BBH", kind, 0, checksum) + body


def _is_reply(packet: bytes, six: bool, token: bytes) -> bool:
    if not six and packet[:1] and packet[0] >> 4 == 4:
        packet = packet[(packet[0] & 0x0F) * 4 :]  # raw sockets show the IPv4 header
    return packet[:1] == (b"\x81" if six else b"\x00") and packet[8:24] == token


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
