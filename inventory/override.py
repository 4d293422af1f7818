"""What people say about resets by hand; it beats the timetable until it ends."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from inventory.columns import moment, reference, row_number, word


class OverrideKind(StrEnum):
    """What is said. All but CANCEL can only ever stop a reset, never bring one about."""

    COURSE = "course"
    """A course is held now that no timetable knows."""
    CANCEL = "cancel"
    """A course of the timetable is not held, whatever the timetable says."""
    BLOCK = "block"
    """The room is in use or locked up: nothing in it is touched."""
    SKIP = "skip"
    """No reset before one course: of one device, or of all that stand in the room."""
    PAUSE = "pause"
    """No reset at a site, or anywhere at all: the emergency stop."""
    MAINTENANCE = "maintenance"
    """Somebody works on a device, in a room or at a site."""
    STOP = "stop"
    """No automatic reset with one recipe: too many of its resets failed."""


class Override(SQLModel, table=True):
    """One thing said by hand. Its scope is the narrowest of device, room and site that it names;
    one that names none is for everything."""

    __table_args__ = (
        Index(
            "ix_override_in_force",
            "until",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: int | None = Field(default=None, sa_column=row_number())
    kind: OverrideKind = Field(sa_column=word(OverrideKind))
    site_id: str | None = Field(default=None, sa_column=reference("site.id", nullable=True))
    """The site of the room or device too, so that who may see the site may see this."""
    room_id: str | None = Field(default=None, sa_column=reference("room.id", nullable=True))
    device_id: str | None = Field(default=None, sa_column=reference("device.id", nullable=True))
    recipe_id: str | None = Field(default=None, sa_column=reference("recipe.id", nullable=True))
    course_id: int | None = Field(
        default=None, foreign_key="course.id", ondelete="SET NULL", index=True
    )
    feed_id: str | None = Field(default=None, sa_column=reference("feed.id", nullable=True))
    uid: str = Field(default="", max_length=300)
    """With `feed_id` and `occurrence` what a course is called in its feed, so that it is known
    again when the feed drops it and brings it back."""
    occurrence: str = Field(default="", max_length=40)
    since: datetime = Field(sa_column=moment(nullable=False))
    until: datetime | None = Field(default=None, sa_column=moment())
    """None: until somebody ends it."""
    made_at: datetime = Field(sa_column=moment(nullable=False))
    made_by: str = Field(max_length=100)
    reason: str = Field(default="", max_length=200)
    ended_at: datetime | None = Field(default=None, sa_column=moment())
    ended_by: str = Field(default="", max_length=100)
