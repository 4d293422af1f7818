"""Reads what the planner has to know from the database, in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import case, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from fleet import overrides
from fleet.resets.quiet import Quiet, parse
from fleet.resets.ways import ways
from fleet.resets.world import Ban, Known, Lesson, Machine, Place, Rules, Span, World
from fleet.settings import Settings
from fleet.timetable import trusted_until
from inventory import (
    Course,
    Device,
    DeviceKind,
    DeviceState,
    Override,
    OverrideKind,
    Recipe,
    ResetRun,
    Room,
    RunState,
    Service,
    Site,
    Tally,
)
from inventory.upsert import upsert

GUARD = timedelta(seconds=90)
"""A course counts as running this long before its start, whatever the buffer: a minute, and how far
clocks may differ."""
PLANNED_AT = "planned_at"


def rules(settings: Settings) -> Rules:
    return Rules(
        grace=timedelta(seconds=settings.reset_grace_s),
        buffer=timedelta(seconds=settings.reset_buffer_s),
        guard=GUARD,
        per_day=settings.reset_per_day,
        starts=settings.reset_starts,
    )


def load(
    session: Session, now: datetime, settings: Settings, until: datetime | None = None
) -> World:
    """What is known now. `until`: of the courses that begin by then, instead of those whose
    devices may be reset by now."""
    recipes = {each.id: each for each in session.scalars(select(Recipe))}
    usual = timedelta(seconds=settings.reset_ahead_s)
    ahead = {
        each.id: timedelta(seconds=each.lead_s) if each.lead_s else usual
        for each in recipes.values()
    }
    furthest = max(ahead.values(), default=usual)
    planned_at = _planned_at(session)
    lessons = _lessons(session, now - furthest - timedelta(days=1), until or now + furthest)
    rooms = {room for room, held in lessons.items() if held}
    places = _places(session, lessons, now, until or now + furthest)
    return World(
        places=places,
        machines=_machines(session, rooms, recipes, ahead),
        rules=rules(settings),
        runs=_runs(session, min(now, planned_at or now)),
        skips=_skips(session, now),
        bans=bans(session, now),
        planned_at=planned_at,
    )


def _planned_at(session: Session) -> datetime | None:
    value = session.scalar(select(col(Tally.value)).where(col(Tally.counter) == PLANNED_AT))
    return datetime.fromtimestamp(value, UTC) if value else None


def remember(session: Session, now: datetime) -> None:
    """The plan was made now."""
    row = {"counter": PLANNED_AT, "labels": "", "value": now.timestamp()}
    session.execute(upsert(session, Tally), [row])


def _lessons(session: Session, start: datetime, end: datetime) -> dict[str, list[Lesson]]:
    found: dict[str, list[Lesson]] = defaultdict(list)
    rows = session.execute(
        select(
            col(Course.room_id),
            col(Course.id),
            col(Course.start),
            col(Course.end),
            col(Course.block),
        )
        .where(col(Course.start) <= end, col(Course.end) > start)
        .where(col(Course.cancelled).is_(False))
        .order_by(col(Course.start), col(Course.id))
    )
    for room, course, first, last, block in rows:
        found[room].append(Lesson(course, first, last, wanted=not block))
    return found


def _places(
    session: Session, lessons: Mapping[str, list[Lesson]], now: datetime, until: datetime
) -> dict[str, Place]:
    believed = trusted_until(session, lessons.keys(), now)
    blocks: dict[str, list[Span]] = defaultdict(list)
    for one in overrides.blocks(session, lessons.keys(), now - timedelta(days=1), until):
        blocks[one.room_id].append(Span(one.start, one.end))
    rows = session.execute(
        select(col(Room.id), col(Room.site_id), col(Room.quiet), col(Site.plan_rev))
        .join(Site, col(Site.id) == col(Room.site_id))
        .where(col(Room.id).in_(lessons.keys()))
        .order_by(col(Room.id))
    )
    return {
        room: Place(
            id=room,
            site=site,
            lessons=tuple(lessons[room]),
            blocks=tuple(blocks[room]),
            trusted=room in believed,
            quiet=quiet_hours(quiet),
            plan_rev=plan_rev,
        )
        for room, site, quiet, plan_rev in rows
    }


def quiet_hours(said: str) -> Quiet | None:
    """What is written down wrong counts as none: a reset that is heard is better than none."""
    try:
        return parse(said)
    except ValueError:
        return None


def _machines(
    session: Session,
    rooms: Collection[str],
    recipes: Mapping[str, Recipe],
    ahead: Mapping[str, timedelta],
) -> list[Machine]:
    every = {each.id: ways(each) for each in recipes.values()}
    uplink = aliased(Device)
    point = col(uplink.kind) == DeviceKind.ACCESS_POINT
    rows = session.execute(
        select(
            col(Device.id),
            col(Device.room_id),
            col(Device.recipe_id),
            case((point, col(uplink.id)), else_=None),
        )
        .outerjoin(uplink, col(uplink.id) == col(Device.uplink_id))
        .where(col(Device.service) == Service.ACTIVE, col(Device.recipe_id).is_not(None))
        .where(col(Device.room_id).in_(rooms))
    )
    return [
        Machine(device, room, recipe, every[recipe], ahead[recipe], point_id)
        for device, room, recipe, point_id in rows
    ]


def _runs(session: Session, since: datetime) -> list[Known]:
    """Those that wait, and those of courses that begin later than `since`."""
    rows = session.execute(
        select(
            col(ResetRun.id),
            col(ResetRun.device_id),
            col(ResetRun.course_id),
            col(ResetRun.course_start),
            col(ResetRun.recipe_id),
            col(ResetRun.tier),
            col(ResetRun.tier_limit),
            col(ResetRun.state),
            col(ResetRun.reason),
            col(ResetRun.attempts),
            col(ResetRun.not_before),
            col(ResetRun.not_after),
            case((col(DeviceState.clean_run_id).is_(None), col(ResetRun.used_at)), else_=None),
        )
        .outerjoin(DeviceState, col(DeviceState.device_id) == col(ResetRun.device_id))
        .where(col(ResetRun.course_id).is_not(None), col(ResetRun.state) != RunState.DROPPED)
        .where(
            (col(ResetRun.state) == RunState.PLANNED) | (col(ResetRun.course_start) > since),
        )
    )
    return [Known(*row) for row in rows]


def _skips(session: Session, now: datetime) -> frozenset[tuple[int, str | None]]:
    said = overrides.in_force(session, now, OverrideKind.SKIP)
    return frozenset((one.course_id, one.device_id) for one in said if one.course_id is not None)


def bans(session: Session, now: datetime) -> list[Ban]:
    """What was said by hand against resets, now or from some time on."""
    kinds = (*overrides.HOLDS, OverrideKind.STOP)
    return [_ban(one) for one in overrides.in_force(session, now, *kinds)]


def _ban(said: Override) -> Ban:
    stop = said.kind is OverrideKind.STOP
    return Ban(
        code="recipe_stopped" if stop else overrides.HOLDS[said.kind],
        since=said.since,
        until=said.until,
        site=said.site_id,
        room=said.room_id,
        device=said.device_id,
        recipe=said.recipe_id if stop else None,
    )


def held_by(found: Iterable[Ban], now: datetime, place: Sequence[str], *, automatic: bool) -> str:
    """The code of the first that holds for (site, room, device, recipe) now, or of one that holds
    everywhere, which weighs more; empty: none does."""
    holding = [
        ban
        for ban in found
        if ban.at(now) and ban.concerns(*place) and (automatic or ban.recipe is None)
    ]
    if any(ban.everywhere for ban in holding):
        return overrides.EVERYWHERE
    return holding[0].code if holding else ""


def share(required: Mapping[str, Any], kind: str, present: int) -> float:
    """How much of what is there of a kind a course needs: who can spare nothing comes first."""
    said = required.get(kind)
    wanted = said.get("wanted") if isinstance(said, Mapping) else said
    if isinstance(wanted, bool) or not isinstance(wanted, int) or present < 1:
        return 1.0
    return min(1.0, wanted / present)
