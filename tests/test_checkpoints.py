"""Verdicts are kept a day, an hour and a quarter of an hour before a course, with what they rest
on, and frozen at its start."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet import readiness
from fleet.readiness import limits
from fleet.readiness.verdict import Candidate, Lesson, Proof, judge_room
from fleet.settings import Settings
from inventory import (
    Checkpoint,
    Course,
    DeviceKind,
    DeviceState,
    Health,
    Point,
    Readiness,
    RunState,
    Verdict,
)
from inventory.db import reading, session
from tests.room import (
    HOUR,
    MINUTE,
    add_course,
    add_device,
    change,
    claim,
    furnish,
    heard,
    looked,
    plan,
    say,
)

S = Settings(reset_lead_s=3600, reset_grace_s=120, reset_buffer_s=300)
DAY = timedelta(days=1)
START = datetime(2026, 11, 23, 8, tzinfo=UTC)


def tick(engine: Engine, now: datetime) -> None:
    with session(engine) as opened:
        readiness.keep(opened, now, S)
        readiness.freeze(opened, now, S)


def kept(engine: Engine) -> Sequence[Checkpoint]:
    with reading(engine) as opened:
        return opened.exec(select(Checkpoint).order_by(col(Checkpoint.judged_at))).all()


def test_a_course_gets_a_verdict_at_each_moment(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=2)
    start = now + DAY
    course = add_course(engine, start)
    tick(engine, now - MINUTE)
    assert kept(engine) == []
    for at in (now, now + MINUTE, start - HOUR, start - 15 * MINUTE, start - 14 * MINUTE):
        heard(engine, at)
        tick(engine, at)
    found = [(one.point, start - one.judged_at, one.verdict) for one in kept(engine)]
    assert found == [
        (Point.DAY, DAY, Verdict.READY),
        (Point.HOUR, HOUR, Verdict.READY),
        (Point.QUARTER, 15 * MINUTE, Verdict.READY),
    ]
    heard(engine, start)
    tick(engine, start)
    with reading(engine) as opened:
        frozen = opened.get_one(Readiness, course)
    assert (frozen.verdict, frozen.judged_at) == (Verdict.NOT_READY, start)
    tick(engine, start + HOUR)
    assert len(kept(engine)) == 3


def test_no_moment_is_made_up_afterwards(engine: Engine, now: datetime) -> None:
    furnish(engine, now)
    start = now + HOUR
    add_course(engine, start)
    tick(engine, now + limits.LATE)
    assert kept(engine) == [], "the service was down an hour before"
    change(engine, Course, 1, start=start + HOUR, end=start + 2 * HOUR)
    tick(engine, start)
    assert [(one.point, one.course_start) for one in kept(engine)] == [(Point.HOUR, start + HOUR)]
    change(engine, Course, 1, cancelled=True)
    tick(engine, start + 45 * MINUTE)
    assert len(kept(engine)) == 1


def test_a_verdict_says_what_it_rests_on(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=2, required={"laptop": {"wanted": 2, "least": 1}})
    with session(engine) as opened:
        add_device(opened, "r1-spare", now, spare=True, name="Reserve 2")
    start = now + HOUR
    course = add_course(engine, start)
    plan(engine, now, S)
    orders = claim(engine, now, S)
    proved_at = now + MINUTE
    for order in orders:
        if order.device != "r1-l1":
            say(engine, looked(order, now), proved_at)
    heard(engine, start)
    tick(engine, start)
    with reading(engine) as opened:
        frozen = opened.get_one(Readiness, course)
    assert frozen.verdict is Verdict.DEGRADED
    told: dict[str, Any] = frozen.evidence
    assert told["counts"] == {"laptop": [1, 2, 2]}
    assert told["swaps"] == [["R1-L1", "Reserve 2"]]
    assert (told["proved"], told["to_prove"]) == (1, 2)
    assert [(one["name"], one["fit"], one["proved"]) for one in told["devices"]] == [
        ("R1-L1", "unfit", False),
        ("R1-L2", "usable", True),
        ("Reserve 2", "usable", True),
    ]
    assert told["devices"][1]["seen_at"] == start.isoformat()
    assert told["devices"][1]["looked_at"] == (now + timedelta(seconds=10)).isoformat()
    assert told["feeds"] == [{"id": "f-r1", "good_at": start.isoformat(), "problem": ""}]
    assert told["heard_at"] == start.isoformat()


@pytest.mark.parametrize(
    ("facts", "fit"),
    [
        ({"battery_ratio": 0.39, "plugged": False}, False),
        ({"battery_ratio": 0.4, "plugged": False}, True),
        ({"battery_ratio": 0.1, "plugged": True}, True),
        ({"battery_ratio": 0.1}, True),
        ({"battery_ratio": "low", "plugged": False}, True),
        ({}, True),
    ],
)
def test_an_empty_battery_counts_from_an_hour_before(
    engine: Engine, now: datetime, facts: dict[str, Any], fit: bool
) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + 2 * HOUR)
    change(engine, DeviceState, "r1-l1", facts=facts)
    for later, counts in ((HOUR - MINUTE, False), (HOUR, True)):
        heard(engine, now + later)
        with reading(engine) as opened:
            status = readiness.room_status(opened, "r1", now + later, S)
        wrong = counts and not fit
        assert ("battery_low" in [reason.code for reason in status.reasons]) is wrong
        assert (status.verdict is Verdict.NOT_READY) is wrong


def test_a_spare_is_added_where_nothing_can_be_replaced(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1, required={"laptop": {"wanted": 3, "least": 2}})
    with session(engine) as opened:
        for number in (10, 9):
            add_device(opened, f"r1-s{number}", now, spare=True, name=f"Reserve {number}")
    add_course(engine, now + 2 * HOUR)
    with reading(engine) as opened:
        status = readiness.room_status(opened, "r1", now, S)
    swaps = [(swap.out, swap.into) for swap in status.swaps]
    assert swaps == [("", "Reserve 9"), ("", "Reserve 10")]


MOMENTS = st.integers(-90, 90).map(lambda minutes: START + minutes * MINUTE)
PROOFS = st.builds(
    Proof,
    state=st.sampled_from(list(RunState)),
    reason=st.just(""),
    in_time=st.booleans(),
    looked_at=st.none() | MOMENTS,
    used_at=st.none() | MOMENTS,
    clean=st.booleans(),
)


@given(
    proofs=st.lists(st.none() | PROOFS, min_size=1, max_size=4),
    previous=st.none() | st.integers(-80, -1).map(lambda minutes: START + minutes * MINUTE),
)
def test_ready_at_the_start_means_proved_after_the_last_course_and_unused_since(
    proofs: list[Proof | None], previous: datetime | None
) -> None:
    """I10, its second half."""
    buffer = 5 * MINUTE
    devices = [
        Candidate(str(number), str(number), DeviceKind.LAPTOP, False, Health.OK, "", run=run,
                  lead=HOUR)
        for number, run in enumerate(proofs)
    ]  # fmt: skip
    judged = judge_room({}, devices, Lesson(START, previous, buffer), START)
    if judged.verdict is not Verdict.READY:
        return
    for run in proofs:
        assert run is not None
        assert run.state is RunState.VERIFIED
        assert run.looked_at is not None
        assert previous is None or run.looked_at >= previous
        assert run.used_at is None or run.used_at >= START - buffer
