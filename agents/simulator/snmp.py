"""Simulated SNMP devices: one UDP socket each, values that live, and every bad mood."""

import asyncio
import hashlib
import random
import socket
import time
from functools import lru_cache
from pathlib import Path
from typing import cast

from agents.simulator import Mood
from agents.simulator.snmp_codec import (
    SET,
    Malformed,
    Request,
    Tree,
    answer,
    from_text,
    read_request,
    take,
    whole,
    wrap,
)
from agents.simulator.snmp_models import MODELS, Life
from agents.simulator.snmp_set import Writes
from agents.simulator.snmp_usm import Refusal, V3Engine, V3User

__all__ = ["MODELS", "SnmpDevice", "V3User"]

_FRAME = 1400
"""Octets of varbinds that an answer may hold: small agents never fragment."""


@lru_cache(maxsize=64)
def _tree(model: str) -> Tree:
    return Tree(MODELS[model].objects())


class SnmpDevice:
    """One device: v1 and v2c by community, v3 (authPriv only) when a user is given.

    `model` is a name of `MODELS`. Devices of one model share its objects; what differs is
    computed from the seed, the serial number and the time when it is asked for.
    """

    host = "127.0.0.1"
    """Where it listens; to be set before `start`."""

    def __init__(
        self,
        model: str,
        community: str = "public",
        seed: int = 0,
        serial: str = "",
        v3: V3User | None = None,
        *,
        delay_s: float = 3.0,
    ) -> None:
        kind = MODELS[model]
        self._prepare(_tree(model), Life(seed, serial or kind.serial(seed)), community, v3)
        self._impostor = Life(seed, kind.serial(seed + 1_000_003))
        self.delay_s = delay_s

    @classmethod
    def from_recording(
        cls, path: Path, community: str = "public", v3: V3User | None = None
    ) -> "SnmpDevice":
        """A device that tells what a recording (snmprec) holds; it has no serial to exchange."""
        device = cls.__new__(cls)
        tree = Tree(from_text(path.read_text("utf-8", "replace").splitlines()))
        device._prepare(tree, Life(0, ""), community, v3)
        device._impostor, device.delay_s = device.life, 3.0
        return device

    def _prepare(self, tree: Tree, life: Life, community: str, v3: V3User | None) -> None:
        self.tree, self.life, self.community = tree, life, community.encode()
        self.requests = 0
        """Packets received, answered or not."""
        name = hashlib.sha256(f"{life.seed}/{life.serial}".encode()).digest()[:8]
        self.engine = V3Engine(v3, b"\x80\x00\xff\xff\x05" + name) if v3 else None
        self.writes = Writes("", ())
        self.boot_s = 0.5
        """How long it is silent when it starts anew."""
        self._silent_until = 0.0
        self._random = random.Random(life.seed)
        self._mood = Mood.OK
        self._port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def serial(self) -> str:
        return self.life.serial

    @property
    def mood(self) -> Mood:
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._mood = mood
        if not self._port:
            return
        if mood is Mood.OFF and self._transport:
            self._transport.close()
            self._transport = None
        elif mood is not Mood.OFF and self._transport is None and self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())

    async def start(self, port: int = 0) -> int:
        self._port = port
        await self._open()
        if self._mood is Mood.OFF:
            self.mood = Mood.OFF
        return self._port

    async def _open(self) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((self.host, self._port))
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Agent(self), sock=sock
        )
        self._port, self._opening = sock.getsockname()[1], None

    async def stop(self) -> None:
        if self._opening:
            await self._opening
        if self._transport:
            self._transport.close()
        self._transport, self._port = None, 0
        await asyncio.sleep(0)  # the loop closes the socket on its next turn

    def take_writes(self, community: str, *places: str, restart: str = "") -> None:
        """From now on: who knows this community, or the v3 user, may write what begins so."""
        self.writes = Writes(community, places, restart)

    def reply(self, data: bytes) -> bytes | None:
        """The answer to one packet; None is silence."""
        self.requests += 1
        if self._mood in (Mood.HANG, Mood.OFF) or time.monotonic() < self._silent_until:
            return None
        if self._mood is Mood.GARBAGE:
            return self._random.randbytes(self._random.randint(1, 200))
        try:
            right = self._right(data)
        except (Malformed, IndexError):
            return None
        return right[: len(right) // 2] if right and self._mood is Mood.HALF else right

    def _right(self, data: bytes) -> bytes | None:
        life = self._impostor if self._mood is Mood.WRONG_DEVICE else self.life
        _, message, _ = take(data, 0)
        version, at = whole(message, 0)
        if version == 3:
            return self._right_v3(data, life)
        _, community, at = take(message, at)
        writer = community == self.writes.community != b""
        known = writer or community == self.community
        if not known or version not in (0, 1) or self._mood is Mood.DENIED:
            return None
        request = read_request(message[at:])
        pdu = self._pdu(request, life, v1=version == 0, writer=writer)
        return pdu and wrap(0x30, message[:at] + pdu)

    def _pdu(self, request: Request, life: Life, *, v1: bool, writer: bool) -> bytes | None:
        if request.kind != SET:
            return answer(self.tree, request, life, v1=v1, limit=_FRAME)
        pdu, restarts = self.writes.answer(self.tree, request, life, v1=v1, allowed=writer)
        if restarts:
            life.restart()
            self._silent_until = time.monotonic() + self.boot_s
        return pdu

    def _right_v3(self, data: bytes, life: Life) -> bytes | None:
        if self.engine is None:
            return None
        if self._mood is Mood.DENIED:
            return self.engine.denial(data)
        try:
            number, context, pdu = self.engine.open(data)
        except Refusal as refusal:
            return bytes(refusal.args[0])
        response = self._pdu(read_request(pdu), life, v1=False, writer=True)
        return response and self.engine.seal(number, context, response)


class _Agent(asyncio.DatagramProtocol):
    def __init__(self, device: SnmpDevice) -> None:
        self._device = device
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answered = self._device.reply(data)
        if answered is None:
            return
        if self._device.mood is Mood.SLOW:
            loop = asyncio.get_running_loop()
            loop.call_later(self._device.delay_s, self._send, answered, addr)
        else:
            self._send(answered, addr)

    def _send(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(data, addr)
