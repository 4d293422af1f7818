"""The shared UDP sockets: many requests under way, each answer to the one who asked."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections import defaultdict
from typing import Any

from pyasn1.error import PyAsn1Error  # type: ignore[import-untyped]
from pysnmp.carrier.asyncio.dgram.base import DgramAsyncioProtocol
from pysnmp.carrier.asyncio.dgram.udp import UdpAsyncioTransport
from pysnmp.carrier.asyncio.dgram.udp6 import Udp6AsyncioTransport
from pysnmp.error import PySnmpError
from pysnmp.proto.errind import ErrorIndication

from agents.driver import Garbled, Unreachable
from agents.snmp.message import Answer, Heard, Manner, Peer, Question

log = logging.getLogger(__name__)

_TRANSPORTS = {socket.AF_INET: UdpAsyncioTransport, socket.AF_INET6: Udp6AsyncioTransport}
_UNREADABLE = (
    *(PySnmpError, PyAsn1Error, struct.error),
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
)
"""What pysnmp and pyasn1 raise on hostile bytes; their own errors are only a part of it."""
_BUFFER = 16 * 2**20
"""With the kernel's default a few hundred answers at once overflow the socket and are lost."""
_SO_RCVBUFFORCE = 33


class _Waiter:
    """One question under way, and whether anything came that was no answer to it."""

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Answer | ErrorIndication] = loop.create_future()
        self.refused = False


class Wire:
    """Opens one socket per address family when first needed. One object per event loop."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[DgramAsyncioProtocol, socket.socket]] = {}
        self._opening = asyncio.Lock()
        self._waiting: dict[Peer, dict[int, _Waiter]] = defaultdict(dict)

    async def ask(
        self,
        peer: Peer,
        manner: Manner,
        question: Question,
        *,
        wait: float,
        attempts: int,
        until: float,
    ) -> Answer | ErrorIndication:
        """Send, and again after `wait` seconds of silence. Raises Unreachable or Garbled.

        While answers lie unread in the socket it is we who are slow, not the device: it is given
        more time, but not after `until` (the loop's time).

        A repeated request keeps its number, so a late answer to an earlier attempt still counts.
        """
        transport, sock = await self._socket(peer)
        now = asyncio.get_running_loop().time
        waiter = self._waiting[peer][question.number] = _Waiter(manner)
        try:
            for _ in range(attempts):
                transport.send_message(manner.seal(question), peer)
                # Not wait_for: giving up once must leave the future to the next attempt.
                await asyncio.wait([waiter.outcome], timeout=wait)
                while not waiter.outcome.done() and now() < until and _unread(sock):
                    await asyncio.wait([waiter.outcome], timeout=wait / 8)
                if waiter.outcome.done():
                    return waiter.outcome.result()
                if now() + wait > until:
                    break
        except PySnmpError:
            raise Unreachable("the request cannot be made or sent") from None
        finally:
            manner.release(question.number)
            del self._waiting[peer][question.number]
            if not self._waiting[peer]:
                del self._waiting[peer]
        if waiter.refused:
            raise Garbled("nothing but answers that cannot be read or trusted")
        raise Unreachable("no answer in time")

    def _receive(self, _transport: object, address: tuple[Any, ...], data: bytes) -> None:
        waiters = self._waiting.get((address[0], address[1]), {})
        for manner in {id(waiter.manner): waiter.manner for waiter in waiters.values()}.values():
            number, outcome = _opened(manner, data)
            waiter = waiters.get(number)
            if outcome is not None and waiter is not None and waiter.manner is manner:
                if not waiter.outcome.done():
                    waiter.outcome.set_result(outcome)
                return
        # Not the end: a forger must not be able to stop us from hearing the true answer.
        for waiter in waiters.values():
            waiter.refused = True

    async def _socket(self, peer: Peer) -> tuple[DgramAsyncioProtocol, socket.socket]:
        family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
        async with self._opening:
            if family not in self._open:
                loop = asyncio.get_running_loop()
                transport = _TRANSPORTS[family](loop=loop)
                transport.register_callback(self._receive)
                sock = socket.socket(family, socket.SOCK_DGRAM)
                sock.setblocking(False)
                _widen(sock)
                await loop.create_datagram_endpoint(lambda: transport, sock=sock)
                self._open[family] = transport, sock
        return self._open[family]

    def close(self) -> None:
        for transport, _ in self._open.values():
            transport.close_transport()
        self._open.clear()


def _opened(manner: Manner, data: bytes) -> Heard | tuple[int, None]:
    """One datagram, whoever sent it; what cannot be read is no answer."""
    try:
        return manner.open(data) or (0, None)
    except _UNREADABLE as error:
        log.debug("a datagram that cannot be read: %r", error)
        return 0, None


def _unread(sock: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        sock.recv(1, socket.MSG_PEEK)
        return True
    return False


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
