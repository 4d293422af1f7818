"""Whole orders to tablets that cannot be cleared in full: what is proved, and what never is."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agents.credentials import Credentials
from agents.drivers.freekiosk import FreeKiosk
from agents.drivers.headwind import Headwind
from agents.messages import Order, Target
from agents.simulator.freekiosk import FreeTablet
from agents.simulator.headwind import Managed, MdmServer
from fleet.resets.proof import verify
from inventory.recipes import BUILT_IN
from tests.tablets import START, running
from tests.virtual_clock import until
from tests.worker_bench import Bench, a_bench, a_roster, an_order

pytestmark = pytest.mark.anyio
PROVED = [("accepted", ""), ("acted", ""), ("looked", "")]


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    parts = {"key": "geheim", "user": "fleet", "password": "geheim"}
    monkeypatch.setenv("RAUMWART_SECRET_TAB", json.dumps(parts))
    async with a_bench(tmp_path) as made:
        made.drivers["freekiosk"] = FreeKiosk(Credentials(None), tmp_path)
        made.drivers["headwind"] = Headwind(Credentials(None), tmp_path)
        yield made


def put(bench: Bench, driver: str, port: int, **options: Any) -> None:
    """The device `d1` of the room is this tablet."""
    tablet = Target(
        device="d1",
        room="r1",
        kind="tablet",
        driver=driver,
        address="127.0.0.1",
        port=port,
        credential="tab",
        serial="R1",
        options=options,
    )
    bench.roster = a_roster(targets=[tablet])


def by(recipe: str) -> Order:
    return an_order(steps=BUILT_IN[recipe].steps, settle_s=BUILT_IN[recipe].settle_s)


def wrong(bench: Bench, recipe: str) -> list[str]:
    """The facts by which the last look does not prove the recipe."""
    facts = bench.answers[-1].facts
    return [each.fact for each in verify(BUILT_IN[recipe].expects, facts, "7.1")]


async def test_freekiosk_is_proved_to_show_its_page(bench: Bench) -> None:
    device = FreeTablet("T", "geheim", START, "R1")
    device.browse("https://elsewhere.example/")
    async with running(device) as port:
        put(bench, "freekiosk", port, start_page=START)
        await bench.send(by("tablet-start-page"))
    assert bench.steps == PROVED
    assert wrong(bench, "tablet-start-page") == []
    assert wrong(bench, "tablet-reset") == []  # its facts alone would do: so the act must refuse


async def test_the_usual_recipe_of_tablets_is_never_proved_where_it_cannot_be_done(
    bench: Bench,
) -> None:
    device = FreeTablet("T", "geheim", START, "R1")
    mdm = MdmServer("fleet", "geheim", [Managed("h1", "R1")])
    async with running(device) as port, running(mdm) as second:
        put(bench, "freekiosk", port, start_page=START)
        await bench.send(by("tablet-reset"))
        put(bench, "headwind", second, tls=False, number="h1")
        await bench.send(by("tablet-reset").model_copy(update={"id": "7.2"}))
    assert bench.steps == [("accepted", ""), ("failed", "misconfigured")] * 2
    assert "cookies" in bench.answers[1].detail
    assert all(answer.permanent for answer in bench.answers[1::2])
    assert (device.received, mdm.pushed) == ([], [])


async def test_headwind_is_proved_by_a_report_that_is_newer_than_the_order(bench: Bench) -> None:
    mdm = MdmServer("fleet", "geheim", [Managed("h1", "R1", kiosk=False)])
    async with running(mdm) as port:
        put(bench, "headwind", port, tls=False, number="h1")
        sent = bench.send(by("tablet-configuration"))
        await until(lambda: len(bench.answers) == 2)
        await bench.time.advance(60)
        await sent
    assert bench.steps == PROVED
    assert wrong(bench, "tablet-configuration") == []


async def test_a_tablet_that_reports_late_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.drivers.headwind.LOOK_EVERY_S", 0.05)
    mdm = MdmServer("fleet", "geheim", [Managed("h1", "R1", hears=False)])
    mdm.tablets[0].extra["lastUpdate"] = mdm.stamp()
    async with running(mdm) as port:
        put(bench, "headwind", port, tls=False, number="h1")
        sent = bench.send(by("tablet-configuration"))
        await until(lambda: len(bench.answers) == 2)
        await bench.time.advance(60)
        asked = mdm.searches
        await until(lambda: mdm.searches > asked + 2)
        mdm.tablets[0].extra["lastUpdate"] += 1
        await sent
    assert bench.steps == PROVED


async def test_a_tablet_that_does_not_report_is_unknown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.drivers.headwind.LOOK_EVERY_S", 20)
    mdm = MdmServer("fleet", "geheim", [Managed("h1", "R1", hears=False)])
    mdm.tablets[0].extra["lastUpdate"] = mdm.stamp()
    async with running(mdm) as port:
        put(bench, "headwind", port, tls=False, number="h1")
        sent = bench.send(by("tablet-configuration"))
        await until(lambda: len(bench.answers) == 2)
        await bench.time.advance(60)
        for looks in (1, 2):
            await until(lambda looks=looks: mdm.searches == looks + 1)  # type: ignore[misc]
            await asyncio.sleep(0.05)
            await bench.time.advance(5)
        await sent
    assert bench.steps == [("accepted", ""), ("acted", ""), ("unknown", "unreachable")]
    assert "since the order" in bench.answers[-1].detail
