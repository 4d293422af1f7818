"""Reads the timetables, and says when a room is used and how long that may be believed.

A feed that cannot be read in full never means that a room is free: what is known stays, the feed
is in doubt, and nothing in its rooms is reset on its word.
"""

import logging
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Engine, and_, func, or_, update
from sqlmodel import Session, col, select

from fleet import overrides
from fleet.calendars import Contents, caldav, read_apart
from fleet.settings import Settings
from fleet.timetable import courses, snapshots
from fleet.timetable.feeds import Fetched, FetchFailed, Question, fetch
from fleet.timetable.login import open_feed
from inventory import Course, Feed, FeedKind, Room, Site
from inventory.db import session

log = logging.getLogger(__name__)

BEFORE = timedelta(days=1)
AHEAD = timedelta(days=60)
AT_ONCE = 4
"""So many feeds are read at the same time."""
MANY = 3
"""From so many future courses on, losing more than half of them at once is not believed."""

PROBLEMS: dict[str, str] = {
    "unreachable": "The timetable's server does not answer.",
    "timed_out": "The timetable's server answers too slowly.",
    "http_error": "The timetable's server refuses or has an error.",
    "denied": "The timetable's server does not accept our credential.",
    "no_credential": "The timetable's credential is missing here or cannot be used.",
    "missing_file": "The timetable's file cannot be read.",
    "refused_address": "The timetable's address leads into an internal network not allowed.",
    "too_large": "The timetable is larger than 5 MB.",
    "not_a_calendar": "What came is not a calendar; perhaps a page that asks to sign in.",
    "unreadable": "The calendar is damaged or cut off.",
    "no_columns": "The timetable's columns are not understood; its options must name them.",
    "partly_unreadable": "Some courses of the calendar cannot be read.",
    "too_many": "The calendar holds more courses than any timetable.",
    "too_slow": "Reading the calendar takes too long.",
    "unknown_room": "The place of some courses is no room of this site.",
    "not_taken_over": "An error of the service keeps it from taking the timetable over.",
    "shrunk": "More than half of the coming courses are gone at once; somebody must confirm this.",
    "empty": "The timetable has never held a course; somebody must confirm that this is right.",
}
"""What `Feed.problem` may say → a sentence for people."""

TO_CONFIRM = frozenset({"shrunk", "empty"})
"""Read in full, but not believed until somebody says that it is right."""

WARNINGS: dict[str, str] = {
    "unknown_zone": "A time zone that nobody knows; read as local time.",
    "no_zone": "Times without a zone; read as local time.",
    "no_end": "No end is told; taken as long as the feed's options say.",
    "ends_before_start": "The end is before the start; put right.",
    "until_a_day": "A series that ends on a day; that day's lesson is kept.",
    "utc_weekday": "A series in UTC by weekdays close to midnight; it may shift with the clocks.",
    "utc_series": "A series in UTC; its local time shifts when the clocks change.",
    "reused_uid": "Several courses under one name; told apart by their start.",
    "taken_out_and_changed": "Lessons that are taken out of a series and told as changed; kept.",
    "all_day_ignored": "Entries without times, such as holidays; ignored.",
    "twice": "The same course twice in the same room at the same time; counted once.",
    "elsewhere": "Courses in places that are no room of ours, as the feed's options say.",
}
"""What was guessed or mended in a feed → a sentence for people."""

NOT_REACHED = frozenset(
    {"unreachable", "timed_out", "http_error", "missing_file", "denied", "no_credential"}
)
"""Nothing was read, so nothing is known to be wrong: the last full reading holds until its age."""


@dataclass
class _Answer:
    problem: str = ""
    detail: str = ""
    contents: Contents = field(default_factory=Contents)
    body: bytes | None = None
    unchanged: bool = False
    etag: str = ""
    modified: str = ""


def refresh(engine: Engine, settings: Settings, now: datetime) -> None:
    """Read every feed that is due and store what it holds; no transaction is open meanwhile.

    Two processes share the feeds between them, and no feed can keep the others from being read.
    Must not run on a thread with an event loop.
    """
    due = _take_due(engine, settings, now)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="feed") as pool:
        under_way = {
            pool.submit(_refresh_one, engine, feed, last, settings, now): feed.id
            for feed, last in due
        }
        for done in as_completed(under_way):
            if error := done.exception():
                feed_id = under_way[done]
                log.error("timetable %s cannot be taken over", feed_id, exc_info=error)
                with session(engine) as opened:
                    _give_up(opened, feed_id, type(error).__name__, now)


def _refresh_one(engine: Engine, feed: Feed, last: str, settings: Settings, now: datetime) -> None:
    answer = _read(feed, last, settings, now)
    with session(engine) as opened:
        _store(opened, feed.id, answer, now)


def _take_due(engine: Engine, settings: Settings, now: datetime) -> list[tuple[Feed, str]]:
    """The feeds that are due, each with the hash of its last good body."""
    late = or_(
        col(Feed.tried_at).is_(None),
        col(Feed.tried_at) <= now - timedelta(seconds=settings.calendar_s),
    )
    taken = []
    with session(engine) as opened:
        for feed in opened.exec(select(Feed).where(late).order_by(col(Feed.id))).all():
            opened.expunge(feed)
            claim = update(Feed).where(col(Feed.id) == feed.id, late).values(tried_at=now)
            if opened.connection().execute(claim).rowcount == 1:
                last = snapshots.newest(opened, feed.id, good=True)
                taken.append((feed, last.sha256 if last else ""))
    return taken


def _read(feed: Feed, last: str, settings: Settings, now: datetime) -> _Answer:
    # Once a day the whole body: "not modified" would otherwise hide what the window has reached.
    same_day = feed.good_at is not None and feed.good_at.date() == now.date()
    # Who wants it read at once wants all of it: the courses may say something else by now.
    known = same_day and not feed.problem and feed.tried_at is not None
    try:
        fetched = _fetched(feed, settings, now, known=known)
    except FetchFailed as failed:
        return _Answer(failed.code, failed.detail)
    if fetched.body is None:
        return _Answer(unchanged=True) if known else _Answer("http_error", "nothing was sent")
    if known and snapshots.digest(fetched.body) == last:
        return _Answer(unchanged=True)
    start, end = window(now)
    contents = read_apart(fetched.body, start, end, snapshots.wanted(feed))
    return _Answer(
        contents.problem,
        contents.detail,
        contents,
        body=fetched.body,
        etag=fetched.etag,
        modified=fetched.modified,
    )


def _fetched(feed: Feed, settings: Settings, now: datetime, *, known: bool) -> Fetched:
    address, login = open_feed(feed, settings.credentials)
    question = Question(
        address,
        etag=feed.etag if known else "",
        modified=feed.modified if known else "",
        report=caldav.query(*window(now)) if feed.kind is FeedKind.CALDAV else b"",
        login=login,
    )
    return fetch(question, settings.calendar_networks)


def window(now: datetime) -> tuple[datetime, datetime]:
    """From when to when a timetable is read."""
    return now - BEFORE, now + AHEAD


def _store(session: Session, feed_id: str, answer: _Answer, now: datetime) -> None:
    feed = session.get(Feed, feed_id, with_for_update=True)
    if feed is None or feed.tried_at != now:
        return  # deleted, or read again by somebody who is newer
    # Resets are claimed under the same lock: no order is sent on a timetable just replaced.
    session.exec(select(Site.id).where(Site.id == feed.site_id).with_for_update(key_share=True))
    before = feed.problem
    if answer.problem in NOT_REACHED:
        # A feed in doubt does not become credible by going away.
        if not before or before in NOT_REACHED:
            feed.problem, feed.detail = answer.problem, answer.detail[:500]
            snapshots.note(session, feed, None, answer.contents, 0, now)
    elif answer.unchanged:
        feed.problem, feed.detail, feed.good_at = "", "", now
        snapshots.seen_again(session, feed, now)
    else:
        coming = _take_over(session, feed, answer, now)
        snapshots.note(session, feed, answer.body, answer.contents, coming, now)
    if feed.problem != before:
        log.warning("timetable %s: %s", feed.id, feed.problem or "read in full again")


def _give_up(session: Session, feed_id: str, what: str, now: datetime) -> None:
    """What it holds is not in the courses, so its rooms may be in use without our knowing."""
    feed = session.get(Feed, feed_id, with_for_update=True)
    if feed is None or feed.tried_at != now:
        return
    feed.problem, feed.detail = "not_taken_over", what
    snapshots.note(session, feed, None, Contents(), 0, now)


def _take_over(session: Session, feed: Feed, answer: _Answer, now: datetime) -> int:
    """Store what could be read; only a full reading is believed to be all there is.

    Returns how many courses lie ahead in it.
    """
    placed = courses.find_rooms(session, feed, answer.contents.occurrences)
    lost = [each for each in placed.lost if not each.cancelled and each.end > now]
    if placed.elsewhere:
        answer.contents.warnings["elsewhere"] = placed.elsewhere
    problem, detail = answer.problem, answer.detail
    if not problem and lost:
        places = sorted({each.location or "(none)" for each in lost})
        problem, detail = "unknown_room", f"{len(lost)} courses: {', '.join(places[:5])}"
    coming = sum(lesson.told.start > now for lesson in placed.lessons)
    if not problem and not feed.confirmed:
        problem, detail = _too_few(feed, coming, _coming(session, feed, now))
    courses.store(session, feed, placed.lessons, now, full=not problem)
    overrides.reapply(session, feed.id)
    feed.problem, feed.detail = problem, detail[:500]
    feed.etag, feed.modified = ("", "") if problem else (answer.etag, answer.modified)
    if not problem:
        feed.good_at, feed.confirmed = now, False
    return coming


def _too_few(feed: Feed, coming: int, expected: int) -> tuple[str, str]:
    """Problem and detail of a feed that was read in full and still is not believed, or empty."""
    fewer = expected >= MANY and 2 * coming < expected
    if fewer or (expected and not coming):
        return "shrunk", f"{coming} instead of {expected}"
    if not coming and feed.good_at is None:
        return "empty", ""
    return "", ""


def _coming(session: Session, feed: Feed, now: datetime) -> int:
    return session.exec(
        select(func.count()).where(
            Course.feed_id == feed.id, Course.start > now, col(Course.cancelled).is_(False)
        )
    ).one()


def confirm(session: Session, feed_id: str) -> None:
    """Somebody says that a feed which shrank, or is empty, is right: what it holds next counts.

    Until that reading the feed stays in doubt, so no reset is sent in between, and its courses
    stay: somebody who insists on a reset must be told of them.
    """
    session.execute(
        update(Feed).where(col(Feed.id) == feed_id).values(tried_at=None, confirmed=True)
    )


def busy(
    session: Session, room_ids: Collection[str], start: datetime, end: datetime
) -> Sequence[Course]:
    """What overlaps [start, end) in these rooms, by start: the courses that are not cancelled, and
    the times in which somebody blocked a room (with a uid of `overrides.BLOCKED`, in no table)."""
    held = session.exec(
        select(Course)
        .where(
            col(Course.room_id).in_(room_ids),
            col(Course.cancelled).is_(False),
            Course.start < end,
            Course.end > start,
        )
        .order_by(col(Course.start), col(Course.id))
    ).all()
    blocked = overrides.blocks(session, room_ids, start, end)
    return sorted([*held, *blocked], key=lambda one: one.start) if blocked else held


def trusted_until(
    session: Session, room_ids: Collection[str], now: datetime
) -> dict[str, datetime]:
    """Room → until when its calendar may be believed, for every feed of it was read in full.

    A room without a feed, or with one in doubt or too old, is not in the answer.
    """
    feeds = session.exec(
        select(Room.id, Feed.problem, Feed.good_at, Feed.max_age_s)
        .join(Feed, belongs())
        .where(col(Room.id).in_(room_ids))
    )
    until: dict[str, datetime] = {}
    doubtful: set[str] = set()
    for room, problem, good_at, max_age_s in feeds:
        if good_at is None or (problem and problem not in NOT_REACHED):
            doubtful.add(room)
            continue
        limit = good_at + timedelta(seconds=max_age_s)
        until[room] = min(until.get(room, limit), limit)
    return {r: limit for r, limit in until.items() if r not in doubtful and limit > now}


def waited_for() -> ColumnElement[bool]:
    """Condition: a course that takes place and for which the room must be ready; not a block,
    which only takes the room."""
    return and_(col(Course.cancelled).is_(False), col(Course.block).is_(False))


def belongs() -> ColumnElement[bool]:
    """Join condition: a feed of the room itself, or of its whole site."""
    room, site = col(Feed.room_id), col(Feed.site_id)
    return or_(room == col(Room.id), and_(room.is_(None), site == col(Room.site_id)))
