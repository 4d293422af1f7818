"""The shared UDP sockets: many requests under way, each answer to the one who asked."""

import asyncio
import contextlib
import itertools
import secrets
import socket
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from agents.driver import Garbled, Unreachable
from agents.snmp_ber import BerError, Pdu, message_id

Peer = tuple[str, int]
_BUFFER = 16 * 2**20
"""With the kernel's default a few hundred answers at once overflow the socket and are lost."""
_SO_RCVBUFFORCE = 33


class _Waiter:
    """One request under way: how to open its answer, and what else came from that address."""

    def __init__(self, open_answer: Callable[[bytes], Pdu]) -> None:
        self.open = open_answer
        self.future: asyncio.Future[Pdu] = asyncio.get_running_loop().create_future()
        self.refused = ""


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.waiting: dict[Peer, dict[int, _Waiter]] = defaultdict(dict)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        waiters = self.waiting.get((addr[0], addr[1]))
        if not waiters:
            return
        try:
            waiter = waiters.get(message_id(data))
            if waiter is None:
                raise BerError("an answer to another request")
            if not waiter.future.done():
                waiter.future.set_result(waiter.open(data))
        except BerError as error:
            # Not the end: a forger must not be able to stop us from hearing the true answer.
            for waiter in waiters.values():
                waiter.refused = str(error)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error of one device; it will show as silence."""


class Wire:
    """Opens one socket per address family when first needed. One object per event loop."""

    def __init__(self) -> None:
        self._sockets: dict[int, tuple[asyncio.DatagramTransport, _Protocol]] = {}
        self._opening = asyncio.Lock()
        self._ids = itertools.count(secrets.randbelow(2**30))

    def new_id(self) -> int:
        return next(self._ids) & 0x7FFFFFFF

    async def ask(
        self,
        peer: Peer,
        number: int,
        message: bytes,
        open_answer: Callable[[bytes], Pdu],
        *,
        wait: float,
        attempts: int,
    ) -> Pdu:
        """Send, and again after `wait` seconds of silence. Raises Unreachable or Garbled.

        A repeated request keeps its number, so a late answer to an earlier attempt still counts.
        """
        transport, protocol = await self._socket(peer)
        waiters = protocol.waiting[peer]
        waiter = waiters[number] = _Waiter(open_answer)
        try:
            for _ in range(attempts):
                transport.sendto(message, peer)
                # Not wait_for: giving up once must leave the future to the next attempt.
                await asyncio.wait([waiter.future], timeout=wait)
                if waiter.future.done():
                    return waiter.future.result()
        finally:
            del waiters[number]
            if not waiters:
                protocol.waiting.pop(peer, None)
        if waiter.refused:
            raise Garbled(f"nothing but {waiter.refused}")
        raise Unreachable(f"no answer within {wait * attempts:.1f} s")

    async def _socket(self, peer: Peer) -> tuple[asyncio.DatagramTransport, _Protocol]:
        family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
        if found := self._sockets.get(family):
            return found
        async with self._opening:
            if family not in self._sockets:
                sock = socket.socket(family, socket.SOCK_DGRAM)
                sock.setblocking(False)
                _widen(sock)
                opened = await asyncio.get_running_loop().create_datagram_endpoint(
                    _Protocol, sock=sock
                )
                self._sockets[family] = opened
        return self._sockets[family]

    def close(self) -> None:
        for transport, _ in self._sockets.values():
            transport.close()
        self._sockets.clear()


def _widen(sock: socket.socket) -> None:
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        except OSError:
            continue
        return


async def resolve(address: str, port: int) -> Peer:
    """Host and port as they will stand on the answers. Raises Unreachable."""
    with contextlib.suppress(OSError):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.inet_ntop(family, socket.inet_pton(family, address)), port
    try:
        found = await asyncio.get_running_loop().getaddrinfo(address, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise Unreachable("the name of the device is unknown to the DNS") from None
    host = found[0][4][0]
    return str(host), port
