"""Raises alarms and writes the messages about them in the same transaction; `outbox.py` sends them.

An alarm is a row that can be there once, so two processes never tell the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from uuid import uuid4

from sqlalchemy import ColumnElement, exists, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from fleet import escalation, readiness, timetable
from fleet.escalation import AUDIENCES, Case, Raised
from fleet.readiness import Reason, Swap
from fleet.readiness.forecast import foresee
from fleet.settings import Settings
from inventory import (
    Alarm,
    Audience,
    Channel,
    Contact,
    Course,
    Level,
    Notice,
    NoticeState,
    Readiness,
    Room,
    Site,
    Verdict,
)
from inventory.upsert import insert_missing


@dataclass(frozen=True)
class Letter:
    """What is to be said about one room."""

    level: Level
    room: Room
    site: Site
    courses: Sequence[Course]
    verdict: Verdict
    reasons: Sequence[Reason]
    swaps: Sequence[Swap]


@dataclass(frozen=True)
class Written:
    subject: str
    text: str
    link: str = ""


Writer = Callable[[Letter, datetime], Written]
"""Puts a letter into words; the pages know how."""


@dataclass
class Finding:
    """A course, how its room is for it, and the steps to take."""

    course: Course
    verdict: Verdict
    reasons: Sequence[Reason]
    swaps: Sequence[Swap] = ()
    levels: list[Level] = field(default_factory=list)


def climb(opened: Session, now: datetime, settings: Settings, write: Writer) -> None:
    """Take every step of the ladder that is due."""
    of_trouble = col(Notice.level).in_(list(AUDIENCES))
    _drop(opened, of_trouble, ~_useful(_held(), _unrecovered()))
    _drop(opened, col(Notice.level) == Level.RECOVERED, ~_useful(_held()))
    courses = opened.exec(
        select(Course)
        .where(timetable.waited_for(), Course.end > now)
        .where(Course.start <= now + escalation.EARLIEST)
        .order_by(col(Course.start), col(Course.id))
    ).all()
    raised = _raised(opened, courses)
    frozen = _frozen(opened, courses)
    found = []
    for course, judged in readiness.judged_for(opened, courses, now, settings):
        verdict = judged.judgement
        case = Case(
            course.start,
            course.end,
            verdict.verdict,
            verdict.reasons,
            verdict.preparing,
            frozen.get(course.id or 0),
            raised.get((course.id or 0, course.start), ()),
        )
        steps = escalation.decide(case, now)
        found.append(Finding(course, verdict.verdict, verdict.reasons, verdict.swaps, steps))
    raise_alarms(opened, found, now, write)


def warn(opened: Session, now: datetime, settings: Settings, write: Writer) -> None:
    """In the afternoon: tell what of tomorrow cannot work."""
    day = escalation.tomorrow(now)
    if day is None:
        return
    coming = [
        each
        for each in foresee(opened, now, day[1], settings)
        if day[0] <= each.course.start and each.fails
    ]
    raised = _raised(opened, [each.course for each in coming])
    found = []
    for each in coming:
        course, judged = each.course, each.judgement
        said = raised.get((course.id or 0, course.start), ())
        case = Case(course.start, course.end, judged.verdict, judged.reasons, raised=said)
        steps = escalation.warns(case)
        found.append(Finding(course, judged.verdict, judged.reasons, judged.swaps, steps))
    raise_alarms(opened, found, now, write)


def raise_alarms(opened: Session, found: Iterable[Finding], now: datetime, write: Writer) -> None:
    """One bundle of alarms, and one message to each contact, for every room and level."""
    bundles: dict[tuple[Level, str], list[Finding]] = defaultdict(list)
    for each in found:
        for level in each.levels:
            bundles[level, each.course.room_id].append(each)
    for (level, room), findings in sorted(bundles.items(), key=_by_level):
        bundle = uuid4().hex
        new = [each for each in findings if _raise(opened, each, level, bundle, now)]
        if not new:
            continue
        if level is Level.RECOVERED:
            _recover(opened, room, new, bundle, now, write)
        elif level in AUDIENCES:
            contacts = _contacts(opened, room, AUDIENCES[level])
            _post(opened, level, room, new, bundle, contacts, now, write)


def _by_level(entry: tuple[tuple[Level, str], list[Finding]]) -> tuple[int, str]:
    (level, room), _ = entry
    return list(Level).index(level), room


def _raise(opened: Session, found: Finding, level: Level, bundle: str, now: datetime) -> bool:
    """Whether this process was the first to raise it."""
    whole = level in AUDIENCES
    row = {
        "course_id": found.course.id,
        "course_start": found.course.start,
        "room_id": found.course.room_id,
        "level": level,
        # At the start and at a recovery there is only one alarm, whatever the reasons are.
        "reason_key": escalation.key_of(escalation.keys(found.reasons)) if whole else "",
        "reasons": [asdict(reason) for reason in found.reasons],
        "raised_at": now,
        "bundle": bundle,
    }
    opened.execute(insert_missing(opened, Alarm), [row])
    mine = select(Alarm.id).where(Alarm.bundle == bundle, Alarm.course_id == found.course.id)
    return opened.exec(mine).first() is not None


def _recover(
    opened: Session, room: str, found: Sequence[Finding], bundle: str, now: datetime, write: Writer
) -> None:
    """What was not sent yet is not sent any more; who was told of trouble is told of its end."""
    courses = [each.course.id for each in found]
    bundles = select(Alarm.bundle).where(col(Alarm.course_id).in_(courses))
    _drop(opened, col(Notice.bundle).in_(bundles), ~_useful(_held(), _unrecovered()))
    told = select(Notice.contact_id).where(
        col(Notice.bundle).in_(bundles),
        col(Notice.level).in_([step.level for step in escalation.LADDER]),
        col(Notice.state).in_([NoticeState.SENT, NoticeState.SENDING]),
    )
    contacts = opened.exec(
        select(Contact).where(col(Contact.id).in_(told)).order_by(col(Contact.id))
    ).all()
    if contacts:
        _post(opened, Level.RECOVERED, room, found, bundle, contacts, now, write)


def _held() -> ColumnElement[bool]:
    """The alarm's course is still to be held when and where it was."""
    return exists().where(
        col(Course.id) == col(Alarm.course_id),
        col(Course.room_id) == col(Alarm.room_id),
        col(Course.start) == col(Alarm.course_start),
        col(Course.cancelled).is_(False),
    )


def _unrecovered() -> ColumnElement[bool]:
    other = aliased(Alarm)
    return ~exists().where(
        col(other.course_id) == col(Alarm.course_id),
        col(other.course_start) == col(Alarm.course_start),
        col(other.level) == Level.RECOVERED,
    )


def _useful(*still: ColumnElement[bool]) -> ColumnElement[bool]:
    """At least one alarm that the message tells of still stands."""
    return exists().where(col(Alarm.bundle) == col(Notice.bundle), *still)


def _drop(opened: Session, *which: ColumnElement[bool]) -> None:
    """These messages are not sent any more, as far as they were not."""
    opened.execute(
        update(Notice)
        .where(col(Notice.state) == NoticeState.WAITING, *which)
        .values(state=NoticeState.DROPPED)
        .execution_options(synchronize_session=False)
    )


def _contacts(opened: Session, room: str, audiences: Iterable[Audience]) -> Sequence[Contact]:
    """Who of the site is told; its IT where nobody else is named."""
    site = select(Room.site_id).where(Room.id == room).scalar_subquery()
    query = select(Contact).where(col(Contact.site_id) == site).order_by(col(Contact.id))
    found = opened.exec(query.where(col(Contact.audience).in_(list(audiences)))).all()
    return found or opened.exec(query.where(Contact.audience == Audience.IT)).all()


def _post(
    opened: Session,
    level: Level,
    room: str,
    found: Sequence[Finding],
    bundle: str,
    contacts: Sequence[Contact],
    now: datetime,
    write: Writer,
) -> None:
    """Put one message to each contact into the outbox; to the log when there is nobody."""
    place = opened.get_one(Room, room)
    site = opened.get_one(Site, place.site_id)
    first = min(found, key=lambda each: each.course.start)
    reasons = list(dict.fromkeys(reason for each in found for reason in each.reasons))
    courses = [each.course for each in found]
    letter = Letter(level, place, site, courses, first.verdict, reasons, first.swaps)
    written = write(letter, now)
    everybody: Sequence[Contact | None] = contacts or [None]
    for contact in everybody:
        quiet = contact.quiet if contact else ""
        opened.add(
            Notice(
                id=uuid4().hex,
                bundle=bundle,
                contact_id=contact.id if contact else None,
                site_id=site.id,
                room_id=room,
                level=level,
                channel=contact.channel if contact else Channel.LOG,
                subject=written.subject[:200],
                text=written.text[:10_000],
                link=written.link,
                made_at=now,
                next_try_at=escalation.send_from(quiet, first.course.start, now),
                expires_at=max(each.course.end for each in found),
            )
        )
    opened.flush()


def _raised(opened: Session, courses: Sequence[Course]) -> dict[tuple[int, datetime], list[Raised]]:
    found: dict[tuple[int, datetime], list[Raised]] = defaultdict(list)
    rows = opened.exec(
        select(Alarm).where(col(Alarm.course_id).in_([course.id for course in courses]))
    )
    for row in rows:
        told = (Reason(one["code"], one["kind"], one["device"]) for one in row.reasons)
        keys = escalation.keys(told)
        found[row.course_id, row.course_start].append(Raised(row.level, keys))
    return found


def _frozen(opened: Session, courses: Sequence[Course]) -> dict[int, Verdict]:
    rows = opened.exec(
        select(Readiness.course_id, Readiness.verdict).where(
            col(Readiness.course_id).in_([course.id for course in courses])
        )
    )
    return {course: Verdict(verdict) for course, verdict in rows}
