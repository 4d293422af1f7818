"""Resets that somebody asks for: the same gates, but a person may insist on some of them."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import and_, literal, or_
from sqlmodel import Session, col, select

from fleet.resets import loading
from fleet.resets.gates import Case, refusal
from fleet.resets.loading import held_by, quiet_hours
from fleet.resets.ways import Way, way_of
from fleet.settings import Settings
from fleet.timetable import busy, trusted_until
from inventory import (
    OPEN_STATES,
    Device,
    DeviceState,
    Recipe,
    ResetRun,
    Room,
    RunState,
    Service,
    Site,
    Tier,
)

HAND_WINDOW = timedelta(minutes=10)
"""A reset by hand that could not be sent by then is no longer what somebody meant."""
HORIZON = timedelta(days=2)
FRESH = timedelta(minutes=3)

REFUSALS: dict[str, str] = {
    "unknown_device": "There is no such device.",
    "not_active": "The device is not in service.",
    "no_recipe": "It is not known how this device is reset.",
    "no_canary": "Only laptops that are reset over SSH can test the reset on themselves.",
    "no_such_tier": "This device cannot be reset so thoroughly.",
    "why_needed": "Whoever insists has to say why.",
    "calendar_in_doubt": "The room's timetable is in doubt, so a course might be running.",
    "course_running": "A course is running in the room, has just ended or is about to begin.",
    "too_close": "The next course begins too soon.",
    "in_use": "Somebody is signed in to the device.",
    "paused": "Resets are paused by hand.",
    "maintenance": "Somebody is working on the device or in the room.",
    "quiet_hours": "It would be heard in the room's quiet hours.",
    "already_open": "A reset of this device is already planned or running.",
}

OVERRULED = frozenset({"calendar_in_doubt", "paused", "maintenance", "quiet_hours"})
"""Refusals that somebody may insist against."""


class ResetRefused(Exception):
    """`code` is a key of REFUSALS."""

    def __init__(self, code: str) -> None:
        super().__init__(REFUSALS[code])
        self.code = code


@dataclass
class RoomAnswer:
    """What came of resetting a room by hand: the new runs, and device → why not."""

    runs: list[ResetRun] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def request(
    session: Session,
    device_id: str,
    now: datetime,
    settings: Settings,
    actor: str,
    *,
    recipe_id: str | None = None,
    tier: Tier | None = None,
    force: bool = False,
    why: str = "",
) -> ResetRun:
    """A reset by hand, sent as soon as it may be. `actor`: who asked; `recipe_id`: another recipe
    than the device's own; `tier`: None, the simplest.

    `force` (with a reason) overrules a timetable in doubt, a pause and quiet hours; never a course
    that is known, nor a person at the device. Raises ResetRefused.
    """
    device = session.get(Device, device_id, with_for_update={"key_share": True})
    if device is None:
        raise ResetRefused("unknown_device")
    if device.service is not Service.ACTIVE:
        raise ResetRefused("not_active")
    recipe = session.get(Recipe, recipe_id or device.recipe_id) if device.recipe_id else None
    if recipe is None:
        raise ResetRefused("no_recipe")
    why = " ".join(why.split())[:200]
    if force and not why:
        raise ResetRefused("why_needed")
    way = way_of(recipe, tier or Tier.QUICK)
    if tier is not None and way.tier is not tier:
        raise ResetRefused("no_such_tier")
    not_after = _latest(session, device, recipe, way, now, settings, force=force)
    open_runs = select(ResetRun.id).where(
        ResetRun.device_id == device_id, col(ResetRun.state).in_(OPEN_STATES)
    )
    in_the_way = or_(
        col(ResetRun.state) != RunState.PLANNED,
        col(ResetRun.course_id).is_(None),
        # One of the plan's that is about to be sent; not one that something keeps waiting.
        and_(literal(not force), col(ResetRun.not_before) <= now, col(ResetRun.reason) == ""),
    )
    if session.exec(open_runs.where(in_the_way)).first():
        raise ResetRefused("already_open")
    plan_rev = session.exec(select(Site.plan_rev).join(Room).where(Room.id == device.room_id)).one()
    run = ResetRun(
        id=uuid.uuid4().hex,
        device_id=device_id,
        recipe_id=recipe.id,
        tier=way.tier,
        planned_at=now,
        not_before=now,
        not_after=not_after,
        deadline=not_after,
        next_try_at=now,
        plan_rev=plan_rev,
        requested_by=actor[:100],
        forced=force,
        why=why,
    )
    session.add(run)
    session.flush()
    return run


def request_room(
    session: Session, room_id: str, now: datetime, settings: Settings, actor: str
) -> RoomAnswer:
    """The same for every device of a room; here nobody can insist on anything."""
    answer = RoomAnswer()
    devices = session.exec(
        select(Device.id)
        .where(Device.room_id == room_id, Device.service == Service.ACTIVE)
        .where(col(Device.recipe_id).is_not(None))
        .order_by(Device.id)
    ).all()
    for device in devices:
        try:
            answer.runs.append(request(session, device, now, settings, actor))
        except ResetRefused as refused:
            answer.refused[device] = refused.code
    return answer


def _latest(
    session: Session,
    device: Device,
    recipe: Recipe,
    way: Way,
    now: datetime,
    settings: Settings,
    *,
    force: bool,
) -> datetime:
    """Until when it may begin. Raises ResetRefused when it may not now."""
    rules = loading.rules(settings)
    room = session.get_one(Room, device.room_id)
    courses = busy(session, [room.id], now - rules.grace, now + HORIZON)
    state = session.get(DeviceState, device.id)
    place = (room.site_id, room.id, device.id, recipe.id)
    quiet = quiet_hours(room.quiet)
    fresh = state is not None and state.facts_at is not None and now - state.facts_at <= FRESH
    case = Case(
        now=now,
        rules=rules,
        length=way.length,
        busy=courses,
        trusted=room.id in trusted_until(session, [room.id], now),
        in_use=bool(fresh and state and state.facts.get("sessions"))
        and way.steps.get("on_active_session") != "end",
        held_by=held_by(loading.bans(session, now), now, place, automatic=False),
        too_loud=way.noisy and quiet is not None and quiet.at(now),
        forced=force,
    )
    _, code = refusal(case)
    if code:
        raise ResetRefused(code)
    latest = [each.start - rules.buffer - way.length for each in courses if each.start > now]
    return min([*latest, now + HAND_WINDOW])
