"""Reads what the verdict on many rooms needs, in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from fleet import canary
from fleet.health import silence_limit
from fleet.readiness import limits
from fleet.readiness.verdict import Candidate, Proof, Reason
from fleet.resets.due import BY_PLAN
from fleet.settings import Settings
from fleet.timetable import belongs, trusted_until, waited_for
from inventory import (
    AgentContact,
    Course,
    Device,
    DeviceKind,
    DeviceState,
    Feed,
    Health,
    Impact,
    Recipe,
    Report,
    ReportState,
    ResetRun,
    Room,
    RunState,
    Service,
)

AHEAD = timedelta(days=14)
BACK = timedelta(days=2)
"""A course or a reset that ended longer ago says nothing about the next course."""


@dataclass
class Facts:
    """Room → what is known of it. `previous_ends`: when the course before ends."""

    devices: dict[str, list[Candidate]] = field(default_factory=dict)
    doubts: dict[str, list[Reason]] = field(default_factory=dict)
    previous_ends: dict[str, datetime] = field(default_factory=dict)
    heard: dict[str, datetime] = field(default_factory=dict)
    """When each room's agent was last heard of."""


def running_or_next(session: Session, rooms: Collection[str], now: datetime) -> dict[str, Course]:
    """Room → its running course, else its next within 14 days."""
    place = func.row_number().over(
        partition_by=col(Course.room_id), order_by=(col(Course.start), col(Course.id))
    )
    ranked = (
        select(col(Course.id).label("id"), place.label("place"))
        .where(waited_for(), col(Course.room_id).in_(rooms))
        .where(col(Course.end) > now, col(Course.start) < now + AHEAD)
        .subquery()
    )
    first = select(Course).join(ranked, ranked.c.id == col(Course.id)).where(ranked.c.place == 1)
    return {course.room_id: course for course in session.scalars(first)}


def load(
    session: Session,
    rooms: Sequence[Room],
    courses: Mapping[str, Course],
    now: datetime,
    settings: Settings,
) -> Facts:
    """What is known of these rooms. `courses`: room → the course that it is judged for."""
    ids = [room.id for room in rooms]
    chosen = [course.id for course in courses.values() if course.id is not None]
    heard = _heard(session, {room.site_id for room in rooms})
    return Facts(
        devices=_devices(session, ids, chosen, now, settings),
        doubts=_doubts(session, rooms, heard, now, settings),
        previous_ends=_previous_ends(session, chosen, now),
        heard={room.id: heard[room.site_id] for room in rooms if room.site_id in heard},
    )


def _previous_ends(session: Session, chosen: Collection[int], now: datetime) -> dict[str, datetime]:
    this, before = aliased(Course), aliased(Course)
    rows = session.execute(
        select(col(this.room_id), func.max(col(before.end)))
        .join(before, col(before.room_id) == col(this.room_id))
        .where(col(this.id).in_(chosen), col(before.start) < col(this.start))
        .where(col(before.cancelled).is_(False), col(before.end) > now - BACK)
        .group_by(col(this.room_id))
    )
    return dict(rows.all())


def _doubts(
    session: Session,
    rooms: Sequence[Room],
    heard: Mapping[str, datetime],
    now: datetime,
    settings: Settings,
) -> dict[str, list[Reason]]:
    """Why nothing certain can be said of a room, or no proof relied on, whatever its devices
    show."""
    ids = [room.id for room in rooms]
    believed = trusted_until(session, ids, now)
    problems = {room: "no_feed" for room in ids if room not in believed}
    feeds = session.execute(
        select(col(Room.id), col(Feed.problem))
        .join(Feed, belongs())
        .where(col(Room.id).in_(problems))
        .order_by(col(Feed.problem))  # one with a problem last
    )
    for room, problem in feeds:
        problems[room] = problem or "too_old"
    limit = now - silence_limit(0, settings.poll_s)
    canaries = canary.doubts(session, ids, now)
    doubts: dict[str, list[Reason]] = {}
    for room in rooms:
        found = []
        if room.id in problems:
            found.append(Reason("calendar_in_doubt", detail=problems[room.id]))
        if room.site_id not in heard or heard[room.site_id] < limit:
            found.append(Reason("agent_silent"))
        if room.id in canaries:
            found.append(Reason(canaries[room.id]))
        doubts[room.id] = found
    return doubts


def _heard(session: Session, sites: Collection[str]) -> dict[str, datetime]:
    """Site → when its agent was last heard of: a heartbeat, or a look at any device."""
    looks = session.execute(
        select(col(Room.site_id), func.max(col(DeviceState.taken_at)))
        .join(Device, col(Device.room_id) == col(Room.id))
        .join(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .where(col(Room.site_id).in_(sites))
        .group_by(col(Room.site_id))
    )
    heard = dict(looks.all())
    beats = session.execute(
        select(col(AgentContact.site_id), col(AgentContact.at)).where(
            col(AgentContact.site_id).in_(sites)
        )
    )
    for site, at in beats:
        heard[site] = max(heard.get(site, at), at)
    return heard


def _devices(
    session: Session,
    rooms: Collection[str],
    chosen: Collection[int],
    now: datetime,
    settings: Settings,
) -> dict[str, list[Candidate]]:
    runs = dict(_planned(session, chosen, now))
    by_hand: dict[str, list[Proof]] = defaultdict(list)
    for device, proof in _by_hand(session, now):
        by_hand[device].append(proof)
    reported = set(
        session.scalars(
            select(col(Report.device_id)).where(
                col(Report.state) != ReportState.DONE, col(Report.impact) != Impact.NONE
            )
        )
    )
    found: dict[str, list[Candidate]] = defaultdict(list)
    usual = timedelta(seconds=settings.reset_lead_s)
    early = timedelta(seconds=settings.reset_ahead_s)
    # Unpacked, for it runs once per device: access by name is measurably slower.
    for row in _rows(session, rooms, now, settings):
        device, name, room, kind, spare, recipe, lead_s, health, reason, silent, *told = row
        seen_at, battery, plugged = told
        lead = timedelta(seconds=lead_s) if lead_s else usual
        found[room].append(
            Candidate(
                id=device,
                name=name,
                kind=kind,
                spare=spare,
                health=Health.UNKNOWN if silent else health,
                health_reason="no_news" if silent else reason,
                reported=device in reported,
                seen_at=seen_at,
                battery=_battery(kind, battery, plugged),
                lead=lead if recipe else None,
                ahead=lead if lead_s else early,
                run=runs.get(device),
                by_hand=tuple(by_hand[device]) if device in by_hand else (),
            )
        )
    return found


def _battery(kind: DeviceKind, ratio: str | None, plugged: str | None) -> float | None:
    # PostgreSQL calls it "false", SQLite "0".
    if plugged not in ("false", "0") or ratio is None or kind not in limits.BATTERY_KINDS:
        return None
    try:
        return float(ratio)
    except ValueError:
        return None


def _rows(
    session: Session, rooms: Collection[str], now: datetime, settings: Settings
) -> Iterable[Any]:
    taken_at, failures = col(DeviceState.taken_at), col(DeviceState.failures)
    facts = col(DeviceState.facts)
    silent = or_(
        taken_at.is_(None),
        and_(failures == 0, taken_at < now - silence_limit(0, settings.poll_s)),
        taken_at < now - silence_limit(1, settings.poll_s),
    )
    return session.execute(
        select(
            col(Device.id),
            col(Device.name),
            col(Device.room_id),
            col(Device.kind),
            col(Device.spare),
            col(Device.recipe_id),
            col(Recipe.lead_s),
            col(DeviceState.health),
            col(DeviceState.reason),
            silent,
            taken_at,
            # As text: to read JSON for each device costs more than all else here.
            facts["battery_ratio"].as_string(),
            facts["plugged"].as_string(),
        )
        .outerjoin(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .outerjoin(Recipe, col(Recipe.id) == col(Device.recipe_id))
        .where(col(Device.service) == Service.ACTIVE, col(Device.room_id).in_(rooms))
        .order_by(col(Device.id))
    )


def _proof(now: datetime) -> list[Any]:
    state = col(ResetRun.state)
    in_time = or_(
        and_(state == RunState.PLANNED, col(ResetRun.not_after) >= now),
        and_(state.in_((RunState.ORDERED, RunState.ACTED)), col(ResetRun.deadline) >= now),
    )
    clean = col(DeviceState.clean_run_id).is_not_distinct_from(col(ResetRun.id))
    looked_at, used_at = col(ResetRun.looked_at), col(ResetRun.used_at)
    return [
        col(ResetRun.device_id),
        state,
        col(ResetRun.reason),
        in_time,
        looked_at,
        used_at,
        clean,
    ]


def _proofs(rows: Iterable[Any]) -> Iterable[tuple[str, Proof]]:
    for device, state, reason, in_time, looked_at, used_at, clean in rows:
        yield device, Proof(state, reason, in_time, looked_at, used_at, clean)


def _planned(
    session: Session, chosen: Collection[int], now: datetime
) -> Iterable[tuple[str, Proof]]:
    """The runs for these courses, or for one that begins at the same moment in the same room, of
    the devices that stand there: what was done for a room that a device has left says nothing in
    its new one. Of several for one device the newest proved one comes last, but one that is still
    to come decides: a device that was used is reset again."""
    this, same = aliased(Course), aliased(Course)
    rows = session.execute(
        select(*_proof(now))
        .join(same, col(same.id) == col(ResetRun.course_id))
        .join(
            this,
            (col(this.room_id) == col(same.room_id)) & (col(this.start) == col(same.start)),
        )
        .join(
            Device,
            (col(Device.id) == col(ResetRun.device_id))
            & (col(Device.room_id) == col(this.room_id)),
        )
        .outerjoin(DeviceState, col(DeviceState.device_id) == col(ResetRun.device_id))
        .where(col(this.id).in_(chosen), col(ResetRun.course_start) == col(this.start))
        .where(col(ResetRun.state) != RunState.DROPPED)
        .order_by(col(ResetRun.planned_at))
    )
    return sorted(
        _proofs(rows),
        key=lambda found: (found[1].in_time, found[1].state is RunState.VERIFIED),
    )


def _by_hand(session: Session, now: datetime) -> Iterable[tuple[str, Proof]]:
    rows = session.execute(
        select(*_proof(now))
        .outerjoin(DeviceState, col(DeviceState.device_id) == col(ResetRun.device_id))
        .where(col(ResetRun.course_id).is_(None), col(ResetRun.state) == RunState.VERIFIED)
        .where(col(ResetRun.requested_by) != BY_PLAN)  # put to rest, not made ready
        .where(col(ResetRun.recipe_id) != canary.CANARY)  # clean, but made ready for nobody
        .where(col(ResetRun.planned_at) > now - BACK)
    )
    return _proofs(rows)
