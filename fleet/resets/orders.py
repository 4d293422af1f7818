"""Makes the order of a run that may be sent: what the device is told, and until when."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from agents.messages import Order
from fleet.health.needs import kind_of
from fleet.resets.runs import ORDER_VALID
from fleet.resets.starts import Decision
from fleet.resets.window import Timed, next_start
from fleet.settings import Settings
from inventory import CourseKind

WAKE_BEFORE = timedelta(minutes=10)
"""A laptop that wakes itself is up and found so long before its reset may begin."""


def make_order(
    row: Row[Any],
    one: Decision,
    kinds: Sequence[CourseKind],
    now: datetime,
    settings: Settings,
) -> Order:
    """`row`: the run with its place and course; `kinds`: the sorts of courses there are."""
    following = next_start(one.due.busy, now)
    latest = min(row.not_after, now + ORDER_VALID)
    if following is not None:
        # A course that was put in since the run was planned.
        buffer = timedelta(seconds=settings.reset_buffer_s)
        latest = min(latest, following - buffer - one.way.length)
    return Order(
        id=f"{row.id}.{row.attempts + 1}",
        site=row.site_id,
        device=row.device_id,
        room=row.room_id,
        steps=_steps(one.way.steps, row, kinds) | _alarm(row, one, now, settings),
        not_before=row.not_before,
        not_after=latest,
        next_start=following,
        max_runtime_s=one.way.max_runtime_s,
        settle_s=one.way.settle_s,
        plan_rev=row.plan_rev,
        force=row.forced,
        force_all=row.over_all,
    )


def _steps(steps: Mapping[str, Any], row: Row[Any], kinds: Sequence[CourseKind]) -> dict[str, Any]:
    """The sort of course chooses the profile of those devices that have profiles."""
    if "profile" not in steps or row.title is None:
        return dict(steps)
    kind = kind_of(row.title, row.site_id, kinds)
    return {**steps, "profile": kind.profile} if kind and kind.profile else dict(steps)


def _alarm(row: Row[Any], one: Decision, now: datetime, settings: Settings) -> dict[str, Any]:
    """When a laptop shall wake itself: for the next course that it is not being made ready for
    now. A canary, or a reset by hand, makes ready for none."""
    if "tier" not in one.way.steps:
        return {}
    made_ready_for = row.course_start or now
    for course in sorted(_later(one.due.busy, made_ready_for), key=lambda each: each.start):
        wake = course.start - timedelta(seconds=settings.reset_lead_s) - WAKE_BEFORE
        if wake > now:
            return {"wake_at": wake.isoformat()}
    return {}


def _later(busy: Sequence[Timed], start: datetime) -> Sequence[Timed]:
    return [course for course in busy if course.start > start]
