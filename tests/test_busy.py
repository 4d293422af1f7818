"""I18: the busy times of a room, merged, are the union of its lessons: no gap is lost and none is
invented where lessons abut, overlap, last for days or end at midnight."""

import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import delete

from fleet import timetable
from fleet.settings import Settings
from inventory import Course, Feed, FeedSnapshot, Room, Site
from inventory.db import reading, session

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
STEP = timedelta(minutes=15)
SPAN = 7 * 96
"""A week in steps; midnight in Berlin is one of them."""

Told = tuple[int, int, str, bool]
"""First step, number of steps, room, cancelled."""
TOLD = st.tuples(
    st.integers(0, SPAN),
    st.sampled_from([1, 2, 4, 6, 95, 96, 200]),
    st.sampled_from(["r1", "r2"]),
    st.sampled_from([False, False, False, True]),
)


def ics(told: Iterable[Told]) -> bytes:
    events = "".join(
        f"BEGIN:VEVENT\r\nUID:{number}\r\nDTSTART:{NOW + first * STEP:%Y%m%dT%H%M%SZ}\r\n"
        f"DTEND:{NOW + (first + steps) * STEP:%Y%m%dT%H%M%SZ}\r\nLOCATION:{room}\r\n"
        f"{'STATUS:CANCELLED' if cancelled else 'STATUS:CONFIRMED'}\r\nEND:VEVENT\r\n"
        for number, (first, steps, room, cancelled) in enumerate(told)
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n".encode()


def make(engine: Engine, file: Path) -> None:
    with session(engine) as opened:
        if opened.get(Site, "vhs") is None:
            opened.add(Site(id="vhs", name="VHS", municipality="Erlental"))
            opened.flush()
            opened.add_all(Room(id=one, site_id="vhs", name=one) for one in ("r1", "r2"))
            opened.flush()
        for table in (Course, FeedSnapshot, Feed):
            opened.execute(delete(table))
        opened.add(Feed(id="f", site_id="vhs", url=file.as_uri()))


def merged(courses: Iterable[Course]) -> list[tuple[datetime, datetime]]:
    """Overlapping and abutting times as one, in order."""
    found: list[tuple[datetime, datetime]] = []
    for course in sorted(courses, key=lambda one: one.start):
        if found and course.start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], course.end))
        else:
            found.append((course.start, course.end))
    return found


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(told=st.lists(TOLD, max_size=12), since=st.integers(0, SPAN), steps=st.integers(1, SPAN))
@example(told=[(4, 4, "r1", False), (8, 4, "r1", False), (6, 4, "r1", False)], since=0, steps=96)
@example(told=[(60, 200, "r1", False), (260, 1, "r1", False)], since=100, steps=50)
def test_merged_busy_times_are_the_union_of_lessons(
    engine: Engine, told: list[Told], since: int, steps: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kurse.ics"
        file.write_bytes(ics(told))
        make(engine, file)
        timetable.refresh(engine, Settings(calendar_s=10), NOW)
    begin, end = NOW + since * STEP, NOW + (since + steps) * STEP
    for room in ("r1", "r2"):
        with reading(engine) as opened:
            held = timetable.busy(opened, [room], begin, end)
            times = merged(held)
        used = {
            step
            for first, length, where, cancelled in told
            if where == room and not cancelled
            for step in range(first, first + length)
        }
        for step in range(since, since + steps):
            moment = NOW + step * STEP
            assert any(start <= moment < stop for start, stop in times) is (step in used)
        assert all(start < end and stop > begin for start, stop in times)
        assert all(one[1] < two[0] for one, two in pairwise(times))
