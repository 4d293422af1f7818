"""The broker goes away while the service has orders to send: nothing waits for a lost order."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from agents.bus import BusAway, decode
from agents.bus_nats import NatsBus
from agents.messages import Order, Roster
from fleet import jobs, resets
from fleet.settings import Settings
from inventory.db import session
from tests.nats import NatsServer
from tests.room import HOUR, add_course, claim, furnish, plan, runs, states


@pytest.fixture
def broker() -> Iterator[NatsServer]:
    server = NatsServer().start()
    yield server
    server.remove()


async def _orders(bus: NatsBus, count: int) -> list[Order]:
    found: list[Order] = []
    async with asyncio.timeout(10):
        async for delivery in bus.receive("order.vhs"):
            message = decode(delivery.data)
            await delivery.ack()
            if isinstance(message, Roster):  # comes first, after each gap
                continue
            assert isinstance(message, Order)
            found.append(message)
            if len(found) == count:
                return found
    raise AssertionError("unreachable")


async def _until(bus: NatsBus, *, connected: bool) -> None:
    for _ in range(500):
        if bus._client.is_connected == connected:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the bus did not notice")


@pytest.mark.anyio
async def test_orders_that_never_left_are_sent_when_the_broker_is_back(
    engine: Engine, broker: NatsServer, now: datetime, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    furnish(engine, now, laptops=3)
    add_course(engine, now + HOUR)
    plan(engine, now, settings)
    moment = now
    bus = await NatsBus.connect(broker.url, beat=0.2)
    service = jobs.Service(engine, bus, settings, lambda: moment)
    try:
        broker.kill()
        await _until(bus, connected=False)
        with pytest.raises(BusAway):
            await jobs.send_orders(service)
        assert states(engine) == ["planned"] * 3
        assert {run.attempts for run in runs(engine)} == {0}
        broker.start()
        moment = now + timedelta(seconds=15)
        await _until(bus, connected=True)
        await jobs.send_orders(service)
        assert states(engine) == ["ordered"] * 3
        heard = await _orders(bus, 3)
        assert {order.id for order in heard} == {f"{run.id}.1" for run in runs(engine)}
    finally:
        await bus.close()


def test_only_an_order_that_still_stands_is_given_back(
    engine: Engine, now: datetime, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    furnish(engine, now, laptops=2)
    add_course(engine, now + HOUR)
    plan(engine, now, settings)
    first, second = claim(engine, now, settings)
    for _ in range(2):
        with session(engine) as opened:
            resets.give_back(opened, [first], now)
    assert sorted(states(engine)) == ["ordered", "planned"]
    assert claim(engine, now, settings) == []
    (again,) = claim(engine, now + timedelta(seconds=11), settings)
    assert again.id == first.id != second.id
