"""A projector is switched off after the last course of the day, and never before another one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from agents.messages import Order, Step
from fleet import overrides, resets
from fleet.overrides import Scope
from fleet.resets.rest import day_of
from fleet.settings import Settings
from inventory import (
    Course,
    DeviceKind,
    DeviceState,
    Feed,
    OverrideKind,
    ResetRun,
    RunState,
    Service,
)
from inventory.db import reading, session
from inventory.recipes import BUILT_IN, ensure_recipes
from tests.projectors import driver, on, order, running, target
from tests.room import (
    HOUR,
    MINUTE,
    add_course,
    add_device,
    change,
    claim,
    furnish,
    looked,
    outcome,
    plan,
    runs,
    say,
)
from tests.sample import House

pytest_plugins = ("tests.house",)

S = Settings(reset_grace_s=120, reset_buffer_s=300)
NINE = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
"""Nine in the evening in Berlin: the last course has just ended."""
AFTER = NINE + 2 * MINUTE
BEAMER = "r1-b"


def furnish_evening(engine: Engine, **more: Any) -> int:
    furnish(engine, NINE, laptops=0)
    with session(engine) as opened:
        ensure_recipes(opened)
        told = {"kind": DeviceKind.PROJECTOR, "driver": "pjlink", "recipe_id": "projector-ready"}
        add_device(opened, BEAMER, NINE, **{**told, **more})
    lit(engine, NINE)
    return add_course(engine, NINE - HOUR)


def lit(engine: Engine, now: datetime, power: str = "on") -> None:
    change(engine, DeviceState, BEAMER, facts={"power": power}, facts_at=now, taken_at=now)
    change(engine, Feed, "f-r1", good_at=now)


def rest(engine: Engine, now: datetime) -> list[ResetRun]:
    with session(engine) as opened:
        resets.plan_rest(opened, now, S)
    return [run for run in runs(engine) if run.recipe_id == "projector-rest"]


def put_to_rest(engine: Engine, now: datetime) -> Order:
    rest(engine, now)
    (order,) = claim(engine, now, S)
    facts = {"power": "standby", "at_rest": True}
    say(engine, looked(order, now, facts=facts), now)
    return order


def test_it_is_switched_off_once_and_proved(engine: Engine) -> None:
    furnish_evening(engine)
    assert rest(engine, NINE + MINUTE) == [], "the grace is not over"
    (order,) = [put_to_rest(engine, AFTER)]
    assert order.steps == {"power": "standby"}
    (run,) = rest(engine, AFTER)
    assert (run.state, run.course_id, run.requested_by) == (RunState.VERIFIED, None, "plan")
    lit(engine, AFTER + HOUR)
    assert len(rest(engine, AFTER + HOUR)) == 1, "who switches it on again wants it on"


def test_rest_is_no_readiness(engine: Engine) -> None:
    furnish_evening(engine)
    change(engine, DeviceState, BEAMER, clean_run_id="earlier", clean_at=NINE)
    put_to_rest(engine, AFTER)
    with reading(engine) as opened:
        assert opened.get_one(DeviceState, BEAMER).clean_run_id is None
    morning = add_course(engine, NINE + 12 * HOUR)
    at = NINE + 12 * HOUR - 15 * MINUTE
    lit(engine, at, "standby")
    plan(engine, at, S)
    (order,) = claim(engine, at, S)
    assert order.steps["power"] == "on"
    assert [run.course_id for run in runs(engine) if run.state is RunState.ORDERED] == [morning]


@pytest.mark.parametrize(
    ("start", "rests"),
    [
        (timedelta(minutes=20), False),
        (timedelta(hours=3), False),  # midnight is not the end of the day
        (timedelta(hours=6, minutes=50), False),  # ten to four
        (timedelta(hours=7), True),
        (timedelta(hours=12), True),
    ],
)
def test_never_when_a_course_follows(engine: Engine, start: timedelta, rests: bool) -> None:
    furnish_evening(engine)
    add_course(engine, NINE + start)
    assert bool(rest(engine, AFTER)) is rests


def test_not_before_an_early_course_of_the_next_day(engine: Engine) -> None:
    furnish_evening(engine)
    add_course(engine, NINE + 7 * HOUR)
    late = NINE + 6 * HOUR + 30 * MINUTE
    lit(engine, late)
    assert rest(engine, late) == [], "in half an hour people come"
    lit(engine, late - 10 * MINUTE)
    assert len(rest(engine, late - 10 * MINUTE)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe_id": "projector-stays-on"},
        {"recipe_id": None},
        {"service": Service.REPAIR},
    ],
)
def test_which_projectors_stay_on(engine: Engine, changes: dict[str, Any]) -> None:
    furnish_evening(engine, **changes)
    assert rest(engine, AFTER) == []


def test_what_keeps_it_as_it_is(engine: Engine) -> None:
    furnish_evening(engine)
    for power in ("standby", "cooling"):
        lit(engine, AFTER, power)
        assert rest(engine, AFTER) == [], power
    lit(engine, AFTER - 6 * MINUTE)
    assert rest(engine, AFTER) == [], "perhaps it is off by now"
    lit(engine, AFTER)
    change(engine, Feed, "f-r1", good_at=AFTER - 30 * HOUR)
    assert rest(engine, AFTER) == [], "perhaps a course is running"
    lit(engine, AFTER)
    with session(engine) as opened:
        blocked = overrides.say(
            opened, OverrideKind.BLOCK, Scope(room="r1"), NINE, "IT", until=NINE + HOUR
        )
    assert rest(engine, AFTER) == [], "the room is in use"
    with session(engine) as opened:
        overrides.end(opened, blocked.id or 0, AFTER, "IT")
        paused = overrides.say(opened, OverrideKind.PAUSE, Scope(), AFTER, "IT")
    assert rest(engine, AFTER) == [], "everything stands still"
    with session(engine) as opened:
        overrides.end(opened, paused.id or 0, AFTER, "IT")
    assert len(rest(engine, AFTER)) == 1


def test_a_room_without_a_course_today_is_left_alone(engine: Engine) -> None:
    course = furnish_evening(engine)
    change(engine, Course, course, cancelled=True)
    assert rest(engine, AFTER) == []


def test_three_tries_and_no_more(engine: Engine) -> None:
    furnish_evening(engine)
    at = AFTER
    for number in range(1, 6):
        lit(engine, at)
        assert len(rest(engine, at)) == min(number, 3)
        for sent in claim(engine, at, S):
            failed = outcome(sent, Step.FAILED, at, reason="reset_failed", permanent=True)
            say(engine, failed, at)
        at += 10 * MINUTE


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        ("2026-11-23T03:59+01:00", "2026-11-22T04:00+01:00"),
        ("2026-11-23T04:00+01:00", "2026-11-23T04:00+01:00"),
        ("2026-10-25T12:00+01:00", "2026-10-25T04:00+01:00"),
        ("2027-03-28T12:00+02:00", "2027-03-28T04:00+02:00"),
    ],
)
def test_the_day_of_courses(now: str, begins: str) -> None:
    begun, ends = day_of(datetime.fromisoformat(now))
    assert begun == datetime.fromisoformat(begins)
    assert ends.hour == 4


@pytest.mark.anyio
async def test_on_a_real_socket() -> None:
    """The built-in recipes as orders: off and proved, and on again with a moving picture."""
    projector = on(pjlink_class=2)
    projector.frozen = "1"
    async with running(projector) as port:
        for name in ("projector-ready", "projector-rest"):
            recipe = BUILT_IN[name]
            said = order(**recipe.steps)
            await driver().act(target(port), said, timedelta(seconds=5))
            facts = await driver().look(target(port), said, timedelta(seconds=5))
            assert resets.verify(recipe.expects, facts, said.id) == [], name
            assert name == "projector-rest" or projector.frozen == "0"
    assert projector.received.count("%1POWR 0") == 1


def test_the_page_of_the_device_tells(house: House) -> None:
    path, now = "/geraet/ahlendorf-1-beamer-1", house.clock.now
    with session(house.engine) as opened:
        opened.add(
            ResetRun(
                id="rest", device_id="ahlendorf-1-beamer-1", recipe_id="projector-rest",
                state=RunState.VERIFIED, planned_at=now, not_before=now, not_after=now,
                deadline=now, next_try_at=now, looked_at=now, evidence={"at_rest": True},
            )
        )  # fmt: skip
    page = house.browser("anna").get(path).text
    assert "wird es ausgeschaltet" in page
    assert "nach dem letzten Kurs des Tages" in page
    assert "Das Gerät wirft kein Bild mehr." in page
    assert "nach dem letzten Kurs des Tages" not in house.browser("anna").get("/heute").text
    assert "ausgeschaltet" not in house.browser("anna").get("/geraet/ahlendorf-1-laptop-1").text
