"""Keeps the verdict of every course a day, an hour and a quarter of an hour before it, and freezes
the one at its start: once, and never changed afterwards."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import and_, exists, or_
from sqlmodel import Session, col, select

from fleet.readiness import limits
from fleet.readiness.evidence import evidence
from fleet.readiness.judging import DOWN, LEARNED_LATE, MISSED, Judged, judge
from fleet.readiness.verdict import Reason
from fleet.settings import Settings
from fleet.timetable import belongs, waited_for
from inventory import Checkpoint, Course, Feed, Readiness, Room, Verdict
from inventory.upsert import insert_missing

Row = dict[str, Any]


def freeze(session: Session, now: datetime, settings: Settings) -> None:
    """Write the verdict of every course that has begun.

    A course that began while the service was down gets "unknown", and so does one of which nobody
    knew until it had begun.
    """
    begun = session.exec(
        select(Course)
        .where(Course.start <= now, waited_for())
        .where(~exists().where(col(Readiness.course_id) == col(Course.id)))
        .order_by(col(Course.start), col(Course.id))
    ).all()
    missed = [course for course in begun if now - course.start > limits.LATE]
    waiting = [course for course in begun if now - course.start <= limits.LATE]
    rows = [_unknown(course, now, why_unseen(course, course.start)) for course in missed]
    rows += _rows(session, waiting, now, settings)
    if rows:
        session.execute(insert_missing(session, Readiness), rows)


def keep(session: Session, now: datetime, settings: Settings) -> None:
    """Write the verdict of every course of which a moment before its start is reached.

    One that the service slept through gets "unknown"; one at which nobody knew of the course yet
    gets none. Has to run before `freeze`: a course whose start is judged is done with.
    """
    for point, before in limits.BEFORE.items():
        done = and_(
            col(Checkpoint.course_id) == col(Course.id),
            col(Checkpoint.course_start) == col(Course.start),
            col(Checkpoint.point) == point,
        )
        in_time = col(Course.start) > now + before - limits.LATE
        frozen = exists().where(col(Readiness.course_id) == col(Course.id))
        reached = session.exec(
            select(Course)
            .where(Course.start <= now + before, waited_for(), ~exists().where(done))
            .where(or_(in_time, and_(col(Course.known_at).is_not(None), ~frozen)))
            .order_by(col(Course.start), col(Course.id))
        ).all()
        due = [course for course in reached if course.start > now + before - limits.LATE]
        rows = _rows(session, due, now, settings)
        rows += [
            _unknown(course, now, MISSED)
            for course in reached
            if course.start <= now + before - limits.LATE
            and why_unseen(course, course.start - before) == DOWN
        ]
        starts = {course.id: course.start for course in reached}
        for row in rows:
            row |= {"course_start": starts[row["course_id"]], "point": point}
        if rows:
            session.execute(insert_missing(session, Checkpoint), rows)


def why_unseen(course: Course, moment: datetime) -> str:
    """Why nobody judged the room at that moment: a course that was not known then was not missed
    by the service."""
    known = course.known_at is None or course.known_at <= moment
    return DOWN if known else LEARNED_LATE


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


def _unknown(course: Course, now: datetime, why: str) -> Row:
    return {
        "course_id": course.id,
        "room_id": course.room_id,
        "verdict": Verdict.UNKNOWN,
        "reasons": [asdict(Reason(why))],
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
