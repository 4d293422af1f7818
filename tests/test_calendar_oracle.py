"""No course is ever lost in silence: whatever an exporter writes, each lesson is there, or the
timetable is in doubt. Held against plans that plain arithmetic works out."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fleet.calendars import Contents, Wanted, read
from tests.calendar_styles import STYLES, Lesson, Moved, Plan, lessons

AUTUMN = datetime(2026, 10, 1, 10, tzinfo=UTC)
SPRING = datetime(2027, 3, 5, 10, tzinfo=UTC)
LENGTH = timedelta(days=61)

QUARTERS = st.integers(6 * 4, 24 * 4 - 1).map(lambda n: time(n // 4, n % 4 * 15))
"""From 6:00 to 23:45: a lesson may end after midnight, but not run into the change of clocks."""
MINUTES = st.integers(1, 8).map(lambda n: n * 15)


@st.composite
def plans(draw: st.DrawFn, first: date) -> Plan:
    times = draw(st.sampled_from([1, 1, 2, 5, 12]))
    every = draw(st.sampled_from([7, 7, 14, 1, 3]))
    numbers = st.integers(1, times - 1) if times > 1 else st.nothing()
    left_out = draw(st.frozensets(numbers, max_size=2)) if times > 1 else frozenset()
    changed = draw(st.frozensets(numbers, max_size=2)) - left_out if times > 1 else frozenset()
    moved = {
        number: Moved(draw(st.integers(-3, 3)), draw(QUARTERS), draw(MINUTES), draw(st.booleans()))
        for number in sorted(changed)
    }
    # A time that the rule has already would be one and the same lesson.
    regular = {number * every for number in range(times)}
    some = st.integers(1, 40).filter(lambda days: days not in regular)
    added = draw(st.lists(some, max_size=2, unique=True)) if times > 1 else []
    return Plan(
        uid=f"26W-{draw(st.integers(1000, 9999))}",
        day=first + timedelta(days=draw(st.integers(-40, 50))),
        begins=draw(QUARTERS),
        minutes=draw(MINUTES),
        every=every,
        times=times,
        left_out=left_out,
        added=tuple(added),
        moved=moved,
        room=draw(st.sampled_from(["Raum 1", "Großer Saal"])),
        cancelled=draw(st.sampled_from([False, False, False, True])) and times == 1,
    )


@st.composite
def timetables(draw: st.DrawFn) -> tuple[datetime, str, list[Plan]]:
    begin = draw(st.sampled_from([AUTUMN, SPRING]))
    made = draw(st.lists(plans(begin.date()), max_size=5, unique_by=lambda plan: plan.uid))
    return begin, draw(st.sampled_from(sorted(STYLES))), made


def written(style: str, made: list[Plan]) -> bytes:
    return STYLES[style].file(made)


def read_all(style: str, body: bytes, begin: datetime) -> Contents:
    kind = "csv" if style == "sheet" else "ics"
    return read(body, begin, begin + LENGTH, Wanted(kind=kind))


def expected(begin: datetime, made: list[Plan]) -> set[Lesson]:
    everything = (lesson for plan in made for lesson in lessons(plan))
    return longest((s, e) for s, e in everything if e > begin and s < begin + LENGTH)


def found(contents: Contents) -> set[Lesson]:
    return longest((one.start, one.end) for one in contents.occurrences if not one.cancelled)


def longest(told: Iterable[Lesson]) -> set[Lesson]:
    """Of lessons that begin at the same moment, the longest: a sheet may join them."""
    ends: dict[datetime, datetime] = {}
    for start, end in told:
        ends[start] = max(end, ends.get(start, end))
    return set(ends.items())


@settings(max_examples=400, deadline=None)
@given(timetables())
@example((AUTUMN, "nextcloud", [Plan("1", date(2026, 10, 20), time(9), 90, times=3)]))
@example((SPRING, "google", [Plan("1", date(2027, 3, 20), time(23, 45), 120, every=1, times=12)]))
def test_what_is_written_is_what_is_read(timetable: tuple[datetime, str, list[Plan]]) -> None:
    begin, style, made = timetable
    contents = read_all(style, written(style, made), begin)
    assert contents.problem == "", contents.detail
    assert found(contents) == expected(begin, made)
    names = [(one.uid, one.occurrence) for one in contents.occurrences]
    assert len(set(names)) == len(names)


@settings(max_examples=400, deadline=None)
@given(timetables(), st.data())
def test_damage_is_a_doubt_and_never_a_lesson_less(
    timetable: tuple[datetime, str, list[Plan]], data: st.DataObject
) -> None:
    """Cut off anywhere, a line lost, or a value that became rubbish."""
    begin, style, made = timetable
    assume(made)
    body = written(style, made)
    lines = body.splitlines(keepends=True)
    number = data.draw(st.integers(1 if style == "sheet" else 0, len(lines) - 1), "line")
    line = lines[number]
    damage = data.draw(st.sampled_from(["cut", "rubbish"]), "damage")
    if damage == "cut" and style != "sheet":
        body = b"".join(lines)[: data.draw(st.integers(0, len(body) - 3), "at")]
    elif damage == "cut":
        number = len(lines) - 1
        lines[number] = lines[number][: data.draw(st.integers(0, len(lines[number]) - 3), "at")]
        body = b"".join(lines)
    elif b"DT" in line[:8] or line[:5] in (b"RRULE", b"RDATE") or style == "sheet":
        name = line.split(b":")[0].split(b";")[0]
        lines[number] = name + b":irgendwann\r\n"
        body = b"".join(lines)
    contents = read_all(style, body, begin)
    if not contents.problem:
        lost = expected(begin, made) - found(contents)
        # Whole lines that are cut off a sheet cannot be missed in it: for that a feed that
        # shrinks is in doubt.
        gone = style == "sheet" and damage == "cut" and not lines[number].strip()
        assert not lost or (gone and len(lost) == 1)


def test_the_generator_reaches_the_hard_cases() -> None:
    """A property is worth what its examples are: each style with a series in both seasons."""
    for style in STYLES:
        for begin in (AUTUMN, SPRING):
            plan = Plan(
                "1", begin.date(), time(23, 30), 90, times=8, left_out=frozenset({2}),
                added=(3,), moved={4: Moved(1, time(7), 30), 5: Moved(0, time(8), 30, True)},
            )  # fmt: skip
            made = [plan]
            contents = read_all(style, written(style, made), begin)
            assert contents.problem == ""
            assert found(contents) == expected(begin, made), style
            assert len(expected(begin, made)) == 7
            winter = {start.hour for start, _ in found(contents) if start.minute == 30}
            assert {21, 22} & winter == {21, 22}, "both sides of the change of clocks"


@pytest.mark.parametrize("style", sorted(STYLES))
def test_one_lesson_less_is_noticed_by_the_oracle(style: str) -> None:
    """The comparison above can fail."""
    plan = Plan("1", AUTUMN.date(), time(9), 90, times=4)
    other = Plan("1", AUTUMN.date(), time(9), 90, times=3)
    contents = read_all(style, written(style, [other]), AUTUMN)
    assert found(contents) != expected(AUTUMN, [plan])
