"""Which alarms were raised for a course, and the messages that told of them or of an incident."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, ForeignKey, String, UniqueConstraint
from sqlmodel import Field, SQLModel

from inventory.columns import json_column, moment, reference, row_number, word
from inventory.contact import Channel


class Level(StrEnum):
    """The steps of the ladder, from the lowest up."""

    DAY_BEFORE = "day_before"
    CARETAKER = "caretaker"
    DUTY = "duty"
    START = "start"
    """The course begins in a room that is not ready: shown on the pages, and never taken back."""
    RECOVERED = "recovered"
    """The room is ready after all; the last thing that is said of a course."""
    FAULT = "fault"
    """An incident began. It belongs to no course and so to no step of the ladder."""
    FAULT_OVER = "fault_over"


class Alarm(SQLModel, table=True):
    """One step of the ladder, taken once for one course and one set of reasons."""

    __table_args__ = (UniqueConstraint("course_id", "course_start", "level", "reason_key"),)

    id: int | None = Field(default=None, sa_column=row_number())
    course_id: int = Field(foreign_key="course.id", ondelete="CASCADE", index=True)
    course_start: datetime = Field(sa_column=moment(nullable=False, index=True))
    """The start it was raised for: a course that moves climbs the ladder anew."""
    room_id: str = Field(sa_column=reference("room.id"))
    level: Level = Field(sa_column=word(Level))
    reason_key: str = Field(default="", max_length=64)
    """A hash of the set of reasons."""
    reasons: list[Any] = Field(default_factory=list, sa_column=json_column())
    """`fleet.readiness.Reason` objects as JSON, the gravest first."""
    raised_at: datetime = Field(sa_column=moment(nullable=False))
    bundle: str = Field(default="", max_length=32, index=True)
    """The alarms of a room that were told of together; the messages carry the same."""


class NoticeState(StrEnum):
    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    """Given up: its time was over, or the address will never take it."""
    DROPPED = "dropped"
    """It was not needed any more."""


OPEN_NOTICES = frozenset({NoticeState.WAITING, NoticeState.SENDING})


class Notice(SQLModel, table=True):
    """One message to one contact. Written with the alarm in one transaction, sent afterwards."""

    __table_args__ = (UniqueConstraint("bundle", "contact_id"),)

    id: str = Field(primary_key=True, max_length=32)
    bundle: str = Field(max_length=32, index=True)
    contact_id: str | None = Field(
        default=None,
        sa_column=Column(
            String(63), ForeignKey("contact.id", ondelete="SET NULL"), nullable=True, index=True
        ),
    )
    """None: nobody is named for it, or the contact is gone."""
    site_id: str = Field(sa_column=reference("site.id"))
    room_id: str | None = Field(default=None, sa_column=reference("room.id", nullable=True))
    """None: it is about the whole site."""
    level: Level = Field(sa_column=word(Level))
    channel: Channel = Field(sa_column=word(Channel))
    subject: str = Field(max_length=200)
    text: str = Field(max_length=10_000)
    link: str = Field(default="", max_length=500)
    state: NoticeState = Field(default=NoticeState.WAITING, sa_column=word(NoticeState, index=True))
    made_at: datetime = Field(sa_column=moment(nullable=False, index=True))
    next_try_at: datetime = Field(sa_column=moment(nullable=False))
    expires_at: datetime = Field(sa_column=moment(nullable=False))
    """When nobody needs it any more."""
    tries: int = Field(default=0)
    sent_at: datetime | None = Field(default=None, sa_column=moment())
    problem: str = Field(default="", max_length=64)
    """Why the last try failed, a code of `fleet.notify`."""
