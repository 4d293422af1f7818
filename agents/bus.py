"""The one seam: how messages travel between the centre and the sites.

Promise, of every implementation: a message may be lost, repeated or overtaken; one that nobody
sent never arrives. The row in the database is the truth; the bus is only the courier.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from agents.messages import AnyMessage, Heartbeat, Order, Outcome, Reading, Roster

_ANY: TypeAdapter[AnyMessage] = TypeAdapter(AnyMessage)


class BadMessage(Exception):
    """Bytes that are not one of our messages."""


def encode(message: Roster | Order | Reading | Outcome | Heartbeat) -> bytes:
    return message.model_dump_json().encode()


def decode(data: bytes) -> Roster | Order | Reading | Outcome | Heartbeat:
    """The message in these bytes. Raises BadMessage."""
    try:
        return _ANY.validate_json(data)
    except ValidationError as error:
        raise BadMessage(
            f"{error.error_count()} errors, first: {error.errors()[0]['msg']}"
        ) from None


@dataclass(frozen=True)
class Delivery:
    """One received message. Not acknowledged in time, it may come again."""

    subject: str
    data: bytes
    ack: Callable[[], Awaitable[None]]


class Bus(Protocol):
    """Subjects: `roster.<site>` (the last one is kept), `order.<site>`, `report.<site>`."""

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand a message over; returns when the courier has it."""

    def receive(self, subject: str) -> AsyncIterator[Delivery]:
        """Messages of one subject, for ever. `report.*` receives from every site."""

    async def close(self) -> None: ...


async def open_bus(url: str) -> Bus:
    """`local:` (one process) or `nats://host:port` / `tls://host:port`."""
    if url == "local:":
        from agents.bus_local import LocalBus

        return LocalBus()
    if url.startswith(("nats://", "tls://", "ws://", "wss://")):
        from agents.bus_nats import NatsBus

        return await NatsBus.connect(url)
    raise ValueError(f"FLEET_BUS must be 'local:' or 'nats://host:port', not {url!r}")
