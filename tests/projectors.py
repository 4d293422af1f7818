"""What the tests of projectors share: a driver, a target, a device, a hostile peer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.credentials import Credentials
from agents.drivers.pjlink import Pjlink
from agents.facts import check_facts
from agents.messages import Order, Target
from agents.simulator.pjlink import Projector

SECOND = timedelta(seconds=1)
PASSWORD = "JBMIAProjectorLink"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def set_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials `beamer` (right) and `wrong`."""
    monkeypatch.setenv("RAUMWART_SECRET_BEAMER", f'{{"password": "{PASSWORD}"}}')
    monkeypatch.setenv("RAUMWART_SECRET_WRONG", '{"password": "wrong"}')


def driver(**options: Any) -> Pjlink:
    options = {"settle_s": 0.02, "answer_s": 0.3} | options
    return Pjlink(Credentials(None), Path(), **options)


def target(port: int, **options: Any) -> Target:
    return Target(
        device="b1",
        room="r1",
        kind="projector",
        driver="pjlink",
        address="127.0.0.1",
        port=port,
        **options,
    )


def order(**steps: Any) -> Order:
    at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    return Order(
        id="x.1", site="s", device="b1", room="r1", steps=steps, not_before=at, not_after=at
    )


@asynccontextmanager
async def running(projector: Projector) -> AsyncIterator[int]:
    port = await projector.start()
    try:
        yield port
    finally:
        await projector.stop()


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[int]:
    """A peer that does just what the test says, and nothing of the protocol."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def on(**options: Any) -> Projector:
    projector = Projector(transition_s=0.0, **options)
    projector.press_power()
    return projector


async def facts_of(projector: Projector, **options: Any) -> dict[str, Any]:
    async with running(projector) as port:
        facts = await driver().poll(target(port, **options), SECOND)
    assert check_facts(facts) == []
    return facts
