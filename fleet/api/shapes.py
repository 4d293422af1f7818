"""What the JSON API says and takes: the shapes that stand in its OpenAPI description.

Not the tables themselves: those hold secrets of labels, status pages and forms.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from inventory import (
    DeviceKind,
    Health,
    Impact,
    Problem,
    ReportState,
    RunState,
    Service,
    Tier,
    Verdict,
)


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Fault(BaseModel):
    """Why a request was not done (RFC 9457, application/problem+json)."""

    type: str = "about:blank"
    title: str
    status: int
    code: str = ""
    """For programs: why, in one word."""
    errors: list[dict[str, Any]] = []
    """For 422: where (`loc`) and what (`msg`)."""


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """Some of the things that were asked for, in a fixed order."""

    items: list[T]
    total: int
    """How many there are without limit and offset."""
    limit: int
    offset: int


class CourseOut(Out):
    id: int
    room_id: str
    title: str
    start: datetime
    end: datetime
    cancelled: bool


class ReasonOut(Out):
    code: str
    kind: str = ""
    device: str = ""
    have: int = 0
    need: int = 0
    detail: str = ""
    name: str = ""


class CountOut(BaseModel):
    usable: int
    wanted: int
    present: int


class RoomOut(BaseModel):
    id: str
    site_id: str
    name: str
    verdict: Verdict
    """For the course that is running, else the next one within 14 days, else for one now."""
    reasons: list[ReasonOut]
    running: bool
    course: CourseOut | None
    counts: dict[str, CountOut]
    """Kind of device → how many."""
    judged_at: datetime


class StateOut(Out):
    taken_at: datetime
    reachable: bool
    problem: str
    detail: str
    latency_ms: float | None
    facts: dict[str, Any]
    facts_at: datetime | None
    failures: int
    health: Health
    reason: str
    """A code; `fleet.health.REASONS` puts it into words."""
    health_since: datetime | None
    clean_run_id: str | None
    clean_at: datetime | None


class DeviceOut(Out):
    id: str
    room_id: str
    site_id: str
    name: str
    kind: DeviceKind
    model: str
    serial: str
    mac: str
    driver: str
    address: str
    port: int | None
    profile: str
    recipe_id: str | None
    spare: bool
    service: Service
    note: str
    state: StateOut | None
    """None: nothing was ever heard of it."""


class ResetOut(Out):
    id: str
    device_id: str
    course_id: int | None
    course_start: datetime | None
    recipe_id: str
    state: RunState
    planned_at: datetime
    not_before: datetime
    not_after: datetime
    attempts: int
    ordered_at: datetime | None
    acted_at: datetime | None
    looked_at: datetime | None
    recalled_at: datetime | None
    """When somebody took it back."""
    finished_at: datetime | None
    reason: str
    step: str
    """At which step of the device's own reset it broke, where the device said so."""
    detail: str
    evidence: dict[str, Any]
    requested_by: str
    tier: Tier
    forced: bool
    over_all: bool
    """Also against a pause of everything."""
    countdown: bool
    """Also when somebody is signed in, after a countdown."""
    why: str


class ResetIn(BaseModel):
    """How a reset by hand shall be done."""

    model_config = ConfigDict(extra="forbid")

    tier: Tier | None = None
    """None: the simplest."""
    force: bool = False
    """Against a timetable in doubt, a pause, maintenance and quiet hours; needs `why`. Against a
    pause of everything it helps only the region's admins."""
    countdown: bool = False
    """Also when somebody is signed in to the laptop: they see a countdown of a minute and can save,
    then they are sent away. Only together with `force`."""
    why: str = Field(default="", max_length=200)


class ReportOut(Out):
    id: str
    device_id: str
    room_id: str
    problem: Problem
    impact: Impact
    text: str
    contact: str
    """Empty unless the account may work on reports."""
    seconded: int
    state: ReportState
    reported_at: datetime
    closed_at: datetime | None


class ReportChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: ReportState


class IncidentOut(Out):
    id: int
    site_id: str
    device_id: str | None
    """None: the whole site."""
    reason: str
    since: datetime
    opened_at: datetime
    closed_at: datetime | None
    affected: int
    """How many other devices it cut off at most."""


class PredictionOut(Out):
    device_id: str
    code: str
    due_at: datetime
    made_at: datetime
