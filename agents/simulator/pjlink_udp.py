"""The UDP side of a projector of class 2: it answers a search, and tells its news unasked."""

import asyncio
import socket


class Announcer(asyncio.DatagramProtocol):
    """Answers `%2SRCH` that comes to `host:port`.

    `to_port`: None answers to the port that asked, a number to that port of the asker (both kinds
    exist). `mute`: hears and says nothing. `asked` counts searches.
    """

    def __init__(self, mac: str, *, to_port: int | None = None) -> None:
        self.mac = mac
        self.to_port = to_port
        self.mute = False
        self.asked = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """`host` empty: every address of this machine, and so broadcasts too."""
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            bound.setblocking(False)
            bound.bind((host, port))
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=bound)
        except OSError:
            bound.close()
            raise
        return int(bound.getsockname()[1])

    def stop(self) -> None:
        if self._transport:
            self._transport.close()

    def tell(self, news: str, host: str, port: int) -> None:
        """Send lines such as `%2POWR=1`, several in one datagram when joined by CR."""
        assert self._transport
        self._transport.sendto(news.encode() + b"\r", (host, port))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data.strip(b"\0\r\n ").upper() != b"%2SRCH":
            return
        self.asked += 1
        if not self.mute:
            self.tell(f"%2ACKN={self.mac}", addr[0], self.to_port or addr[1])
