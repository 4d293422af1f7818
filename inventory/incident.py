"""Faults from beginning to end, each told once, and the trouble that is to be expected."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from inventory.columns import moment, reference, row_number


class Incident(SQLModel, table=True):
    """One fault with one cause, from when it was believed until it was over."""

    __table_args__ = (
        CheckConstraint("closed_at IS NULL OR closed_at >= opened_at", name="closes_after"),
        # One open incident per cause, whoever opens it.
        Index(
            "ix_incident_one_open",
            "site_id",
            "cause",
            unique=True,
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
    )

    id: int | None = Field(default=None, sa_column=row_number())
    site_id: str = Field(sa_column=reference("site.id"))
    device_id: str | None = Field(default=None, sa_column=reference("device.id", nullable=True))
    """None: the whole site."""
    cause: str = Field(max_length=63)
    """The device's id, or for the whole site the reason."""
    reason: str = Field(max_length=64)
    """A code of `fleet.health.REASONS` or `fleet.incidents.SITE_REASONS`."""
    since: datetime = Field(sa_column=moment(nullable=False))
    """Since when the fault was seen."""
    opened_at: datetime = Field(sa_column=moment(nullable=False, index=True))
    closed_at: datetime | None = Field(default=None, sa_column=moment(index=True))
    affected: int = Field(default=0, ge=0)
    """How many other devices it cut off at most."""


class Prediction(SQLModel, table=True):
    """Trouble to be expected of one device if things go on as they did."""

    device_id: str = Field(
        primary_key=True, foreign_key="device.id", ondelete="CASCADE", max_length=63
    )
    code: str = Field(primary_key=True, max_length=64)
    """A code of `fleet.health.trends.TRENDS`."""
    due_at: datetime = Field(sa_column=moment(nullable=False, index=True))
    made_at: datetime = Field(sa_column=moment(nullable=False))
