"""Plans the resets before each course, and takes back those that no longer fit.

A run is a row: planned here, sent by `dispatch`, followed to its end by `outcomes`.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, exists, update
from sqlmodel import Session, col, select

from fleet.resets.dispatch import claim, give_back
from fleet.resets.outcomes import apply_outcome, expire
from fleet.resets.proof import Mismatch, verify
from fleet.resets.runs import length, move_all
from fleet.resets.window import Window, obstacle, window
from fleet.settings import Settings
from fleet.timetable import busy, trusted_until
from inventory import OPEN_STATES, Course, Device, Recipe, ResetRun, RunState, Service
from inventory.upsert import insert_missing

__all__ = [
    "REFUSALS",
    "Mismatch",
    "ResetRefused",
    "apply_outcome",
    "claim",
    "expire",
    "give_back",
    "plan",
    "request",
    "verify",
]

HAND_WINDOW = timedelta(minutes=10)
"""A reset by hand that could not be sent by then is no longer what somebody meant."""
HORIZON = timedelta(days=2)

REFUSALS: dict[str, str] = {
    "unknown_device": "There is no such device.",
    "not_active": "The device is not in service.",
    "no_recipe": "It is not known how this device is reset.",
    "no_canary": "Only laptops that are reset over SSH can test the reset on themselves.",
    "calendar_in_doubt": "The room's timetable is in doubt, so a course might be running.",
    "course_running": "A course is running in the room, has just ended or is about to begin.",
    "too_close": "The next course begins too soon.",
    "already_open": "A reset of this device is already planned or running.",
}


class ResetRefused(Exception):
    """`code` is a key of REFUSALS."""

    def __init__(self, code: str) -> None:
        super().__init__(REFUSALS[code])
        self.code = code


@dataclass(frozen=True)
class _Wanted:
    """One reset that should be: a device before a course."""

    course_id: int
    start: datetime
    device_id: str
    recipe: Recipe
    window: Window

    @property
    def key(self) -> tuple[int, str, datetime]:
        return self.course_id, self.device_id, self.start


def plan(session: Session, now: datetime, settings: Settings) -> None:
    """One run per device with a recipe before each course whose lead time has begun.

    Safe to repeat and to run in several processes. A gap that is too short gets its run too, at
    once expired, so that it is seen. Rooms whose calendar is in doubt get none.
    """
    _drop_stale(session, now)
    wanted = {each.key: each for each in _wanted(session, now, settings)}
    if not wanted:
        return
    known = _known(session, wanted.keys())
    _adjust(session, wanted, known, now)
    rows = [_row(each, now) for key, each in wanted.items() if key not in known]
    if rows:
        session.execute(insert_missing(session, ResetRun), rows)


def _drop_stale(session: Session, now: datetime) -> None:
    """Take back what waits for a course that moved, was cancelled, or is no longer this device's.

    What is already on its way to a device comes to its own end: it is bounded, and nobody must
    think the device free before.
    """
    still_so = (
        exists()
        .where(col(Course.id) == col(ResetRun.course_id))
        .where(col(Device.id) == col(ResetRun.device_id))
        .where(col(Course.start) == col(ResetRun.course_start))
        .where(col(Course.cancelled).is_(False))
        .where(col(Device.room_id) == col(Course.room_id))
        .where(col(Device.service) == Service.ACTIVE)
        .where(col(Device.recipe_id) == col(ResetRun.recipe_id))
    )
    by_plan = col(ResetRun.course_id).is_not(None)
    move_all(
        session,
        RunState.PLANNED,
        RunState.DROPPED,
        by_plan,
        ~still_so,
        now=now,
        reason="course_changed",
    )


def _wanted(session: Session, now: datetime, settings: Settings) -> Iterator[_Wanted]:
    recipes = {recipe.id: recipe for recipe in session.exec(select(Recipe))}
    longest = max([_lead(each, settings) for each in recipes.values()], default=timedelta(0))
    grace = timedelta(seconds=settings.reset_grace_s)
    courses: dict[str, list[Course]] = defaultdict(list)
    for course in _courses(session, now - longest - grace, now + longest):
        courses[course.room_id].append(course)
    coming = {room: _next_ones(held, now) for room, held in courses.items()}
    rooms = [room for room, held in coming.items() if held]
    believed = trusted_until(session, rooms, now)
    for device_id, room, recipe_id in session.exec(
        select(Device.id, Device.room_id, Device.recipe_id)
        .where(Device.service == Service.ACTIVE, col(Device.recipe_id).is_not(None))
        .where(col(Device.room_id).in_(believed))
        .order_by(col(Device.id))
    ):
        recipe = recipes[str(recipe_id)]
        lead = _lead(recipe, settings)
        runtime = length(recipe)
        for course in coming[room]:
            if course.id is not None and course.start - lead <= now:
                bounds = window(
                    course.start, courses[room], lead=lead, runtime=runtime, settings=settings
                )
                yield _Wanted(course.id, course.start, device_id, recipe, bounds)


def _courses(session: Session, start: datetime, end: datetime) -> Sequence[Course]:
    return session.exec(
        select(Course)
        .where(Course.start <= end, Course.end > start, col(Course.cancelled).is_(False))
        .order_by(col(Course.start), col(Course.id))
    ).all()


def _next_ones(courses: Iterable[Course], now: datetime) -> list[Course]:
    """Those to come; of two that begin together in one room, one stands for both."""
    first: dict[datetime, Course] = {}
    for course in courses:
        if course.start > now:
            first.setdefault(course.start, course)
    return list(first.values())


def _lead(recipe: Recipe, settings: Settings) -> timedelta:
    return timedelta(seconds=recipe.lead_s or settings.reset_lead_s)


def _known(
    session: Session, keys: Iterable[tuple[int, str, datetime]]
) -> dict[tuple[int, str, datetime], Any]:
    """The runs that are there already: (course, device, start) → some of its columns."""
    rows = session.execute(
        select(  # type: ignore[call-overload]  # SQLModel types at most four columns
            ResetRun.id,
            ResetRun.course_id,
            ResetRun.device_id,
            ResetRun.course_start,
            ResetRun.state,
            ResetRun.reason,
            ResetRun.attempts,
            ResetRun.not_before,
            ResetRun.not_after,
        )
        .where(col(ResetRun.course_id).in_({course for course, _, _ in keys}))
        .where(ResetRun.state != RunState.DROPPED)
    )
    return {(row.course_id, row.device_id, row.course_start): row for row in rows}


def _adjust(
    session: Session,
    wanted: dict[tuple[int, str, datetime], _Wanted],
    known: dict[tuple[int, str, datetime], Any],
    now: datetime,
) -> None:
    """The course before may have moved: windows follow, and a gap that opened is planned anew."""
    for key in wanted.keys() & known.keys():
        row, bounds = known[key], wanted[key].window
        this = col(ResetRun.id) == row.id
        if row.state is RunState.PLANNED and not bounds.feasible:
            move_all(session, row.state, RunState.EXPIRED, this, now=now, reason="gap_too_short")
        elif row.state is RunState.PLANNED:
            if (row.not_before, row.not_after) != (bounds.not_before, bounds.not_after):
                session.execute(
                    update(ResetRun)
                    .where(this, col(ResetRun.state) == RunState.PLANNED)
                    .values(
                        not_before=bounds.not_before,
                        not_after=bounds.not_after,
                        deadline=bounds.not_after,
                        next_try_at=max(bounds.not_before, now),
                    )
                )
        elif _never_had_a_chance(row) and bounds.feasible and now <= bounds.not_after:
            session.execute(delete(ResetRun).where(this, col(ResetRun.attempts) == 0))
            del known[key]


def _never_had_a_chance(row: Any) -> bool:
    return bool(
        row.state is RunState.EXPIRED and row.reason == "gap_too_short" and row.attempts == 0
    )


def _row(each: _Wanted, now: datetime) -> dict[str, Any]:
    bounds = each.window
    late = now > bounds.not_after
    reason = "" if bounds.feasible else "gap_too_short"
    run = ResetRun(
        id=uuid.uuid4().hex,
        device_id=each.device_id,
        course_id=each.course_id,
        course_start=each.start,
        recipe_id=each.recipe.id,
        state=RunState.EXPIRED if reason or late else RunState.PLANNED,
        planned_at=now,
        not_before=bounds.not_before,
        not_after=bounds.not_after,
        deadline=bounds.not_after,
        next_try_at=max(bounds.not_before, now),
        finished_at=now if reason or late else None,
        reason=reason or ("too_late" if late else ""),
    )
    return run.model_dump()


def request(
    session: Session,
    device_id: str,
    now: datetime,
    settings: Settings,
    actor: str,
    *,
    recipe_id: str | None = None,
) -> ResetRun:
    """A reset by hand, sent as soon as it may be. `actor`: who asked; `recipe_id`: another recipe
    than the device's own. Raises ResetRefused."""
    device = session.get(Device, device_id, with_for_update={"key_share": True})
    if device is None:
        raise ResetRefused("unknown_device")
    if device.service is not Service.ACTIVE:
        raise ResetRefused("not_active")
    recipe = session.get(Recipe, recipe_id or device.recipe_id) if device.recipe_id else None
    if recipe is None:
        raise ResetRefused("no_recipe")
    if device.room_id not in trusted_until(session, [device.room_id], now):
        raise ResetRefused("calendar_in_doubt")
    runtime = length(recipe)
    grace = timedelta(seconds=settings.reset_grace_s)
    courses = busy(session, [device.room_id], now - grace, now + HORIZON)
    if reason := obstacle(courses, now, runtime=runtime, settings=settings):
        raise ResetRefused(reason)
    open_runs = select(ResetRun.id).where(
        ResetRun.device_id == device_id, col(ResetRun.state).in_(OPEN_STATES)
    )
    if session.exec(open_runs).first():
        raise ResetRefused("already_open")
    buffer = timedelta(seconds=settings.reset_buffer_s)
    latest = [course.start - buffer - runtime for course in courses]
    not_after = min([*latest, now + HAND_WINDOW])
    run = ResetRun(
        id=uuid.uuid4().hex,
        device_id=device_id,
        recipe_id=recipe.id,
        planned_at=now,
        not_before=now,
        not_after=not_after,
        deadline=not_after,
        next_try_at=now,
        requested_by=actor[:100],
    )
    session.add(run)
    session.flush()
    return run
