"""Reports from the bus: repeated, overtaking, hostile, too many, from the wrong mouth."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import select

from agents.facts import FACTS
from agents.messages import Heartbeat, Outcome, Reading, Step
from fleet import intake
from fleet.health.folding import Report, clean
from fleet.settings import Settings
from inventory import (
    AgentContact,
    Course,
    Device,
    DeviceState,
    Flip,
    Health,
    Recipe,
    ResetRun,
    RunState,
    Service,
)
from inventory import Reading as KeptReading
from inventory.db import reading, session
from tests.rows import device, make_region

SETTINGS = Settings(poll_s=60)


def said(at: datetime, name: str = "laptop-1", **facts: Any) -> Reading:
    return Reading(device=name, taken_at=at, reachable=True, facts=facts)


def silent(at: datetime, name: str = "laptop-1", problem: str = "unreachable") -> Reading:
    return Reading(device=name, taken_at=at, reachable=False, problem=problem)


def state_of(engine: Engine, name: str = "laptop-1") -> DeviceState:
    with reading(engine) as opened:
        return opened.get_one(DeviceState, name)


def count(engine: Engine, table: type[KeptReading] | type[Flip]) -> int:
    with reading(engine) as opened:
        return len(opened.exec(select(table)).all())


def seconds(n: float) -> timedelta:
    return timedelta(seconds=n)


def add_course(engine: Engine, start: datetime, end: datetime, room: str = "library") -> None:
    with session(engine) as opened:
        opened.add(Course(room_id=room, uid=f"{room}{start}", start=start, end=end))


def test_the_newest_look_wins(engine: Engine, now: datetime) -> None:
    make_region(engine)
    first, second = said(now - seconds(70), cpu_ratio=0.1), said(now - seconds(10), cpu_ratio=0.2)
    for batch in ([second], [first], [second, first, second]):
        done = intake.apply(engine, batch, now, SETTINGS)
    assert (done.stored, done.stale) == (0, 3)
    state = state_of(engine)
    assert state.facts == {"cpu_ratio": 0.2}
    assert state.taken_at == state.facts_at == now - seconds(10)
    assert (state.health, state.failures) == (Health.OK, 0)
    with reading(engine) as opened:
        flips = opened.exec(select(Flip)).all()
    assert [(f.device_id, f.room_id, f.old, f.new) for f in flips] == [
        ("laptop-1", "library", "unknown", "ok")
    ]


def test_failures_are_counted_and_the_last_facts_stay(engine: Engine, now: datetime) -> None:
    make_region(engine)
    looks = [said(now - seconds(180), "ap-1", clients=3)]
    looks += [silent(now - seconds(120 - 60 * n), "ap-1") for n in range(3)]
    intake.apply(engine, looks, now, SETTINGS)
    state = state_of(engine, "ap-1")
    assert (state.failures, state.facts, state.reachable) == (3, {"clients": 3}, False)
    assert (state.health, state.reason) == (Health.FAILED, "unreachable")
    assert state.facts_at == now - seconds(180)
    later = now + seconds(60)
    intake.apply(engine, [said(later, "ap-1", clients=0)], later, SETTINGS)
    state = state_of(engine, "ap-1")
    assert (state.failures, state.health, state.health_since) == (0, Health.OK, later)


def test_what_is_kept(engine: Engine, now: datetime) -> None:
    make_region(engine)
    start = now - timedelta(hours=3)
    minute = timedelta(minutes=1)

    def after(reading: Reading) -> int:
        intake.apply(engine, [reading], now, SETTINGS)
        return count(engine, KeptReading)

    assert after(said(start, cpu_ratio=0.1, plugged=True)) == 1
    assert after(said(start + minute, cpu_ratio=0.9, plugged=True)) == 1
    assert after(said(start + 2 * minute, cpu_ratio=0.9, plugged=False)) == 2
    assert after(said(start + 3 * minute, cpu_ratio=0.9, plugged=False, firmware="2")) == 3
    assert after(silent(start + 4 * minute)) == 4
    assert after(silent(start + 5 * minute)) == 4
    assert after(silent(start + 6 * minute, problem="denied")) == 5
    assert after(said(start + 7 * minute, cpu_ratio=0.9, plugged=False, firmware="2")) == 6
    assert after(said(start + 66 * minute, plugged=False, firmware="2")) == 6
    assert after(said(start + 67 * minute, plugged=False, firmware="2")) == 7


def test_everything_of_a_backlog_is_kept(engine: Engine, now: datetime) -> None:
    make_region(engine)
    looks = [said(now - seconds(60 * n), plugged=n % 2 == 0) for n in range(10)]
    done = intake.apply(engine, looks, now, SETTINGS)
    assert (done.stored, done.kept, done.stale) == (10, 10, 0)


def test_the_unknown_is_ignored(engine: Engine, now: datetime) -> None:
    make_region(engine)
    batch: list[Report] = [
        said(now, "ghost"),
        Outcome(order="x.1", device="phantom", step=Step.ACTED, at=now),
        Heartbeat(site="atlantis", at=now),
        said(now, "laptop-1"),
    ]
    done = intake.apply(engine, batch, now, SETTINGS)
    assert done.unknown == {"ghost", "phantom", "atlantis"}
    assert done.stored == 1


def test_a_site_speaks_only_for_its_own(engine: Engine, now: datetime) -> None:
    make_region(engine)
    batch: list[Report] = [
        said(now, "laptop-1"),
        said(now, "laptop-2"),
        Heartbeat(site="south", at=now),
    ]
    done = intake.apply(engine, batch, now, SETTINGS, ["north"] * 3)
    assert done.unknown == {"laptop-2", "south"}
    assert done.stored == 1
    with reading(engine) as opened:
        assert opened.get(DeviceState, "laptop-2") is None
        assert opened.get(AgentContact, "south") is None


def test_a_clock_that_runs_ahead_is_not_believed(engine: Engine, now: datetime) -> None:
    make_region(engine)
    ahead = now + timedelta(days=1)
    done = intake.apply(
        engine,
        [said(ahead, cpu_ratio=0.1), said(ahead, cpu_ratio=0.2), Heartbeat(site="north", at=ahead)],
        now,
        SETTINGS,
    )
    assert done.ahead == {"laptop-1": 86_400, "north": 86_400}
    state = state_of(engine)
    assert state.facts == {"cpu_ratio": 0.2}
    assert now <= state.taken_at < now + seconds(1)
    with reading(engine) as opened:
        contact = opened.get_one(AgentContact, "north")
    assert contact.ahead_s == 86_400
    assert now <= contact.at < now + seconds(1)
    # Once the clock is right again, it is believed at once.
    later = now + seconds(60)
    assert intake.apply(engine, [said(later)], later, SETTINGS).stored == 1
    # A minute ahead is nothing.
    assert not intake.apply(engine, [said(later + seconds(60))], later, SETTINGS).ahead


def test_heartbeats(engine: Engine, now: datetime) -> None:
    make_region(engine)

    def beat(at: datetime, polls: int) -> Heartbeat:
        return Heartbeat(site="north", at=at, version="1", revision=2**45, targets=3, polls=polls)

    intake.apply(engine, [beat(now, 7), beat(now - seconds(30), 6)], now, SETTINGS)
    intake.apply(engine, [beat(now - seconds(60), 5)], now, SETTINGS)
    with reading(engine) as opened:
        contact = opened.get_one(AgentContact, "north")
    assert (contact.at, contact.polls, contact.revision) == (now, 7, 2**45)


@pytest.mark.parametrize("facts", [{"used_since": True}, {"sessions": 1}])
def test_a_used_device_is_no_longer_clean(
    engine: Engine, now: datetime, facts: dict[str, Any]
) -> None:
    make_region(engine)
    intake.apply(engine, [said(now - seconds(600))], now, SETTINGS)
    proved = now - seconds(300)
    with session(engine) as opened:
        state = opened.get_one(DeviceState, "laptop-1")
        state.clean_run_id, state.clean_at = "run1", proved
    intake.apply(engine, [said(proved - seconds(1), **facts)], now, SETTINGS)
    assert state_of(engine).clean_run_id == "run1"
    intake.apply(engine, [said(now - seconds(60), used_since=False, sessions=0)], now, SETTINGS)
    assert state_of(engine).clean_run_id == "run1"
    intake.apply(engine, [said(now - seconds(30), **facts)], now, SETTINGS)
    assert state_of(engine).clean_run_id is None
    assert state_of(engine).clean_at == proved


def test_an_outcome_moves_its_run(engine: Engine, now: datetime) -> None:
    make_region(engine)
    with session(engine) as opened:
        opened.merge(Recipe(id="laptop-reset", name="Laptop", expects={"home_clean": True}))
        opened.add(
            ResetRun(
                id="r1",
                device_id="laptop-1",
                recipe_id="laptop-reset",
                state=RunState.ORDERED,
                planned_at=now - seconds(120),
                not_before=now - seconds(120),
                not_after=now + seconds(600),
                deadline=now + seconds(600),
                next_try_at=now,
                attempts=1,
                order_id="r1.1",
                ordered_at=now - seconds(60),
            )
        )
    acted = Outcome(
        order="r1.1",
        device="laptop-1",
        step=Step.ACTED,
        at=now - seconds(20),
        started_at=now - seconds(50),
        finished_at=now - seconds(20),
    )
    looked = Outcome(
        order="r1.1",
        device="laptop-1",
        step=Step.LOOKED,
        at=now - seconds(10),
        facts={"home_clean": True},
    )
    intake.apply(engine, [acted], now, SETTINGS)
    with reading(engine) as opened:
        assert opened.get_one(ResetRun, "r1").state == RunState.ACTED
    intake.apply(engine, [looked, acted], now, SETTINGS)
    with reading(engine) as opened:
        assert opened.get_one(ResetRun, "r1").state == RunState.VERIFIED


def test_expected_by_the_timetable(engine: Engine, now: datetime) -> None:
    make_region(engine, device("laptop-3", "library", service=Service.REPAIR))
    gone = [
        silent(now - seconds(60 * n), name)
        for n in range(3)
        for name in ("laptop-1", "laptop-3", "ap-1", "laptop-2")
    ]
    intake.apply(engine, gone, now, SETTINGS)
    assert state_of(engine).health is Health.OFF
    assert state_of(engine, "ap-1").health is Health.FAILED
    assert state_of(engine, "laptop-3").reason == "repair"
    add_course(engine, now + timedelta(minutes=50), now + timedelta(minutes=90))
    assert intake.rejudge(engine, now, SETTINGS) == 1
    assert state_of(engine).reason == "cut_off", "the only access point is silent too"
    assert state_of(engine, "laptop-2").health is Health.OFF
    assert intake.rejudge(engine, now, SETTINGS) == 0


def test_silence_flips_once(engine: Engine, now: datetime) -> None:
    make_region(engine)
    names = ("laptop-1", "projector-1", "ap-1")
    intake.apply(engine, [said(now, name) for name in names], now, SETTINGS)
    before = count(engine, Flip)
    assert intake.rejudge(engine, now + seconds(170), SETTINGS) == 0
    later = now + seconds(190)
    assert intake.rejudge(engine, later, SETTINGS) == 3
    assert intake.rejudge(engine, later + seconds(60), SETTINGS) == 0
    assert count(engine, Flip) == before + 3
    state = state_of(engine, "ap-1")
    assert (state.health, state.reason, state.health_since) == (Health.UNKNOWN, "no_news", later)


def test_standby_is_a_warning_only_in_a_running_course(engine: Engine, now: datetime) -> None:
    make_region(engine)
    add_course(engine, now + seconds(60), now + seconds(3600))
    intake.apply(engine, [said(now, "projector-1", power="standby")], now, SETTINGS)
    assert state_of(engine, "projector-1").health is Health.OK
    assert intake.rejudge(engine, now + seconds(61), SETTINGS) == 1
    assert state_of(engine, "projector-1").health is Health.WARNING


def test_facts_are_cleaned() -> None:
    assert clean(
        {
            "cpu_ratio": float("nan"),
            "memory_ratio": float("inf"),
            "load_1m": True,
            "disk_ratio": 0.5,
            "in_bytes": 10**400,
            "errors": -1,
            "plugged": "yes",
            "screen_on": False,
            "power": "exploding",
            "lamp_state": "ok",
            "input": "31",
            "channel_2g": 11,
            "model": "A\0B" + "x" * 300,
            "serial": 5,
            "residue_places": ["home", 3],
            "vendor": {"deep": 1},
            "invented": 1,
        }
    ) == {
        "disk_ratio": 0.5,
        "errors": -1,
        "screen_on": False,
        "lamp_state": "ok",
        "input": "31",
        "channel_2g": 11,
        "model": ("AB" + "x" * 300)[:200],
        "residue_places": ["home"],
    }


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@hypothesis_settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(facts=st.dictionaries(st.sampled_from(sorted(FACTS)) | st.text(), anything, max_size=8))
def test_whatever_a_device_says_can_be_stored(engine: Engine, facts: dict[str, Any]) -> None:
    at = datetime.now(UTC)
    with reading(engine) as opened:
        known = opened.get(Device, "laptop-1")
    if known is None:
        make_region(engine)
    look = Reading.model_construct(
        device="laptop-1",
        taken_at=at,
        reachable=True,
        problem="",
        detail="a\0b",
        latency_ms=float("nan"),
        facts=facts,
    )
    assert intake.apply(engine, [look], at, SETTINGS).stored == 1
    assert _as_floats(state_of(engine).facts) == _as_floats(clean(facts))


def _as_floats(facts: dict[str, Any]) -> dict[str, Any]:
    """JSONB gives a large float back as an integer of the same digits."""
    return {
        name: float(value) if type(value) in (int, float) else value
        for name, value in facts.items()
    }
