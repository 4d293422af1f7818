"""A TCP listener whose mood can change at any time, on one port for as long as it runs."""

import asyncio
import socket
import ssl
from contextlib import suppress

from agents.simulator import Mood

GARBAGE = bytes(range(255, 127, -3)) + b"\r\n\r\n"
SLOW_S = 1.0
"""Pause after each byte of a slow device."""


class TcpDevice:
    """Base of the simulated TCP devices: sessions come to `session`, answers go through `send`."""

    host = "127.0.0.1"
    """Where it listens; to be set before `start`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._mood = Mood.OK
        self._tls = tls
        self._held: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self.connections = 0
        """Connections accepted so far."""

    async def start(self, port: int = 0) -> int:
        # Bound and never listening: the port stays ours, and refuses, while the device is off.
        self._held = _bound(self.host, port)
        if self._mood is not Mood.OFF:
            self._listen()
        return int(self._held.getsockname()[1])

    async def stop(self) -> None:
        self._unlisten()
        sessions = list(self._sessions)
        await asyncio.gather(*sessions, return_exceptions=True)
        if self._held:
            self._held.close()
            self._held = None

    @property
    def mood(self) -> Mood:
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._mood = mood
        if mood is Mood.OFF:
            self._unlisten()
        elif self._held and not self._listener:
            self._listen()

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; it is closed when this returns. (A laptop serves in a thread.)"""

    async def send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes
    ) -> None:
        """Send an answer, as the mood has it."""
        if self._mood is Mood.HANG:
            while await reader.read(4096):
                pass
            raise ConnectionResetError
        if self._mood is Mood.OFF:
            raise ConnectionResetError
        if self._mood is Mood.GARBAGE:
            data = GARBAGE
        pieces = [data]
        if self._mood is Mood.HALF:
            pieces = [data[: len(data) // 2]]
        elif self._mood is Mood.SLOW:
            pieces = [data[i : i + 1] for i in range(len(data))]
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if len(pieces) > 1:
                await _linger(reader)
        if self._mood in (Mood.HALF, Mood.GARBAGE):
            raise ConnectionResetError

    def _listen(self) -> None:
        assert self._held
        self._listener = _bound(self.host, self._held.getsockname()[1])
        self._listener.listen(512)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _unlisten(self) -> None:
        if self._listener:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for session in self._sessions:
            session.cancel()

    def _accept(self) -> None:
        assert self._listener
        with suppress(BlockingIOError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            task = asyncio.get_running_loop().create_task(self._serve(connection))
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)

    async def _serve(self, connection: socket.socket) -> None:
        self.connections += 1
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=65536)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls
            )
        except OSError:
            connection.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            with suppress(OSError, EOFError, asyncio.LimitOverrunError):
                await self.session(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def _linger(reader: asyncio.StreamReader) -> None:
    """A slow device's pause, which ends when the other side has lost its patience."""
    for _ in range(20):
        await asyncio.sleep(SLOW_S / 20)
        if reader.at_eof():
            raise ConnectionResetError


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setblocking(False)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
