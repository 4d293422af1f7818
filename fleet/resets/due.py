"""Reads which runs are due, with everything the gates ask about them, and what is under way."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, case, func, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from fleet.resets import loading, storm
from fleet.resets.load import Load, Seat
from fleet.resets.starts import Due
from fleet.resets.ways import counting_down, way_of, ways
from fleet.resets.window import Timed
from fleet.settings import Settings
from fleet.timetable import busy, trusted_until
from inventory import (
    AgentContact,
    Course,
    Device,
    DeviceKind,
    DeviceState,
    Feed,
    Recipe,
    ResetRun,
    Room,
    RunState,
    Service,
    Site,
)

HORIZON = timedelta(days=2)
UNDER_WAY = (RunState.ORDERED, RunState.ACTED)
BY_PLAN = "plan"
SETTLING = timedelta(minutes=2)
"""So long after a start nothing is sent to a site that has not reported yet."""
DAY = timedelta(days=1)
FRESH = timedelta(minutes=3)
"""Who was signed in longer ago may be gone; the device itself looks once more."""
MOST = 1000
"""So many due runs are looked at in one tick; twice as many as can be under way everywhere."""


def lock_sites(session: Session, due: Sequence[Any]) -> list[str]:
    """The sites where something is due. One claims at a site at a time, and no timetable of it is
    replaced and nothing said by hand meanwhile."""
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


def settled(
    session: Session, sites: list[str], now: datetime, started: datetime | None
) -> list[str]:
    """Those whose agent and timetables have reported since the start, or had time enough: then the
    gates decide alone."""
    if not sites or started is None or now - started >= SETTLING:
        return sites
    heard = set(
        session.scalars(select(col(AgentContact.site_id)).where(col(AgentContact.at) >= started))
    )
    unread = or_(col(Feed.tried_at).is_(None), col(Feed.tried_at) < started)
    waiting = set(session.scalars(select(col(Feed.site_id)).where(unread)))
    return [site for site in sites if site in heard and site not in waiting]


def due_rows(
    session: Session, due: Sequence[Any], sites: Sequence[str], full: Sequence[str]
) -> Sequence[Row[Any]]:
    """The first MOST of them, the earliest course first, those of full sites last."""
    # A course that is no longer so is no reason to reset anything.
    still_so = or_(
        col(ResetRun.course_id).is_(None),
        and_(
            col(Course.cancelled).is_(False),
            col(Course.start) == col(ResetRun.course_start),
            col(Course.room_id) == col(Device.room_id),
        ),
    )
    uplink = aliased(Device)
    point = col(uplink.kind) == DeviceKind.ACCESS_POINT
    return session.execute(
        select(
            col(ResetRun.id),
            col(ResetRun.device_id),
            col(ResetRun.attempts),
            col(ResetRun.reason),
            col(ResetRun.not_before),
            col(ResetRun.not_after),
            col(ResetRun.course_start),
            col(ResetRun.tier),
            col(ResetRun.requested_by),
            col(ResetRun.forced),
            col(ResetRun.over_all),
            col(ResetRun.countdown),
            col(Device.room_id),
            col(Device.kind),
            col(Device.service),
            col(Room.site_id),
            col(Room.quiet),
            col(Room.required),
            col(Site.plan_rev),
            case((point, col(uplink.id)), else_=None).label("uplink_id"),
            and_(still_so, col(ResetRun.plan_rev) == col(Site.plan_rev)).label("current"),
            col(DeviceState.facts),
            col(DeviceState.facts_at),
            col(Course.title),
            Recipe,
        )
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(Site, col(Site.id) == col(Room.site_id))
        .join(Recipe, col(Recipe.id) == col(ResetRun.recipe_id))
        .outerjoin(uplink, col(uplink.id) == col(Device.uplink_id))
        .outerjoin(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .outerjoin(Course, col(Course.id) == col(ResetRun.course_id))
        .where(*due, col(Room.site_id).in_(sites))
        .order_by(
            col(Room.site_id).in_(full),
            func.coalesce(col(ResetRun.course_start), col(ResetRun.not_after)),
            col(ResetRun.id),
        )
        .limit(MOST)
    ).all()


def dues(
    session: Session, rows: Sequence[Row[Any]], now: datetime, settings: Settings
) -> list[Due]:
    rooms = {row.room_id for row in rows}
    believed = trusted_until(session, rooms, now)
    used: dict[str, list[Timed]] = defaultdict(list)
    for one in busy(session, rooms, now - timedelta(seconds=settings.reset_grace_s), now + HORIZON):
        used[one.room_id].append(one)
    bans = loading.bans(session, now)
    present = _present(session, rooms)
    recipes = {row.Recipe.id: row.Recipe for row in rows}
    every = {name: ways(recipe) for name, recipe in recipes.items()}
    found = []
    for row in rows:
        automatic = row.requested_by == BY_PLAN
        place = (row.site_id, row.room_id, row.device_id, row.Recipe.id)
        found_ways = every[row.Recipe.id]
        found.append(
            Due(
                id=row.id,
                device=row.device_id,
                room=row.room_id,
                site=row.site_id,
                uplink=row.uplink_id,
                start=row.course_start or row.not_after,
                share=loading.share(row.required, row.kind, present[row.room_id, row.kind]),
                ways=tuple(map(counting_down, found_ways)) if row.countdown else found_ways,
                tier=row.tier,
                busy=used[row.room_id],
                trusted=row.room_id in believed,
                signed_in=_signed_in(row, now),
                held_by=loading.held_by(bans, now, place, automatic=automatic),
                quiet=loading.quiet_hours(row.quiet),
                current=row.current,
                in_service=row.service is Service.ACTIVE,
                automatic=automatic,
                forced=row.forced,
                over_all=row.over_all,
            )
        )
    return found


def _signed_in(row: Row[Any], now: datetime) -> bool:
    if row.facts_at is None or now - row.facts_at > FRESH:
        return False
    sessions = row.facts.get("sessions")
    return isinstance(sessions, int) and sessions > 0


def _present(session: Session, rooms: Collection[str]) -> Counter[tuple[str, str]]:
    """(room, kind) → how many are in service."""
    rows = session.execute(
        select(col(Device.room_id), col(Device.kind), func.count())
        .where(col(Device.room_id).in_(rooms), col(Device.service) == Service.ACTIVE)
        .group_by(col(Device.room_id), col(Device.kind))
    )
    return Counter({(room, kind): count for room, kind, count in rows})


def load_now(session: Session, now: datetime) -> Load:
    """What is under way everywhere, or may be, for its end was not heard; and what began lately."""
    load = Load()
    uplink = aliased(Device)
    point = col(uplink.kind) == DeviceKind.ACCESS_POINT
    rows = session.execute(
        select(
            col(Device.id),
            col(Room.id).label("room_id"),
            col(Room.site_id),
            case((point, col(uplink.id)), else_=None).label("uplink_id"),
            col(ResetRun.tier),
            col(ResetRun.state),
            Recipe,
        )
        .select_from(ResetRun)
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(Recipe, col(Recipe.id) == col(ResetRun.recipe_id))
        .outerjoin(uplink, col(uplink.id) == col(Device.uplink_id))
        .where(or_(col(ResetRun.state).in_(UNDER_WAY), col(ResetRun.busy_until) > now))
    )
    for row in rows:
        # The tier of what waits may be another by now than the one that is perhaps still at work.
        known = row.state in UNDER_WAY
        way = way_of(row.Recipe, row.tier) if known else ways(row.Recipe)[-1]
        load.take(Seat(row.id, row.room_id, row.site_id, row.uplink_id, way), begins=False)
    load.begun = storm.begun(session, now)
    return load


def touched(session: Session, devices: Collection[str], now: datetime) -> Counter[str]:
    """How often each of them was touched within a day."""
    proved = case((col(ResetRun.state) == RunState.VERIFIED, 1), else_=0)
    rows = session.execute(
        select(col(ResetRun.device_id), func.sum(col(ResetRun.failures) + proved))
        .where(col(ResetRun.ordered_at) > now - DAY, col(ResetRun.device_id).in_(devices))
        .group_by(col(ResetRun.device_id))
    )
    return Counter({device: int(count) for device, count in rows})
