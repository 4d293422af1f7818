"""What the tests of tablets share: a driver, a target, a device, a hostile peer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.credentials import Credentials
from agents.drivers.kiosk import Kiosk
from agents.messages import Order, Target
from agents.simulator import Simulated
from agents.simulator.kiosk import Tablet

SECOND = timedelta(seconds=1)
PASSWORD = "geheim%&=ü-tablet"
START = "https://lernen.example/start"
RESET = {
    "clear": ["cookies", "webstorage", "cache"],
    "webview": True,
    "start_page": True,
    "lock": True,
}


def set_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials `tab` (right) and `wrong`."""
    monkeypatch.setenv("RAUMWART_SECRET_TAB", json.dumps({"password": PASSWORD}))
    monkeypatch.setenv("RAUMWART_SECRET_WRONG", json.dumps({"password": "wrong"}))


def driver(state: Path = Path()) -> Kiosk:
    return Kiosk(Credentials(None), state)


def target(port: int, **options: Any) -> Target:
    fields: dict[str, Any] = {"credential": "tab", "address": "127.0.0.1"} | options
    return Target(device="t1", room="r1", kind="tablet", driver="kiosk", port=port, **fields)


def order(**steps: Any) -> Order:
    at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    return Order(
        id="x.1", site="s", device="t1", room="r1", steps=steps, not_before=at, not_after=at
    )


def tablet(**options: Any) -> Tablet:
    return Tablet("Tablet 1", PASSWORD, START, "abcdef-123456", **options)


@asynccontextmanager
async def running(device: Simulated) -> AsyncIterator[int]:
    port = await device.start()
    try:
        yield port
    finally:
        await device.stop()


@asynccontextmanager
async def serving(*pieces: bytes, pause: float = 0.0, stay: bool = False) -> AsyncIterator[int]:
    """A peer that sends these bytes to whoever comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if stay:
                await reader.read(-1)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def info(**changes: Any) -> bytes:
    return json.dumps({"deviceID": "abcdef-123456", **changes}).encode()
