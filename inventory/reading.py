"""What was seen, and when a verdict changed."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import Field, SQLModel

from inventory.columns import json_column, moment, reference, row_number, word


class Reading(SQLModel, table=True):
    """The facts of one poll. Kept when a state changed, else hourly; Prometheus keeps curves."""

    id: int | None = Field(default=None, sa_column=row_number())
    device_id: str = Field(sa_column=reference("device.id"))
    taken_at: datetime = Field(sa_column=moment(nullable=False, index=True))
    reachable: bool
    problem: str = Field(default="", max_length=32)
    facts: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())


class Subject(StrEnum):
    """What a verdict is about."""

    DEVICE = "device"
    ROOM = "room"


class Flip(SQLModel, table=True):
    """A change of verdict. Alerts consume these rows; nothing else remembers a change."""

    id: int | None = Field(default=None, sa_column=row_number())
    subject: Subject = Field(sa_column=word(Subject))
    room_id: str = Field(sa_column=reference("room.id"))
    device_id: str | None = Field(default=None, sa_column=reference("device.id", nullable=True))
    at: datetime = Field(sa_column=moment(nullable=False, index=True))
    old: str = Field(max_length=32)
    new: str = Field(max_length=32)
    reason: str = Field(default="", max_length=64)
