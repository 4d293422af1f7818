"""Courses and reset windows as iCalendar, for the calendar program on somebody's desk."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import HTTPException, Query, Request, Response
from icalendar import Calendar, Event
from sqlalchemy import func
from sqlmodel import Session, col, select

from fleet import timetable
from fleet.api.queries import NOT_FOUND, Name, Viewer, new_router
from fleet.settings import Settings
from inventory import Course, Device, ResetRun, Room, RunState, Site
from inventory.db import reading

BEFORE = timedelta(days=30)
AHEAD = timedelta(days=60)
AGAIN = timedelta(minutes=15)
"""How often a calendar program is asked to come back."""
MAX_COURSES = 20_000

WORDS = {
    "de": {"course": "Kurs", "block": "Raum gesperrt", "reset": "Zurücksetzen",
           "off": "Abgesagt", "all": "Alle Räume",
           "proved": "{proved} von {total} Geräten geprüft zurückgesetzt"},
    "en": {"course": "Course", "block": "Room blocked", "reset": "Reset",
           "off": "Cancelled", "all": "All rooms",
           "proved": "{proved} of {total} devices proved to be reset"},
}  # fmt: skip

_STAMP = re.compile(rb"^DTSTAMP:.*\r\n", re.M)

router = new_router()


@dataclass(frozen=True)
class Scope:
    """What a calendar holds: one room, one site, or all rooms of these sites."""

    sites: Collection[str]
    site: str | None = None
    room: str | None = None


@router.get("/calendar.ics", response_class=Response)
def get_calendar(
    request: Request,
    visitor: Viewer,
    site: Name = None,
    room: Name = None,
    language: Annotated[str, Query(pattern="^(de|en)$")] = "de",
) -> Response:
    """Courses and reset windows from 30 days ago to 60 days ahead, as text/calendar.

    For scripts and programs that send a bearer token; for all others the page `/kalender` gives
    an address of its own.
    """
    return answer(request, Scope(visitor.sites, site, room), language)


def answer(request: Request, scope: Scope, language: str) -> Response:
    """The calendar, or 304 when the program has it already. Raises 404 for what is not seen."""
    state = request.app.state
    now: datetime = state.clock()
    with reading(state.engine) as opened:
        rooms = _rooms(opened, scope)
        if not rooms and (scope.room or scope.site):
            raise HTTPException(404, NOT_FOUND)
        body = _build(opened, rooms, scope, now, state.settings, WORDS[language])
    tag = f'"{hashlib.sha256(_STAMP.sub(b"", body)).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = 'inline; filename="raumwart.ics"'
    return Response(body, media_type="text/calendar; charset=utf-8", headers=headers)


Rooms = Mapping[str, tuple[Room, Site]]


def _rooms(session: Session, scope: Scope) -> Rooms:
    query = (
        select(Room, Site)
        .join(Site, col(Site.id) == col(Room.site_id))
        .where(col(Site.id).in_(scope.sites))
    )
    if scope.room is not None:
        query = query.where(Room.id == scope.room)
    if scope.site is not None:
        query = query.where(Site.id == scope.site)
    return {room.id: (room, site) for room, site in session.exec(query)}


def _build(
    session: Session,
    rooms: Rooms,
    scope: Scope,
    now: datetime,
    settings: Settings,
    words: Mapping[str, str],
) -> bytes:
    courses = _courses(session, rooms, now)
    maker = _Maker(rooms, now, settings, words)
    calendar = maker.calendar(scope)
    for course in courses:
        calendar.add_component(maker.course(course))
    equipped = set(
        session.exec(
            select(Device.room_id)
            .where(col(Device.room_id).in_(rooms), col(Device.recipe_id).is_not(None))
            .distinct()
        )
    )
    counts = _counts(session, courses)
    for course, begins, ends in _windows(courses, settings):
        if course.room_id in equipped:
            calendar.add_component(maker.reset(course, begins, ends, counts.get(course.id)))
    return bytes(calendar.to_ical())


def _courses(session: Session, rooms: Rooms, now: datetime) -> list[Course]:
    """Also those that were cancelled: a program that merely misses one would keep showing it."""
    begin, end = now - BEFORE, now + AHEAD
    used = timetable.busy(session, list(rooms), begin, end)
    off = session.exec(
        select(Course).where(
            col(Course.room_id).in_(rooms), col(Course.cancelled), Course.start < end,
            Course.end > begin,
        )
    )  # fmt: skip
    both = sorted([*used, *off], key=lambda course: (course.start, course.room_id, course.uid))
    if len(both) <= MAX_COURSES:
        return both
    # What is to come goes before what is over, and what is near before what is far.
    nearest = sorted(both, key=lambda course: (course.end <= now, abs(course.start - now)))
    return sorted(nearest[:MAX_COURSES], key=lambda course: (course.start, course.room_id))


def _windows(
    courses: Sequence[Course], settings: Settings
) -> Iterable[tuple[Course, datetime, datetime]]:
    """The time before each course in which its devices are reset, where there is any."""
    by_room: dict[str, list[Course]] = defaultdict(list)
    for course in courses:
        if not course.cancelled:
            by_room[course.room_id].append(course)
    ahead = timedelta(seconds=settings.reset_ahead_s)
    grace = timedelta(seconds=settings.reset_grace_s)
    buffer = timedelta(seconds=settings.reset_buffer_s)
    for used in by_room.values():
        for place, course in enumerate(used):
            # The one that ends last need not be the one just before.
            free = [max(one.end for one in used[:place]) + grace] if place else []
            begins, ends = max([*free, course.start - ahead]), course.start - buffer
            wanted = not course.block and course.id is not None
            if wanted and begins < ends:
                yield course, begins, ends


def _counts(session: Session, courses: Sequence[Course]) -> dict[int | None, Counter[RunState]]:
    """Course → how many of its resets are in which state."""
    counts: dict[int | None, Counter[RunState]] = defaultdict(Counter)
    if not courses:
        return counts
    first, last = courses[0].start, courses[-1].start
    rows = session.exec(
        select(ResetRun.course_id, ResetRun.state, func.count())
        .where(col(ResetRun.course_start).between(first, last))
        .where(ResetRun.state != RunState.DROPPED)
        .group_by(col(ResetRun.course_id), col(ResetRun.state))
    )
    for course_id, state, count in rows:
        counts[course_id][RunState(state)] += count
    return counts


class _Maker:
    """Makes the entries. Times are in UTC, so no program needs to know our zone's rules."""

    def __init__(
        self, rooms: Rooms, now: datetime, settings: Settings, words: Mapping[str, str]
    ) -> None:
        self._rooms = rooms
        self._now = now
        self._url = settings.public_url
        self._host = urlsplit(settings.public_url).hostname or "raumwart"
        self._words = words

    def calendar(self, scope: Scope) -> Calendar:
        made = Calendar()
        made.add("prodid", "-//Raumwart//Raumwart//DE")
        made.add("version", "2.0")
        name = self._words["all"]
        if scope.room or scope.site:
            room, site = next(iter(self._rooms.values()))
            name = f"{room.name}, {site.name}" if scope.room else site.name
        for key in ("name", "x-wr-calname"):
            made.add(key, name)
        made.add("refresh-interval", AGAIN, parameters={"VALUE": "DURATION"})
        made.add("x-published-ttl", "PT15M")
        return made

    def course(self, course: Course) -> Event:
        title = course.title or self._words["block" if course.block else "course"]
        made = self._entry(f"course-{_name(course)}", course, course.start, course.end)
        # Many programs do not show STATUS.
        made.add("summary", f"{self._words['off']}: {title}" if course.cancelled else title)
        made.add("status", "CANCELLED" if course.cancelled else "CONFIRMED")
        made.add("transp", "TRANSPARENT" if course.cancelled else "OPAQUE")
        return made

    def reset(
        self, course: Course, begins: datetime, ends: datetime, counts: Counter[RunState] | None
    ) -> Event:
        made = self._entry(f"reset-{_name(course)}", course, begins, ends)
        title = course.title or self._words["course"]
        made.add("summary", f"{self._words['reset']}: {title}")
        made.add("transp", "TRANSPARENT")
        if counts:
            proved, total = counts[RunState.VERIFIED], counts.total()
            made.add("description", self._words["proved"].format(proved=proved, total=total))
        return made

    def _entry(self, name: str, course: Course, begins: datetime, ends: datetime) -> Event:
        room, site = self._rooms[course.room_id]
        made = Event()
        made.add("uid", f"{name}@{self._host}")
        made.add("dtstamp", self._now)
        made.add("dtstart", begins)
        made.add("dtend", ends)
        made.add("location", f"{room.name}, {site.name}")
        made.add("url", f"{self._url}/raum/{room.id}")
        return made


def _name(course: Course) -> str:
    """A course keeps its number when it moves; a time that was blocked by hand has none."""
    if course.id is not None:
        return str(course.id)
    return hashlib.sha256(f"{course.uid}|{course.room_id}".encode()).hexdigest()[:24]
