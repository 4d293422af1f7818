"""Resets from plan to proof: never into a course, claimed once, and believed only when proved."""

import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, update

from agents.messages import Order
from fleet import resets
from fleet.resets.proof import evidence
from fleet.resets.runs import WrongTransition, check, move
from fleet.settings import Settings
from inventory import Course, Device, Feed, ResetRun, RunState, Service
from inventory.db import reading, session
from tests.room import (
    HOUR,
    MINUTE,
    add_course,
    change,
    claim,
    furnish,
    looked,
    plan,
    runs,
    say,
    states,
)

S = Settings(reset_lead_s=3600, reset_ahead_s=3600, reset_grace_s=120, reset_buffer_s=300)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("wanted", "got", "holds"),
    [
        (True, True, True),
        (True, 1, False),
        (0, False, False),
        (0, 0.0, True),
        ("on", "on", True),
        ("on", "ON", False),
        ({"min": 3}, 3, True),
        ({"min": 3}, 2.9, False),
        ({"min": 3}, True, False),
        ({"min": 3}, "9", False),
        ({"min": 1, "max": 2}, 3, False),
        ({"max": 2}, float("nan"), False),
        ({"in": ["31", "32"]}, "32", True),
        ({"in": [1]}, True, False),
        ({"in": "31"}, "3", False),
        ({"is": "order"}, "run.2", True),
        ({"is": "order"}, "run.1", False),
        ({"is": "run.2"}, "run.2", False),
        ({"near": 3}, 3, False),
        ({}, "x", False),
        (None, None, True),
    ],
)
def test_what_holds_of_a_fact(wanted: Any, got: Any, holds: bool) -> None:
    assert (resets.verify({"f": wanted}, {"f": got}, "run.2") == []) is holds


def test_what_is_not_told_does_not_hold() -> None:
    assert [each.fact for each in resets.verify({"b": 1, "a": None}, {}, "x")] == ["a", "b"]
    assert resets.verify({}, {}, "x") == []


@given(st.dictionaries(st.text(), st.text() | st.floats() | st.booleans() | st.none()))
def test_evidence_keeps_no_sentence_and_no_name(facts: dict[str, Any]) -> None:
    told = facts | {"residue": 3, "residue_places": ["downloads", "trash"], "x": 1}
    told |= {"name": "Annas-Laptop", "model": "Brief an Anna.odt"}
    kept = evidence(told)
    assert kept.items() >= {"residue": 3, "residue_places": ["downloads", "trash"]}.items()
    assert not {"name", "model", "x"} & kept.keys()
    assert all(" " not in value for value in kept.values() if isinstance(value, str))


def test_every_final_state_ends_and_no_other_step_exists(now: datetime) -> None:
    for final in (RunState.VERIFIED, RunState.FAILED, RunState.EXPIRED, RunState.DROPPED):
        for other in RunState:
            with pytest.raises(WrongTransition):
                check(final, other)
    run = ResetRun(
        id="a", device_id="d", recipe_id="r", planned_at=now, not_before=now, not_after=now,
        deadline=now, next_try_at=now,
    )  # fmt: skip
    with pytest.raises(WrongTransition):
        move(run, RunState.UNKNOWN, now)


# --- planning ---


@pytest.mark.parametrize(
    ("gap", "usable"), [(5, None), (8, None), (9, 0), (10, 1), (15, 6), (90, 53)]
)
def test_a_gap_between_two_courses(
    engine: Engine, now: datetime, gap: int, usable: int | None
) -> None:
    """Two minutes of grace, two of reset, five of buffer: nine minutes are the least."""
    furnish(engine, now, laptops=1)
    start = now + HOUR
    add_course(engine, start - gap * MINUTE - HOUR)
    add_course(engine, start)
    plan(engine, now, S)
    run = runs(engine)[-1]
    if usable is None:
        assert (run.state, run.reason, run.finished_at) == (RunState.EXPIRED, "gap_too_short", now)
    else:
        assert run.state is RunState.PLANNED
        assert run.not_after - run.not_before == usable * MINUTE
        assert run.not_after == start - 7 * MINUTE


def test_planning_begins_with_the_lead_time_and_repeats_nothing(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=3)
    change(engine, Device, "r1-l2", service=Service.REPAIR)
    change(engine, Device, "r1-l3", recipe_id=None)
    add_course(engine, now + HOUR)
    plan(engine, now - SECOND, S)
    assert runs(engine) == []
    for _ in range(3):
        plan(engine, now, S)
    assert [(run.device_id, run.state) for run in runs(engine)] == [("r1-l1", RunState.PLANNED)]


def test_two_processes_plan_and_claim_at_once(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=8)
    add_course(engine, now + HOUR)
    orders: list[Order] = []
    failed: list[BaseException] = []
    together = threading.Barrier(4)

    def process() -> None:
        try:
            together.wait()
            plan(engine, now, S)
            together.wait()
            orders.extend(claim(engine, now, S))
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=process) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(runs(engine)) == 8
    assert Counter(order.device for order in orders) == {f"r1-l{n}": 1 for n in range(1, 9)}


@pytest.mark.parametrize(
    "doubt",
    [
        {"problem": "shrunk"},
        {"problem": "partly_unreadable"},
        {"good_at": None},
        {"max_age_s": 1},
    ],
)
def test_a_calendar_in_doubt_resets_nothing(
    engine: Engine, now: datetime, doubt: dict[str, Any]
) -> None:
    furnish(engine, now)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    change(engine, Feed, "f-r1", **doubt)
    later = now + MINUTE
    assert claim(engine, later, S) == []
    assert {run.reason for run in runs(engine)} == {"calendar_in_doubt"}
    add_course(engine, now + HOUR + 2 * MINUTE)
    plan(engine, later + 2 * MINUTE, S)
    assert len(runs(engine)) == 2, "nothing new is planned"
    plan(engine, now + HOUR, S)
    assert {(run.state, run.reason) for run in runs(engine)} == {
        (RunState.EXPIRED, "calendar_in_doubt")
    }


def test_a_course_that_moves_away_and_comes_back(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    course = add_course(engine, now + HOUR)
    plan(engine, now, S)
    change(engine, Course, course, start=now + 50 * MINUTE)
    plan(engine, now, S)
    assert sorted(states(engine)) == ["dropped", "planned"]
    change(engine, Course, course, start=now + HOUR)
    plan(engine, now, S)
    assert sorted(states(engine)) == ["dropped", "dropped", "planned"]
    change(engine, Course, course, cancelled=True)
    assert claim(engine, now, S) == [], "claimed before it was dropped"
    plan(engine, now, S)
    assert set(states(engine)) == {"dropped"}


@pytest.mark.parametrize("what", ["room", "service", "recipe"])
def test_a_device_that_goes_takes_its_reset_along(engine: Engine, now: datetime, what: str) -> None:
    furnish(engine, now, laptops=1)
    furnish(engine, now, room="r2", laptops=0)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    values: dict[str, dict[str, Any]] = {
        "room": {"room_id": "r2"},
        "service": {"service": Service.LENT},
        "recipe": {"recipe_id": None},
    }
    change(engine, Device, "r1-l1", **values[what])
    plan(engine, now, S)
    assert [(run.state, run.reason) for run in runs(engine)] == [
        (RunState.DROPPED, "course_changed")
    ]


def test_windows_follow_the_course_before(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    before = add_course(engine, now, length=20 * MINUTE)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    assert runs(engine)[0].not_before == now + 22 * MINUTE
    change(engine, Course, before, end=now + 40 * MINUTE)
    plan(engine, now, S)
    assert runs(engine)[0].not_before == now + 42 * MINUTE
    change(engine, Course, before, end=now + 55 * MINUTE)
    plan(engine, now, S)
    assert [run.reason for run in runs(engine)] == ["gap_too_short"]
    change(engine, Course, before, end=now + 30 * MINUTE)
    plan(engine, now, S)
    assert [(run.state, run.not_before) for run in runs(engine)] == [
        (RunState.PLANNED, now + 32 * MINUTE)
    ]


def test_after_downtime_nothing_is_sent_that_could_run_into_the_course(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + 6 * MINUTE)
    plan(engine, now, S)
    assert [(run.state, run.reason) for run in runs(engine)] == [(RunState.EXPIRED, "too_late")]


def test_the_pause_in_which_a_device_comes_back_is_over_before_the_course_too(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1, recipe={"settle_s": 600})
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    (run,) = runs(engine)
    assert run.not_after == now + HOUR - timedelta(seconds=S.reset_buffer_s + 120 + 600)
    add_course(engine, now + 16 * MINUTE)  # put in since: 2 + 10 + 5 minutes no longer fit
    assert claim(engine, now, S) == []
    assert runs(engine)[0].reason == "too_close"


# --- claiming ---


def test_an_order_carries_its_limits(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1, recipe={"steps": {"tier": "quick"}, "settle_s": 7})
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    (order,) = claim(engine, now, S)
    (run,) = runs(engine)
    assert order.id == run.order_id == f"{run.id}.1"
    assert (order.site, order.room, order.device) == ("vhs", "r1", "r1-l1")
    assert (order.steps, order.settle_s, order.max_runtime_s) == ({"tier": "quick"}, 7, 120)
    assert order.next_start == now + HOUR
    assert order.not_after == now + MINUTE, "an order that is long on its way is dead"
    assert run.deadline == order.not_after + timedelta(seconds=120 + 7 + 120)
    assert claim(engine, now, S) == []
    end = now + HOUR - timedelta(seconds=300 + 120 + 7)
    with session(engine) as opened:
        opened.execute(update(ResetRun).values(state=RunState.PLANNED))
    (order,) = claim(engine, end, S)
    assert order.not_after == end
    with session(engine) as opened:
        opened.execute(update(ResetRun).values(state=RunState.PLANNED))
    assert claim(engine, end + SECOND, S) == []


def test_a_course_put_in_at_the_last_moment_holds_everything_up(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    add_course(engine, now + 4 * MINUTE, length=10 * MINUTE)
    reasons = {}
    for minute in (-3, -2, 0, 4, 13, 15, 16):
        with session(engine) as opened:
            opened.execute(update(ResetRun).values(next_try_at=now - HOUR, not_before=now - HOUR))
        assert claim(engine, now + minute * MINUTE, S) == [] or minute in (-3, 16)
        reasons[minute] = runs(engine)[0].reason
        with session(engine) as opened:
            opened.execute(update(ResetRun).values(state=RunState.PLANNED))
    assert reasons == {-3: "", -2: "too_close", 0: "course_running", 4: "course_running",
                       13: "course_running", 15: "course_running", 16: ""}  # fmt: skip


def test_an_order_ends_before_a_course_put_in_since_it_was_planned(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    add_course(engine, now + 7 * MINUTE + 20 * SECOND, length=10 * MINUTE)
    (order,) = claim(engine, now, S)
    assert order.not_after == now + 20 * SECOND


def test_the_earliest_course_goes_first_and_a_site_is_not_flooded(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, room="r1", laptops=20)
    furnish(engine, now, room="r2", laptops=20)
    add_course(engine, now + HOUR, room="r1")
    add_course(engine, now + HOUR - MINUTE, room="r2")
    plan(engine, now, S)
    first = claim(engine, now, S)
    assert Counter(order.room for order in first) == {"r2": 20, "r1": 10}
    assert [order.room for order in first[:20]] == ["r2"] * 20
    assert claim(engine, now, S) == []
    say(engine, looked(first[0], now), now)
    assert len(claim(engine, now, S)) == 1


def test_one_device_has_one_order_at_a_time(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    with session(engine) as opened:
        by_hand = resets.request(opened, "r1-l1", now, S, "IT")
    assert by_hand.requested_by == "IT"
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    assert len(runs(engine)) == 2
    (order,) = claim(engine, now, S)
    assert order.id.startswith(by_hand.id), "its time is up first"
    assert claim(engine, now, S) == []
    say(engine, looked(order, now), now)
    assert len(claim(engine, now, S)) == 1


# --- by hand ---


def test_why_a_reset_by_hand_is_refused(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=4)
    furnish(engine, now, room="r2", laptops=1)
    change(engine, Device, "r1-l2", service=Service.REPAIR)
    change(engine, Device, "r1-l3", recipe_id=None)
    change(engine, Feed, "f-r2", problem="unreadable")

    def refused(device: str, at: datetime) -> str:
        with session(engine) as opened:
            try:
                resets.request(opened, device, at, S, "IT")
            except resets.ResetRefused as refusal:
                return refusal.code
        return ""

    assert refused("none", now) == "unknown_device"
    assert refused("r1-l2", now) == "not_active"
    assert refused("r1-l3", now) == "no_recipe"
    assert refused("r2-l1", now) == "calendar_in_doubt"
    assert refused("r1-l1", now) == ""
    assert refused("r1-l1", now) == "already_open"
    add_course(engine, now + 20 * MINUTE, length=10 * MINUTE)
    assert refused("r1-l4", now + 14 * MINUTE) == "too_close"
    assert refused("r1-l4", now + 15 * MINUTE) == "course_running"
    assert refused("r1-l4", now + 31 * MINUTE) == "course_running"
    assert refused("r1-l4", now + 12 * MINUTE) == ""
    with reading(engine) as opened:
        run = opened.get_one(ResetRun, runs(engine)[-1].id)
    assert run.device_id == "r1-l4"
    assert run.not_after == now + 13 * MINUTE, "it must end before people come"
