"""What is not sent at the last moment, and what was sent in vain."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from fleet import resets
from fleet.settings import Settings
from inventory import Course, Device, RunState
from inventory.db import session
from tests.room import HOUR, MINUTE, add_course, change, claim, furnish, plan, runs

S = Settings(reset_ahead_s=3600, reset_grace_s=120, reset_buffer_s=300)


@pytest.mark.parametrize("what", ["course", "device"])
def test_what_moved_since_it_was_planned_is_not_sent(
    engine: Engine, now: datetime, what: str
) -> None:
    furnish(engine, now, laptops=1)
    furnish(engine, now, room="r2", laptops=0)
    course = add_course(engine, now + HOUR)
    plan(engine, now, S)
    if what == "course":
        change(engine, Course, course, start=now + HOUR + 5 * MINUTE)
    else:
        change(engine, Device, "r1-l1", room_id="r2")
    assert claim(engine, now, S) == []
    assert [run.reason for run in runs(engine)] == ["plan_changed"]


def test_a_reset_by_hand_is_not_sent_after_its_latest_start(engine: Engine, now: datetime) -> None:
    """Where no course follows nothing else would keep it."""
    furnish(engine, now, laptops=1)
    with session(engine) as opened:
        latest = resets.request(opened, "r1-l1", now, S, "IT").not_after
    assert claim(engine, latest + timedelta(seconds=1), S) == []
    assert len(claim(engine, latest, S)) == 1


def test_an_order_that_never_left_is_no_attempt(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    orders = claim(engine, now, S)
    with session(engine) as opened:
        resets.give_back(opened, orders, now)
    (run,) = runs(engine)
    assert (run.state, run.attempts, run.failures) == (RunState.PLANNED, 0, 0)
    assert run.deadline == run.not_after
    assert claim(engine, now, S) == [], "the bus is away"
    assert [order.id for order in claim(engine, run.next_try_at, S)] == [orders[0].id]
