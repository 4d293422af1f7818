"""What a caretaker told us about a device."""

import secrets
from datetime import datetime
from enum import StrEnum

from sqlmodel import Field, SQLModel

from inventory.columns import moment, reference, word
from inventory.device import CODE_ALPHABET


class Problem(StrEnum):
    """What is broken, as a caretaker would say it."""

    WONT_START = "wont_start"
    PICTURE = "picture"
    SOUND = "sound"
    INTERNET = "internet"
    INPUT = "input"
    DAMAGED = "damaged"
    MISSING = "missing"
    OTHER = "other"


class Impact(StrEnum):
    """Can the course go on?"""

    NONE = "none"
    WITH_SPARE = "with_spare"
    BLOCKED = "blocked"


class ReportState(StrEnum):
    RECEIVED = "received"
    IN_PROGRESS = "in_progress"
    DONE = "done"


def new_reference() -> str:
    """What a caretaker can name on the phone, such as M-7K3QX."""
    return "M-" + "".join(secrets.choice(CODE_ALPHABET) for _ in range(5)).upper()


class Report(SQLModel, table=True):
    """One fault report. It never triggers anything destructive by itself."""

    id: str = Field(default_factory=new_reference, primary_key=True, max_length=12)
    device_id: str = Field(sa_column=reference("device.id"))
    submission: str = Field(unique=True, max_length=64)
    """Made by the form, so that pressing "send" twice is one report."""
    token: str = Field(
        default_factory=lambda: secrets.token_urlsafe(16), unique=True, max_length=40
    )
    """The unguessable part of the status page's address."""
    problem: Problem = Field(sa_column=word(Problem))
    impact: Impact = Field(sa_column=word(Impact))
    text: str = Field(default="", max_length=500)
    contact: str = Field(default="", max_length=200)
    seconded: int = Field(default=0, ge=0)
    """How many others said "me too"."""
    state: ReportState = Field(
        default=ReportState.RECEIVED, sa_column=word(ReportState, index=True)
    )
    reported_at: datetime = Field(sa_column=moment(nullable=False, index=True))
    closed_at: datetime | None = Field(default=None, sa_column=moment())
