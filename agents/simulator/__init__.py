"""Devices that are not there: real sockets on loopback with a simulated device behind each.

The demo, the benchmarks and the tests use the same ones. A simulator shares no protocol code with
the driver that talks to it, so that one cannot hide the other's mistake.
"""

from enum import StrEnum
from typing import Protocol


class Mood(StrEnum):
    """How a device behaves. May be changed while it runs."""

    OK = "ok"
    OFF = "off"
    """Nobody listens: refused (TCP) or silent (UDP)."""
    HANG = "hang"
    """Takes the connection or the packet and never answers."""
    SLOW = "slow"
    """Answers correctly, one byte or packet at a time, far too slowly."""
    GARBAGE = "garbage"
    """Answers bytes that are not the protocol."""
    HALF = "half"
    """Answers half of what it should and ends."""
    DENIED = "denied"
    """Refuses our credentials."""
    WRONG_DEVICE = "wrong_device"
    """Answers well, with another device's serial number."""


class Simulated(Protocol):
    """One simulated device on 127.0.0.1."""

    mood: Mood

    async def start(self, port: int = 0) -> int:
        """Listen (0: any free port) and return the port."""

    async def stop(self) -> None: ...
