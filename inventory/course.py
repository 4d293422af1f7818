"""When a room is used: feeds, the courses read from them, and the verdict at each start."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field, SQLModel

from inventory.columns import (
    json_column,
    moment,
    moment_key,
    reference,
    row_number,
    word,
    word_key,
)
from inventory.feed_options import FeedKind


class Verdict(StrEnum):
    """Readiness of a room for a course."""

    READY = "ready"
    DEGRADED = "degraded"
    NOT_READY = "not_ready"
    UNKNOWN = "unknown"


class Feed(SQLModel, table=True):
    """A timetable to read. A feed that cannot be read in full never means that a room is free."""

    id: str = Field(primary_key=True, max_length=63)
    site_id: str = Field(sa_column=reference("site.id"))
    room_id: str | None = Field(default=None, sa_column=reference("room.id", nullable=True))
    """The room of every course in it; None: the LOCATION of each event names the room."""
    kind: FeedKind = Field(default=FeedKind.ICS, sa_column=word(FeedKind))
    url: str = Field(max_length=2000)
    """http(s)://…, or file:///… for a timetable that is laid beside the service."""
    options: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """What `FeedOptions` takes."""
    credential: str = Field(default="", max_length=63)
    """The name of a secret in the service's own folder; empty: none is needed."""
    max_age_s: int = Field(default=6 * 3600, gt=0)
    """Older than this the timetable is in doubt, and nothing is reset on its word."""
    etag: str = Field(default="", max_length=200)
    modified: str = Field(default="", max_length=100)
    """The Last-Modified header, sent back as If-Modified-Since."""
    tried_at: datetime | None = Field(default=None, sa_column=moment())
    good_at: datetime | None = Field(default=None, sa_column=moment())
    """When it was last read in full (or answered "not modified" since)."""
    problem: str = Field(default="", max_length=32)
    """A code of `fleet.timetable`; empty: read in full."""
    detail: str = Field(default="", max_length=500)
    confirmed: bool = Field(default=False)
    """Somebody said that few courses, or none, are right: the next full reading is believed."""


class Course(SQLModel, table=True):
    """One occurrence of a course: a room, a start, an end."""

    __table_args__ = (
        UniqueConstraint("feed_id", "uid", "occurrence"),
        CheckConstraint('"start" < "end"', name="ends_after_start"),
    )

    id: int | None = Field(default=None, sa_column=row_number())
    room_id: str = Field(sa_column=reference("room.id"))
    feed_id: str | None = Field(default=None, sa_column=reference("feed.id", nullable=True))
    """None: entered by hand."""
    uid: str = Field(max_length=300)
    occurrence: str = Field(default="", max_length=40)
    """Which one of a series: its RECURRENCE-ID or planned start, in UTC, ISO 8601."""
    title: str = Field(default="", max_length=300)
    start: datetime = Field(sa_column=moment(nullable=False, index=True))
    end: datetime = Field(sa_column=moment(nullable=False, index=True))
    cancelled: bool = Field(default=False)
    block: bool = Field(default=False)
    """The room is taken, but nobody waits for its devices: no reset, and no verdict either."""
    known_at: datetime | None = Field(default=None, sa_column=moment())
    """Since when it is known that it takes place in this room and begins then; None: not noted."""


class FeedSnapshot(SQLModel, table=True):
    """What one reading of a feed found; a new row only when that differs from the last one."""

    __tablename__ = "feed_snapshot"

    id: int | None = Field(default=None, sa_column=row_number())
    feed_id: str = Field(sa_column=reference("feed.id"))
    taken_at: datetime = Field(sa_column=moment(nullable=False, index=True))
    seen_at: datetime = Field(sa_column=moment(nullable=False))
    """When the feed last was just so."""
    sha256: str = Field(default="", max_length=64)
    """Of the body; empty: nothing came."""
    size: int = Field(default=0)
    events: int = Field(default=0)
    """Courses and blocks that were read in it, cancelled ones too."""
    coming: int = Field(default=0)
    """Those that lie ahead, in a room of ours."""
    warnings: dict[str, int] = Field(default_factory=dict, sa_column=json_column())
    """Code of `fleet.timetable.WARNINGS` → how often."""
    problem: str = Field(default="", max_length=32)
    detail: str = Field(default="", max_length=500)
    body: bytes | None = Field(default=None)
    """Compressed; of a feed only the last good one and the newest are kept, to be compared."""


class CourseKind(SQLModel, table=True):
    """Courses of one sort, known by their title, and what is different for them."""

    __tablename__ = "course_kind"

    id: str = Field(primary_key=True, max_length=63)
    site_id: str | None = Field(default=None, sa_column=reference("site.id", nullable=True))
    """None: at all sites."""
    title: str = Field(max_length=300)
    """Words that the course's title holds, in whatever case."""
    profile: str = Field(default="", max_length=63)
    """The laptops' profile for it, such as large letters or Scratch; empty: the recipe's own."""
    thresholds: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """Kind of device → name of a threshold → the limit before and during such a course."""


class Point(StrEnum):
    """When before a course its room's verdict is kept."""

    DAY = "day"
    HOUR = "hour"
    QUARTER = "quarter"


class Checkpoint(SQLModel, table=True):
    """The verdict of a room for one course at a moment before its start: "unknown" when the service
    was down, none when the course was not known yet. A course that moves gets new ones."""

    course_id: int = Field(primary_key=True, foreign_key="course.id", ondelete="CASCADE")
    course_start: datetime = Field(sa_column=moment_key())
    point: Point = Field(sa_column=word_key(Point))
    room_id: str = Field(sa_column=reference("room.id"))
    verdict: Verdict = Field(sa_column=word(Verdict))
    reasons: list[Any] = Field(default_factory=list, sa_column=json_column())
    evidence: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    judged_at: datetime = Field(sa_column=moment(nullable=False))


class Readiness(SQLModel, table=True):
    """The verdict of a room at the start of one course, frozen: never changed afterwards."""

    course_id: int = Field(primary_key=True, foreign_key="course.id", ondelete="CASCADE")
    room_id: str = Field(sa_column=reference("room.id"))
    verdict: Verdict = Field(sa_column=word(Verdict))
    reasons: list[Any] = Field(default_factory=list, sa_column=json_column())
    """`fleet.readiness.Reason` objects as JSON, the gravest first."""
    evidence: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """What the verdict rests on, as `fleet.readiness.evidence` writes it; empty: nobody looked."""
    judged_at: datetime = Field(sa_column=moment(nullable=False))
