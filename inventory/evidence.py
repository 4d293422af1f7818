"""What proves, long afterwards, how each reset ended: rows that are only ever added."""

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from inventory.columns import json_column, moment, row_number


class Evidence(SQLModel, table=True):
    """The end of one reset, chained to the one before it on the same device.

    No row points to it and it points to none: it outlives the run, the recipe and the device.
    """

    __table_args__ = (UniqueConstraint("device_id", "number"),)

    id: int | None = Field(default=None, sa_column=row_number())
    device_id: str = Field(max_length=63)
    number: int
    """1, 2, 3, …: one chain for each device, written under the device's lock."""
    recorded_at: datetime = Field(sa_column=moment(nullable=False, index=True))
    reset_id: str = Field(max_length=32)
    attempt: int
    recipe: str = Field(max_length=63)
    tier: str = Field(default="", max_length=32)
    started: datetime | None = Field(default=None, sa_column=moment())
    finished: datetime | None = Field(default=None, sa_column=moment())
    verified: datetime | None = Field(default=None, sa_column=moment())
    """When the look was taken that proved it."""
    script_hash: str = Field(default="", max_length=100)
    skeleton_hash: str = Field(default="", max_length=100)
    home_hash: str = Field(default="", max_length=100)
    """Over the guest's home as it was: the prepared one with the course's profile."""
    counts: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """What the look counted: whole numbers, yes and no; never a text."""
    verdict: str = Field(max_length=32)
    reason: str = Field(default="", max_length=64)
    step: str = Field(default="", max_length=32)
    """At which step of the device's own reset it broke, if the device said so."""
    previous: str = Field(default="", max_length=64)
    """`hash` of the record before; of the first one empty."""
    hash: str = Field(max_length=64)
    """SHA-256 over all columns above but the id."""


class EvidenceSeal(SQLModel, table=True):
    """The last record of each chain that grew since the seal before: no chain can lose its end,
    or vanish whole, without leaving a seal that finds nothing."""

    __tablename__ = "evidence_seal"

    number: int = Field(primary_key=True)
    sealed_at: datetime = Field(sa_column=moment(nullable=False, index=True))
    heads: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """Device → number and hash of its last record."""
    previous: str = Field(default="", max_length=64)
    hash: str = Field(max_length=64)
