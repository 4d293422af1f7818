"""Tells from what is kept how a room was for a course in the past, and why."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlmodel import Session, col, or_, select

from fleet.readiness import limits
from fleet.readiness.verdict import REASONS
from fleet.resets.quiet import ZONE
from inventory import (
    Alarm,
    Checkpoint,
    Course,
    Device,
    Flip,
    Notice,
    Readiness,
    Report,
    ResetRun,
    Room,
    Site,
    Verdict,
)
from inventory.reset import stood_in

DAY = timedelta(days=1)
YEARS = range(2000, 2200)
"""At the edges of time a day in Germany is none in UTC."""
MOST = 300
"""Rows of one kind in one story."""


class NotUnderstood(ValueError):
    """A day that cannot be read."""


@dataclass(frozen=True)
class Told:
    """A verdict as it was kept. `point`: day, hour, quarter or start; `elsewhere`: the name of the
    room, when the course was to be in another one then."""

    point: str
    verdict: Verdict
    reasons: Sequence[dict[str, Any]]
    evidence: dict[str, Any]
    judged_at: datetime
    elsewhere: str = ""


@dataclass(frozen=True)
class Story:
    room: Room
    site: Site
    course: Course
    verdicts: list[Told]
    runs: Sequence[tuple[ResetRun, Device]]
    flips: Sequence[tuple[Flip, str | None]]
    """With the device's name; None: the room's own verdict."""
    reports: Sequence[tuple[Report, Device]]
    alarms: Sequence[Alarm]
    notices: Sequence[Notice]


def day_of(said: str, now: datetime) -> date:
    """`2026-03-12`, `12.3.2026`, or `12.3.`: the last one that was. Raises NotUnderstood."""
    text = said.strip()
    today = now.astimezone(ZONE).date()
    german = re.fullmatch(r"(\d{1,2})\.\s*(\d{1,2})\.\s*(\d{4})?", text)
    try:
        if german:
            day, month = int(german[1]), int(german[2])
            found = _last(day, month, today) if not german[3] else date(int(german[3]), month, day)
        else:
            found = date.fromisoformat(text[:10])
        if found.year not in YEARS:
            raise ValueError(found)
        return found
    except ValueError:
        raise NotUnderstood(f"'{said[:40]}' is no day; write it like 2026-03-12") from None


def _last(day: int, month: int, today: date) -> date:
    """The last such day that was. Raises ValueError."""
    for year in (today.year, today.year - 1):
        with suppress(ValueError):  # 29 February is not in every year
            if (found := date(year, month, day)) <= today:
                return found
    raise ValueError(f"{day}.{month}.")


def courses_on(session: Session, room_id: str, day: date) -> Sequence[Course]:
    """What was held in the room on that day in Germany, in its order."""
    first = datetime.combine(day, time(), ZONE).astimezone(UTC)
    last = datetime.combine(day + DAY, time(), ZONE).astimezone(UTC)
    return session.exec(
        select(Course)
        .where(Course.room_id == room_id, Course.end > first, Course.start < last)
        .order_by(col(Course.start), col(Course.id))
    ).all()


def last_trouble(session: Session, room_id: str) -> Course | None:
    """The last course that began in the room when it was not simply ready."""
    return session.exec(
        select(Course)
        .join(Readiness, col(Readiness.course_id) == col(Course.id))
        .where(Readiness.room_id == room_id, Readiness.verdict != Verdict.READY)
        .order_by(col(Course.start).desc(), col(Course.id).desc())
    ).first()


def story(session: Session, course: Course) -> Story:
    """Everything that is kept about this course."""
    room = session.get_one(Room, course.room_id)
    site = session.get_one(Site, room.site_id)
    since, until = course.start - DAY, course.end
    runs = session.exec(
        select(ResetRun, Device)
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .where(
            or_(
                ResetRun.course_id == course.id,
                col(ResetRun.course_id).is_(None)
                & (stood_in() == room.id)
                & (ResetRun.planned_at > since)
                & (ResetRun.planned_at < until),
            )
        )
        .order_by(col(Device.name), col(ResetRun.planned_at))
        .limit(MOST)
    ).all()
    flips = session.exec(
        select(Flip, Device.name)
        .outerjoin(Device, col(Device.id) == col(Flip.device_id))
        .where(Flip.room_id == room.id, Flip.at > since, Flip.at < until)
        .order_by(col(Flip.at), col(Flip.id))
        .limit(MOST)
    ).all()
    reports = session.exec(
        select(Report, Device)
        .join(Device, col(Device.id) == col(Report.device_id))
        .where(Device.room_id == room.id, Report.reported_at < until)
        .where(or_(col(Report.closed_at).is_(None), col(Report.closed_at) > course.start))
        .order_by(col(Report.reported_at))
        .limit(MOST)
    ).all()
    alarms = session.exec(
        select(Alarm).where(Alarm.course_id == course.id).order_by(col(Alarm.id))
    ).all()
    notices = session.exec(
        select(Notice)
        .where(col(Notice.bundle).in_([alarm.bundle for alarm in alarms]))
        .order_by(col(Notice.made_at), col(Notice.id))
    ).all()
    return Story(
        room, site, course, _verdicts(session, course), runs, flips, reports, alarms, notices
    )


def _verdicts(session: Session, course: Course) -> list[Told]:
    kept = session.exec(select(Checkpoint).where(Checkpoint.course_id == course.id)).all()
    rows: list[tuple[str, Checkpoint | Readiness]] = [
        (one.point.value, one) for one in sorted(kept, key=_in_time)
    ]
    frozen = session.get(Readiness, course.id)
    if frozen is not None:
        rows.append(("start", frozen))
    others = {one.room_id for _, one in rows} - {course.room_id}
    names = dict(session.exec(select(Room.id, Room.name).where(col(Room.id).in_(others))).all())
    return [
        Told(
            point,
            one.verdict,
            one.reasons,
            one.evidence,
            one.judged_at,
            names.get(one.room_id, ""),
        )
        for point, one in rows
    ]


def _in_time(one: Checkpoint) -> tuple[datetime, datetime]:
    """Moments that were slept through were all written down at once."""
    return one.judged_at, one.course_start - limits.BEFORE[one.point]


def lines(told: Story) -> Iterator[str]:
    """The story for a shell, in English."""
    course = told.course
    state = ", called off" if course.cancelled else ""
    yield f"{told.room.name}: {course.title or 'course'}, {_at(course.start)}{state}"
    for each in told.verdicts:
        there = f" ({each.elsewhere})" if each.elsewhere else ""
        yield f"  {_at(each.judged_at)}  {each.point}: {each.verdict.value}{there}"
        for reason in each.reasons:
            name = reason.get("name") or reason.get("kind") or ""
            detail = f" ({reason['detail']})" if reason.get("detail") else ""
            yield f"      {name} {REASONS.get(reason['code'], reason['code'])}{detail}".rstrip()
        for out, into in each.evidence.get("swaps", ()):
            yield f"      {out or 'missing'} -> {into}"
        for feed in each.evidence.get("feeds", ()):
            doubt = f", {feed['problem']}" if feed["problem"] else ""
            yield f"      timetable {feed['id']} read {feed['good_at'] or 'never'}{doubt}"
    if not told.verdicts:
        yield "  no verdict is kept"
    if course.known_at:
        yield f"  {_at(course.known_at)}  the course is known as it is since then"
    for run, device in told.runs:
        at = run.finished_at or run.ordered_at or run.planned_at
        step = f" at {run.step}" if run.step else ""
        said = f"reset of {device.name}: {run.state.value} {run.reason}".rstrip()
        yield f"  {_at(at)}  {said}{step}"
    for flip, name in told.flips:
        yield f"  {_at(flip.at)}  {name or 'room'}: {flip.old} -> {flip.new} {flip.reason}".rstrip()
    for report, device in told.reports:
        yield f"  {_at(report.reported_at)}  report {report.id}: {device.name}, {report.problem}"
    for alarm in told.alarms:
        yield f"  {_at(alarm.raised_at)}  alarm: {alarm.level.value}"
    for notice in told.notices:
        yield f"  {_at(notice.made_at)}  message by {notice.channel.value}: {notice.state.value}"


def _at(moment: datetime) -> str:
    return moment.astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S")


def tell(session: Session, room_id: str, when: str, now: datetime) -> list[str]:
    """What `fleet why` prints. Raises LookupError, or NotUnderstood."""
    if session.get(Room, room_id) is None:
        raise LookupError(f"There is no room '{room_id}'.")
    if when:
        found = courses_on(session, room_id, day_of(when, now))
    else:
        last = last_trouble(session, room_id)
        found = [last] if last else []
    if not found:
        raise LookupError("No course is kept for that day." if when else "No trouble is kept.")
    return [line for course in found for line in lines(story(session, course))]
