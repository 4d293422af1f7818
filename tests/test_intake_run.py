"""The loop that takes reports from the bus: poison, an absent database, acknowledgement."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlmodel import select

from agents.bus import Delivery, encode, open_bus
from agents.messages import Heartbeat, Order, Reading
from fleet import intake
from fleet.settings import Settings
from inventory import DeviceKind, DeviceState
from inventory.db import reading
from tests.rows import device, make_region

SETTINGS = Settings(poll_s=60)


def said(at: datetime, name: str = "laptop-1") -> Reading:
    return Reading(device=name, taken_at=at, reachable=True)


async def until(condition: Any, limit: float = 10) -> None:
    for _ in range(int(limit / 0.02)):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


def states(engine: Engine) -> set[str]:
    with reading(engine) as opened:
        return set(opened.exec(select(DeviceState.device_id)))


def test_run_isolates_poison(
    engine: Engine, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    make_region(engine)
    with caplog.at_level(logging.WARNING):
        asyncio.run(_poisoned(engine, now))
    assert states(engine) == {"laptop-1", "ap-1", "laptop-2"}
    texts = [record.getMessage() for record in caplog.records]
    assert sum("not one of ours" in text for text in texts) == 2
    assert sum("does not belong" in text for text in texts) == 1
    assert sum("cannot be stored" in text for text in texts) == 1
    assert sum("ghost" in text for text in texts) == 1


async def _poisoned(engine: Engine, now: datetime) -> None:
    bus = await open_bus("local:")
    task = asyncio.create_task(intake.run(bus, engine, SETTINGS, lambda: now))
    order = Order(id="o.1", site="north", device="laptop-1", room="library", not_before=now,
                  not_after=now)  # fmt: skip
    # A counter beyond 64 bits passes the wire and no database.
    poison = Heartbeat(site="north", at=now, polls=2**70)
    for data in (
        b"garbage",
        b'{"v": 2, "type": "reading"}',
        encode(order),
        encode(said(now, "laptop-1")),
        encode(poison),
        encode(said(now, "ghost")),
        encode(said(now, "ghost")),
        encode(said(now, "ap-1")),
    ):
        await bus.publish("report.north", data)
    await until(lambda: states(engine) >= {"laptop-1", "ap-1"})
    await bus.publish("report.north", encode(said(now, "ghost")))
    await bus.publish("report.south", encode(said(now, "laptop-2")))
    await until(lambda: "laptop-2" in states(engine))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bus.close()


class Tape:
    """A bus with a fixed set of deliveries, which remembers what was acknowledged and when."""

    def __init__(self, engine: Engine, messages: list[Reading]) -> None:
        self.messages = messages
        self.engine = engine
        self.acked: list[bool] = []

    async def publish(self, subject: str, data: bytes) -> None:
        raise NotImplementedError

    async def receive(self, subject: str) -> AsyncGenerator[Delivery, None]:
        for message in self.messages:

            async def ack(name: str = message.device) -> None:
                self.acked.append(name in await asyncio.to_thread(states, self.engine))

            yield Delivery("report.north", encode(message), ack)
        await asyncio.Event().wait()

    async def close(self) -> None: ...


def test_run_waits_for_the_database_and_acks_after_the_commit(
    engine: Engine, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"d{n}" for n in range(40)]
    make_region(engine, *(device(name, "library", DeviceKind.SWITCH) for name in names))
    tape = Tape(engine, [said(now, name) for name in names])
    broken = [True]

    @event.listens_for(engine, "do_execute")
    @event.listens_for(engine, "do_executemany")
    def refuse(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        """The database breaks under the first batch, at the moment of writing."""
        if broken and statement.startswith("INSERT INTO device_state"):
            broken.pop()
            assert engine.dialect.loaded_dbapi is not None
            raise engine.dialect.loaded_dbapi.OperationalError("gone")

    async def take() -> None:
        task = asyncio.create_task(intake.run(tape, engine, SETTINGS, lambda: now))
        await until(lambda: len(tape.acked) == len(names))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(take())
    assert all(tape.acked)
    assert not broken
    assert [record.getMessage() for record in caplog.records] == [
        "the database cannot store reports now: gone"
    ]
    assert states(engine) == set(names)
