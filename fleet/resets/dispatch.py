"""Takes the runs that are due, earliest course first, and makes each an order; every gate is
looked at once more, right before, in the transaction that takes them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, case, func, or_, select, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from agents.messages import Order
from fleet.resets import loading
from fleet.resets.gates import GATES, Gate
from fleet.resets.load import Load, Seat
from fleet.resets.orders import make_order
from fleet.resets.runs import answer_due, check
from fleet.resets.starts import Decision, Due, decide
from fleet.resets.ways import way_of, ways
from fleet.resets.window import Timed
from fleet.settings import Settings
from fleet.timetable import busy, trusted_until
from inventory import (
    AgentContact,
    Course,
    CourseKind,
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
from inventory.tally import add

BUS_PAUSE = timedelta(seconds=10)
"""Until the next try when the bus is away."""
HORIZON = timedelta(days=2)
UNDER_WAY = (RunState.ORDERED, RunState.ACTED)
BY_PLAN = "plan"
SETTLING = timedelta(minutes=2)
"""So long after a start nothing is sent to a site that has not reported yet."""
STORM = timedelta(minutes=5)
DAY = timedelta(days=1)
FRESH = timedelta(minutes=3)
"""Who was signed in longer ago may be gone; the device itself looks once more."""
GATE_REFUSALS = "gate_refusals"
"""The counter in `tally`: site, gate."""


def claim(
    session: Session,
    now: datetime,
    settings: Settings,
    *,
    started: datetime | None = None,
    gates: Mapping[str, Gate] = GATES,
) -> list[Order]:
    """Take the runs that may be sent now, and return their orders to publish *after* the commit.

    A run is taken by a conditional update: of several processes exactly one has it. An order that
    is then lost is noticed by its deadline. What keeps a run waiting is written to its reason, and
    counted. `started`: when this process began; who has not reported since is waited for.
    """
    due = (
        col(ResetRun.state) == RunState.PLANNED,
        col(ResetRun.next_try_at) <= now,
        col(ResetRun.not_before) <= now,
        col(ResetRun.not_after) >= now,
    )
    sites = _settled(session, _lock_sites(session, due), now, started)
    if not sites:
        return []
    rows = {row.id: row for row in _due_rows(session, due, sites)}
    decisions = decide(
        now,
        _dues(session, list(rows.values()), now, settings),
        _load(session, now),
        loading.rules(settings),
        gates,
    )
    _note_waiting(session, [one for one in decisions if one.code], rows)
    kinds = session.scalars(select(CourseKind).order_by(col(CourseKind.id))).all()
    sendable = [
        (one, make_order(rows[one.due.id], one, kinds, now, settings))
        for one in decisions
        if not one.code
    ]
    taken = _take(session, sendable, rows, now)
    return [order for one, order in sendable if one.due.id in taken]


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


# --- what is due, and what is going on --------------------------------------------------------


def _lock_sites(session: Session, due: Sequence[Any]) -> list[str]:
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


def _settled(
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


def _due_rows(session: Session, due: Sequence[Any], sites: Sequence[str]) -> Sequence[Row[Any]]:
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
    ).all()


def _dues(
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
        found.append(
            Due(
                id=row.id,
                device=row.device_id,
                room=row.room_id,
                site=row.site_id,
                uplink=row.uplink_id,
                start=row.course_start or row.not_after,
                share=loading.share(row.required, row.kind, present[row.room_id, row.kind]),
                ways=every[row.Recipe.id],
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


def _load(session: Session, now: datetime) -> Load:
    """What is under way everywhere, and what began lately."""
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
            Recipe,
        )
        .select_from(ResetRun)
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(Recipe, col(Recipe.id) == col(ResetRun.recipe_id))
        .outerjoin(uplink, col(uplink.id) == col(Device.uplink_id))
        .where(col(ResetRun.state).in_(UNDER_WAY))
    )
    for row in rows:
        way = way_of(row.Recipe, row.tier)
        load.take(Seat(row.id, row.room_id, row.site_id, row.uplink_id, way), begins=False)
    load.begun = (
        session.scalar(
            select(func.count()).where(
                col(ResetRun.ordered_at) > now - STORM, col(ResetRun.requested_by) == BY_PLAN
            )
        )
        or 0
    )
    touched = session.execute(
        select(
            col(ResetRun.device_id),
            func.sum(
                col(ResetRun.failures)
                + case((col(ResetRun.state) == RunState.VERIFIED, 1), else_=0)
            ),
        )
        .where(col(ResetRun.ordered_at) > now - DAY)
        .group_by(col(ResetRun.device_id))
    )
    load.touched.update({device: int(count) for device, count in touched})
    return load


# --- what is written --------------------------------------------------------------------------


def _take(
    session: Session,
    candidates: Sequence[tuple[Decision, Order]],
    rows: Mapping[str, Row[Any]],
    now: datetime,
) -> set[str]:
    """Flip those that are still planned, and return their ids; like runs in one statement."""
    check(RunState.PLANNED, RunState.ORDERED)
    alike = defaultdict(list)
    for one, order in candidates:
        attempts = rows[one.due.id].attempts
        alike[attempts, answer_due(order.not_after, one.way), one.way.tier].append(one.due.id)
    taken: set[str] = set()
    for (attempts, deadline, tier), ids in alike.items():
        taken |= set(
            session.scalars(
                update(ResetRun)
                .where(col(ResetRun.id).in_(ids), col(ResetRun.state) == RunState.PLANNED)
                .where(col(ResetRun.attempts) == attempts)
                .values(
                    state=RunState.ORDERED,
                    tier=tier,
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


def _note_waiting(
    session: Session, waiting: Sequence[Decision], rows: Mapping[str, Row[Any]]
) -> None:
    """Write why each has to wait when that is new, and count it once."""
    fresh = [one for one in waiting if rows[one.due.id].reason != one.code]
    alike = defaultdict(list)
    for one in fresh:
        alike[one.code].append(one.due.id)
    for code, ids in alike.items():
        session.execute(
            update(ResetRun)
            .where(col(ResetRun.id).in_(ids), col(ResetRun.state) == RunState.PLANNED)
            .values(reason=code)
            .execution_options(synchronize_session=False)
        )
    add(session, Counter((GATE_REFUSALS, one.due.site, one.gate) for one in fresh))
