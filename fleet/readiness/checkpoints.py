"""Keeps the verdict of every course a day, an hour and a quarter of an hour before it, and freezes
the one at its start: once, and never changed afterwards."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import and_, exists
from sqlmodel import Session, col, select

from fleet.readiness import limits
from fleet.readiness.evidence import evidence
from fleet.readiness.judging import DOWN, Judged, judge
from fleet.readiness.verdict import Reason
from fleet.settings import Settings
from fleet.timetable import belongs, waited_for
from inventory import Checkpoint, Course, Feed, Readiness, Room, Verdict
from inventory.upsert import insert_missing

Row = dict[str, Any]


def freeze(session: Session, now: datetime, settings: Settings) -> None:
    """Write the verdict of every course that has begun.

    A course that began while the service was down gets "unknown".
    """
    begun = session.exec(
        select(Course)
        .where(Course.start <= now, waited_for())
        .where(~exists().where(col(Readiness.course_id) == col(Course.id)))
        .order_by(col(Course.start), col(Course.id))
    ).all()
    missed = [course for course in begun if now - course.start > limits.LATE]
    waiting = [course for course in begun if now - course.start <= limits.LATE]
    rows = [_unknown(course, now) for course in missed]
    rows += _rows(session, waiting, now, settings)
    if rows:
        session.execute(insert_missing(session, Readiness), rows)


def keep(session: Session, now: datetime, settings: Settings) -> None:
    """Write the verdict of every course of which a moment before its start is just reached."""
    for point, before in limits.BEFORE.items():
        done = and_(
            col(Checkpoint.course_id) == col(Course.id),
            col(Checkpoint.course_start) == col(Course.start),
            col(Checkpoint.point) == point,
        )
        due = session.exec(
            select(Course)
            .where(Course.start <= now + before, Course.start > now + before - limits.LATE)
            .where(waited_for(), ~exists().where(done))
            .order_by(col(Course.start), col(Course.id))
        ).all()
        starts = {course.id: course.start for course in due}
        rows = [
            {**row, "course_start": starts[row["course_id"]], "point": point}
            for row in _rows(session, due, now, settings)
        ]
        if rows:
            session.execute(insert_missing(session, Checkpoint), rows)


def _rounds(courses: Sequence[Course]) -> Iterator[dict[str, Course]]:
    """The courses in groups that hold at most one for each room; two that begin together in one
    room are rare."""
    waiting = list(courses)
    while waiting:
        chosen = {course.room_id: course for course in reversed(waiting)}
        yield chosen
        waiting = [course for course in waiting if course is not chosen[course.room_id]]


def judged_for(
    session: Session, courses: Sequence[Course], now: datetime, settings: Settings
) -> Iterator[tuple[Course, Judged]]:
    """The verdict on each of these courses' rooms for that very course."""
    for chosen in _rounds(courses):
        rooms = session.exec(select(Room).where(col(Room.id).in_(chosen))).all()
        judged = judge(session, rooms, chosen, now, settings)
        yield from ((chosen[room], one) for room, one in judged.items())


def _rows(
    session: Session, courses: Sequence[Course], now: datetime, settings: Settings
) -> list[Row]:
    feeds = _feeds(session, {course.room_id for course in courses}) if courses else {}
    return [
        _row(course, one, feeds.get(course.room_id, []), now)
        for course, one in judged_for(session, courses, now, settings)
    ]


def _row(course: Course, judged: Judged, feeds: Sequence[Feed], now: datetime) -> Row:
    return {
        "course_id": course.id,
        "room_id": course.room_id,
        "verdict": judged.judgement.verdict,
        "reasons": [asdict(reason) for reason in judged.judgement.reasons],
        "evidence": evidence(judged, feeds, now),
        "judged_at": now,
    }


def _unknown(course: Course, now: datetime) -> Row:
    return {
        "course_id": course.id,
        "room_id": course.room_id,
        "verdict": Verdict.UNKNOWN,
        "reasons": [asdict(Reason(DOWN))],
        "evidence": {},
        "judged_at": now,
    }


def _feeds(session: Session, rooms: Iterable[str]) -> dict[str, list[Feed]]:
    found: dict[str, list[Feed]] = defaultdict(list)
    pairs = session.exec(
        select(Room.id, Feed).join(Feed, belongs()).where(col(Room.id).in_(list(rooms)))
    )
    for room, feed in pairs:
        found[room].append(feed)
    return found
