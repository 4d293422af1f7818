"""A reset that was ordered and taken back: the site's agent stops the laptop if that has deleted
nothing yet, over a real socket and with the laptop's real script; and by page, API and shell."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from agents.agent import Agent
from agents.bus import encode
from agents.bus_local import LocalBus
from agents.checks import EARLY, objection, refusal
from agents.credentials import Credentials
from agents.drivers.ssh import Ssh
from agents.messages import Busy, Hold, Order, Roster, Step, Target
from agents.simulator import Mood
from agents.simulator.ssh import Laptop
from fleet import resets, roster
from fleet.cli import main
from fleet.settings import Settings
from inventory import ResetRun, RunState
from inventory.db import reading, session
from tests.agent_bench import Centre, now, running
from tests.room import MINUTE, add_course, claim, furnish, outcome, plan, runs, say
from tests.sample import House
from tests.virtual_clock import until

pytest_plugins = ("tests.house",)

S = Settings(reset_ahead_s=3600, reset_grace_s=120, reset_buffer_s=300)
SECRET = "a laptop's password"
COUNTDOWN = {"tier": "quick", "on_active_session": "countdown", "countdown_s": 60}


# --- at the site ---


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
        stage.laptop.mood = Mood.OK
        monkeypatch.setattr("agents.recall.LIMIT_S", 10.0)
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


# --- in the centre ---


def ask(engine: Engine, moment: datetime, **more: Any) -> str:
    with session(engine) as opened:
        return resets.request(opened, "r1-l1", moment, S, "IT", **more).id


def recall(engine: Engine, run: str, moment: datetime, **more: Any) -> RunState:
    with session(engine) as opened:
        return resets.recall(opened, run, moment, **more).state


def recalled(engine: Engine, moment: datetime) -> list[str]:
    with reading(engine) as opened:
        return roster.build(opened, "vhs", moment, S).recalled


def test_one_that_waits_is_dropped_at_once(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    run = ask(engine, now)
    assert recall(engine, run, now) is RunState.DROPPED
    assert claim(engine, now, S) == []
    assert recalled(engine, now) == []
    assert [(one.state, one.reason) for one in runs(engine)] == [(RunState.DROPPED, "recalled")]
    with pytest.raises(resets.ResetRefused, match="too late"):
        recall(engine, run, now)
    assert ask(engine, now), "it may be asked for again"


@pytest.mark.parametrize(
    ("step", "reason"),
    [(Step.REFUSED, "aborted"), (Step.REFUSED, "recalled"), (Step.FAILED, "unreachable")],
)
def test_one_on_its_way_is_dropped_when_nothing_was_touched(
    engine: Engine, now: datetime, step: Step, reason: str
) -> None:
    furnish(engine, now, laptops=1)
    run = ask(engine, now)
    (order,) = claim(engine, now, S)
    assert recalled(engine, now) == []
    assert recall(engine, run, now) is RunState.ORDERED
    assert recall(engine, run, now + MINUTE) is RunState.ORDERED, "safe to repeat"
    assert recalled(engine, now) == [order.id]
    say(engine, outcome(order, step, now, reason=reason), now)
    (row,) = runs(engine)
    assert (row.state, row.reason, row.recalled_at) == (RunState.DROPPED, "recalled", now)
    assert recalled(engine, now) == []


def test_too_late_is_what_it_is(engine: Engine, now: datetime) -> None:
    """Done is done, failed is failed; but it is not begun once more."""
    furnish(engine, now, laptops=3)
    with session(engine) as opened:
        asked = resets.request_room(opened, "r1", now, S, "IT").runs
        ids = {run.device_id: run.id for run in asked}
    orders = {order.device: order for order in claim(engine, now, S)}
    for run in ids.values():
        assert recall(engine, run, now) is RunState.ORDERED
    clean = {"home_clean": True, "residue": 0, "reset_id": orders["r1-l1"].id}
    ended = {"started_at": now, "finished_at": now}
    say(engine, outcome(orders["r1-l1"], Step.ACTED, now, **ended), now)
    with pytest.raises(resets.ResetRefused):
        recall(engine, ids["r1-l1"], now)
    say(engine, outcome(orders["r1-l1"], Step.LOOKED, now, facts=clean, **ended), now)
    say(engine, outcome(orders["r1-l2"], Step.FAILED, now, reason="reset_failed"), now)
    with session(engine) as opened:
        resets.expire(opened, now + 60 * MINUTE)
    states = {run.device_id: (run.state, run.reason) for run in runs(engine)}
    assert states == {
        "r1-l1": (RunState.VERIFIED, ""),
        "r1-l2": (RunState.FAILED, "reset_failed"),
        "r1-l3": (RunState.UNKNOWN, "no_answer"),
    }
    assert claim(engine, now + MINUTE, S) == []


def test_an_order_that_never_left_is_not_sent_after_its_recall(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    run = ask(engine, now)
    orders = claim(engine, now, S)
    recall(engine, run, now)
    with session(engine) as opened:
        resets.give_back(opened, orders, now)
    assert claim(engine, now + MINUTE, S) == []
    with session(engine) as opened:
        resets.expire(opened, now + MINUTE)
    (row,) = runs(engine)
    assert (row.state, row.reason) == (RunState.DROPPED, "recalled")


def test_what_the_plan_made_and_what_is_another_devices_is_not_taken_back(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=2)
    add_course(engine, now + 30 * MINUTE)
    run = ask(engine, now)
    plan(engine, now, S)
    planned = [one.id for one in runs(engine) if one.course_id is not None]
    assert planned
    for other in (*planned, "nothing"):
        with pytest.raises(resets.ResetRefused):
            recall(engine, other, now)
    with pytest.raises(resets.ResetRefused):
        recall(engine, run, now, device_id="r1-l2")
    assert recall(engine, run, now, device_id="r1-l1") is RunState.DROPPED


# --- by page, API and shell ---

DEVICE = "cellberg-1-laptop-1"
BUTTON = "Zurücksetzung zurücknehmen"


def order(house: House) -> ResetRun:
    with session(house.engine) as opened:
        return resets.request(opened, DEVICE, house.clock.now, S, "anna")


def state_of(house: House, run: str) -> RunState:
    with reading(house.engine) as opened:
        return opened.get_one(ResetRun, run).state


def test_a_button_takes_it_back(house: House) -> None:
    run = order(house)
    browser, csrf = house.browser("anna"), house.people["anna"].csrf
    assert BUTTON in browser.get(f"/geraet/{DEVICE}").text
    form = {"csrf": csrf, "run": run.id}
    other = browser.post("/geraet/cellberg-1-laptop-2/zuruecknehmen", data=form)
    assert other.status_code == 409
    assert "lässt sich nicht mehr zurücknehmen" in other.text
    done = browser.post(f"/geraet/{DEVICE}/zuruecknehmen", data=form)
    assert done.headers["location"].startswith(f"/geraet/{DEVICE}?hinweis=reset_recalled")
    page = browser.get(done.headers["location"]).text
    assert "Von Hand zurückgenommen" in page
    assert BUTTON not in page
    assert state_of(house, run.id) is RunState.DROPPED


def test_the_page_says_what_becomes_of_it(house: House) -> None:
    run, browser = order(house), house.browser("anna")
    with session(house.engine) as opened:
        (sent,) = (one for one in resets.claim(opened, house.clock.now, S) if one.device == DEVICE)
        resets.recall(opened, run.id, house.clock.now)
    page = browser.get(f"/geraet/{DEVICE}").text
    assert "Wird zurückgenommen, wenn noch nichts gelöscht ist." in page
    assert BUTTON not in page
    with session(house.engine) as opened:
        resets.apply_outcome(opened, outcome(sent, Step.ACTED, house.clock.now), house.clock.now)
    assert "Zum Zurücknehmen war es zu spät." in browser.get(f"/geraet/{DEVICE}").text


def test_only_who_may_reset_may_take_back(house: House) -> None:
    run = order(house)
    for name, status in (("vera", 403), ("ida", 404)):
        browser = house.browser(name)
        form = {"csrf": house.people[name].csrf, "run": run.id}
        assert browser.post(f"/geraet/{DEVICE}/zuruecknehmen", data=form).status_code == status
    assert state_of(house, run.id) is RunState.PLANNED


def test_the_shell_takes_it_back_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_DB", str(house.engine.url))
    run = order(house)
    done = CliRunner().invoke(main, ["recall", run.id])
    assert (done.exit_code, "was taken back" in done.output) == (0, True)
    again = CliRunner().invoke(main, ["recall", run.id])
    assert again.exit_code == 1
    assert "It is too late to take this reset back." in " ".join(again.stderr.split())
