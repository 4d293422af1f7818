"""Writes what a timetable holds into the courses, so that each keeps its row when it moves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, exists, update
from sqlmodel import Session, col, select

from fleet.ical import Occurrence
from inventory import Course, Feed, Readiness, ResetRun, Room

CHUNK = 500


@dataclass(frozen=True)
class Lesson:
    """An occurrence whose room is known."""

    room_id: str
    told: Occurrence


def find_rooms(
    session: Session, feed: Feed, occurrences: Sequence[Occurrence]
) -> tuple[list[Lesson], list[Occurrence]]:
    """The occurrences with their rooms, and those whose LOCATION is no room of the site.

    A location is a room's id or name, in whatever case. A name that two rooms share is none.
    """
    if feed.room_id is not None:
        return [Lesson(feed.room_id, each) for each in occurrences], []
    names: dict[str, set[str]] = {}
    for room in session.exec(select(Room).where(Room.site_id == feed.site_id)):
        for name in (room.id, room.name):
            names.setdefault(_folded(name), set()).add(room.id)
    lessons, lost = [], []
    for each in occurrences:
        rooms = names.get(_folded(each.location), set())
        if len(rooms) == 1:
            lessons.append(Lesson(next(iter(rooms)), each))
        else:
            lost.append(each)
    return lessons, lost


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def store(
    session: Session, feed: Feed, lessons: Sequence[Lesson], now: datetime, *, full: bool
) -> None:
    """Insert, move and cancel the feed's courses as the lessons say.

    `full`: the feed was read in full, so what is no longer in it is gone. Courses that are over
    stay as they were, and of one that has begun only its end, name and cancelling may change.
    """
    rows = select(Course).where(Course.feed_id == feed.id)
    held = {(course.uid, course.occurrence): course for course in session.exec(rows)}
    seen: set[tuple[str, str]] = set()
    for lesson in lessons:
        key = _key(held, lesson.told, now)
        seen.add(key)
        course = held.get(key)
        if course is None:
            session.add(_new(feed, lesson, key))
        elif course.end > now:
            _change(course, lesson, now)
    session.flush()
    if full:
        gone = [c.id for key, c in held.items() if key not in seen and c.start > now]
        remove(session, [course_id for course_id in gone if course_id is not None])


def _key(held: dict[tuple[str, str], Course], told: Occurrence, now: datetime) -> tuple[str, str]:
    """Whose row it is. Somebody who drags last week's event to next week means another course."""
    course = held.get((told.uid, told.occurrence))
    if course is not None and course.start <= now < told.start:
        return told.uid, told.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return told.uid, told.occurrence


def _new(feed: Feed, lesson: Lesson, key: tuple[str, str]) -> Course:
    return Course(
        room_id=lesson.room_id,
        feed_id=feed.id,
        uid=key[0],
        occurrence=key[1],
        title=lesson.told.title,
        start=lesson.told.start,
        end=lesson.told.end,
        cancelled=lesson.told.cancelled,
    )


def _change(course: Course, lesson: Lesson, now: datetime) -> None:
    told = lesson.told
    said: dict[str, Any] = {"title": told.title, "cancelled": told.cancelled}
    if course.start > now:
        said |= {"room_id": lesson.room_id, "start": told.start, "end": told.end}
    elif told.end > course.start:
        said |= {"end": told.end}
    for name, value in said.items():
        if getattr(course, name) != value:  # an unchanged row is not written
            setattr(course, name, value)


def remove(session: Session, ids: Sequence[int]) -> None:
    """Delete these courses; one that something happened for is kept, as cancelled."""
    for start in range(0, len(ids), CHUNK):
        some = col(Course.id).in_(ids[start : start + CHUNK])
        session.execute(
            delete(Course).where(
                some,
                ~exists().where(col(ResetRun.course_id) == col(Course.id)),
                ~exists().where(col(Readiness.course_id) == col(Course.id)),
            )
        )
        session.execute(update(Course).where(some).values(cancelled=True))
