"""Verdicts are kept a day, an hour and a quarter of an hour before a course, with what they rest
on, and frozen at its start."""

import random
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet import readiness
from fleet.readiness import limits, replay
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
from inventory.db import open_engine, reading, session
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


def missed(engine: Engine) -> list[tuple[Point, datetime]]:
    """The moments that were slept through."""
    return [
        (one.point, one.course_start)
        for one in kept(engine)
        if (one.verdict, [reason["code"] for reason in one.reasons])
        == (Verdict.UNKNOWN, ["moment_missed"])
    ]


def test_a_moment_that_was_slept_through_is_unknown(engine: Engine, now: datetime) -> None:
    furnish(engine, now)
    start = now + 2 * DAY
    known = add_course(engine, start, known=now)
    late = add_course(engine, start + 3 * HOUR, known=start - 10 * HOUR)
    old = add_course(engine, start + 6 * HOUR)
    tick(engine, start - 2 * HOUR)
    assert [(one.course_id, one.point) for one in kept(engine)] == [(known, Point.DAY)]
    assert missed(engine) == [(Point.DAY, start)]
    for at in (start - HOUR + limits.LATE - MINUTE, start - 15 * MINUTE + limits.LATE):
        heard(engine, at)
        tick(engine, at)
        tick(engine, at)
    assert missed(engine) == [(Point.DAY, start), (Point.QUARTER, start)]
    assert [one.point for one in kept(engine)] == [Point.DAY, Point.HOUR, Point.QUARTER]
    tick(engine, start + DAY)
    assert [(one.course_id, one.point) for one in kept(engine)][3:] == [
        (late, Point.HOUR),
        (late, Point.QUARTER),
    ]
    assert [one for one in kept(engine) if one.course_id == old] == [], "nobody can tell any more"
    with reading(engine) as opened:
        told = replay.story(opened, opened.get_one(Course, known))
        assert [each.point for each in told.verdicts] == ["day", "hour", "quarter", "start"]
        said = "\n".join(replay.lines(replay.story(opened, opened.get_one(Course, late))))
    assert "hour: unknown\n       The service was not running at that moment." in said
    assert "the course is known as it is since then" in said


def test_a_course_that_moves_is_missed_only_where_it_was_known(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now)
    start = now + 30 * HOUR
    course = add_course(engine, start, known=now)
    tick(engine, start - DAY)
    moved, at = start - 20 * HOUR, now + 9 * HOUR + MINUTE
    change(engine, Course, course, start=moved, end=moved + HOUR, known_at=at)
    tick(engine, moved - 5 * MINUTE)
    assert missed(engine) == [(Point.QUARTER, moved)]
    tick(engine, moved + HOUR)
    assert missed(engine) == [(Point.QUARTER, moved)], "its start is judged: it is done with"


def test_a_course_that_becomes_known_while_it_runs_was_not_missed(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now)
    entered = add_course(engine, now - HOUR, length=3 * HOUR, known=now)
    tick(engine, now)
    with reading(engine) as opened:
        frozen = opened.get_one(Readiness, entered)
        status = readiness.room_status(opened, "r1", now, S)
    assert [reason["code"] for reason in frozen.reasons] == ["learned_late"]
    assert [reason.code for reason in status.reasons] == ["learned_late"]
    assert kept(engine) == []


@pytest.mark.parametrize("seed", range(8))
def test_every_moment_of_every_known_course_has_exactly_one_verdict(
    tmp_path: Path, migrated_sqlite: Path, now: datetime, seed: int
) -> None:
    """I10 for the moments before the start, whenever the service sleeps and courses come in."""
    chance = random.Random(seed)
    shutil.copyfile(migrated_sqlite, tmp_path / "fleet.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'fleet.db'}")
    furnish(engine, now)
    ticks, at, known = [], now, {}
    while at < now + 3 * DAY:
        at += timedelta(minutes=chance.choice((2, 3, 4, 90, 500)))
        if chance.random() < 0.5:
            start = at + timedelta(minutes=chance.randrange(-30, 2000))
            known[add_course(engine, start, known=at, uid=str(at))] = (start, at)
        tick(engine, at)
        ticks.append(at)
    rows: dict[tuple[int, Point], Checkpoint] = {}
    for one in kept(engine):
        assert rows.setdefault((one.course_id, one.point), one) is one
    for course, (start, since) in known.items():
        for point, before in limits.BEFORE.items():
            moment = start - before
            looked_at = [t for t in ticks if max(moment, since) <= t < moment + limits.LATE]
            row = rows.get((course, point))
            if looked_at:
                assert row
                assert row.judged_at == looked_at[0]
                assert [reason["code"] for reason in row.reasons] != ["moment_missed"]
            elif since <= moment <= ticks[-1] - limits.LATE:
                assert row
                assert [reason["code"] for reason in row.reasons] == ["moment_missed"]
            else:
                assert row is None
    assert len(rows) > 5
    engine.dispose()


def test_no_moment_is_made_up_afterwards(engine: Engine, now: datetime) -> None:
    """Nor is one claimed to have been missed of a course of which it is not noted since when it
    is known."""
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
