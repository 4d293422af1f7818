"""Writes what a timetable holds into the courses, so that each keeps its row when it moves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, exists, update
from sqlmodel import Session, col, select

from fleet.calendars import Occurrence
from inventory import Course, Feed, FeedOptions, Readiness, ResetRun, Room

CHUNK = 500
OTHERWISE = frozenset({"room_id", "start", "cancelled", "block"})
"""With another value here, nobody could have waited for the course as it is now."""

Key = tuple[str, str]
"""A course's uid and occurrence."""


@dataclass(frozen=True)
class Lesson:
    """An occurrence whose room is known."""

    room_id: str
    told: Occurrence


@dataclass
class Placed:
    """The occurrences with their rooms, and those whose place is no room of the site."""

    lessons: list[Lesson] = field(default_factory=list)
    lost: list[Occurrence] = field(default_factory=list)
    elsewhere: int = 0
    """So many the feed's options say to be in no room of ours."""


def find_rooms(session: Session, feed: Feed, occurrences: Sequence[Occurrence]) -> Placed:
    """Where each occurrence takes place.

    The feed's own `locations` come first, then the room of the whole feed, or else a room's id or
    name in whatever case (a name that two rooms share is none), then the feed's patterns. A room
    that `locations` name and that has left the site since is none either.
    """
    places = FeedOptions.model_validate(feed.options).locations
    exact = {_folded(place): room for place, room in places.items() if not _is_pattern(place)}
    patterns = {_folded(place): room for place, room in places.items() if _is_pattern(place)}
    names = _room_names(session, feed)
    here = {None, feed.room_id}.union(*names.values())
    placed = Placed()
    for each in occurrences:
        place = _folded(each.location)
        rooms = {feed.room_id} if feed.room_id is not None else names.get(place, set())
        if place in exact:
            rooms = {exact[place]}
        elif not rooms:
            rooms = {r for pattern, r in patterns.items() if fnmatchcase(place, pattern)}
        room = next(iter(rooms)) if len(rooms) == 1 and rooms <= here else ""
        if room:
            placed.lessons.append(Lesson(room, each))
        elif room is None:
            placed.elsewhere += 1
        else:
            placed.lost.append(each)
    return placed


def _room_names(session: Session, feed: Feed) -> dict[str, set[str | None]]:
    names: dict[str, set[str | None]] = {}
    for room in session.exec(select(Room).where(Room.site_id == feed.site_id)):
        for name in (room.id, room.name):
            names.setdefault(_folded(name), set()).add(room.id)
    return names


def _is_pattern(place: str) -> bool:
    return "*" in place or "?" in place


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def store(
    session: Session, feed: Feed, lessons: Sequence[Lesson], now: datetime, *, full: bool
) -> None:
    """Insert, move and cancel the feed's courses as the lessons say.

    `full`: the feed was read in full, so what is no longer in it is gone. Courses that are over
    stay as they were, unless they are told to go on, and of one that has begun only its end, name
    and cancelling may change.
    """
    rows = select(Course).where(Course.feed_id == feed.id)
    held = {(course.uid, course.occurrence): course for course in session.exec(rows)}
    seen: set[Key] = set()
    moved = _moved(held, lessons, now) if full else {}
    for lesson in lessons:
        key = _key(held, lesson, now)
        if key in moved:
            held[key] = held.pop(moved[key])
            held[key].occurrence = key[1]
        seen.add(key)
        course = held.get(key)
        if course is None:
            session.add(_new(feed, lesson, key, now))
        elif course.end > now or lesson.told.end > now:
            _change(course, lesson, now)
    session.flush()
    if full:
        gone = [c.id for key, c in held.items() if key not in seen and c.start > now]
        remove(session, [course_id for course_id in gone if course_id is not None])


def _moved(held: dict[Key, Course], lessons: Sequence[Lesson], now: datetime) -> dict[Key, Key]:
    """New name → old name, for lessons whose name is nothing but their start: the nearest course
    of the same name and title in the same room that is no longer told is the one that moved."""
    told = {_key(held, lesson, now): lesson for lesson in lessons}
    free: dict[tuple[str, str, str], list[Key]] = {}
    for key, course in held.items():
        # One that was called off moved nowhere: what is put in for it is another course.
        if key not in told and course.start > now and key[1] and not course.cancelled:
            same = (key[0].partition("#")[0], course.title, course.room_id)
            free.setdefault(same, []).append(key)
    found: dict[Key, Key] = {}
    for key, lesson in told.items():
        same = (key[0].partition("#")[0], lesson.told.title, lesson.room_id)
        # Another uid would have to be written too; a series of its own is another course.
        old = [each for each in free.get(same, []) if each[0] == key[0]]
        if key in held or lesson.told.start <= now or not key[1] or not old:
            continue
        start = lesson.told.start
        nearest = min(old, key=lambda each: (abs(held[each].start - start), each))
        free[same].remove(nearest)
        found[key] = nearest
    return found


def _key(held: dict[Key, Course], lesson: Lesson, now: datetime) -> Key:
    """Whose row it is. Who drags what has begun, to another time or into another room, means
    another course from now on: the row tells what was, and the room is in use where it is told."""
    told = lesson.told
    key = told.uid, told.occurrence
    course = held.get(key)
    if course is None or course.start > now:
        return key
    if (course.start, course.room_id) == (told.start, lesson.room_id):
        return key
    # The start alone may be the name of another lesson of the series.
    which = sha256(f"{told.occurrence} {lesson.room_id}".encode()).hexdigest()[:16]
    start = told.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    other = told.uid, f"{start}#{which}"
    elsewhere = course.room_id != lesson.room_id and not told.cancelled
    again = told.end > now and (elsewhere or course.end <= now or now < told.start)
    return other if again or other in held else key  # also once that one has begun, or is over


def _new(feed: Feed, lesson: Lesson, key: tuple[str, str], now: datetime) -> Course:
    return Course(
        room_id=lesson.room_id,
        feed_id=feed.id,
        uid=key[0],
        occurrence=key[1],
        title=lesson.told.title,
        start=lesson.told.start,
        end=lesson.told.end,
        cancelled=lesson.told.cancelled,
        block=lesson.told.block,
        known_at=now,
    )


def _change(course: Course, lesson: Lesson, now: datetime) -> None:
    told = lesson.told
    said: dict[str, Any] = {"title": told.title, "cancelled": told.cancelled}
    if course.start > now:
        said |= {"room_id": lesson.room_id, "start": told.start, "end": told.end}
        said |= {"block": told.block}
    elif told.end > course.start:
        said |= {"end": told.end}
    for name, value in said.items():
        if getattr(course, name) != value:  # an unchanged row is not written
            setattr(course, name, value)
            if name in OTHERWISE:
                course.known_at = now


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
