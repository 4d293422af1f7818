"""Puts devices to rest after the last course of a day, where their recipe names how.

Such a reset belongs to no course, and is like any other else: the same gates, order and proof.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from fleet.calendars.zones import BERLIN
from fleet.resets.due import BY_PLAN
from fleet.resets.manual import ResetRefused, request
from fleet.resets.ways import ways
from fleet.resets.window import Timed, next_start
from fleet.settings import Settings
from fleet.timetable import busy
from inventory import OPEN_STATES, Device, DeviceState, Recipe, ResetRun, RunState, Service

DAY_BEGINS = 4
"""The hour, local time, in which one day of courses ends and the next one begins."""
LEAST = timedelta(minutes=30)
"""Before a course that is nearer nothing is put to rest, whatever its lead."""
FRESH = timedelta(minutes=5)
"""A device whose last look is older may have been switched off meanwhile."""
TRIES = 3
"""So often it is tried after one last course."""


@dataclass(frozen=True)
class Awake:
    """A device that is on, and how it is put to rest."""

    device: str
    room: str
    rest: str
    margin: timedelta
    """No course may begin within this time: how long before one it is made ready again, and how
    long putting it to rest takes."""


def plan(session: Session, now: datetime, settings: Settings) -> None:
    """Ask for the rest of each device that is still on after its room's last course of the day;
    safe to repeat, and in several processes."""
    awake = _awake(session, now, settings)
    if not awake:
        return
    begun, ends = day_of(now)
    latest = max([ends, *(now + one.margin for one in awake)])
    held: dict[str, list[Timed]] = defaultdict(list)
    for course in busy(session, {one.room for one in awake}, begun, latest):
        held[course.room_id].append(course)
    grace = timedelta(seconds=settings.reset_grace_s)
    over = {room: last_end(used, now - grace, ends) for room, used in held.items()}
    tried = _tried(session, awake, begun)
    for one in awake:
        since = over.get(one.room)
        following = next_start(held[one.room], now)
        if since is None or (following is not None and following - now < one.margin):
            continue
        asked = [state for at, state in tried[one.device] if at >= since]
        settled = any(state in OPEN_STATES or state is RunState.VERIFIED for state in asked)
        if settled or len(asked) >= TRIES:
            continue
        try:
            request(session, one.device, now, settings, BY_PLAN, recipe_id=one.rest)
        except ResetRefused:
            continue  # the next tick asks again


def day_of(now: datetime) -> tuple[datetime, datetime]:
    """From when to when the present day of courses lasts."""
    local = now.astimezone(BERLIN)
    first = local if local.hour >= DAY_BEGINS else local - timedelta(days=1)
    first = first.replace(hour=DAY_BEGINS, minute=0, second=0, microsecond=0, fold=0)
    return first, first + timedelta(days=1)


def last_end(used: Iterable[Timed], now: datetime, ends: datetime) -> datetime | None:
    """When the last course of the day was over; None: one is running or still to come."""
    today = [one for one in used if one.start < ends]
    end = max((one.end for one in today), default=None)
    return end if end is not None and end <= now else None


def _awake(session: Session, now: datetime, settings: Settings) -> list[Awake]:
    rest = aliased(Recipe)
    rows = session.execute(
        select(
            col(Device.id), col(Device.room_id), col(Recipe.lead_s), col(DeviceState.facts), rest
        )
        .join(Recipe, col(Recipe.id) == col(Device.recipe_id))
        .join(rest, col(rest.id) == col(Recipe.rest_id))
        .join(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .where(col(Device.service) == Service.ACTIVE)
        .where(col(DeviceState.reachable), col(DeviceState.facts_at) > now - FRESH)
        .order_by(col(Device.id))
    )
    found = []
    for device, room, lead_s, facts, recipe in rows:
        if facts.get("power") == "on":
            lead = timedelta(seconds=lead_s or settings.reset_ahead_s)
            margin = max(lead, LEAST) + ways(recipe)[0].length
            found.append(Awake(device, room, recipe.id, margin))
    return found


def _tried(
    session: Session, awake: Sequence[Awake], since: datetime
) -> Mapping[str, list[tuple[datetime, RunState]]]:
    found: dict[str, list[tuple[datetime, RunState]]] = defaultdict(list)
    rows = session.execute(
        select(col(ResetRun.device_id), col(ResetRun.planned_at), col(ResetRun.state))
        .where(col(ResetRun.device_id).in_([one.device for one in awake]))
        .where(col(ResetRun.recipe_id).in_({one.rest for one in awake}))
        .where(col(ResetRun.planned_at) >= since, col(ResetRun.requested_by) == BY_PLAN)
    )
    for device, at, state in rows:
        found[device].append((at, state))
    return found
