"""What holds resets up or lets them through at the last moment, on a real database."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, update
from sqlmodel import col, select

from agents.messages import Step
from fleet import overrides, resets
from fleet.overrides import Scope
from fleet.resets.breaker import NOT_ITS_FAULT
from fleet.settings import Settings
from inventory import (
    AgentContact,
    Course,
    Device,
    DeviceState,
    Feed,
    Override,
    OverrideKind,
    ResetRun,
    Room,
    RunState,
    Service,
    Site,
    Tally,
    Tier,
)
from inventory.db import reading, session
from tests.room import (
    HOUR,
    MINUTE,
    add_course,
    change,
    claim,
    furnish,
    looked,
    outcome,
    plan,
    runs,
    say,
)

S = Settings(reset_ahead_s=3600, reset_grace_s=120, reset_buffer_s=300)
TIERS = {
    "quick": {},
    "standard": {"steps": {"tier": "standard"}, "max_runtime_s": 300, "boots": True},
}


def override(engine: Engine, kind: OverrideKind, scope: Scope, now: datetime, **more: Any) -> int:
    with session(engine) as opened:
        return overrides.say(opened, kind, scope, now, "IT", **more).id or 0


def end(engine: Engine, said: int, now: datetime) -> None:
    with session(engine) as opened:
        overrides.end(opened, said, now, "IT")


def refusals(engine: Engine) -> dict[str, float]:
    with reading(engine) as opened:
        rows = opened.exec(select(Tally).where(Tally.counter == "gate_refusals"))
        return {row.labels: row.value for row in rows}


@pytest.mark.parametrize("kind", [OverrideKind.PAUSE, OverrideKind.MAINTENANCE])
@pytest.mark.parametrize("scope", [Scope(), Scope(site="vhs"), Scope(room="r1")])
def test_a_pause_holds_from_its_commit_until_it_ends(
    engine: Engine, now: datetime, kind: OverrideKind, scope: Scope
) -> None:
    furnish(engine, now)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    said = override(engine, kind, scope, now)
    assert claim(engine, now, S) == [], "the plan has not even looked yet"
    code = "maintenance" if kind is OverrideKind.MAINTENANCE else "paused"
    code = "paused_everywhere" if scope == Scope() else code
    assert {run.reason for run in runs(engine)} == {code}
    plan(engine, now, S)
    assert claim(engine, now + MINUTE, S) == []
    assert refusals(engine) == {"vhs\nG5": 2}, "each counted once"
    end(engine, said, now + MINUTE)
    assert claim(engine, now + MINUTE, S) == [], "planned before it ended"
    plan(engine, now + MINUTE, S)
    orders = claim(engine, now + MINUTE, S)
    assert [order.plan_rev for order in orders] == [2, 2]


def test_a_skipped_reset_is_dropped_and_comes_back(engine: Engine, now: datetime) -> None:
    furnish(engine, now)
    course = add_course(engine, now + HOUR)
    plan(engine, now, S)
    said = override(engine, OverrideKind.SKIP, Scope(course=course, device="r1-l1"), now)
    plan(engine, now, S)
    assert [order.device for order in claim(engine, now, S)] == ["r1-l2"]
    dropped = next(run for run in runs(engine) if run.device_id == "r1-l1")
    assert (dropped.state, dropped.reason) == (RunState.DROPPED, "skipped")
    end(engine, said, now)
    plan(engine, now, S)
    assert [order.device for order in claim(engine, now, S)] == ["r1-l1"]


def test_a_skipped_reset_goes_along_with_a_course_that_moves(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    course = add_course(engine, now + HOUR)
    override(engine, OverrideKind.SKIP, Scope(course=course), now)
    change(engine, Course, course, start=now + 4 * HOUR, end=now + 5 * HOUR)
    with session(engine) as opened:
        overrides.reapply(opened, "f-r1")
    late = now + 3 * HOUR  # it would have been over by now
    plan(engine, late, S)
    assert claim(engine, late, S) == []


def test_a_device_in_repair_and_one_that_is_in_use_wait(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=3)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    change(engine, Device, "r1-l1", service=Service.REPAIR)
    change(engine, DeviceState, "r1-l2", facts={"sessions": 1}, facts_at=now)
    change(engine, DeviceState, "r1-l3", facts={"sessions": 1}, facts_at=now - HOUR)
    assert [order.device for order in claim(engine, now, S)] == ["r1-l3"]
    assert refusals(engine) == {"vhs\nG4": 1, "vhs\nG8": 1}


def test_who_was_signed_in_for_three_minutes_past_is_believed(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    change(engine, DeviceState, "r1-l1", facts={"sessions": 1}, facts_at=now - 3 * MINUTE)
    assert claim(engine, now, S) == []
    assert len(claim(engine, now + timedelta(seconds=1), S)) == 1


def test_the_tier_that_was_planned_goes_with_the_order(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=8, recipe={"tiers": TIERS, "steps": {"tier": "quick"}})
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    first = claim(engine, now, S)
    assert [order.steps for order in first] == [{"tier": "standard"}] * 6, "six start up at once"
    assert first[0].max_runtime_s == 300
    for order in first:
        say(engine, looked(order, now), now)
    late = now + 50 * MINUTE
    plan(engine, late, S)
    others = claim(engine, late, S)
    assert {order.device for order in others}.isdisjoint(order.device for order in first)
    assert {order.steps["tier"] for order in others} == {"quick"}, "no time for more"


@pytest.mark.parametrize("tries", [1, 3])
def test_a_reset_whose_end_was_not_heard_keeps_its_place(
    engine: Engine, now: datetime, tries: int
) -> None:
    recipe = {"tiers": TIERS, "steps": {"tier": "quick"}, "tries": tries}
    furnish(engine, now, laptops=7, recipe=recipe)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    lost, *others = claim(engine, now, S)
    assert len(others) == 5
    told = outcome(lost, Step.UNKNOWN, now + MINUTE, started_at=now, reason="interrupted")
    say(engine, told, now + MINUTE)
    for minute, begin in ((1, 0), (4, 0), (5, 1)):
        plan(engine, now + minute * MINUTE, S)
        found = claim(engine, now + minute * MINUTE, S)
        assert len(found) == begin, "for five minutes it may be starting up, whoever hears of it"
    again = {run.device_id: run for run in runs(engine)}[lost.device]
    assert again.state in (RunState.UNKNOWN, RunState.PLANNED, RunState.ORDERED)


def test_a_device_that_cannot_do_so_much_is_asked_for_less(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1, recipe={"tiers": TIERS, "steps": {"tier": "quick"}})
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    (order,) = claim(engine, now, S)
    say(engine, outcome(order, Step.REFUSED, now, reason="unsupported_tier"), now)
    plan(engine, now + MINUTE, S)
    (order,) = claim(engine, now + MINUTE, S)
    assert order.steps == {"tier": "quick"}
    say(engine, looked(order, now + MINUTE), now + MINUTE)
    (run,) = runs(engine)
    assert (run.state, run.tier, run.failures) == (RunState.VERIFIED, Tier.QUICK, 0)


def test_a_device_that_is_away_is_tried_until_the_latest_start(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + HOUR)
    at, tries = now, 0
    while at < now + HOUR:
        plan(engine, at, S)
        for order in claim(engine, at, S):
            tries += 1
            say(engine, outcome(order, Step.FAILED, at, reason="unreachable"), at)
        at += MINUTE
    (run,) = runs(engine)
    assert (run.state, run.reason, run.failures) == (RunState.FAILED, "unreachable", 0)
    assert 10 <= tries <= 20


def fail(engine: Engine, now: datetime, states: list[tuple[RunState, str]]) -> None:
    with session(engine) as opened:
        for number, (state, reason) in enumerate(states):
            at = now + timedelta(seconds=number)
            opened.add(
                ResetRun(id=f"old{number}", device_id="r1-l1", recipe_id="wipe", state=state,
                         reason=reason, planned_at=now, not_before=now, not_after=now, deadline=now,
                         next_try_at=now, finished_at=at)
            )  # fmt: skip


GOOD, BAD = (RunState.VERIFIED, ""), (RunState.FAILED, "not_clean")


@pytest.mark.parametrize(
    ("states", "stops"),
    [
        ([BAD] * 9, False),
        ([BAD] * 4 + [GOOD] * 6, True),
        ([BAD] * 3 + [GOOD] * 7, False),
        ([BAD] * 4 + [GOOD] * 7, False),
        ([(RunState.FAILED, code) for code in NOT_ITS_FAULT] + [GOOD] * 9, False),
    ],
)
def test_a_recipe_of_which_too_many_fail_stops_by_itself(
    engine: Engine, now: datetime, states: list[tuple[RunState, str]], stops: bool
) -> None:
    furnish(engine, now)
    add_course(engine, now + HOUR)
    fail(engine, now - HOUR, states)
    for _ in range(2):
        plan(engine, now, S)
    with reading(engine) as opened:
        said = opened.exec(select(Override)).all()
    assert [(one.kind, one.made_by) for one in said] == [(OverrideKind.STOP, "raumwart")] * stops
    assert (claim(engine, now, S) == []) is stops
    if stops:
        waiting = [run for run in runs(engine) if run.state is RunState.PLANNED]
        assert {run.reason for run in waiting} == {"recipe_stopped"}
        with session(engine) as opened:
            resets.request(opened, "r1-l1", now, S, "IT")
        assert len(claim(engine, now, S)) == 1, "a person may try"
        end(engine, said[0].id or 0, now)
        plan(engine, now + MINUTE, S)
        assert len(claim(engine, now + MINUTE, S)) == 1, "what failed before counts no more"


def test_what_one_site_stops_keeps_the_breaker_from_no_other(engine: Engine, now: datetime) -> None:
    furnish(engine, now)
    with session(engine) as opened:
        opened.add(Site(id="south", name="South", municipality="Südtal"))
        opened.flush()
        scope = Scope(site="south", recipe="wipe")
        mine = overrides.say(opened, OverrideKind.STOP, scope, now, "IT").id or 0
    add_course(engine, now + HOUR)
    fail(engine, now - HOUR, [BAD] * 4 + [GOOD] * 6)
    end(engine, mine, now)  # what South takes back is no word about the others either
    with session(engine) as opened:
        overrides.say(opened, OverrideKind.STOP, scope, now, "IT")
    plan(engine, now, S)
    with reading(engine) as opened:
        said = opened.exec(select(Override).where(col(Override.site_id).is_(None))).all()
    assert [one.made_by for one in said] == ["raumwart"]
    assert claim(engine, now, S) == []


def test_one_device_is_not_reset_again_and_again(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    with session(engine) as opened:
        for number in range(12):
            at = now - number * HOUR - MINUTE
            opened.add(
                ResetRun(id=f"old{number}", device_id="r1-l1", recipe_id="wipe", ordered_at=at,
                         state=RunState.VERIFIED, planned_at=at, not_before=at, not_after=at,
                         deadline=at, next_try_at=at, finished_at=at)
            )  # fmt: skip
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    assert claim(engine, now, S) == []
    assert "too_often" in {run.reason for run in runs(engine)}
    few = Settings(**(S.model_dump() | {"reset_per_day": 13}))
    assert len(claim(engine, now, few)) == 1


def test_after_a_start_a_site_waits_until_it_has_reported(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + HOUR)
    plan(engine, now, S)

    def tried(at: datetime) -> int:
        with session(engine) as opened:
            found = len(resets.claim(opened, at, S, started=now))
            opened.execute(update(ResetRun).values(state=RunState.PLANNED))
            return found

    assert tried(now) == 0
    with session(engine) as opened:
        opened.add(AgentContact(site_id="vhs", at=now))
    assert tried(now) == 0, "its timetable was not read yet"
    change(engine, Feed, "f-r1", tried_at=now)
    assert tried(now) == 1
    change(engine, Feed, "f-r1", tried_at=now - HOUR)
    assert tried(now + 119 * timedelta(seconds=1)) == 0
    assert tried(now + 2 * MINUTE) == 1, "then the gates alone decide"


# --- by hand ---


def refused(engine: Engine, now: datetime, **more: Any) -> str:
    try:
        with session(engine) as opened:
            resets.request(opened, "r1-l1", now, S, "IT", **more)
    except resets.ResetRefused as refusal:
        return refusal.code
    return ""


def test_who_insists_opens_two_gates_and_never_those_that_protect_people(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    change(engine, Feed, "f-r1", problem="unreadable")
    override(engine, OverrideKind.PAUSE, Scope(), now)
    assert refused(engine, now) == "calendar_in_doubt"
    assert refused(engine, now, force=True) == "why_needed"
    change(engine, DeviceState, "r1-l1", facts={"sessions": 1}, facts_at=now)
    insist = {"force": True, "why": "Virus", "over_all": True}
    assert refused(engine, now, **insist) == "in_use"
    change(engine, DeviceState, "r1-l1", facts={"sessions": 0})
    course = add_course(engine, now - MINUTE)
    assert refused(engine, now, **insist) == "course_running"
    override(engine, OverrideKind.CANCEL, Scope(course=course), now)
    assert refused(engine, now, **insist) == ""
    (order,) = claim(engine, now, S)
    (run,) = runs(engine)
    assert (order.force, run.forced, run.why, run.requested_by) == (True, True, "Virus", "IT")


def test_a_thorough_reset_by_hand(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1, recipe={"tiers": TIERS, "steps": {"tier": "quick"}})
    change(engine, Room, "r1", quiet="08:00-10:00")  # it is nine o'clock
    assert refused(engine, now, tier=Tier.FULL) == "no_such_tier"
    assert refused(engine, now, tier=Tier.STANDARD) == "quiet_hours"
    change(engine, Room, "r1", quiet="")
    assert refused(engine, now, tier=Tier.STANDARD) == ""
    (order,) = claim(engine, now, S)
    assert order.steps == {"tier": "standard"}


def test_a_whole_room_by_hand(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=4)
    change(engine, Device, "r1-l1", service=Service.LENT)
    change(engine, Device, "r1-l2", recipe_id=None)
    change(engine, DeviceState, "r1-l3", facts={"sessions": 2}, facts_at=now)
    with session(engine) as opened:
        answer = resets.request_room(opened, "r1", now, S, "IT")
    assert [run.device_id for run in answer.runs] == ["r1-l4"]
    assert answer.refused == {"r1-l3": "in_use"}
    assert Counter(order.device for order in claim(engine, now, S)) == {"r1-l4": 1}
