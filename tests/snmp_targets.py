"""Targets, credentials and devices that lie, for the SNMP tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from agents.credentials import Credentials
from agents.drivers.snmp import Snmp
from agents.messages import Target
from agents.simulator.snmp import SnmpDevice, V3User

USER = V3User("raum", "SHA256", "authentisch", "AES256", "verschluesselt")


def secret(monkeypatch: pytest.MonkeyPatch, name: str, **parts: str) -> None:
    monkeypatch.setenv(f"RAUMWART_SECRET_{name.upper()}", json.dumps(parts))


def user_parts(user: V3User, /, **changed: str) -> dict[str, str]:
    return {
        "user": user.name,
        "auth_protocol": user.auth_protocol,
        "auth_password": user.auth_password,
        "priv_protocol": user.priv_protocol,
        "priv_password": user.priv_password,
    } | changed


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Snmp:
    """Knows the credentials `public` and `v3`."""
    secret(monkeypatch, "public", community="public")
    secret(monkeypatch, "v3", **user_parts(USER))
    return Snmp(Credentials(None), tmp_path)


def target(port: int, version: str = "2c", **changes: object) -> Target:
    data = {
        "device": "d-1",
        "room": "r-1",
        "kind": "access_point",
        "driver": "snmp",
        "address": "127.0.0.1",
        "port": port,
        "credential": "v3" if version == "3" else "public",
        "options": {"version": version},
    }
    return Target.model_validate(data | changes)


@asynccontextmanager
async def running(*devices: SnmpDevice) -> AsyncIterator[list[int]]:
    ports = [await device.start() for device in devices]
    try:
        yield ports
    finally:
        for device in devices:
            await device.stop()


class Liar(asyncio.DatagramProtocol):
    """Answers each packet with whatever `lie` makes of it."""

    def __init__(self, lie: Callable[[bytes], Iterable[bytes]]) -> None:
        self._lie = lie
        self.heard = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard += 1
        for answer in self._lie(data):
            self.transport.sendto(answer, addr)


@asynccontextmanager
async def lying(lie: Callable[[bytes], Iterable[bytes]]) -> AsyncIterator[tuple[int, Liar]]:
    transport, liar = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Liar(lie), local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1], liar
    finally:
        transport.close()
