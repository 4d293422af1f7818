"""The reset's own test: whose turn it is and when, and what a failed one does to the rooms."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from agents.messages import Order, Step
from fleet import canary, readiness, resets
from fleet.settings import Settings
from inventory import Device, DeviceKind, DeviceState, Recipe, ResetRun, RunState, Service
from inventory.db import reading, session
from inventory.recipes import BUILT_IN, CANARY
from tests import room as rooms
from tests.room import HOUR, MINUTE, add_course, claim, heard, outcome, say

SETTINGS = Settings()
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = datetime(2026, 11, 23, 23, tzinfo=BERLIN).astimezone(UTC)
DAY = timedelta(days=1)
GONE = {
    "home_clean": True,
    "residue": 0,
    "used_since": False,
    "canary_planted": 9,
    "canary_unseen": 0,
}


def furnish(engine: Engine, *, room: str = "r1", laptops: int = 2) -> None:
    rooms.furnish(engine, NIGHT, room=room, laptops=laptops)
    with session(engine) as opened:
        if opened.get(Recipe, CANARY) is None:
            opened.add(Recipe.model_validate(BUILT_IN[CANARY].model_dump()))


def tick(engine: Engine, now: datetime) -> list[Order]:
    """The timetable is read, a canary is planned where one is due, and what is due is sent."""
    heard(engine, now)
    with session(engine) as opened:
        resets.expire(opened, now)
        canary.plan(opened, now, SETTINGS)
    return sorted(claim(engine, now, SETTINGS), key=lambda order: order.device)


def answer(engine: Engine, order: Order, now: datetime, **facts: Any) -> None:
    """The laptop did it, and a look a minute later shows these facts."""
    told = GONE | {"reset_id": order.id} | facts
    ended = now + MINUTE
    look = outcome(order, Step.LOOKED, ended + MINUTE, finished_at=ended, facts=told)
    say(engine, look, ended + MINUTE)


def a_night(engine: Engine, now: datetime, **facts: Any) -> list[str]:
    """Every room's canary of this night, with this result; the laptops that carried them."""
    orders = tick(engine, now)
    for order in orders:
        answer(engine, order, now, **facts)
    return [order.device for order in orders]


def a_reset(engine: Engine, at: datetime, device: str = "r1-l1") -> None:
    """An ordinary reset, proved then: what the room's readiness rests on."""
    with session(engine) as opened:
        opened.add(
            ResetRun(
                id=f"{device}-{at:%d%H%M}", device_id=device, recipe_id="wipe",
                state=RunState.VERIFIED, planned_at=at, not_before=at, not_after=at, deadline=at,
                next_try_at=at, looked_at=at,
            )
        )  # fmt: skip


def doubts(engine: Engine, now: datetime, *names: str) -> dict[str, str]:
    with reading(engine) as opened:
        return canary.doubts(opened, names or ("r1",), now)


def stand(engine: Engine, now: datetime, room: str = "r1") -> canary.Stand:
    with reading(engine) as opened:
        return next(one for one in canary.stands(opened, now) if one.room == room)


def canaries(engine: Engine) -> list[ResetRun]:
    with reading(engine) as opened:
        chosen = select(ResetRun).where(ResetRun.recipe_id == CANARY)
        return list(opened.exec(chosen.order_by(ResetRun.planned_at, ResetRun.id)))  # type: ignore[arg-type]


def test_one_per_room_and_night_and_each_laptop_in_its_turn(engine: Engine) -> None:
    furnish(engine, laptops=3)
    turns = [a_night(engine, NIGHT + n * DAY) for n in range(4)]
    assert turns == [["r1-l1"], ["r1-l2"], ["r1-l3"], ["r1-l1"]]
    assert tick(engine, NIGHT + 3 * DAY + 2 * HOUR) == []
    assert {run.state for run in canaries(engine)} == {RunState.VERIFIED}
    assert stand(engine, NIGHT + 3 * DAY + HOUR).state == "ok"
    assert doubts(engine, NIGHT + 3 * DAY + HOUR) == {}


def test_the_order_says_that_traces_are_to_be_planted(engine: Engine) -> None:
    furnish(engine)
    (order,) = tick(engine, NIGHT)
    assert order.steps["canary"] is True
    assert order.not_after <= NIGHT + 10 * MINUTE


@pytest.mark.parametrize(
    ("hour", "allowed"),
    [(19, False), (20, True), (23, True), (0, True), (5, True), (6, False), (12, False)],
)
def test_only_at_night_in_local_time(engine: Engine, hour: int, allowed: bool) -> None:
    furnish(engine)
    for day in (datetime(2026, 7, 1, hour, 30, tzinfo=BERLIN), NIGHT.astimezone(BERLIN)):
        now = day.replace(hour=hour, minute=30).astimezone(UTC)
        assert bool(tick(engine, now)) is allowed
        with session(engine) as opened:
            for run in opened.exec(select(ResetRun)):
                opened.delete(run)


def test_not_within_two_hours_of_a_course_and_not_while_one_is_running(engine: Engine) -> None:
    furnish(engine)
    add_course(engine, NIGHT + 110 * MINUTE)
    assert tick(engine, NIGHT) == []
    assert tick(engine, NIGHT + 120 * MINUTE) == []
    assert len(tick(engine, NIGHT + 180 * MINUTE)) == 1


def test_not_while_the_timetable_is_in_doubt(engine: Engine) -> None:
    furnish(engine)
    with session(engine) as opened:
        canary.plan(opened, NIGHT + 30 * DAY, SETTINGS)
    assert canaries(engine) == []


def test_a_laptop_that_is_prepared_for_a_course_is_left_alone(engine: Engine) -> None:
    furnish(engine)
    course = add_course(engine, NIGHT + 9 * HOUR)
    with session(engine) as opened:
        opened.add(
            ResetRun(
                id="ready", device_id="r1-l1", course_id=course, recipe_id="wipe",
                course_start=NIGHT + 9 * HOUR, state=RunState.VERIFIED, planned_at=NIGHT,
                not_before=NIGHT, not_after=NIGHT, deadline=NIGHT, next_try_at=NIGHT,
            )
        )  # fmt: skip
    assert [order.device for order in tick(engine, NIGHT)] == ["r1-l2"]


def test_one_that_only_waits_for_its_course_can_carry_it(engine: Engine) -> None:
    furnish(engine, laptops=1)
    course = add_course(engine, NIGHT + 9 * HOUR)
    with session(engine) as opened:
        opened.add(
            ResetRun(
                id="missed", device_id="r1-l1", course_id=course, recipe_id="wipe",
                course_start=NIGHT + 9 * HOUR, state=RunState.EXPIRED, reason="gap_too_short",
                planned_at=NIGHT, not_before=NIGHT, not_after=NIGHT, deadline=NIGHT,
                next_try_at=NIGHT,
            )
        )  # fmt: skip
    assert [order.device for order in tick(engine, NIGHT)] == ["r1-l1"]


def test_those_that_answer_come_first(engine: Engine) -> None:
    furnish(engine)
    rooms.change(engine, DeviceState, "r1-l1", reachable=False)
    assert [order.device for order in tick(engine, NIGHT)] == ["r1-l2"]


def test_where_one_cannot_be_reached_another_is_asked_but_not_all_night(engine: Engine) -> None:
    furnish(engine, laptops=5)
    asked = []
    for n in range(10):
        now = NIGHT + n * 20 * MINUTE
        for order in tick(engine, now):
            asked.append(order.device)
            away = outcome(order, Step.FAILED, now, reason="unreachable")
            say(engine, away, now)
    assert asked == ["r1-l1", "r1-l2", "r1-l3"]
    later = NIGHT + 4 * HOUR
    assert (stand(engine, later).state, stand(engine, later).reason) == ("waiting", "unreachable")
    assert doubts(engine, later) == {}
    a_reset(engine, NIGHT + HOUR)
    assert doubts(engine, NIGHT + 4 * DAY) == {"r1": "canary_stale"}


def test_a_surviving_trace_puts_every_room_in_doubt_until_its_own_canary_vanished(
    engine: Engine,
) -> None:
    for name in ("r1", "r2"):
        furnish(engine, room=name)
    assert a_night(engine, NIGHT) == ["r1-l1", "r2-l1"]
    later = NIGHT + DAY
    first, second = tick(engine, later)
    answer(engine, first, later, residue=1)
    answer(engine, second, later)
    morning = later + 8 * HOUR
    # The second room's ran in the same tick: it does not speak for the time after.
    assert doubts(engine, morning, "r1", "r2") == {"r1": "canary_failed", "r2": "canary_failed"}
    assert stand(engine, morning).reason == "not_clean"
    assert stand(engine, morning, "r2").good_at == later
    assert doubts(engine, morning, "r2") == {"r2": "canary_failed"}
    third, fourth = tick(engine, later + DAY)
    answer(engine, fourth, later + DAY)
    answer(engine, third, later + DAY, residue=1)
    assert set(doubts(engine, later + DAY + HOUR, "r1", "r2")) == {"r1", "r2"}
    a_night(engine, later + 2 * DAY)
    assert doubts(engine, later + 2 * DAY + HOUR, "r1", "r2") == {}


@pytest.mark.parametrize(
    "facts",
    [{"canary_unseen": 1}, {"canary_planted": 2}, {"residue": 1}, {"home_clean": False}],
)
def test_a_probe_that_is_blind_fails_too_and_is_not_tried_again(
    engine: Engine, facts: dict[str, Any]
) -> None:
    furnish(engine)
    a_night(engine, NIGHT, **facts)
    (run,) = canaries(engine)
    assert (run.state, run.reason, run.attempts) == (RunState.FAILED, "not_clean", 1)
    assert tick(engine, NIGHT + 2 * HOUR) == []


def test_a_laptop_that_knows_no_canary_cannot_pass(engine: Engine) -> None:
    """Its scripts are older: it resets, and says nothing of traces."""
    furnish(engine)
    (order,) = tick(engine, NIGHT)
    told = {"home_clean": True, "residue": 0, "used_since": False, "reset_id": order.id}
    at = NIGHT + MINUTE
    say(engine, outcome(order, Step.LOOKED, at + MINUTE, finished_at=at, facts=told), at + MINUTE)
    (run,) = canaries(engine)
    assert (run.state, run.detail) == (RunState.FAILED, "canary_planted, canary_unseen")


def test_an_end_that_is_never_heard_is_a_failure_until_another_laptop_passes(
    engine: Engine,
) -> None:
    furnish(engine)
    tick(engine, NIGHT)
    later = NIGHT + HOUR
    heard(engine, later)
    with session(engine) as opened:
        resets.expire(opened, later)
    assert canaries(engine)[0].state is RunState.UNKNOWN
    assert doubts(engine, later) == {"r1": "canary_failed"}
    assert a_night(engine, later) == ["r1-l2"]
    assert doubts(engine, later + HOUR) == {}


def test_a_failed_canary_leaves_the_laptop_unproved(engine: Engine) -> None:
    furnish(engine, laptops=1)
    a_night(engine, NIGHT)
    with reading(engine) as opened:
        assert opened.get_one(DeviceState, "r1-l1").clean_run_id == canaries(engine)[0].id
    (order,) = tick(engine, NIGHT + DAY)
    acted = outcome(order, Step.ACTED, NIGHT + DAY, finished_at=NIGHT + DAY + MINUTE)
    say(engine, acted, NIGHT + DAY + MINUTE)
    with reading(engine) as opened:
        assert opened.get_one(DeviceState, "r1-l1").clean_run_id is None


def test_three_days_after_a_reset_a_canary_has_to_have_passed(engine: Engine) -> None:
    furnish(engine)
    furnish(engine, room="r2")
    a_reset(engine, NIGHT - HOUR)
    a_night(engine, NIGHT)
    assert doubts(engine, NIGHT + 10 * DAY, "r1", "r2") == {}, "nothing was reset since"
    first = NIGHT + DAY
    a_reset(engine, first)
    a_reset(engine, first + 2 * DAY)
    assert doubts(engine, first + 3 * DAY, "r1", "r2") == {}
    assert doubts(engine, first + 3 * DAY + MINUTE, "r1", "r2") == {"r1": "canary_stale"}
    a_night(engine, first + 4 * DAY)
    assert doubts(engine, first + 4 * DAY + HOUR, "r1", "r2") == {}


def test_a_room_without_a_laptop_for_it_says_so(engine: Engine) -> None:
    furnish(engine)
    furnish(engine, room="r2", laptops=1)
    furnish(engine, room="r3", laptops=0)
    rooms.change(engine, Device, "r2-l1", recipe_id=None)
    assert stand(engine, NIGHT, "r2").state == "none"
    assert stand(engine, NIGHT).state == "waiting"
    with reading(engine) as opened:
        assert {one.room for one in canary.stands(opened, NIGHT)} == {"r1", "r2"}
    assert [order.device for order in tick(engine, NIGHT)] == ["r1-l1"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"service": Service.REPAIR}, "no_canary"),
        ({"recipe_id": None}, "no_canary"),
        ({"kind": DeviceKind.TABLET}, "no_canary"),
        ({"driver": "kiosk"}, "no_canary"),
        ({}, ""),
    ],
)
def test_by_hand(engine: Engine, change: dict[str, Any], code: str) -> None:
    furnish(engine)
    rooms.change(engine, Device, "r1-l1", **change)
    noon = datetime(2026, 11, 24, 12, tzinfo=BERLIN).astimezone(UTC)
    heard(engine, noon)
    with session(engine) as opened:
        if code:
            with pytest.raises(resets.ResetRefused) as refused:
                canary.ask(opened, "r1-l1", noon, SETTINGS, "IT")
            assert refused.value.code == code
        else:
            run = canary.ask(opened, "r1-l1", noon, SETTINGS, "IT")
            assert (run.recipe_id, run.requested_by) == (CANARY, "IT")


def test_by_hand_not_before_a_course_and_not_on_a_device_that_does_not_exist(
    engine: Engine,
) -> None:
    furnish(engine)
    add_course(engine, NIGHT + 90 * MINUTE)
    for device, code in (("r1-l1", "too_close"), ("r9", "unknown_device")):
        with session(engine) as opened, pytest.raises(resets.ResetRefused) as refused:
            canary.ask(opened, device, NIGHT, SETTINGS, "IT")
        assert refused.value.code == code


def test_a_room_in_doubt_is_no_more_than_restricted_and_says_why(engine: Engine) -> None:
    furnish(engine)
    add_course(engine, NIGHT + DAY + 10 * HOUR)

    def status(now: datetime) -> tuple[str, set[str]]:
        heard(engine, now)
        with reading(engine) as opened:
            (room,) = readiness.overview(opened, now, SETTINGS)
            return room.verdict.value, {reason.code for reason in room.reasons}

    assert status(NIGHT) == ("ready", set())
    a_night(engine, NIGHT, residue=1)
    assert status(NIGHT + HOUR) == ("degraded", {"canary_failed"})
    a_night(engine, NIGHT + DAY)
    assert status(NIGHT + DAY + HOUR) == ("ready", set())
    a_reset(engine, NIGHT + DAY + HOUR)
    assert status(NIGHT + 5 * DAY)[1] >= {"canary_stale"}
