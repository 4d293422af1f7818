"""The one seam: how messages travel between the centre and the sites.

Promise, of every implementation: a message may be lost, repeated or overtaken; one that nobody
sent never arrives. The row in the database is the truth; the bus is only the courier.
"""

import re
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from agents.messages import AnyMessage

_ANY: TypeAdapter[AnyMessage] = TypeAdapter(AnyMessage)


_SUBJECT = re.compile(r"(roster|order|report)\.([A-Za-z0-9_-]{1,63}|\*)")
_PLAIN = 256 * 1024
"""Longer messages travel compressed: NATS takes 1 MiB, a roster of 10,000 devices has 3."""
_LARGEST = 64 * 1024 * 1024


class BadMessage(Exception):
    """Bytes that are not one of our messages."""


class BusAway(Exception):
    """The courier cannot take the message now; try again later."""


class NotSent(BusAway):
    """And it is certain that nothing of the message left this machine."""


def encode(message: AnyMessage) -> bytes:
    """JSON, compressed by zlib when it is long."""
    data = message.model_dump_json().encode()
    return data if len(data) <= _PLAIN else zlib.compress(data, 6)


def decode(data: bytes) -> AnyMessage:
    """The message in these bytes. Raises BadMessage."""
    if data[:1] == b"\x78":  # zlib; a JSON object begins with a brace
        data = _unpack(data)
    try:
        return _ANY.validate_json(data)
    except ValidationError as error:
        raise BadMessage(
            f"{error.error_count()} errors, first: {error.errors()[0]['msg']}"
        ) from None


def _unpack(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(data, _LARGEST)
    except zlib.error:
        raise BadMessage("compressed, and broken") from None
    if not unpacker.eof:
        raise BadMessage("compressed, and incomplete or too long")
    return plain


def check_subject(subject: str, *, wildcard: bool = False) -> tuple[str, str]:
    """The subject's two parts: what and whose (`*` only with `wildcard`). Raises ValueError."""
    found = _SUBJECT.fullmatch(subject)
    if not found or (found[2] == "*" and not wildcard):
        raise ValueError(f"not a subject: {subject!r}")
    return found[1], found[2]


@dataclass(frozen=True)
class Delivery:
    """One received message. Not acknowledged in time, it may come again."""

    subject: str
    data: bytes
    ack: Callable[[], Awaitable[None]]


class Bus(Protocol):
    """Subjects: `roster.<site>` (the last one is kept), `order.<site>`, `report.<site>`."""

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand a message over; returns when the courier has it.

        Raises BusAway when it cannot take it now, ValueError for a subject that does not exist.
        """

    def receive(self, subject: str) -> AsyncGenerator[Delivery, None]:
        """Messages of one subject, for ever. `report.*` receives from every site.

        Receivers of the same `report.` or `order.` subject share the work; every receiver of a
        roster gets the last one and all that follow. Where messages wait while a receiver is away,
        it gets the roster that counts now before the orders. Never raises for an outage: it waits.
        """

    async def close(self) -> None: ...


async def open_bus(url: str) -> Bus:
    """`local:` (one process) or `nats://host:port` / `tls://host:port`, see `bus_nats`.

    Raises ValueError for an address that makes no sense. A server that cannot be reached is no
    error: it is tried again for ever.
    """
    if url == "local:":
        from agents.bus_local import LocalBus

        return LocalBus()
    if url.startswith(("nats://", "tls://", "ws://", "wss://")):
        from agents.bus_nats import NatsBus

        return await NatsBus.connect(url)
    raise ValueError(f"FLEET_BUS must be 'local:' or 'nats://host:port', not {url!r}")
