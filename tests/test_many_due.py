"""Very many resets are due at once: a tick is bounded, and nobody stands in others' way."""

from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import col, func, select

from fleet import overrides
from fleet.overrides import Scope
from fleet.resets.dispatch import TURN
from fleet.resets.due import MOST
from fleet.settings import Settings
from inventory import Device, Feed, OverrideKind, ResetRun, Room, RunState, Site
from inventory.db import reading, session
from tests.room import HOUR, MINUTE, add_course, claim, furnish, plan, runs

S = Settings(reset_ahead_s=3600 * 3, reset_grace_s=120, reset_buffer_s=300)
TICK = timedelta(seconds=3)
PAUSED = MOST + 200


def furnish_many(engine: Engine, now: datetime) -> None:
    """Room `r1` with two laptops and a course in two hours; before it, at another site that is
    paused, more courses' resets than one tick looks at."""
    furnish(engine, now)
    add_course(engine, now + 2 * HOUR)
    with session(engine) as opened:
        opened.add(Site(id="far", name="Far", municipality="Fern"))
        opened.flush()
        opened.add(Room(id="big", site_id="far", name="Big"))
        opened.flush()
        opened.add(Feed(id="f-big", site_id="far", room_id="big", url="file:///x", good_at=now))
        opened.bulk_save_objects(
            Device(
                id=f"b{n}", room_id="big", name="B", kind="laptop", driver="ssh",
                address="127.0.0.1", recipe_id="wipe",
            )
            for n in range(PAUSED)
        )  # fmt: skip
    add_course(engine, now + HOUR, room="big")
    with session(engine) as opened:
        overrides.say(opened, OverrideKind.PAUSE, Scope(site="far"), now, "IT")
    plan(engine, now, S)


def looked_at(engine: Engine) -> int:
    with reading(engine) as opened:
        return opened.exec(select(func.count()).where(ResetRun.reason == "paused")).one()


def test_what_is_held_up_does_not_hold_up_those_behind_it(engine: Engine, now: datetime) -> None:
    furnish_many(engine, now)
    assert claim(engine, now, S) == [], "the paused ones come first, and they are many"
    assert looked_at(engine) == MOST
    assert {order.device for order in claim(engine, now + TICK, S)} == {"r1-l1", "r1-l2"}
    assert looked_at(engine) == PAUSED


def test_who_had_to_step_back_comes_again(engine: Engine, now: datetime) -> None:
    furnish_many(engine, now)
    claim(engine, now, S)
    with session(engine) as opened:
        (said,) = overrides.in_force(opened, now, OverrideKind.PAUSE)
        overrides.end(opened, said.id or 0, now, "IT")
    plan(engine, now + TICK, S)
    waiting = [run for run in runs(engine) if run.reason == "paused"]
    assert {run.next_try_at for run in waiting} == {now + 2 * TURN}, "one round and its own turn"
    orders = claim(engine, now + 2 * TURN, S)
    assert len(orders) == 30, "as many as may be under way at a site"


def test_the_latest_start_is_not_stepped_over(engine: Engine, now: datetime) -> None:
    furnish_many(engine, now)
    latest = min(run.not_after for run in runs(engine))
    claim(engine, latest - timedelta(seconds=1), S)
    assert max(run.next_try_at for run in runs(engine) if run.reason == "paused") == latest


def test_who_only_waits_for_a_place_keeps_its_turn(engine: Engine, now: datetime) -> None:
    furnish_many(engine, now)
    with session(engine) as opened:
        (said,) = overrides.in_force(opened, now, OverrideKind.PAUSE)
        overrides.end(opened, said.id or 0, now, "IT")
    plan(engine, now + MINUTE, S)
    assert len(claim(engine, now + MINUTE, S)) == 30, "the site's places, the earliest course first"
    with reading(engine) as opened:
        stepped = select(ResetRun.id).where(
            col(ResetRun.state) == RunState.PLANNED, col(ResetRun.next_try_at) > now + MINUTE
        )
        assert opened.exec(stepped).all() == []
    assert len(claim(engine, now + MINUTE + TICK, S)) == 2, "a full site comes after all others"
