"""Holds what the database knows of many rooms against the courses they are judged for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from fleet.readiness.roomdata import Facts, load
from fleet.readiness.verdict import Candidate, Judgement, Lesson, judge_room
from fleet.settings import Settings
from inventory import Course, Readiness, Room, Verdict

DOWN, LEARNED_LATE = "service_was_down", "learned_late"
"""Why nobody judged a room when its course began."""
MISSED = "moment_missed"
"""Why nobody judged it at a moment before."""


@dataclass(frozen=True)
class Judged:
    """A verdict, and what it was drawn from."""

    judgement: Judgement
    devices: Sequence[Candidate]
    lesson: Lesson | None
    heard_at: datetime | None
    """When the site's agent was last heard of."""


def judge(
    session: Session,
    rooms: Sequence[Room],
    courses: Mapping[str, Course],
    now: datetime,
    settings: Settings,
) -> dict[str, Judged]:
    """Every room for its course in `courses`, by the room's id."""
    facts = load(session, rooms, courses, now, settings)
    unseen = _unseen(session, courses.values(), now)
    found = {}
    for room in rooms:
        devices = facts.devices.get(room.id, [])
        lesson = _lesson(courses.get(room.id), facts, settings, unseen)
        doubts = facts.doubts.get(room.id, ())
        judgement = judge_room(room.required, devices, lesson, now, doubts=doubts)
        found[room.id] = Judged(judgement, devices, lesson, facts.heard.get(room.id))
    return found


def _lesson(
    course: Course | None, facts: Facts, settings: Settings, unseen: Mapping[int | None, str]
) -> Lesson | None:
    if course is None:
        return None
    buffer = timedelta(seconds=settings.reset_buffer_s)
    previous = facts.previous_ends.get(course.room_id)
    return Lesson(course.start, previous, buffer, unseen=unseen.get(course.id, ""))


def _unseen(session: Session, courses: Iterable[Course], now: datetime) -> dict[int | None, str]:
    """Which of these courses began while nobody judged their rooms, and why."""
    running = [course.id for course in courses if course.start <= now]
    frozen = session.exec(
        select(Readiness).where(
            col(Readiness.course_id).in_(running), Readiness.verdict == Verdict.UNKNOWN
        )
    )
    codes = ((row.course_id, [reason["code"] for reason in row.reasons]) for row in frozen)
    return {course: why[0] for course, why in codes if why in ([DOWN], [LEARNED_LATE])}
