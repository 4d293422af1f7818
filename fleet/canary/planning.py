"""When which laptop of a room carries the canary.

Once a day: at night on one that is awake, else on one that can be woken. Where the night brought
none, the next day makes up for it: before the room's first course or after its last one, on a
laptop that is awake just then.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from sqlalchemy import and_, exists, func, or_, select
from sqlmodel import Session, col

from fleet import resets
from fleet.calendars.zones import BERLIN
from fleet.canary import switch
from fleet.canary.standing import can_carry, failed
from fleet.resets.rest import day_of
from fleet.resets.window import Timed
from fleet.settings import Settings
from fleet.timetable import busy
from inventory import OPEN_STATES, Device, DeviceState, ResetRun, Room, RunState
from inventory.recipes import CANARY

log = logging.getLogger(__name__)

EVENING, MORNING = time(20), time(6)
"""Local time. Between them nobody is in a room whom the timetable does not name."""
AHEAD = timedelta(hours=2)
"""No course begins within this time: what goes wrong can still be put right."""
TRIES = 3
"""So many laptops of a room are asked in one night, and as many by day, until one takes it."""
AT_ONCE = 20
"""So many rooms are begun with at each tick."""
FRESH = timedelta(minutes=5)
"""A laptop whose last look is older may have fallen asleep meanwhile."""


@dataclass(frozen=True)
class Turn:
    """The night that is, or was last. `since`: from when on tries count, the night's or the
    day's; `by_day`: only laptops that are awake are asked."""

    night: datetime
    since: datetime
    by_day: bool


def turn(now: datetime) -> Turn:
    local = now.astimezone(BERLIN)
    by_day = MORNING <= local.time() < EVENING
    evening = local if local.time() >= EVENING else local - timedelta(days=1)
    night = evening.replace(hour=EVENING.hour, minute=0, second=0, microsecond=0, fold=0)
    morning = local.replace(hour=MORNING.hour, minute=0, second=0, microsecond=0, fold=0)
    return Turn(night, morning if by_day else night, by_day)


def plan(session: Session, now: datetime, settings: Settings) -> None:
    """One canary per room and day, on the laptop whose turn it is; safe to repeat.

    Where none is possible now, the next tick asks again.
    """
    present = turn(now)
    off = switch.off(session, now)
    rooms = _due(session, [room for room in _carrying(session) if room not in off], present)
    in_use = {course.room_id for course in busy(session, rooms, now, now + AHEAD)}
    free = set(rooms) - in_use
    if present.by_day:
        free = _outside_courses(session, free, now)
    spared = switch.spared(session, now)
    for room in sorted(free)[:AT_ONCE]:
        # Of two processes one has the room, and the other then sees what it did.
        session.execute(
            select(col(Room.id)).where(col(Room.id) == room).with_for_update(key_share=True)
        )
        if _due(session, [room], present):
            _send_one(session, room, present, spared, now, settings)


def ask(
    session: Session, device_id: str, now: datetime, settings: Settings, actor: str
) -> ResetRun:
    """A canary by hand on this laptop, as soon as every gate allows it. Raises ResetRefused."""
    device = session.get(Device, device_id)
    if device is None:
        raise resets.ResetRefused("unknown_device")
    if device_id not in session.scalars(select(col(Device.id)).where(can_carry())).all():
        raise resets.ResetRefused("no_canary")
    if busy(session, [device.room_id], now, now + AHEAD):
        raise resets.ResetRefused("too_close")
    return resets.request(session, device_id, now, settings, actor, recipe_id=CANARY)


def _carrying(session: Session) -> Sequence[str]:
    return session.scalars(select(col(Device.room_id)).where(can_carry()).distinct()).all()


def _due(session: Session, rooms: Collection[str], present: Turn) -> list[str]:
    """Those in which since the night began none ran, is under way, or was asked for often enough.

    One of which no end was heard proves nothing in either way: another laptop is asked.
    """
    lately = session.execute(
        select(
            col(Device.room_id), col(ResetRun.state), col(ResetRun.reason), col(ResetRun.planned_at)
        )
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .where(col(ResetRun.recipe_id) == CANARY, col(ResetRun.planned_at) >= present.night)
        .where(col(Device.room_id).in_(rooms))
    ).all()
    tried = Counter(run.room_id for run in lately if run.planned_at >= present.since)
    had = {
        run.room_id
        for run in lately
        if run.state in OPEN_STATES
        or run.state is RunState.VERIFIED
        or (failed(run) and run.state is not RunState.UNKNOWN)
    }
    return [room for room in rooms if room not in had and tried[room] < TRIES]


def _outside_courses(session: Session, rooms: Collection[str], now: datetime) -> set[str]:
    """Those that have courses today, and either none has begun or all are over: between two
    courses, and on days without any, people may be in the room whom no timetable names."""
    held: dict[str, list[Timed]] = defaultdict(list)
    for course in busy(session, rooms, *day_of(now)):
        held[course.room_id].append(course)
    return {room for room, used in held.items() if _over_or_to_come(used, now)}


def _over_or_to_come(used: Iterable[Timed], now: datetime) -> bool:
    begun = {one.start <= now for one in used}
    return len(begun) == 1


def _send_one(
    session: Session,
    room: str,
    present: Turn,
    spared: Collection[str],
    now: datetime,
    settings: Settings,
) -> None:
    for device in _whose_turn(session, room, present, now):
        if device in spared:
            continue
        try:
            resets.request(session, device, now, settings, "canary", recipe_id=CANARY)
        except resets.ResetRefused as refused:
            log.debug("%s carries no canary now: %s", device, refused.code)
        else:
            return


def _whose_turn(session: Session, room: str, present: Turn, now: datetime) -> Sequence[str]:
    """The room's laptops that were not asked yet: those that are awake first; of these, those that
    are not prepared for a course; then those that can be woken; then whoever had none for the
    longest time. By day only those that are awake.

    One that is prepared and carries a canary is prepared once more (`outcomes.py`).
    """
    last = (
        select(col(ResetRun.device_id), func.max(col(ResetRun.planned_at)).label("at"))
        .where(col(ResetRun.recipe_id) == CANARY)
        .group_by(col(ResetRun.device_id))
        .subquery()
    )
    awake = func.coalesce(
        and_(col(DeviceState.reachable), col(DeviceState.taken_at) > now - FRESH), False
    )
    under_way = exists().where(
        col(ResetRun.device_id) == col(Device.id),
        col(ResetRun.state).in_((RunState.ORDERED, RunState.ACTED)),
    )
    found = (
        select(col(Device.id))
        .outerjoin(last, last.c.device_id == col(Device.id))
        .outerjoin(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .where(can_carry(), col(Device.room_id) == room, ~under_way)
        .where(or_(last.c.at.is_(None), last.c.at < present.since))
        .order_by(
            awake.desc(),
            resets.prepared(now),
            (col(Device.mac) != "").desc(),
            last.c.at.asc().nulls_first(),
            col(Device.id),
        )
    )
    return session.scalars(found.where(awake) if present.by_day else found).all()
