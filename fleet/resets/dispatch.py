"""Takes the runs that are due, earliest course first, and makes each an order; every gate is
looked at once more, right before."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, func, or_, select, update
from sqlmodel import Session, col

from agents.messages import Order
from fleet.resets.runs import ORDER_VALID, answer_due, check, length
from fleet.resets.window import next_start, obstacle
from fleet.settings import Settings
from fleet.timetable import busy, trusted_until
from inventory import Course, Device, Recipe, ResetRun, Room, RunState, Service, Site

AT_ONCE_SITE = 30
"""So many resets may be on their way at one site. A room's devices go all at once."""
BUS_PAUSE = timedelta(seconds=10)
"""Until the next try when the bus is away."""
HORIZON = timedelta(days=2)
UNDER_WAY = (RunState.ORDERED, RunState.ACTED)


def claim(session: Session, now: datetime, settings: Settings) -> list[Order]:
    """Take the runs that may be sent now, and return their orders to publish *after* the commit.

    A run is taken by a conditional update: of several processes exactly one has it. An order that
    is then lost is noticed by its deadline. What keeps a run waiting is written to its reason.
    """
    due = (
        col(ResetRun.state) == RunState.PLANNED,
        col(ResetRun.next_try_at) <= now,
        col(ResetRun.not_before) <= now,
        col(ResetRun.not_after) >= now,
    )
    sites = _lock_sites(session, due)
    if not sites:
        return []
    runs = _due_runs(session, due, sites)
    rooms = {run.room_id for run in runs}
    believed = trusted_until(session, rooms, now)
    grace = timedelta(seconds=settings.reset_grace_s)
    courses = defaultdict(list)
    for course in busy(session, rooms, now - grace, now + HORIZON):
        courses[course.room_id].append(course)
    devices, load = _under_way(session)
    sendable, waiting = [], defaultdict(list)
    for run in runs:
        held_up = (
            ("calendar_in_doubt" if run.room_id not in believed else "")
            or obstacle(courses[run.room_id], now, runtime=length(run.Recipe), settings=settings)
            or ("busy" if run.device_id in devices else "")
            or ("site_busy" if load[run.site_id] >= AT_ONCE_SITE else "")
        )
        if held_up:
            if run.reason != held_up:
                waiting[held_up].append(run.id)
            continue
        devices.add(run.device_id)
        load[run.site_id] += 1
        sendable.append((run, _order(run, courses[run.room_id], now, settings)))
    for reason, ids in waiting.items():
        _say_why(session, ids, reason)
    taken = _take(session, sendable, now)
    return [order for run, order in sendable if run.id in taken]


def give_back(session: Session, orders: Sequence[Order], now: datetime) -> None:
    """Plan again what was claimed but certainly never left: no device heard of it, so it is no
    attempt, and nobody need wait for an answer."""
    check(RunState.ORDERED, RunState.PLANNED)
    session.execute(
        update(ResetRun)
        .where(col(ResetRun.order_id).in_([order.id for order in orders]))
        .where(col(ResetRun.state) == RunState.ORDERED)
        .values(
            state=RunState.PLANNED,
            attempts=col(ResetRun.attempts) - 1,
            next_try_at=now + BUS_PAUSE,
            deadline=col(ResetRun.not_after),
            reason="",
        )
        .execution_options(synchronize_session=False)
    )


def _order(run: Row[Any], courses: Sequence[Course], now: datetime, settings: Settings) -> Order:
    following = next_start(courses, now)
    latest = min(run.not_after, now + ORDER_VALID)
    if following is not None:
        # A course that was put in since the run was planned.
        buffer = timedelta(seconds=settings.reset_buffer_s)
        latest = min(latest, following - buffer - length(run.Recipe))
    return Order(
        id=f"{run.id}.{run.attempts + 1}",
        site=run.site_id,
        device=run.device_id,
        room=run.room_id,
        steps=run.Recipe.steps,
        not_before=run.not_before,
        not_after=latest,
        next_start=following,
        max_runtime_s=run.Recipe.max_runtime_s,
        settle_s=run.Recipe.settle_s,
    )


def _lock_sites(session: Session, due: Sequence[Any]) -> list[str]:
    """The sites where something is due. One claims at a site at a time, and no timetable of it is
    replaced meanwhile."""
    found = session.scalars(
        select(col(Room.site_id))
        .join(Device, col(Device.room_id) == col(Room.id))
        .join(ResetRun, col(ResetRun.device_id) == col(Device.id))
        .where(*due)
        .distinct()
    ).all()
    if not found:
        return []
    return list(
        session.scalars(
            select(col(Site.id))
            .where(col(Site.id).in_(found))
            .order_by(col(Site.id))
            .with_for_update(key_share=True)
        )
    )


def _due_runs(session: Session, due: Sequence[Any], sites: Sequence[str]) -> Sequence[Row[Any]]:
    """Earliest course first. A course that is no longer so is no reason to reset anything."""
    still_so = or_(
        col(ResetRun.course_id).is_(None),
        and_(
            col(Course.cancelled).is_(False),
            col(Course.start) == col(ResetRun.course_start),
            col(Course.room_id) == col(Device.room_id),
        ),
    )
    return session.execute(
        select(
            col(ResetRun.id),
            col(ResetRun.device_id),
            col(ResetRun.attempts),
            col(ResetRun.reason),
            col(ResetRun.not_before),
            col(ResetRun.not_after),
            col(Device.room_id),
            col(Room.site_id),
            Recipe,
        )
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(Recipe, col(Recipe.id) == col(ResetRun.recipe_id))
        .outerjoin(Course, col(Course.id) == col(ResetRun.course_id))
        .where(*due, still_so, col(Room.site_id).in_(sites))
        .where(col(Device.service) == Service.ACTIVE)
        .order_by(
            func.coalesce(col(ResetRun.course_start), col(ResetRun.not_after)),
            col(Device.id),
        )
    ).all()


def _under_way(session: Session) -> tuple[set[str], Counter[str]]:
    """The devices to which an order is on its way, and how many that are at each site."""
    rows = session.execute(
        select(col(Device.id), col(Room.site_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(ResetRun, col(ResetRun.device_id) == col(Device.id))
        .where(col(ResetRun.state).in_(UNDER_WAY))
    ).all()
    return {device for device, _ in rows}, Counter(site for _, site in rows)


def _take(
    session: Session, candidates: Sequence[tuple[Row[Any], Order]], now: datetime
) -> set[str]:
    """Flip those that are still planned, and return their ids; like runs in one statement."""
    check(RunState.PLANNED, RunState.ORDERED)
    alike = defaultdict(list)
    for run, order in candidates:
        alike[run.attempts, answer_due(order.not_after, run.Recipe)].append(run.id)
    taken: set[str] = set()
    for (attempts, deadline), ids in alike.items():
        taken |= set(
            session.scalars(
                update(ResetRun)
                .where(col(ResetRun.id).in_(ids), col(ResetRun.state) == RunState.PLANNED)
                .where(col(ResetRun.attempts) == attempts)
                .values(
                    state=RunState.ORDERED,
                    attempts=attempts + 1,
                    order_id=col(ResetRun.id).concat(f".{attempts + 1}"),
                    ordered_at=now,
                    acted_at=None,
                    looked_at=None,
                    deadline=deadline,
                    reason="",
                    detail="",
                )
                .returning(col(ResetRun.id))
                .execution_options(synchronize_session=False)
            )
        )
    return taken


def _say_why(session: Session, ids: Sequence[str], reason: str) -> None:
    session.execute(
        update(ResetRun)
        .where(col(ResetRun.id).in_(ids), col(ResetRun.state) == RunState.PLANNED)
        .values(reason=reason)
        .execution_options(synchronize_session=False)
    )
