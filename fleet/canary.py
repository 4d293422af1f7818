"""The reset's own test: at night one laptop of each room is soiled on purpose, reset and looked at.

The laptop plants a trace wherever a guest can leave one, and says how many its probe does not see.
A reset that lets one survive, or a probe that is blind, is found here and not by the next guest.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from sqlalchemy import Row, and_, case, exists, func, or_, select
from sqlmodel import Session, col

from fleet import resets
from fleet.calendars.zones import BERLIN
from fleet.settings import Settings
from fleet.timetable import busy
from inventory import (
    OPEN_STATES,
    Course,
    Device,
    DeviceKind,
    DeviceState,
    ResetRun,
    Room,
    RunState,
    Service,
)
from inventory.recipes import CANARY, LOOK_ONLY

__all__ = ["CANARY", "Stand", "ask", "doubts", "plan", "stands"]

log = logging.getLogger(__name__)

EVENING, MORNING = time(20), time(6)
"""Local time. Nobody is in a room then whom the timetable does not name."""
AHEAD = timedelta(hours=2)
"""No course begins within this time: what goes wrong can still be put right."""
STALE = timedelta(days=3)
MEMORY = timedelta(days=14)
"""Canaries that are older than this say nothing any more."""
TRIES = 3
"""So many laptops of a room are asked in one night until one takes it."""
AT_ONCE = 20
"""So many rooms are begun with at each tick."""
NOT_TOUCHED = frozenset(
    {"unreachable", "denied", "host_key_changed", "wrong_device", "misconfigured"}
    | {"missing_credential"}
)
"""Reasons with which an order failed before anything was planted: no failed canary, but none."""


@dataclass(frozen=True)
class Stand:
    """How the canary of one room stands. `state`: `ok`, `failed`, `stale`, `waiting` (the first
    one is still to come) or `none` (no laptop in the room can carry it)."""

    room: str
    state: str
    device: str = ""
    """Where the last one ran, or was tried."""
    at: datetime | None = None
    """When that was planned."""
    reason: str = ""
    """Why the last one came to nothing."""
    good_at: datetime | None = None
    """When a canary of this room last vanished as it should."""


def plan(session: Session, now: datetime, settings: Settings) -> None:
    """One canary per room and night, on the laptop whose turn it is; safe to repeat.

    Where none is possible now, the next tick asks again; in the morning it was not possible.
    """
    night = _night(now)
    if night is None:
        return
    rooms = _due(session, _carrying(session), night)
    in_use = {course.room_id for course in busy(session, rooms, now, now + AHEAD)}
    for room in sorted(set(rooms) - in_use)[:AT_ONCE]:
        # Of two processes one has the room, and the other then sees what it did.
        session.execute(
            select(col(Room.id)).where(col(Room.id) == room).with_for_update(key_share=True)
        )
        if _due(session, [room], night):
            _send_one(session, room, night, now, settings)


def ask(
    session: Session, device_id: str, now: datetime, settings: Settings, actor: str
) -> ResetRun:
    """A canary by hand on this laptop, as soon as every gate allows it. Raises ResetRefused."""
    device = session.get(Device, device_id)
    if device is None:
        raise resets.ResetRefused("unknown_device")
    if device_id not in session.scalars(select(col(Device.id)).where(_can_carry())).all():
        raise resets.ResetRefused("no_canary")
    if busy(session, [device.room_id], now, now + AHEAD):
        raise resets.ResetRefused("too_close")
    return resets.request(session, device_id, now, settings, actor, recipe_id=CANARY)


def doubts(session: Session, rooms: Collection[str], now: datetime) -> dict[str, str]:
    """Room → why a proof of its laptops cannot be relied on: `canary_failed` or `canary_stale`.

    The scripts are the same everywhere: where traces survived in one room, every other room is in
    doubt too, until a canary of its own has vanished since.
    """
    recent = _recent(session, now)
    return {
        stand.room: f"canary_{stand.state}"
        for stand in (_stands(session, recent, now) if recent else ())
        if stand.room in rooms and stand.state in ("failed", "stale")
    }


def stands(session: Session, now: datetime) -> list[Stand]:
    """The canary of every room in which a laptop stands."""
    return _stands(session, _recent(session, now), now)


def _stands(session: Session, recent: Iterable[Row[Any]], now: datetime) -> list[Stand]:
    held: dict[str, list[Row[Any]]] = defaultdict(list)
    for run in recent:
        held[run.room_id].append(run)
    survived = max(
        (run.planned_at for runs in held.values() for run in runs if run.reason == "not_clean"),
        default=None,
    )
    can_carry = func.max(case((_can_carry(), 1), else_=0))
    rooms = session.execute(
        select(col(Device.room_id), can_carry.label("carries"))
        .where(col(Device.kind) == DeviceKind.LAPTOP, col(Device.service) == Service.ACTIVE)
        .group_by(col(Device.room_id))
        .order_by(col(Device.room_id))
    )
    return [
        _stand(row.room_id, held[row.room_id], survived, now)
        if row.carries
        else Stand(row.room_id, "none")
        for row in rooms
    ]


def _stand(room: str, runs: Sequence[Row[Any]], survived: datetime | None, now: datetime) -> Stand:
    """`runs` from the oldest to the newest; `survived`: when traces last did, in any room."""
    ended = [run for run in runs if run.state not in OPEN_STATES]
    good = max((run.planned_at for run in ended if run.state is RunState.VERIFIED), default=None)
    bad = max((run.planned_at for run in ended if _failed(run)), default=None)
    worst = max((at for at in (bad, survived) if at is not None), default=None)
    since = good or (ended[0].planned_at if ended else now)
    if worst is not None and (good is None or good <= worst):
        state = "failed"
    elif now - since > STALE:
        state = "stale"
    else:
        state = "ok" if good else "waiting"
    if not ended:
        return Stand(room, state)
    last = ended[-1]
    return Stand(room, state, last.device_id, last.planned_at, last.reason, good)


def _failed(run: Row[Any]) -> bool:
    ended_badly = run.state in (RunState.FAILED, RunState.UNKNOWN)
    return ended_badly and run.reason not in NOT_TOUCHED


def _recent(session: Session, now: datetime) -> Sequence[Row[Any]]:
    return session.execute(
        select(
            col(Device.room_id),
            col(ResetRun.device_id),
            col(ResetRun.planned_at),
            col(ResetRun.state),
            col(ResetRun.reason),
        )
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .where(col(ResetRun.recipe_id) == CANARY, col(ResetRun.planned_at) > now - MEMORY)
        .order_by(col(ResetRun.planned_at), col(ResetRun.id))
    ).all()


def _can_carry() -> Any:
    """A laptop that is reset over SSH, and not only looked at."""
    return and_(
        col(Device.kind) == DeviceKind.LAPTOP,
        col(Device.driver) == "ssh",
        col(Device.service) == Service.ACTIVE,
        col(Device.recipe_id).is_not(None),
        col(Device.recipe_id) != LOOK_ONLY,
    )


def _carrying(session: Session) -> Sequence[str]:
    return session.scalars(select(col(Device.room_id)).where(_can_carry()).distinct()).all()


def _night(now: datetime) -> datetime | None:
    """When the present night began; None by day."""
    local = now.astimezone(BERLIN)
    if MORNING <= local.time() < EVENING:
        return None
    day = local if local.time() >= EVENING else local - timedelta(days=1)
    return day.replace(hour=EVENING.hour, minute=0, second=0, microsecond=0, fold=0)


def _due(session: Session, rooms: Collection[str], night: datetime) -> list[str]:
    """Those in which tonight none ran, is under way, or was asked for often enough."""
    tonight = session.execute(
        select(col(Device.room_id), col(ResetRun.state), col(ResetRun.reason))
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .where(col(ResetRun.recipe_id) == CANARY, col(ResetRun.planned_at) >= night)
        .where(col(Device.room_id).in_(rooms))
    ).all()
    tried = Counter(run.room_id for run in tonight)
    had = {
        run.room_id
        for run in tonight
        if run.state in OPEN_STATES or run.state is RunState.VERIFIED or _failed(run)
    }
    return [room for room in rooms if room not in had and tried[room] < TRIES]


def _send_one(
    session: Session, room: str, night: datetime, now: datetime, settings: Settings
) -> None:
    for device in _whose_turn(session, room, night, now):
        try:
            resets.request(session, device, now, settings, "canary", recipe_id=CANARY)
        except resets.ResetRefused as refused:
            log.debug("%s carries no canary now: %s", device, refused.code)
        else:
            return


def _whose_turn(session: Session, room: str, night: datetime, now: datetime) -> Sequence[str]:
    """The room's laptops: those that answer first, then whoever had none for the longest time.

    Without those that are prepared for a course already, or were asked tonight.
    """
    last = (
        select(col(ResetRun.device_id), func.max(col(ResetRun.planned_at)).label("at"))
        .where(col(ResetRun.recipe_id) == CANARY)
        .group_by(col(ResetRun.device_id))
        .subquery()
    )
    taken = exists().where(
        col(ResetRun.device_id) == col(Device.id),
        col(ResetRun.state).in_((RunState.ORDERED, RunState.ACTED, RunState.VERIFIED)),
        col(ResetRun.course_start) > now,
        exists().where(col(Course.id) == col(ResetRun.course_id), col(Course.cancelled).is_(False)),
    )
    return session.scalars(
        select(col(Device.id))
        .outerjoin(last, last.c.device_id == col(Device.id))
        .outerjoin(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .where(_can_carry(), col(Device.room_id) == room, ~taken)
        .where(or_(last.c.at.is_(None), last.c.at < night))
        .order_by(
            func.coalesce(col(DeviceState.reachable), False).desc(),
            last.c.at.asc().nulls_first(),
            col(Device.id),
        )
    ).all()
