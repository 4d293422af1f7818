"""What was counted of a reset stays as it was told, wherever its device goes, whatever follows."""

from datetime import date, datetime

from sqlalchemy import Engine

from fleet import retention
from fleet.metrics import tally
from fleet.readiness import replay, statistics
from fleet.settings import Settings
from inventory import Course, Device, Room, RunState, Site
from inventory.db import reading, session
from inventory.tally import Key
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

S = Settings(reset_grace_s=120, reset_buffer_s=300)


def counted(engine: Engine) -> dict[Key, float]:
    with reading(engine) as opened:
        every = tally.totals(opened)
    return {key: value for key, value in every.items() if key != ("planned_at",)}


def fallen(before: dict[Key, float], after: dict[Key, float]) -> list[Key]:
    return [key for key, value in before.items() if after.get(key, 0) < value]


def prove(engine: Engine, now: datetime) -> None:
    plan(engine, now, S)
    for order in claim(engine, now, S):
        say(engine, looked(order, now + MINUTE), now + 2 * MINUTE)


def test_a_device_that_goes_to_another_room_takes_no_history_along(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    furnish(engine, now, room="r2", laptops=0)
    course = add_course(engine, now + HOUR)
    add_course(engine, now - HOUR, room="r2", length=2 * HOUR)
    prove(engine, now)
    change(engine, Device, "r1-l1", room_id="r2")
    with reading(engine) as opened:
        rows = statistics.by_room(opened, date(2026, 11, 1), {"vhs"})
        kept = replay.story(opened, opened.get_one(Course, course))
    assert {one.room.id: one.resets for one in rows} == {"r1": 1, "r2": 0}
    assert [(run.room_id, run.state) for run, _ in kept.runs] == [("r1", RunState.VERIFIED)]
    assert counted(engine)[(tally.VIOLATIONS,)] == 0, "the course was in the other room"


def test_no_counter_falls_when_a_device_goes_to_another_site(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    with session(engine) as opened:
        opened.add(Site(id="library", name="Library", municipality="Ahlendorf"))
        opened.flush()
        opened.add(Room(id="r9", site_id="library", name="r9"))
    add_course(engine, now + HOUR)
    prove(engine, now)
    before = counted(engine)
    assert before["results", "vhs", "laptop", "verified", "quick"] == 1
    change(engine, Device, "r1-l1", room_id="r9")
    assert counted(engine) == before


def test_a_gap_that_opens_takes_no_counted_reset_back(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + HOUR)
    add_course(engine, now + 2 * HOUR + 5 * MINUTE)
    plan(engine, now, S)
    before = counted(engine)
    assert before["failures", "vhs", "laptop", "gap_too_short", ""] == 1
    change(engine, Course, 1, end=now + HOUR + 30 * MINUTE)
    plan(engine, now + MINUTE, S)
    assert states(engine) == ["planned", "planned"]
    assert counted(engine) == before
    retention.forget(engine, now + 8 * HOUR)
    assert fallen(before, counted(engine)) == []


def test_an_end_that_was_not_heard_stays_counted_when_its_proof_comes_late(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1, recipe={"tries": 1})
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    (order,) = claim(engine, now, S)
    plan(engine, now + 30 * MINUTE, S)
    assert states(engine) == ["unknown"]
    before = counted(engine)
    say(engine, looked(order, now + MINUTE), now + 40 * MINUTE)
    assert states(engine) == ["verified"]
    after = counted(engine)
    assert fallen(before, after) == []
    assert after["results", "vhs", "laptop", "verified", "quick"] == 1
    retention.forget(engine, now + 8 * HOUR)
    assert counted(engine) == after, "each end once"
    assert runs(engine)[0].room_id == "r1"
