"""A roster, an order and the centre's end of the bus, for tests of whole agents."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agents.agent import Agent
from agents.bus import Bus, decode
from agents.credentials import Credentials
from agents.messages import Heartbeat, Order, Outcome, Reading, Roster, Target
from tests.line_device import LineDriver


def now() -> datetime:
    return datetime.now(UTC)


def a_roster(port: int, **changes: Any) -> Roster:
    target = Target(
        device="d1",
        room="r1",
        kind="laptop",
        driver="line",
        address="127.0.0.1",
        port=port,
        every_s=1,
    )
    fields: dict[str, Any] = {
        "site": "north",
        "revision": 1,
        "sent_at": now(),
        "targets": [target],
        "busy": [],
        "trusted_until": {"r1": now() + timedelta(minutes=20)},
    }
    return Roster(**{**fields, **changes})


def an_order(order_id: str = "7.1", site: str = "north") -> Order:
    return Order(
        id=order_id,
        site=site,
        device="d1",
        room="r1",
        not_before=now() - timedelta(seconds=1),
        not_after=now() + timedelta(minutes=5),
    )


class Centre:
    """The other end of the bus: what the agents report."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.readings: list[Reading] = []
        self.outcomes: list[Outcome] = []
        self.beats: list[Heartbeat] = []
        self.subjects: set[str] = set()

    async def run(self) -> None:
        async for delivery in self.bus.receive("report.*"):
            self.subjects.add(delivery.subject)
            message = decode(delivery.data)
            if isinstance(message, Reading):
                self.readings.append(message)
            elif isinstance(message, Outcome):
                self.outcomes.append(message)
            elif isinstance(message, Heartbeat):
                self.beats.append(message)
            await delivery.ack()

    @property
    def steps(self) -> list[str]:
        return [outcome.step.value for outcome in self.outcomes]


@asynccontextmanager
async def running(*work: Any) -> AsyncIterator[None]:
    """These coroutines run meanwhile; one that fails fails the test."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def an_agent(bus: Bus, state: Path, *sites: str) -> Agent:
    return Agent(sites or ["north"], bus, Credentials(None), state, drivers={"line": LineDriver})
