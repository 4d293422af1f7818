"""How a kind of device is reset, and every reset that was planned."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, ColumnElement, ForeignKey, Index, String, func, text
from sqlmodel import Field, SQLModel, col

from inventory.columns import json_column, moment, reference, word
from inventory.device import Device


class Recipe(SQLModel, table=True):
    """How a kind of device is reset, and what must be true of it afterwards."""

    id: str = Field(primary_key=True, max_length=63)
    name: str = Field(max_length=200)
    steps: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """Parameters of the driver's reset, for example `{"input": "31"}` for a projector."""
    expects: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """Fact name → what must hold: a value, `{"min": n}`, `{"max": n}`, `{"in": […]}`, or
    `{"is": "order"}`: the id of the very order that was sent. A fact not told does not hold."""
    max_runtime_s: int = Field(default=120, gt=0)
    """The device's own watchdog ends the reset after this: only a bounded reset can be planned."""
    lead_s: int | None = Field(default=None, gt=0)
    """How long before the course it may begin; None: the service's setting. A projector is
    switched on minutes before, not an hour."""
    settle_s: int = Field(default=0, ge=0)
    """How long to wait between the act and the look."""
    tries: int = Field(default=3, ge=1, le=10)
    """How many attempts may touch the device for one course. One that came to nothing because the
    device was away or refused does not count."""
    rest_id: str | None = Field(default=None, max_length=63)
    """The recipe by which the device is put to rest after the last course of the day; None: it
    stays as it is. Not a reference: one of a file may be read before the other."""
    tiers: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """Tier (`quick`, `standard`, `full`) → what differs from the columns above: `steps` (taken
    into those above), `max_runtime_s`, `settle_s`, and `noisy`, `boots`, `heavy`, `gap_s`: whether
    one hears it, whether the device starts up again, whether it loads much, and how long the room
    must stand empty for it. Empty: `quick` alone, as above."""


class Tier(StrEnum):
    """How thorough a reset is, the simplest first."""

    QUICK = "quick"
    STANDARD = "standard"
    FULL = "full"


class RunState(StrEnum):
    """A reset run's way. The first three are on the way and carry a deadline; the rest are final.

    Accepted is not finished, finished is not verified: only VERIFIED proves a device clean.
    """

    PLANNED = "planned"
    ORDERED = "ordered"
    ACTED = "acted"
    VERIFIED = "verified"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """No end was ever heard: nobody knows what happened, so it is not success."""
    EXPIRED = "expired"
    """Its latest start passed before it could be sent."""
    DROPPED = "dropped"
    """The course went away or moved, or somebody took the reset back."""


OPEN_STATES = frozenset({RunState.PLANNED, RunState.ORDERED, RunState.ACTED})

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.PLANNED: frozenset(
        {
            RunState.ORDERED,
            RunState.VERIFIED,
            RunState.EXPIRED,
            RunState.DROPPED,
            RunState.FAILED,
        }
    ),
    RunState.ORDERED: frozenset(
        {
            RunState.ACTED,
            RunState.VERIFIED,
            RunState.PLANNED,
            RunState.FAILED,
            RunState.UNKNOWN,
            RunState.EXPIRED,
            RunState.DROPPED,
        }
    ),
    RunState.ACTED: frozenset(
        {RunState.VERIFIED, RunState.PLANNED, RunState.FAILED, RunState.UNKNOWN}
    ),
    RunState.UNKNOWN: frozenset({RunState.VERIFIED}),
}
"""What may follow what. From PLANNED (waiting to be tried again) and from UNKNOWN only a late proof
of the last order leads to VERIFIED: the uplink was down, the reset was not."""


class ResetRun(SQLModel, table=True):
    """One reset of one device, for one course or by hand."""

    __tablename__ = "reset_run"
    __table_args__ = (
        # A dropped run makes room for a new one: a course may move away and come back. So does one
        # whose proof was used up: the device is reset once more.
        Index(
            "ix_reset_run_one_per_course",
            "course_id",
            "device_id",
            "course_start",
            unique=True,
            sqlite_where=text("state <> 'dropped' AND used_at IS NULL"),
            postgresql_where=text("state <> 'dropped' AND used_at IS NULL"),
        ),
        # Two orders on the way to one device are impossible, whoever sends them.
        Index(
            "ix_reset_run_one_under_way",
            "device_id",
            unique=True,
            sqlite_where=text("state IN ('ordered', 'acted')"),
            postgresql_where=text("state IN ('ordered', 'acted')"),
        ),
    )

    id: str = Field(primary_key=True, max_length=32)
    device_id: str = Field(sa_column=reference("device.id"))
    course_id: int | None = Field(
        default=None, foreign_key="course.id", ondelete="CASCADE", index=True
    )
    """None: asked for by hand."""
    course_start: datetime | None = Field(default=None, sa_column=moment())
    """The start it was planned for: a course that moves gets new runs."""
    room_id: str | None = Field(
        default=None,
        sa_column=Column(String(63), ForeignKey("room.id", ondelete="SET NULL"), nullable=True),
    )
    """Where the device stood when it was planned: it may be carried elsewhere since. None: that
    room is gone."""
    recipe_id: str = Field(sa_column=reference("recipe.id", keep=True))
    tier: Tier = Field(default=Tier.QUICK, sa_column=word(Tier))
    """The one that it was sent with; while it waits, the one that fits by now."""
    tier_limit: Tier | None = Field(
        default=None, sa_column=word(Tier, nullable=True, name="tier_limit")
    )
    """No richer one: the device cannot do it, or somebody asked for this one."""
    state: RunState = Field(default=RunState.PLANNED, sa_column=word(RunState, index=True))
    planned_at: datetime = Field(sa_column=moment(nullable=False, index=True))
    not_before: datetime = Field(sa_column=moment(nullable=False))
    not_after: datetime = Field(sa_column=moment(nullable=False))
    """The latest start that still ends before the course; every hop checks it again."""
    deadline: datetime = Field(sa_column=moment(nullable=False, index=True))
    """When the present state has lasted too long."""
    next_try_at: datetime = Field(sa_column=moment(nullable=False))
    busy_until: datetime | None = Field(default=None, sa_column=moment(index=True))
    """The end of the last attempt was not heard: so long it may still be at work on the device, and
    takes up its place among those that may be at once."""
    attempts: int = Field(default=0)
    failures: int = Field(default=0)
    """Attempts that touched the device and proved nothing."""
    plan_rev: int = Field(default=0)
    """`Site.plan_rev` when the plan last looked at it: an older plan is not carried out."""
    order_id: str | None = Field(default=None, max_length=40)
    """`<run id>.<attempt>`: an order is done at most once, a new attempt is a new order."""
    ordered_at: datetime | None = Field(default=None, sa_column=moment(index=True))
    acted_at: datetime | None = Field(default=None, sa_column=moment())
    looked_at: datetime | None = Field(default=None, sa_column=moment())
    used_at: datetime | None = Field(default=None, sa_column=moment())
    """When this run's proof was first seen to hold no more: the device was used, or touched by
    another reset."""
    recalled_at: datetime | None = Field(default=None, sa_column=moment())
    """When somebody took it back. It is tried no more, and dropped if nothing was touched yet."""
    finished_at: datetime | None = Field(default=None, sa_column=moment())
    reason: str = Field(default="", max_length=64)
    """Why it is where it is, a code that the pages put into words."""
    detail: str = Field(default="", max_length=500)
    step: str = Field(default="", max_length=32)
    """At which step of the device's own reset the last attempt broke, if that is why."""
    evidence: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """Facts of the look that proved (or disproved) it: counts and hashes, never names."""
    requested_by: str = Field(default="plan", max_length=100)
    forced: bool = Field(default=False)
    """Somebody asked for it although the timetable is in doubt, or against what was said by hand.
    A running course is never overruled."""
    over_all: bool = Field(default=False)
    """Forced by somebody who may also say, and so overrule, what holds for every site."""
    countdown: bool = Field(default=False)
    """Although somebody is signed in: the device first counts down before them."""
    why: str = Field(default="", max_length=200)
    """What they said why."""


def stood_in() -> ColumnElement[str]:
    """The room that a run was made in, in a query that joins its device: where that room is gone,
    the device's present one."""
    return func.coalesce(col(ResetRun.room_id), col(Device.room_id))
