"""Which of the coming courses would begin in a room that is not ready, if nothing changes?

Every course is judged with the devices as they are now, and with the gap before it: a gap that no
reset fits into is known days before. A reset that is still to come counts as done.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from fleet.readiness.roomdata import BACK, load
from fleet.readiness.verdict import Candidate, Judgement, Lesson, Proof, judge_room
from fleet.resets.window import window
from fleet.settings import Settings
from inventory import Course, Device, Recipe, Room, RunState, Site, Verdict

NO_GAP = Proof(RunState.EXPIRED, "gap_too_short", False, None, None, False)


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
    facts = load(session, rooms, {}, now, settings)
    runtimes = _runtimes(session, [room.id for room in rooms])
    before: dict[str, list[Course]] = defaultdict(list)
    found = []
    for course, room, site in rows:
        earlier = before[room.id]
        if course.start > now:
            devices = facts.devices.get(room.id, [])
            told = _imagined(devices, runtimes, course, earlier, settings)
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
    devices: Iterable[Candidate],
    runtimes: Mapping[str, timedelta],
    course: Course,
    earlier: Sequence[Course],
    settings: Settings,
) -> Iterator[Candidate]:
    """The devices as they would stand there: with a reset to come, or with no time for one."""
    recent = earlier[bisect_left(earlier, course.start - BACK, key=lambda one: one.start) :]
    for device in devices:
        run = None
        if device.lead is not None and device.id in runtimes:
            gap = window(
                course.start,
                recent,
                lead=device.lead,
                runtime=runtimes[device.id],
                settings=settings,
            )
            run = None if gap.feasible else NO_GAP
        yield replace(device, run=run, by_hand=(), battery=None)


def _runtimes(session: Session, rooms: Collection[str]) -> dict[str, timedelta]:
    rows = session.exec(
        select(Device.id, Recipe.max_runtime_s, Recipe.settle_s)
        .join(Recipe, col(Recipe.id) == col(Device.recipe_id))
        .where(col(Device.room_id).in_(rooms))
    )
    return {device: timedelta(seconds=runtime + settle) for device, runtime, settle in rows}
