"""Who insists on one device: against a person at it only with a countdown, and against a pause of
everything only as an admin; on a real database."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from agents.driver import Misconfigured
from agents.drivers.freekiosk import Steps as FreeKiosk
from agents.drivers.headwind import Steps as Headwind
from agents.drivers.kiosk import Steps as Kiosk
from agents.messages import Order, Step
from agents.pjlink.ensure import Steps as Projector
from agents.snmp.acting import Steps as AccessPoint
from fleet import overrides, resets, timetable
from fleet.overrides import Scope
from fleet.resets.ways import COUNTDOWN_S, counting_down, ways
from fleet.settings import Settings
from inventory import Device, DeviceKind, DeviceState, Feed, OverrideKind, Recipe, RunState, Tier
from inventory.db import reading, session
from inventory.recipes import BUILT_IN
from tests.room import (
    HOUR,
    MINUTE,
    add_course,
    change,
    claim,
    furnish,
    heard,
    outcome,
    plan,
    runs,
    say,
)

S = Settings(reset_ahead_s=3600, reset_grace_s=120, reset_buffer_s=300)
INSIST: dict[str, Any] = {"force": True, "why": "Virus"}
COUNTDOWN = INSIST | {"countdown": True}
LAPTOP = {"steps": {"tier": "quick"}}


def refused(engine: Engine, now: datetime, **more: Any) -> str:
    try:
        with session(engine) as opened:
            resets.request(opened, "r1-l1", now, S, "IT", **more)
    except resets.ResetRefused as refusal:
        return refusal.code
    return ""


def occupy(engine: Engine, now: datetime, *devices: str) -> None:
    for device in devices:
        change(engine, DeviceState, device, facts={"sessions": 1}, facts_at=now)


# --- somebody at the device ---


def test_somebody_signed_in_is_only_counted_down_by_who_insists(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1, recipe=LAPTOP)
    occupy(engine, now, "r1-l1")
    assert refused(engine, now) == "in_use"
    assert refused(engine, now, **INSIST) == "in_use"
    assert refused(engine, now, countdown=True) == "countdown_alone"
    assert refused(engine, now, countdown=True, force=True) == "why_needed"
    assert refused(engine, now, **COUNTDOWN) == ""
    (order,) = claim(engine, now, S)
    assert order.steps == {"tier": "quick", "on_active_session": "countdown", "countdown_s": 60}
    assert order.max_runtime_s == 120 + 60, "the countdown belongs to the promised time"
    (run,) = runs(engine)
    assert (run.countdown, run.forced, run.why, run.requested_by) == (True, True, "Virus", "IT")


def test_the_countdown_must_fit_before_the_next_course(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1, recipe=LAPTOP)
    add_course(engine, now + timedelta(seconds=120 + 300 + 30))
    occupy(engine, now, "r1-l1")
    assert refused(engine, now, **COUNTDOWN) == "too_close"
    change(engine, DeviceState, "r1-l1", facts={})
    assert refused(engine, now, **INSIST) == "", "without it there is time"


def test_who_insists_is_told_of_the_courses_of_a_timetable_just_confirmed(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1, recipe=LAPTOP)
    add_course(engine, now + MINUTE)
    change(engine, Feed, "f-r1", problem="shrunk")
    with session(engine) as opened:
        timetable.confirm(opened, "f-r1")
    assert refused(engine, now, **INSIST) == "course_running"


def test_nobody_is_counted_down_in_a_whole_room_or_by_the_plan(
    engine: Engine, now: datetime
) -> None:
    """Not even where a recipe says so: it is a person's word for one device."""
    asks = {"tier": "quick", "on_active_session": "countdown", "countdown_s": 1}
    furnish(engine, now, recipe={"steps": asks})
    occupy(engine, now, "r1-l1", "r1-l2")
    with session(engine) as opened:
        answer = resets.request_room(opened, "r1", now, S, "IT")
    assert answer.refused == {"r1-l1": "in_use", "r1-l2": "in_use"}
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    assert claim(engine, now, S) == []
    assert {run.reason for run in runs(engine)} == {"in_use"}
    change(engine, DeviceState, "r1-l1", facts={})
    (order,) = claim(engine, now, S)
    assert order.steps == {"tier": "quick"}


def test_a_recipe_cannot_make_the_countdown_shorter() -> None:
    steps = {"tier": "quick", "on_active_session": "end", "countdown_s": 1}
    tiers = {"quick": {"steps": {"countdown_s": 2}}, "standard": {"steps": {"tier": "standard"}}}
    for way in ways(Recipe(id="x", name="X", steps=steps, tiers=tiers)):
        assert way.sends_away
        assert "countdown_s" not in way.steps
        longer = counting_down(way)
        assert (longer.steps["on_active_session"], longer.steps["countdown_s"]) == ("countdown", 60)
        assert longer.length - way.length == timedelta(seconds=COUNTDOWN_S)


def test_a_reset_without_an_end_is_waited_for_with_its_countdown(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1, recipe=LAPTOP)
    assert refused(engine, now, **COUNTDOWN) == ""
    (order,) = claim(engine, now, S)
    lost = outcome(order, Step.UNKNOWN, now + MINUTE, started_at=now, reason="no_end")
    say(engine, lost, now + MINUTE)
    (run,) = runs(engine)
    assert (run.state, run.next_try_at) == (RunState.PLANNED, now + 3 * MINUTE)


@pytest.mark.parametrize(
    "told", [{"kind": DeviceKind.TABLET}, {"driver": "ping"}, {"recipe_id": "look"}]
)
def test_what_cannot_count_down_is_not_asked_to(
    engine: Engine, now: datetime, told: dict[str, Any]
) -> None:
    furnish(engine, now, laptops=1, recipe=LAPTOP)
    with session(engine) as opened:
        opened.add(Recipe(id="look", name="Look"))
    change(engine, Device, "r1-l1", **told)
    occupy(engine, now, "r1-l1")
    assert refused(engine, now, **COUNTDOWN) == "no_countdown"
    assert refused(engine, now, **INSIST) == "in_use"


def test_a_laptop_with_windows_shows_no_countdown(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1, recipe=LAPTOP)
    system = {"firmware": "Microsoft Windows 11 Pro 10.0.26100", "sessions": 1}
    change(engine, DeviceState, "r1-l1", facts=system, facts_at=now)
    assert refused(engine, now, **COUNTDOWN) == "no_countdown"
    change(engine, DeviceState, "r1-l1", facts=system | {"firmware": "Debian GNU/Linux 13"})
    assert refused(engine, now, **COUNTDOWN) == ""


@pytest.mark.parametrize("steps", [AccessPoint, FreeKiosk, Headwind, Kiosk, Projector])
def test_other_drivers_refuse_it_before_they_touch_anything(steps: Any, now: datetime) -> None:
    way = counting_down(ways(BUILT_IN["laptop-reset"])[0])
    said = {name: way.steps[name] for name in ("on_active_session", "countdown_s")}
    order = Order(
        id="7.1", site="s", device="d", room="r", steps=said, not_before=now, not_after=now
    )
    with pytest.raises(Misconfigured, match="countdown_s, on_active_session"):
        steps.of(order)


def test_what_speaks_against_it_is_told_before(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1, recipe=LAPTOP)

    def against() -> list[str]:
        with reading(engine) as opened:
            device = opened.get_one(Device, "r1-l1")
            recipe = opened.get_one(Recipe, "wipe")
            return resets.objections(opened, device, recipe, Tier.QUICK, now, S)

    assert against() == []
    occupy(engine, now, "r1-l1")
    add_course(engine, now - MINUTE)
    with session(engine) as opened:
        overrides.say(opened, OverrideKind.MAINTENANCE, Scope(room="r1"), now, "IT")
    assert against() == ["course_running", "in_use", "maintenance"]


# --- a pause of everything ---


def everything(engine: Engine, now: datetime, **more: Any) -> None:
    with session(engine) as opened:
        overrides.say(opened, OverrideKind.PAUSE, Scope(), now, "admin", **more)


def test_only_who_may_pause_everything_overrules_it(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    with session(engine) as opened:
        overrides.say(opened, OverrideKind.PAUSE, Scope(site="vhs"), now, "IT")
    assert refused(engine, now) == "paused"
    everything(engine, now)
    assert refused(engine, now) == "paused_everywhere"
    assert refused(engine, now, over_all=True) == "paused_everywhere", "who does not insist"
    assert refused(engine, now, **INSIST) == "paused_everywhere"
    assert refused(engine, now, **INSIST, over_all=True) == ""
    (order,) = claim(engine, now, S)
    assert (order.force, order.force_all) == (True, True)


@pytest.mark.parametrize("over_all", [False, True])
def test_a_pause_of_everything_that_comes_later_holds_too(
    engine: Engine, now: datetime, over_all: bool
) -> None:
    """One that was said beforehand, for a moment that has come when the run is claimed."""
    furnish(engine, now, laptops=1)
    everything(engine, now, since=now + MINUTE)
    assert refused(engine, now, **INSIST, over_all=over_all) == ""
    heard(engine, now + MINUTE)
    plan(engine, now + MINUTE, S)
    sent = claim(engine, now + MINUTE, S)
    (run,) = runs(engine)
    assert (len(sent), run.reason) == ((1, "") if over_all else (0, "paused_everywhere"))


def test_a_run_that_nobody_insists_on_carries_no_right(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    assert refused(engine, now, over_all=True) == ""
    assert not runs(engine)[0].over_all
