"""Which of the coming courses would begin in a room that is not ready, if nothing changes?

Every course is judged with the devices as they are now, and with the gap before it: a gap that no
reset fits into is known days before. A reset that is still to come counts as done; one that already
came to its end counts as what it was, for the course that it was made for.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from fleet.readiness.roomdata import BACK, load
from fleet.readiness.verdict import Candidate, Judgement, Lesson, Proof, judge_room
from fleet.resets.forecast import forecast
from fleet.settings import Settings
from inventory import Course, Room, RunState, Site, Verdict


@dataclass(frozen=True)
class Prospect:
    """A coming course and how its room would be."""

    course: Course
    room: Room
    site: Site
    judgement: Judgement

    @property
    def fails(self) -> bool:
        return self.judgement.verdict is not Verdict.READY


def foresee(
    session: Session,
    now: datetime,
    until: datetime,
    settings: Settings,
    sites: Collection[str] | None = None,
) -> list[Prospect]:
    """The courses that begin from now until then, in their order."""
    query = (
        select(Course, Room, Site)
        .join(Room, col(Room.id) == col(Course.room_id))
        .join(Site, col(Site.id) == col(Room.site_id))
        .where(Course.end > now - BACK, Course.start < until, col(Course.cancelled).is_(False))
        .order_by(col(Course.start), col(Course.id))
    )
    if sites is not None:
        query = query.where(col(Site.id).in_(sites))
    rows = session.exec(query).all()
    rooms = list({room.id: room for _, room, _ in rows}.values())
    nearest: dict[str, Course] = {}
    for course, room, _ in rows:
        if course.start > now and not course.block:
            nearest.setdefault(room.id, course)
    facts = load(session, rooms, nearest, now, settings)
    short = _short(session, now, until, settings)
    before: dict[str, list[Course]] = defaultdict(list)
    found = []
    for course, room, site in rows:
        earlier = before[room.id]
        if course.start > now and not course.block:
            devices = facts.devices.get(room.id, [])
            if course.start != nearest[room.id].start:
                devices = [replace(each, run=None, by_hand=()) for each in devices]
            told = _imagined(devices, course, short)
            lesson = _lesson(course, earlier, settings)
            doubts = facts.doubts.get(room.id, ())
            judged = judge_room(room.required, list(told), lesson, now, doubts=doubts)
            found.append(Prospect(course, room, site, judged))
        earlier.append(course)
    return found


def _lesson(course: Course, earlier: Iterable[Course], settings: Settings) -> Lesson:
    ends = [one.end for one in earlier if one.start < course.start]
    buffer = timedelta(seconds=settings.reset_buffer_s)
    return Lesson(course.start, max(ends, default=None), buffer)


def _imagined(
    devices: Iterable[Candidate], course: Course, short: Mapping[tuple[str, datetime, str], str]
) -> Iterator[Candidate]:
    """The devices as they would stand there: with a reset to come, or with no time for one."""
    for device in devices:
        run = device.run
        code = short.get((course.room_id, course.start, device.id))
        if code and (run is None or run.in_time):
            run = Proof(RunState.EXPIRED, code, False, None, None, False)
        yield replace(device, run=run, battery=None)


def _short(
    session: Session, now: datetime, until: datetime, settings: Settings
) -> dict[tuple[str, datetime, str], str]:
    """(room, start, device) → why it would not be reset, also of a course for which another stands
    that begins with it; a timetable in doubt is told of the room."""
    return {
        (each.room, each.start, device): each.code
        for each in forecast(session, now, settings, until)
        for device in each.devices
        if each.code != "calendar_in_doubt"
    }
