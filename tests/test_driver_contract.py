"""One contract for all drivers: right facts, the right error in each mood, no secret, no rest."""

import asyncio
import json
import logging
import os
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.credentials import Credentials
from agents.driver import Driver, DriverError, Misconfigured, MissingCredential
from agents.drivers import DRIVERS
from agents.facts import check_facts
from agents.messages import Facts, Order, Target
from agents.simulator import Mood, Simulated
from tests.rigs import RIGS, SECRET, Rig

pytestmark = pytest.mark.anyio
AMPLE = timedelta(seconds=15)
SLACK_S = 0.5
BAD = [(rig, mood) for rig in RIGS for mood in rig.fails]


@dataclass
class Bench:
    """A running device and the driver that looks at it."""

    rig: Rig
    device: Simulated
    driver: Driver
    target: Target

    async def poll(self, timeout: timedelta = AMPLE) -> Facts:
        return await self.driver.poll(self.target, timeout)

    async def fail(self, mood: Mood) -> DriverError:
        """Poll in a bad mood, within the time that silence needs. Returns the error."""
        self.device.mood = mood
        silent = mood in self.rig.silent
        timeout = timedelta(seconds=self.rig.patience_s) if silent else AMPLE
        began = asyncio.get_running_loop().time()
        with pytest.raises(DriverError) as caught:
            await self.poll(timeout)
        took = asyncio.get_running_loop().time() - began
        assert took < timeout.total_seconds() + SLACK_S
        return caught.value


Make = Callable[[Rig], Any]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Opens a bench; at its end no descriptor and no thread may be left."""

    @asynccontextmanager
    async def make(rig: Rig) -> AsyncIterator[Bench]:
        monkeypatch.setenv("RAUMWART_SECRET_RIG", rig.secret())
        device = rig.device(tmp_path)
        port = await device.start()
        before = _descriptors(), _threads()
        driver = DRIVERS[rig.driver](Credentials(None), tmp_path / "state")
        try:
            yield Bench(rig, device, driver, rig.target(port))
            device.mood = Mood.OK
            await driver.close()
            await _until(lambda: _descriptors() <= before[0] and _threads() <= before[1])
        finally:
            await device.stop()

    return make


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _threads() -> int:
    """Without the loop's own pool, which asyncio keeps for name look-ups."""
    return sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())


async def _until(settled: Callable[[], bool]) -> None:
    """Closing takes a moment on the other side."""
    for _ in range(100):
        if settled():
            return
        await asyncio.sleep(0.03)
    left = [os.path.realpath(one) for one in Path("/proc/self/fd").iterdir()]
    pytest.fail(f"left behind: {left}, {threading.enumerate()}")


def _order(**steps: Any) -> Order:
    at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    return Order(
        id="r1.1", site="s", device="d1", room="r1", steps=steps, not_before=at, not_after=at
    )


def _name(value: object) -> str:
    return value.driver if isinstance(value, Rig) else str(value)


each_driver = pytest.mark.parametrize("rig", RIGS, ids=_name)
each_bad_mood = pytest.mark.parametrize(("rig", "mood"), BAD, ids=_name)


def test_every_driver_has_its_rig_and_every_mood_its_error() -> None:
    assert sorted(rig.driver for rig in RIGS) == sorted(DRIVERS)
    for rig in RIGS:
        if rig.driver != "ping":
            assert set(rig.fails) == set(Mood) - {Mood.OK}


@each_driver
async def test_facts_are_known_and_in_their_units(rig: Rig, bench: Make) -> None:
    async with bench(rig) as at:
        facts = await at.poll()
    assert facts
    assert check_facts(facts) == []
    assert json.loads(json.dumps(facts)) == facts


@each_bad_mood
async def test_each_mood_has_its_error_and_its_end(rig: Rig, mood: Mood, bench: Make) -> None:
    async with bench(rig) as at:
        error = await at.fail(mood)
        assert isinstance(error, rig.fails[mood]), repr(error)
        assert error.code
        assert 0 < len(str(error)) <= 500
        at.device.mood = Mood.OK
        assert await at.poll()


@each_driver
async def test_no_secret_comes_out(rig: Rig, bench: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    async with bench(rig) as at:
        said.append(json.dumps(await at.poll()))
        for mood in rig.fails:
            error = await at.fail(mood)
            said += [str(error), repr(error), *traceback.format_exception(error)]
            said += [str(cause) for cause in (error.__cause__, error.__context__)]
        said.append(repr(at.driver) + repr(vars(at.driver)))
    for text in [*said, caplog.text]:
        assert SECRET not in text


@each_driver
async def test_a_cancelled_poll_ends_cleanly(rig: Rig, bench: Make) -> None:
    async with bench(rig) as at:
        at.device.mood = Mood.HANG if Mood.HANG in rig.fails else Mood.OFF
        for pause in (0.0, 0.05, 0.2):
            polling = asyncio.create_task(at.poll())
            await asyncio.sleep(pause)
            polling.cancel()
            async with asyncio.timeout(SLACK_S):
                with pytest.raises(asyncio.CancelledError):
                    await polling
        at.device.mood = Mood.OK
        assert await at.poll()


@each_driver
async def test_two_polls_at_once_are_harmless(rig: Rig, bench: Make) -> None:
    async with bench(rig) as at:
        one, two = await asyncio.gather(at.poll(), at.poll())
        assert set(one) == set(two) == set(await at.poll())


@each_driver
async def test_a_look_without_steps_is_a_poll(rig: Rig, bench: Make) -> None:
    async with bench(rig) as at:
        assert await at.driver.act(at.target, _order(), AMPLE) is None
        looked = await at.driver.look(at.target, _order(), AMPLE)
        assert check_facts(looked) == []
        assert set(looked) == set(await at.poll())


@each_driver
async def test_steps_it_does_not_know_are_refused(rig: Rig, bench: Make) -> None:
    async with bench(rig) as at:
        with pytest.raises(Misconfigured) as caught:
            await at.driver.act(at.target, _order(no_such_step=SECRET), AMPLE)
        assert SECRET not in str(caught.value)


@each_driver
async def test_a_credential_that_is_not_here(
    rig: Rig, bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not rig.credential:
        return
    async with bench(rig) as at:
        monkeypatch.delenv("RAUMWART_SECRET_RIG")
        with pytest.raises(MissingCredential):
            await at.poll()
        monkeypatch.setenv("RAUMWART_SECRET_RIG", json.dumps({"other": SECRET}))
        with pytest.raises(MissingCredential) as caught:
            await at.poll()
        assert SECRET not in str(caught.value)
