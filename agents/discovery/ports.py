"""What a TCP port says of itself before anybody signs in: banners and open pages, never a login."""

import asyncio
import re
from contextlib import suppress

SSH, FULLY, FREEKIOSK, PJLINK = 22, 2323, 8080, 4352
LONGEST = 4096
_GREETING = re.compile(rb"SSH-(?:2\.0|1\.99)-([\x21-\x7e]{1,80})")


async def ssh_banner(host: str, port: int, seconds: float) -> str | None:
    """The software's name in the server's first line, such as `OpenSSH_9.2p1`; None: no SSH.

    Nothing is sent: the server speaks first.
    """
    said = await _hear(host, port, seconds, b"", enough=b"\n")
    found = _GREETING.search(said)
    return found[1].decode("ascii") if found else None


async def kiosk_page(host: str, port: int, seconds: float) -> str | None:
    """`Fully Kiosk` or `FreeKiosk` when that is what answers here, without any password."""
    path = "/?type=json"
    question = f"GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    said = await _hear(host, port, seconds, question.encode(), enough=b"</title>")
    if not said.startswith(b"HTTP/"):
        return None
    body = said.lower()
    if b"please login" in body or b"fully remote admin" in body or b"fully kiosk" in body:
        return "Fully Kiosk"
    if b"freekiosk" in body or re.search(rb'\{\s*"success"\s*:', body):
        return "FreeKiosk"
    return None


async def speaks(host: str, port: int, seconds: float, beginning: bytes) -> bool:
    """Whether the port greets with these bytes."""
    said = await _hear(host, port, seconds, b"", enough=b"\r")
    return said.upper().startswith(beginning)


async def _hear(host: str, port: int, seconds: float, question: bytes, enough: bytes) -> bytes:
    """The first bytes of a connection; empty when there is none."""
    said = b""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=LONGEST)
            if question:
                writer.write(question)
                await writer.drain()
            while len(said) < LONGEST and enough not in said:
                piece = await reader.read(LONGEST - len(said))
                if not piece:
                    break
                said += piece
    except (OSError, TimeoutError):
        pass
    finally:
        if writer:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
    return said
