"""What changes in a plan when something else changes: nothing but that."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.resets.planner import Action, Add, plan
from fleet.resets.quiet import ZONE
from fleet.resets.world import Lesson, World
from tests.test_planner import MINUTE, NOON, RULES, worlds

FEW = settings(max_examples=80, deadline=None, derandomize=True)


def moved(world: World, by: timedelta) -> World:
    places = {
        name: replace(
            place,
            lessons=tuple(
                replace(one, start=one.start + by, end=one.end + by) for one in place.lessons
            ),
        )
        for name, place in world.places.items()
    }
    planned_at = world.planned_at and world.planned_at + by
    return replace(world, places=places, planned_at=planned_at)


def told(actions: list[Action], by: timedelta = timedelta(0)) -> list[object]:
    return [
        (each.machine.id, each.lesson.id, each.tier, each.reason,
         each.window.not_before - by, each.window.not_after - by)
        for each in actions if isinstance(each, Add)
    ]  # fmt: skip


@FEW
@given(worlds(), st.integers(0, 600), st.integers(-52, 52))
def test_weeks_later_the_plan_is_the_same_on_the_clock_on_the_wall(
    world: World, later: int, weeks: int
) -> None:
    """I13: also where the clocks changed in between, which moves everything by an hour in UTC."""
    now = NOON + later * MINUTE
    there = (NOON.astimezone(ZONE).replace(tzinfo=None) + timedelta(weeks=weeks)).replace(
        tzinfo=ZONE
    )
    by = there.astimezone(NOON.tzinfo) - NOON
    found = plan(now, world)
    shifted = plan(now + by, moved(world, by))
    assert told(shifted, by) == told(found)
    for one, other in zip(found, shifted, strict=True):
        if isinstance(one, Add) and isinstance(other, Add):
            same = [each.window.not_before.astimezone(ZONE).time() for each in (one, other)]
            assert same[0] == same[1]


@pytest.mark.parametrize("night", [date(2026, 10, 25), date(2027, 3, 28)])
@FEW
@given(worlds(), st.integers(-240, 240))
def test_in_the_night_of_the_change_each_has_one_reset_and_time_for_it(
    night: date, world: World, minutes: int
) -> None:
    """I13: the hour that comes twice, or never, makes no second reset and no shorter one."""
    three = datetime(night.year, night.month, night.day, 3, tzinfo=ZONE).astimezone(NOON.tzinfo)
    by = three - NOON
    now = three + minutes * MINUTE
    added = [each for each in plan(now, moved(world, by)) if isinstance(each, Add)]
    keys = [(each.machine.id, each.lesson.start) for each in added]
    assert len(keys) == len(set(keys))
    for each in added:
        if not each.reason:
            assert each.window.not_before <= each.window.not_after
            end = each.window.not_after + each.machine.ways[0].length
            assert end + RULES.buffer <= each.lesson.start


@FEW
@given(worlds(), st.integers(0, 600), st.integers(-60, 900), st.integers(1, 180))
def test_a_new_course_gets_no_reset_into_it_and_one_less_delays_no_other_room(
    world: World, later: int, start: int, length: int
) -> None:
    """I14."""
    now = NOON + later * MINUTE
    begin = NOON + start * MINUTE
    room = world.places["a"]
    lesson = Lesson(999, begin, begin + length * MINUTE)
    with_it = replace(
        world, places={**world.places, "a": replace(room, lessons=(*room.lessons, lesson))}
    )
    more = [each for each in plan(now, with_it) if isinstance(each, Add)]
    for each in more:
        if each.machine.room == "a" and not each.reason:
            first = max(now, each.window.not_before)
            last = each.window.not_after + each.machine.ways[0].length
            assert first >= lesson.end + RULES.grace or last + RULES.buffer <= lesson.start

    def elsewhere(actions: list[Action]) -> list[object]:
        return told([a for a in actions if isinstance(a, Add) and a.machine.room != "a"])

    assert elsewhere(plan(now, with_it)) == elsewhere(plan(now, world))
