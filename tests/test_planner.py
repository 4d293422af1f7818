"""The plan as a pure function: the same for the same, never into a course, as rich as fits."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.resets.forecast import shortfalls
from fleet.resets.gates import GATES, Case, refusal
from fleet.resets.load import Load, Seat
from fleet.resets.planner import Add, Change, Close, plan
from fleet.resets.quiet import ZONE, parse
from fleet.resets.starts import Due, decide
from fleet.resets.ways import ORDER, Way, up_to, ways
from fleet.resets.world import Ban, Known, Lesson, Machine, Place, Rules, Span, World
from inventory import Recipe, RunState, Tier
from inventory.recipes import BUILT_IN

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOON = datetime(2026, 11, 25, 11, tzinfo=UTC)
"""A Wednesday, twelve o'clock in Berlin."""
RULES = Rules(grace=2 * MINUTE, buffer=5 * MINUTE, guard=timedelta(seconds=90))
LAPTOP = ways(BUILT_IN["laptop-reset"])
QUICK = Way(Tier.QUICK, {}, 120, 0)


def lesson(number: int, start: timedelta, length: timedelta = HOUR) -> Lesson:
    return Lesson(number, NOON + start, NOON + start + length)


def world(*lessons: Lesson, machines: int = 1, **more: Any) -> World:
    place = {"quiet": more.pop("quiet", None), "blocks": more.pop("blocks", ())}
    place["trusted"] = more.pop("trusted", True)
    told = {"ways": more.pop("ways", LAPTOP), "ahead": more.pop("ahead", 16 * HOUR)}
    held = [Machine(f"l{n}", "r", "laptop-reset", **told) for n in range(1, machines + 1)]
    return World(
        {"r": Place("r", "s", tuple(lessons), **place)}, held, more.pop("rules", RULES), **more
    )


def added(found: World, now: datetime = NOON) -> list[Add]:
    return [each for each in plan(now, found) if isinstance(each, Add)]


def known(add: Add, **more: Any) -> Known:
    told = Known(
        id=f"run-{add.machine.id}", device=add.machine.id, course=add.lesson.id,
        course_start=add.lesson.start, recipe=add.machine.recipe, tier=add.tier, tier_limit=None,
        state=RunState.PLANNED, reason="", attempts=0, not_before=add.window.not_before,
        not_after=add.window.not_after,
    )  # fmt: skip
    return replace(told, **more)


@pytest.mark.parametrize(
    ("gap", "tier", "reason"),
    [(8, "quick", "gap_too_short"), (9, "quick", ""), (14, "quick", ""), (15, "standard", ""),
     (359, "standard", ""), (362, "full", ""), (13 * 60, "full", "")],
)  # fmt: skip
def test_the_richest_tier_that_fits_the_gap(gap: int, tier: str, reason: str) -> None:
    """Quick: 2 + 2 + 5 minutes. Standard: 5.5 more. Full: only where the room is empty 6 hours."""
    before = lesson(1, -HOUR)
    found = added(world(before, lesson(2, gap * MINUTE)))
    assert [(each.tier, each.reason) for each in found] == [(tier, reason)]
    assert found[0].window.not_before == NOON + 2 * MINUTE


def test_as_early_as_the_room_is_free_for_the_first_course_the_evening_before() -> None:
    morning = Lesson(1, NOON + 21 * HOUR, NOON + 22 * HOUR)  # nine o'clock
    assert added(world(morning)) == [], "more than 16 hours ahead"
    (found,) = added(world(morning), NOON + 5 * HOUR)
    assert found.window.not_before.astimezone(ZONE).hour == 17
    late = Lesson(2, NOON + 7 * HOUR, NOON + 9 * HOUR)
    found = next(
        each for each in added(world(late, morning), NOON + 6 * HOUR) if each.lesson.id == 1
    )
    assert found.window.not_before == late.end + 2 * MINUTE


def test_where_not_all_can_start_up_in_time_some_do_and_the_others_are_done_simply() -> None:
    found = added(world(lesson(1, -HOUR), lesson(2, 25 * MINUTE), machines=30))
    counted = Counter(each.tier for each in found)
    # 25 - 2 - 5 - 2 minutes are two rounds of 5.5 minutes, six devices each.
    assert counted == {Tier.STANDARD: 12, Tier.QUICK: 18}
    other = added(world(lesson(1, -HOUR), lesson(3, 25 * MINUTE), machines=30))
    lucky, next_time = (
        {each.machine.id for each in one if each.tier is Tier.STANDARD} for one in (found, other)
    )
    assert lucky != next_time, "not always the same"


def test_an_access_point_starts_up_only_so_many_at_once() -> None:
    found = world(lesson(1, 14 * MINUTE + 31 * timedelta(seconds=1)), machines=6)
    machines = [replace(each, uplink="ap") for each in found.machines]
    rules = replace(RULES, boots_uplink=2)
    tiers = Counter(each.tier for each in added(replace(found, machines=machines, rules=rules)))
    assert tiers == {Tier.STANDARD: 2, Tier.QUICK: 4}


def test_quiet_hours_keep_noise_and_let_the_rest_through() -> None:
    quiet = parse("20:00-07:00")
    night = NOON + 10 * HOUR  # ten o'clock
    nine, half_past_seven, half_past_six = (
        Lesson(1, NOON + hours, NOON + hours + HOUR)
        for hours in (21 * HOUR, 19.5 * HOUR, 18.5 * HOUR)
    )
    (loud,) = added(world(nine, quiet=quiet), night)
    assert loud.tier is Tier.FULL, "from seven o'clock on there are two hours for it"
    (simple,) = added(world(half_past_six, quiet=quiet), night)
    assert (simple.tier, simple.window.not_before < night) == (Tier.QUICK, True)
    beamer = ways(BUILT_IN["projector-ready"])
    (none,) = added(world(half_past_six, quiet=quiet, ways=beamer, ahead=HOUR), night + 8 * HOUR)
    assert none.reason == "quiet_hours"
    (later,) = added(world(half_past_seven, quiet=quiet, ways=beamer, ahead=HOUR), night + 9 * HOUR)
    assert (later.reason, later.window.not_before) == ("", NOON + 19 * HOUR)
    soon = world(lesson(1, 10 * MINUTE), ways=beamer, ahead=5 * MINUTE)
    (short,) = added(soon, NOON + 6 * MINUTE)
    assert short.reason == "no_device_time"


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-10-24", 12), ("2027-03-27", 10), ("2026-11-24", 11)]
)
def test_quiet_hours_over_the_change_of_clocks(day: str, hours: int) -> None:
    quiet = parse("20:00-07:00")
    assert quiet
    begin = datetime.fromisoformat(f"{day}T20:00").replace(tzinfo=ZONE)
    assert not quiet.at(begin - timedelta(seconds=1))
    assert quiet.until(begin) == begin.astimezone(UTC) + hours * HOUR
    assert not quiet.at(begin.astimezone(UTC) + hours * HOUR)


def test_a_used_device_is_reset_once_more() -> None:
    coming = world(lesson(1, 3 * HOUR))
    (first,) = added(coming)
    done = known(first, state=RunState.VERIFIED)
    assert plan(NOON, replace(coming, runs=[done])) == []
    used = replace(done, used_at=NOON)
    (again,) = added(replace(coming, runs=[used]))
    assert again.window.not_before == NOON + 10 * MINUTE
    newer = known(first, id="zz")
    assert plan(NOON, replace(coming, runs=[used, newer])) == []
    assert plan(NOON + 3 * HOUR - 6 * MINUTE, replace(coming, runs=[used])) == [], "too late"


def test_what_was_missed_leaves_one_record_and_is_not_made_up_for() -> None:
    courses = [lesson(n, -n * HOUR, HOUR / 2) for n in range(1, 5)]
    found = world(*courses, machines=2, planned_at=NOON - 2.5 * HOUR)
    missed = added(found)
    assert [(each.lesson.id, each.reason) for each in missed] == [
        (2, "too_late"), (2, "too_late"), (1, "too_late"), (1, "too_late"),
    ]  # fmt: skip
    assert added(replace(found, planned_at=None)) == []


def test_a_skipped_reset_and_a_block() -> None:
    coming = world(lesson(1, 3 * HOUR), machines=2)
    assert added(replace(coming, skips=frozenset({(1, None)}))) == []
    skips = frozenset({(1, "l1")})
    assert [each.machine.id for each in added(replace(coming, skips=skips))] == ["l2"]
    waiting = [known(each) for each in added(coming)]
    closed = plan(NOON, replace(coming, runs=waiting, skips=skips))
    assert [(c.run.device, c.reason) for c in closed if isinstance(c, Close)] == [("l1", "skipped")]
    (blocked,) = added(world(lesson(1, 3 * HOUR), blocks=(Span(NOON, NOON + HOUR),)))
    assert blocked.window.not_before == NOON + HOUR + 2 * MINUTE


def test_a_course_that_moves_to_the_start_of_another_brings_no_second_reset() -> None:
    """Whichever of the two had its reset first: one stands for both."""
    one, other = lesson(1, 3 * HOUR), lesson(2, 5 * HOUR)
    (later,) = [each for each in added(world(one, other)) if each.lesson.id == 2]
    together = world(replace(other, id=1), other)
    waiting = replace(together, runs=[known(later)])
    assert plan(NOON, waiting) == plan(NOON, replace(world(other), runs=[known(later)]))
    proved = known(later, state=RunState.VERIFIED)
    assert plan(NOON, replace(together, runs=[proved])) == []
    both = [known(later), known(later, id="run-1", course=1)]
    closed = plan(NOON, replace(together, runs=both))
    assert [(each.run.id, each.reason) for each in closed if isinstance(each, Close)] == [
        ("run-l1", "course_changed")
    ]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A few rooms with courses, runs of an earlier plan, and things said by hand."""
    minutes = st.integers(-300, 900).map(lambda n: n * MINUTE)
    places, machines, number = {}, [], 0
    for room in ("a", "b"):
        lessons = []
        for start in draw(st.lists(minutes, max_size=4)):
            number += 1
            length = draw(st.integers(1, 180)) * MINUTE
            lessons.append(Lesson(number, NOON + start, NOON + start + length, draw(st.booleans())))
        quiet = parse(draw(st.sampled_from(["", "20:00-07:00", "12:00-13:00"])))
        places[room] = Place(room, "s", tuple(lessons), trusted=draw(st.booleans()), quiet=quiet)
        for n in range(draw(st.integers(0, 8))):
            ahead = draw(st.sampled_from([HOUR, 16 * HOUR]))
            machines.append(Machine(f"{room}{n}", room, "laptop-reset", LAPTOP, ahead))
    return World(places, machines, RULES, planned_at=draw(st.none() | st.just(NOON - HOUR)))


@settings(max_examples=150, deadline=None)
@given(worlds(), st.integers(0, 600), st.randoms(use_true_random=False))
def test_a_plan_depends_on_nothing_but_what_is_known(
    found: World, later: int, chance: Random
) -> None:
    now = NOON + later * MINUTE
    actions = plan(now, found)
    shuffled = {
        name: replace(place, lessons=tuple(chance.sample(place.lessons, len(place.lessons))))
        for name, place in reversed(found.places.items())
    }
    machines = chance.sample(list(found.machines), len(found.machines))
    assert plan(now, replace(found, places=shuffled, machines=machines)) == actions
    # What was planned is planned: nothing changes at the same moment.
    runs = [
        known(each, id=f"{each.machine.id}-{each.lesson.id}", reason=each.reason,
              state=RunState.EXPIRED if each.reason else RunState.PLANNED)
        for each in actions if isinstance(each, Add)
    ]  # fmt: skip
    assert plan(now, replace(found, runs=runs)) == []
    for run in runs:
        place = found.places["a" if run.device.startswith("a") else "b"]
        if run.state is RunState.PLANNED:
            begun = max(run.not_before, now)
            end = begun + up_to(LAPTOP, run.tier)[-1].length
            assert place.trusted
            assert end + RULES.buffer <= run.course_start or begun > run.not_after
            for one in place.lessons:
                if one.start < run.course_start:
                    assert run.not_before >= one.end + RULES.grace


@settings(max_examples=100, deadline=None)
@given(worlds(), st.integers(0, 900))
def test_time_only_ever_makes_a_plan_simpler(found: World, later: int) -> None:
    runs = [known(each, id=f"{each.machine.id}-{each.lesson.id}")
            for each in added(found) if not each.reason]  # fmt: skip
    first = {run.id: run for run in runs}
    for each in plan(NOON + later * MINUTE, replace(found, runs=runs)):
        if isinstance(each, Change) and len(found.machines) == 1:
            assert ORDER.index(each.tier) <= ORDER.index(first[each.run.id].tier)


# --- gates, capacity and order ---


CASE = Case(
    now=NOON, rules=RULES, length=2 * MINUTE, busy=(), trusted=True, in_use=False
)  # fmt: skip
CLOSED: dict[str, tuple[dict[str, Any], str]] = {
    "G1": ({"busy": (lesson(1, -HOUR),)}, "course_running"),
    "G2": ({"busy": (lesson(1, 6 * MINUTE),)}, "too_close"),
    "G3": ({"trusted": False}, "calendar_in_doubt"),
    "G4": ({"in_use": True}, "in_use"),
    "G5": ({"held_by": "paused"}, "paused"),
    "G6": ({"crowded": "site_busy"}, "site_busy"),
    "G7": ({"current": False}, "plan_changed"),
    "G8": ({"in_service": False}, "not_active"),
}


@pytest.mark.parametrize("gate", GATES)
def test_every_gate_alone_keeps_a_reset_and_who_insists_opens_only_two(gate: str) -> None:
    told, code = CLOSED[gate]
    case = replace(CASE, **told)
    assert refusal(CASE) == ("", "")
    assert refusal(case) == (gate, code)
    assert refusal(case, {name: one for name, one in GATES.items() if name != gate}) == ("", "")
    insisted = ("", "") if gate in ("G3", "G5") else (gate, code)
    assert refusal(replace(case, forced=True)) == insisted
    if gate == "G5":
        everywhere = replace(case, held_by="paused_everywhere", forced=True)
        assert refusal(everywhere) == (gate, "paused_everywhere")
        assert refusal(replace(everywhere, over_all=True)) == ("", "")
        assert refusal(replace(everywhere, over_all=True, forced=False)) == refusal(everywhere)


def test_a_guard_holds_even_without_a_buffer() -> None:
    rules = replace(RULES, buffer=timedelta(0))
    case = replace(
        CASE, rules=rules, length=timedelta(0), busy=(lesson(1, 89 * timedelta(seconds=1)),)
    )
    assert refusal(case) == ("G1", "course_running")


def due(name: str, start: timedelta = HOUR, **more: Any) -> Due:
    told: dict[str, Any] = {
        "id": name, "device": name, "room": "r", "site": "s", "uplink": None, "share": 1.0,
        "start": NOON + start, "ways": LAPTOP, "tier": Tier.STANDARD, "busy": (), "trusted": True,
        "signed_in": False, "held_by": "", "quiet": None, "current": True, "in_service": True,
        "automatic": True,
    }  # fmt: skip
    return Due(**(told | more))


def test_the_earliest_course_first_then_who_can_spare_least() -> None:
    found = decide(
        NOON,
        [due("c", 2 * HOUR), due("b", share=0.5), due("a", share=0.9)],
        Load(),
        RULES,
    )
    assert [one.due.id for one in found] == ["a", "b", "c"]
    rules = replace(RULES, boots_room=2)
    found = decide(NOON, [due(f"l{n}") for n in range(4)], Load(), rules)
    assert Counter(one.code for one in found) == {"": 2, "room_busy": 2}


def test_what_no_longer_fits_is_done_more_simply() -> None:
    busy = (lesson(1, 17.5 * MINUTE),)
    found = [
        decide(NOON + minute * MINUTE, [due("x", busy=busy)], Load(), RULES)[0]
        for minute in (0, 5, 6, 10, 11)
    ]
    assert [(one.way.tier, one.code) for one in found] == [
        (Tier.STANDARD, ""), (Tier.STANDARD, ""), (Tier.QUICK, ""), (Tier.QUICK, ""),
        (Tier.QUICK, "too_close"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("load", "automatic", "code"),
    [
        (Load(devices={"d"}), True, "busy"),
        (Load(touched=Counter(d=12)), True, "too_often"),
        (Load(touched=Counter(d=12)), False, ""),
        (Load(begun=600), True, "storm"),
        (Load(begun=600), False, ""),
        (Load(sites=Counter(s=30)), False, "site_busy"),
        (Load(boots=Counter({("room", "r"): 6})), False, "room_busy"),
        (Load(boots=Counter({("uplink", "ap"): 6})), False, "uplink_busy"),
        (Load(heavy=Counter(s=4)), False, "line_busy"),
        (Load(devices={f"d{n}" for n in range(500)} - {"d"}), False, "fleet_busy"),
    ],
)
def test_limits(load: Load, automatic: bool, code: str) -> None:
    seat = Seat("d", "r", "s", "ap", LAPTOP[-1])
    assert load.crowded(seat, RULES, automatic=automatic) == code


def test_tiers_are_data_and_a_recipe_without_them_has_one() -> None:
    plain = Recipe(id="x", name="X", steps={"a": 1}, max_runtime_s=60, settle_s=5)
    (only,) = ways(plain)
    assert (only.tier, only.steps, only.length) == (Tier.QUICK, {"a": 1}, timedelta(seconds=65))
    plain.tiers = {"full": {"steps": {"b": 2}, "boots": True}}
    (only,) = ways(plain)
    assert (only.tier, only.steps, only.noisy) == (Tier.FULL, {"a": 1, "b": 2}, True)
    assert up_to(LAPTOP, Tier.STANDARD) == LAPTOP[:2]


# --- forecast ---


def test_the_forecast_says_which_courses_fail_and_why() -> None:
    courses = [lesson(1, HOUR), lesson(2, 2 * HOUR + 5 * MINUTE), lesson(3, 26 * HOUR)]
    week = NOON + 7 * DAY

    def told(found: World) -> list[tuple[int, str, int]]:
        return [(s.course_id, s.code, len(s.devices)) for s in shortfalls(NOON, found, week)]

    assert told(world(*courses, machines=3)) == [(2, "gap_too_short", 3)]
    doubtful = world(*courses, machines=3, trusted=False)
    assert told(doubtful) == [(n, "calendar_in_doubt", 3) for n in (1, 2, 3)]
    pause = Ban("paused", NOON, NOON + 3 * HOUR, site="s")
    assert told(world(*courses, bans=[pause])) == [(1, "paused", 1), (2, "gap_too_short", 1)]
    stop = Ban("recipe_stopped", NOON, None, recipe="laptop-reset")
    assert [code for _, code, _ in told(world(*courses, bans=[stop]))] == [
        "recipe_stopped", "gap_too_short", "recipe_stopped",
    ]  # fmt: skip
    crowd = world(lesson(1, -HOUR), lesson(2, 10 * MINUTE), machines=31)
    assert told(crowd) == [(2, "capacity", 1)], "thirty at once, and no time for a second round"
    assert told(world(lesson(1, -HOUR), lesson(2, 11 * MINUTE), machines=60)) == []
    assert shortfalls(NOON, world(*courses), NOON + HOUR) == []
