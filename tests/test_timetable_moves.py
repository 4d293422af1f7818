"""Whatever happens to a timetable between two readings: what it tells takes its room, and what it
no longer tells takes none."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from fleet.calendars import Occurrence
from fleet.timetable import busy, courses
from fleet.timetable.courses import Lesson
from inventory import Course, Feed, Room, Site
from inventory.db import session

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ROOMS = ("r1", "r2", "r3")


@dataclass(frozen=True)
class Entry:
    """A lesson as somebody has it in a calendar program; `planned`: its start at first."""

    uid: str
    planned: datetime
    start: datetime
    end: datetime
    room: str
    cancelled: bool = False

    def told(self, style: str) -> Lesson:
        named = {"single": None, "series": self.planned, "sheet": self.start}[style]
        occurrence = f"{named:%Y-%m-%dT%H:%M:%SZ}" if named else ""
        return Lesson(
            self.room,
            Occurrence(uid=self.uid, occurrence=occurrence, title="Yoga", start=self.start,
                       end=self.end, cancelled=self.cancelled),
        )  # fmt: skip


def region(engine: Engine, feed: str) -> None:
    with session(engine) as opened:
        if opened.get(Site, "vhs") is None:
            opened.add(Site(id="vhs", name="VHS", municipality="Erlental"))
            opened.flush()
            opened.add_all(Room(id=room, site_id="vhs", name=room) for room in ROOMS)
            opened.flush()
        opened.add(Feed(id=feed, site_id="vhs", url="file:///kurse"))


def take_over(session: Session, feed: str, told: list[Lesson], now: datetime) -> None:
    courses.store(session, session.get_one(Feed, feed), told, now, full=True)
    for one in told:
        if one.told.cancelled or one.told.end <= now:
            continue
        held = [each for each in busy(session, [one.room_id], now, one.told.end)
                if each.feed_id == feed]  # fmt: skip
        since = max(one.told.start, now)
        assert any(c.start <= since and c.end >= one.told.end for c in held), (now, one, held)
    ahead = select(Course).where(
        Course.feed_id == feed, Course.start > now, col(Course.cancelled).is_(False)
    )
    assert sorted((c.room_id, c.start, c.end) for c in session.exec(ahead)) == sorted(
        (one.room_id, one.told.start, one.told.end)
        for one in told
        if one.told.start > now and not one.told.cancelled
    )


def test_a_lesson_dragged_to_the_start_of_another_of_its_series_hides_neither(
    engine: Engine, now: datetime
) -> None:
    region(engine, "f")
    first = Entry("a", now - 2 * HOUR, now - 2 * HOUR, now - HOUR, "r1")
    second = Entry("a", now + HOUR, now + HOUR, now + 2 * HOUR, "r1")
    dragged = replace(first, start=second.start, end=second.end + HOUR, room="r2")
    with session(engine) as opened:
        take_over(opened, "f", [one.told("series") for one in (first, second)], now - 3 * HOUR)
        take_over(opened, "f", [one.told("series") for one in (dragged, second)], now)
        take_over(opened, "f", [one.told("series") for one in (second, dragged)], now + 90 * MINUTE)


@pytest.mark.parametrize("style", ["single", "series", "sheet"])
def test_what_is_told_takes_its_room_and_nothing_else_does(
    engine: Engine, now: datetime, style: str
) -> None:
    for seed in range(40):
        feed = f"f{seed}"
        region(engine, feed)
        with session(engine) as opened:
            _days(opened, feed, style, now, Random(seed))


def _days(session: Session, feed: str, style: str, now: datetime, luck: Random) -> None:
    entries: list[Entry] = []
    for step in range(8):
        for _ in range(luck.randint(1, 4)):
            _edit(entries, f"u{step if style == 'single' else luck.randint(1, 2)}", now, luck)
        told = {(one.told.uid, one.told.occurrence): one
                for one in (entry.told(style) for entry in entries)}  # fmt: skip
        take_over(session, feed, list(told.values()), now)
        now += luck.choice([5, 15, 30, 60, 120, 600]) * MINUTE


def _edit(entries: list[Entry], uid: str, now: datetime, luck: Random) -> None:
    """Somebody puts in, drags, moves, lengthens, takes out or calls off one."""
    if not entries or luck.random() < 0.3:
        start = now.replace(minute=0) + luck.randint(-3, 12) * HOUR
        end = start + luck.randint(1, 3) * HOUR
        entries.append(Entry(uid, start, start, end, luck.choice(ROOMS)))
        return
    one = entries.pop(luck.randrange(len(entries)))
    by = luck.randint(-6, 6) * HOUR
    changed = (
        replace(one, start=one.start + by, end=one.end + by),
        replace(one, room=luck.choice(ROOMS)),
        replace(one, end=one.end + HOUR),
        replace(one, cancelled=not one.cancelled),
        None,
    )
    entries += [each for each in [luck.choice(changed)] if each is not None]
