"""A reset that was begun and is stopped at the site: by its agent over a real socket, with the
laptop's real script, as long as that has deleted nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.agent import Agent
from agents.bus import encode
from agents.bus_local import LocalBus
from agents.checks import EARLY, objection, refusal
from agents.credentials import Credentials
from agents.drivers.ssh import Ssh
from agents.messages import Busy, Hold, Order, Roster, Target
from agents.simulator import Mood
from agents.simulator.ssh import Laptop
from tests.agent_bench import Centre, now, running
from tests.room import MINUTE
from tests.virtual_clock import until

SECRET = "a laptop's password"
COUNTDOWN = {"tier": "quick", "on_active_session": "countdown", "countdown_s": 60}


class Scene:
    """An agent, a laptop at which somebody sits, and what the centre tells and hears."""

    def __init__(self, bus: LocalBus, laptop: Laptop, port: int, folder: Path) -> None:
        self.laptop, self.centre = laptop, Centre(bus)
        self._bus, self._folder, self._revision = bus, folder, 0
        self._target = Target(
            device="d1", room="r1", kind="laptop", driver="ssh", address="127.0.0.1", port=port,
            credential="laptop", every_s=1,
        )  # fmt: skip

    async def tell(self, **changes: Any) -> None:
        self._revision += 1
        fields: dict[str, Any] = {
            "site": "north", "revision": self._revision, "sent_at": now(), "busy": [],
            "targets": [self._target], "trusted_until": {"r1": now() + timedelta(minutes=20)},
        }  # fmt: skip
        await self._bus.publish("roster.north", encode(Roster(**{**fields, **changes})))

    async def order(self, **steps: Any) -> None:
        order = an_order(not_before=now() - MINUTE, not_after=now() + 5 * MINUTE, steps=steps)
        await self._bus.publish("order.north", encode(order))

    def counting(self) -> bool:
        """The countdown is on the screen."""
        warning = self._folder / "run" / "warning.json"
        return warning.exists() and json.loads(warning.read_text())["ends_at"] > 0

    @property
    def answers(self) -> list[tuple[str, str]]:
        return [(one.step.value, one.reason) for one in self.centre.outcomes]


def an_order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "id": "7.1", "site": "north", "device": "d1", "room": "r1", "max_runtime_s": 180,
        "steps": COUNTDOWN,
    }  # fmt: skip
    return Order(**{**fields, **changes})


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(
        "RAUMWART_SECRET_LAPTOP", json.dumps({"user": "raumwart", "password": SECRET})
    )

    @asynccontextmanager
    async def scene() -> AsyncIterator[Scene]:
        bus = LocalBus()
        laptop = Laptop(tmp_path / "laptop", seed=1, serial="", password=SECRET)
        laptop.plant_traces()
        laptop.refuse = True
        stage = Scene(bus, laptop, await laptop.start(), tmp_path / "laptop")
        agent = Agent(["north"], bus, Credentials(None), tmp_path / "agent", drivers={"ssh": Ssh})
        try:
            async with running(agent.run(), stage.centre.run()):
                await stage.tell()
                await until(lambda: stage.centre.readings)
                yield stage
        finally:
            await laptop.stop()

    def run(what: Callable[[Scene], Any]) -> None:
        async def whole() -> None:
            async with scene() as stage:
                await what(stage)

        asyncio.run(whole())

    return run


@pytest.mark.parametrize(
    "said",
    [
        lambda: {"recalled": ["7.1"]},
        lambda: {"holds": [Hold(device="d1", start=now() - MINUTE)]},
        lambda: {"busy": [Busy(room="r1", start=now() - MINUTE, end=now() + 60 * MINUTE)]},
    ],
    ids=["taken back", "pause", "course now"],
)
def test_a_countdown_ends_and_nothing_is_deleted(play: Any, said: Callable[[], Any]) -> None:
    async def scene(stage: Scene) -> None:
        await stage.order(**COUNTDOWN)
        await until(stage.counting)
        await stage.tell(**said())
        await until(lambda: len(stage.answers) > 1)
        assert stage.answers == [("accepted", ""), ("refused", "aborted")]
        assert not stage.counting()
        assert (stage.laptop.home / "Downloads").exists()

    play(scene)


def test_a_course_that_was_put_in_stops_it_when_it_begins(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.agent.RECONSIDER_S", 0.2, raising=False)

    async def scene(stage: Scene) -> None:
        await stage.order(**COUNTDOWN)
        await until(stage.counting)
        start = now() + EARLY + timedelta(seconds=2)
        await stage.tell(busy=[Busy(room="r1", start=start, end=start + 60 * MINUTE)])
        await asyncio.sleep(1)
        assert stage.counting(), "nobody is there yet"
        await until(lambda: len(stage.answers) > 1)
        assert stage.answers == [("accepted", ""), ("refused", "aborted")]
        assert (stage.laptop.home / "Downloads").exists()

    play(scene)


def test_a_laptop_that_was_out_of_reach_for_a_while_is_stopped_all_the_same(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("LIMIT_S", 0.2), ("AGAIN_S", 0.05)):
        monkeypatch.setattr(f"agents.recall.{name}", seconds)

    async def scene(stage: Scene) -> None:
        await stage.order(**COUNTDOWN)
        await until(stage.counting)
        stage.laptop.mood = Mood.HANG
        await stage.tell(recalled=["7.1"])
        await asyncio.sleep(3)
        monkeypatch.setattr("agents.recall.LIMIT_S", 3.0)
        await asyncio.sleep(0.5)  # no short try is cut off while it shakes hands
        stage.laptop.mood = Mood.OK
        await until(lambda: len(stage.answers) > 1)
        assert stage.answers == [("accepted", ""), ("refused", "aborted")]
        assert (stage.laptop.home / "Downloads").exists()

    play(scene)


def test_what_is_told_of_others_stops_nothing(play: Any) -> None:
    async def scene(stage: Scene) -> None:
        await stage.order(**COUNTDOWN)
        await until(stage.counting)
        elsewhere = [Busy(room="r2", start=now() - MINUTE, end=now() + MINUTE)]
        await stage.tell(recalled=["7.2", "8.1"], plan_rev=5, trusted_until={}, busy=elsewhere)
        await asyncio.sleep(1.5)
        assert stage.counting()
        assert stage.answers == [("accepted", "")]
        await stage.tell(recalled=["7.1"])
        await until(lambda: len(stage.answers) > 1)

    play(scene)


def test_an_order_that_comes_after_its_recall_is_refused(play: Any) -> None:
    async def scene(stage: Scene) -> None:
        await stage.tell(recalled=["7.1"])
        await asyncio.sleep(0.2)
        await stage.order(**COUNTDOWN)
        await until(lambda: stage.answers)
        assert stage.answers == [("refused", "recalled")]

    play(scene)


def test_what_has_begun_to_delete_comes_to_its_end(play: Any) -> None:
    async def scene(stage: Scene) -> None:
        stage.laptop.refuse = False
        await until(lambda: stage.centre.readings[-1].facts.get("sessions") == 0)
        await stage.order(tier="quick")
        await until(lambda: not (stage.laptop.home / "Downloads").exists())
        await stage.tell(recalled=["7.1"])
        await until(lambda: len(stage.answers) > 2)
        assert stage.answers == [("accepted", ""), ("acted", ""), ("looked", "")]

    play(scene)


def test_only_what_somebody_said_since_stops_it() -> None:
    moment = now()
    told = Roster(
        site="north", revision=1, sent_at=moment, busy=[], plan_rev=9, recalled=["7.1"],
        targets=[Target(device="d1", room="r1", kind="laptop", driver="ssh", address="x")],
    )  # fmt: skip
    late = an_order(not_before=moment - 9 * MINUTE, not_after=moment - MINUTE)
    assert (refusal(late, told, moment), objection(late, told, moment)) == ("expired", "recalled")
    other = late.model_copy(update={"id": "7.2"})
    assert objection(other, told, moment) == ""
    assert objection(late, None, moment) == ""
    held = told.model_copy(update={"recalled": [], "holds": [Hold(start=moment)]})
    assert objection(other, held, moment) == "paused"
    assert objection(other.model_copy(update={"force": True}), held, moment) == ""
