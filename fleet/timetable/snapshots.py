"""Keeps what each reading of a feed found, so that a doubt can be looked into afterwards."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import update
from sqlmodel import Session, col, select

from fleet.calendars import Contents, Occurrence, Wanted, read_apart
from inventory import Feed, FeedKind, FeedOptions, FeedSnapshot

_STAMPS = re.compile(rb"^(?:DTSTAMP|LAST-MODIFIED)[:;].*\r?\n", re.M)
"""Lines that many exporters write anew each time although nothing changed."""
_PEOPLE = re.compile(
    rb"^(?:ATTENDEE|ORGANIZER|CONTACT|COMMENT|DESCRIPTION|X-ALT-DESC)[:;].*\r?\n(?:[ \t].*\r?\n)*",
    re.M | re.I,
)
"""Lines of an iCalendar file that hold names and addresses, and that we have no use for."""


def wanted(feed: Feed) -> Wanted:
    """How the feed is to be read."""
    options = FeedOptions.model_validate(feed.options)
    return Wanted(kind=feed.kind.value, **options.model_dump(include=set(Wanted.model_fields)))


def digest(body: bytes) -> str:
    """The same for two bodies that hold the same courses."""
    return sha256(_STAMPS.sub(b"", body)).hexdigest()


def note(
    session: Session,
    feed: Feed,
    body: bytes | None,
    contents: Contents,
    coming: int,
    now: datetime,
) -> None:
    """Write down what a reading found; `feed.problem` is already what became of it.

    Only what differs from the last time is a new row, or a server that is away would fill a disk.
    """
    found = FeedSnapshot(
        feed_id=feed.id,
        taken_at=now,
        seen_at=now,
        sha256=digest(body) if body is not None else "",
        size=len(body or b""),
        events=len(contents.occurrences),
        coming=coming,
        warnings=contents.warnings,
        problem=feed.problem,
        detail=feed.detail,
    )
    last = newest(session, feed.id)
    if last and all(
        getattr(last, name) == getattr(found, name) for name in ("sha256", "problem", "detail")
    ):
        for name in ("seen_at", "events", "coming", "warnings"):
            setattr(last, name, getattr(found, name))
        return
    if body is not None:
        found.body = _kept(feed, body, contents)
    session.add(found)
    session.flush()
    good = newest(session, feed.id, good=True)
    kept = [found.id, good.id if good else None]
    mine = (col(FeedSnapshot.feed_id) == feed.id, col(FeedSnapshot.id).not_in(kept))
    session.execute(
        update(FeedSnapshot).where(*mine, col(FeedSnapshot.body).is_not(None)).values(body=None)
    )


def _kept(feed: Feed, body: bytes, contents: Contents) -> bytes | None:
    """Packed, and without what is said of people: of a table only what was read in it, because
    any of its other columns may name them."""
    if feed.kind in (FeedKind.CSV, FeedKind.XML):
        return zlib.compress(contents.kept.encode()) if contents.kept else None
    return zlib.compress(_PEOPLE.sub(b"", body))


def seen_again(session: Session, feed: Feed, now: datetime) -> None:
    """The source says that nothing changed."""
    last = newest(session, feed.id)
    if last and not last.problem:
        last.seen_at = now


def newest(session: Session, feed_id: str, *, good: bool = False) -> FeedSnapshot | None:
    """The last snapshot; `good`: the last one that was read in full."""
    query = select(FeedSnapshot).where(FeedSnapshot.feed_id == feed_id)
    if good:
        query = query.where(FeedSnapshot.problem == "")
    return session.exec(query.order_by(col(FeedSnapshot.id).desc()).limit(1)).first()


def body_of(snapshot: FeedSnapshot) -> bytes:
    """What came, without what is said of people; empty when it is not, or no longer, kept."""
    return zlib.decompress(snapshot.body) if snapshot.body else b""


@dataclass(frozen=True)
class Comparison:
    """What the newest reading has and the last good one had not, and the other way round."""

    gone: Sequence[Occurrence]
    new: Sequence[Occurrence]


def compare(
    feed: Feed, good: FeedSnapshot, other: FeedSnapshot, start: datetime, end: datetime
) -> Comparison:
    """Reads both anew within the same time; takes a second, so no transaction may be open."""
    how = wanted(feed)
    before = read_apart(body_of(good), start, end, how).occurrences
    after = read_apart(body_of(other), start, end, how).occurrences

    def key(one: Occurrence) -> tuple[object, ...]:
        return one.start, one.end, one.title, one.location, one.cancelled

    known, there = {key(one) for one in before}, {key(one) for one in after}
    return Comparison(
        gone=[one for one in before if key(one) not in there],
        new=[one for one in after if key(one) not in known],
    )
