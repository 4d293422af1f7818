"""Rooms whose laptops sleep at night: who is woken, who is asked by day, who is left alone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from agents.messages import Step
from inventory import DeviceState, ResetRun, RunState
from inventory.db import reading, session
from tests import room as rooms
from tests.room import HOUR, MINUTE, add_course, outcome, say
from tests.test_canary import (
    DAY,
    NIGHT,
    SETTINGS,
    a_night,
    a_reset,
    answer,
    canaries,
    doubts,
    furnish,
    tick,
)

BERLIN = ZoneInfo("Europe/Berlin")
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def local(day: int, hour: int, minute: int = 0) -> datetime:
    """In November 2026; the 24th follows NIGHT."""
    return datetime(2026, 11, day, hour, minute, tzinfo=BERLIN).astimezone(UTC)


def asleep(engine: Engine, *devices: str) -> None:
    for device in devices:
        rooms.change(engine, DeviceState, device, reachable=False)


def nobody_wakes(engine: Engine) -> list[str]:
    """A whole night in which every order is refused by a laptop that sleeps; who was asked."""
    asked = []
    for n in range(30):
        now = NIGHT + n * 12 * MINUTE
        for order in tick(engine, now):
            asked.append(order.device)
            say(engine, outcome(order, Step.REFUSED, now, reason="asleep"), now)
    return list(dict.fromkeys(asked))


def test_those_that_can_be_woken_come_before_those_that_cannot(engine: Engine) -> None:
    furnish(engine, laptops=4)
    asleep(engine, "r1-l1", "r1-l2", "r1-l3")
    rooms.change(engine, rooms.Device, "r1-l3", mac="02:00:00:aa:bb:07")
    with session(engine) as opened:
        opened.get_one(rooms.Device, "r1-l4").recipe_id = None
    assert nobody_wakes(engine) == ["r1-l3", "r1-l1", "r1-l2"]


def test_an_order_lasts_long_enough_for_a_laptop_to_wake(engine: Engine) -> None:
    """The first one brings the packets and ends before the laptop is up; the next one finds it."""
    furnish(engine, laptops=1)
    asleep(engine, "r1-l1")
    (first,) = tick(engine, NIGHT)
    say(engine, outcome(first, Step.REFUSED, NIGHT + MINUTE, reason="asleep"), NIGHT + MINUTE)
    assert tick(engine, NIGHT + MINUTE) == []
    (second,) = tick(engine, NIGHT + 2 * MINUTE + timedelta(seconds=1))
    answer(engine, second, NIGHT + 3 * MINUTE)
    (run,) = canaries(engine)
    assert (run.state, run.attempts, run.failures) == (RunState.VERIFIED, 2, 0)


def test_what_the_night_did_not_bring_is_made_up_for_after_the_last_course(engine: Engine) -> None:
    furnish(engine, laptops=3)
    asleep(engine, "r1-l1", "r1-l2", "r1-l3")
    for begin in (10, 14):
        add_course(engine, local(24, begin))
    nobody_wakes(engine)
    assert tick(engine, local(24, 6, 30)) == [], "all sleep, and by day nobody is woken"
    rooms.change(engine, DeviceState, "r1-l2", reachable=True)
    for hour, minute in ((8, 30), (10, 30), (11, 30), (12, 30), (14, 30), (15, 0)):
        assert tick(engine, local(24, hour, minute)) == [], "courses are near, or between two"
    (order,) = tick(engine, local(24, 15, 3))
    assert order.device == "r1-l2"
    answer(engine, order, local(24, 15, 3))
    assert tick(engine, local(24, 16)) == []
    assert len(tick(engine, local(24, 20, 1))) == 1, "the next night is another one"


def test_early_before_the_first_course_too(engine: Engine) -> None:
    furnish(engine)
    add_course(engine, local(24, 10))
    assert tick(engine, local(24, 5, 50)) != []
    with session(engine) as opened:
        for run in canaries(engine):
            opened.delete(run)
    assert tick(engine, local(24, 8, 1)) == []
    assert [order.device for order in tick(engine, local(24, 7, 55))] == ["r1-l1"]


def test_by_day_as_many_are_asked_as_at_night_and_not_on_days_without_a_course(
    engine: Engine,
) -> None:
    furnish(engine, laptops=5)
    assert tick(engine, local(24, 12)) == []
    add_course(engine, local(24, 10))
    asked = []
    for n in range(12):
        now = local(24, 11, 5) + n * 15 * MINUTE
        for order in tick(engine, now):
            asked.append(order.device)
            say(engine, outcome(order, Step.FAILED, now, reason="unreachable"), now)
    assert list(dict.fromkeys(asked)) == ["r1-l1", "r1-l2", "r1-l3"]


def test_one_that_passed_at_night_is_not_repeated_by_day(engine: Engine) -> None:
    furnish(engine)
    add_course(engine, local(24, 10))
    a_night(engine, NIGHT)
    assert tick(engine, local(24, 11, 30)) == []


def test_where_all_are_prepared_one_is_prepared_once_more(engine: Engine) -> None:
    """Else a room whose laptops are made ready in the evening would never get one."""
    furnish(engine, laptops=1)
    add_course(engine, NIGHT + 10 * HOUR)
    rooms.plan(engine, NIGHT, SETTINGS)
    (order,) = rooms.claim(engine, NIGHT, SETTINGS)
    say(engine, rooms.looked(order, NIGHT + MINUTE), NIGHT + 2 * MINUTE)
    later = NIGHT + 10 * MINUTE
    (test,) = tick(engine, later)
    assert test.steps["canary"] is True
    say(engine, outcome(test, Step.ACTED, later, finished_at=later + MINUTE), later + MINUTE)
    answer(engine, test, later)
    assert canaries(engine)[0].state is RunState.VERIFIED
    rooms.plan(engine, later + 3 * MINUTE, SETTINGS)
    after = later + 14 * MINUTE
    (again,) = rooms.claim(engine, after, SETTINGS)
    assert "canary" not in again.steps
    say(engine, rooms.looked(again, after + MINUTE), after + 2 * MINUTE)
    with reading(engine) as opened:
        proved = opened.get_one(DeviceState, "r1-l1").clean_run_id
        assert proved == again.id.partition(".")[0]
        assert opened.get_one(ResetRun, proved).course_id is not None


def test_it_keeps_the_alarm_for_the_next_course(engine: Engine) -> None:
    """It prepares for no course: the laptop wakes itself for the very next one."""
    furnish(engine)
    for hours in (30, 40):
        add_course(engine, NIGHT + hours * HOUR)
    (order,) = tick(engine, NIGHT)
    wake = datetime.fromisoformat(order.steps["wake_at"])
    assert wake == NIGHT + 30 * HOUR - timedelta(seconds=SETTINGS.reset_lead_s) - 10 * MINUTE


def test_a_room_used_once_a_week_is_never_overdue(engine: Engine) -> None:
    furnish(engine)
    for week in range(3):
        evening = NIGHT + week * 7 * DAY
        a_reset(engine, evening - 12 * HOUR)
        assert doubts(engine, evening - 10 * HOUR) == {}
        a_night(engine, evening)
