"""Resets that somebody asks for: the same gates, but a person may insist on some of them."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import and_, literal, or_
from sqlmodel import Session, col, select

from fleet.overrides import EVERYWHERE
from fleet.resets import loading
from fleet.resets.gates import GATES, Case, refusal
from fleet.resets.loading import held_by, quiet_hours
from fleet.resets.ways import Way, way_of
from fleet.settings import Settings
from fleet.timetable import busy, trusted_until
from inventory import (
    OPEN_STATES,
    Device,
    DeviceKind,
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
WINDOWS = "Microsoft Windows"
"""So the name of the system begins that such a laptop tells as its firmware."""

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
    "no_countdown": "This device cannot show a countdown to whoever is signed in.",
    "countdown_alone": "A countdown is only for who insists on the reset.",
    "paused": "Resets are paused by hand.",
    "paused_everywhere": "Resets are paused at every site. Only an admin of the region may insist.",
    "maintenance": "Somebody is working on the device or in the room.",
    "quiet_hours": "It would be heard in the room's quiet hours.",
    "too_late_to_recall": "It is too late to take this reset back.",
    "already_open": "A reset of this device is already planned or running.",
}

OVERRULED = frozenset({"calendar_in_doubt", "paused", "maintenance", "quiet_hours"})
"""Refusals that somebody may insist against, always; see `may_insist`."""


class ResetRefused(Exception):
    """`code` is a key of REFUSALS."""

    def __init__(self, code: str) -> None:
        super().__init__(REFUSALS[code])
        self.code = code


def counts_down(device: Device, recipe: Recipe | None, state: DeviceState | None) -> bool:
    """Whether this device shows a countdown before it sends somebody away: a laptop that is reset
    over SSH, and not only looked at. Those with Windows have no way to show one."""
    laptop = device.kind is DeviceKind.LAPTOP and device.driver == "ssh"
    system = str(state.facts.get("firmware", "")) if state else ""
    resets = recipe is not None and bool(recipe.steps)
    return laptop and resets and not system.startswith(WINDOWS)


def may_insist(
    code: str,
    device: Device,
    recipe: Recipe | None,
    state: DeviceState | None,
    *,
    over_all: bool,
) -> bool:
    """Whether it helps to insist against this refusal."""
    if code == "in_use":
        return counts_down(device, recipe, state)
    return code in OVERRULED or (over_all and code == EVERYWHERE)


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
    over_all: bool = False,
    countdown: bool = False,
    why: str = "",
) -> ResetRun:
    """A reset by hand, sent as soon as it may be. `actor`: who asked; `recipe_id`: another recipe
    than the device's own; `tier`: None, the simplest.

    `force` (with a reason) overrules a timetable in doubt, a pause and quiet hours; never a course
    that is known. A pause of everything it only overrules with `over_all`: whether the actor may
    say one. With `countdown`, somebody who is signed in is shown a minute to save, and then sent
    away; else they keep their device. Raises ResetRefused.
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
    if countdown and not force:
        raise ResetRefused("countdown_alone")
    if countdown and not counts_down(device, recipe, session.get(DeviceState, device_id)):
        raise ResetRefused("no_countdown")
    way = way_of(recipe, tier or Tier.QUICK, countdown=countdown)
    if tier is not None and way.tier is not tier:
        raise ResetRefused("no_such_tier")
    case = _case(session, device, recipe, way, now, settings)
    not_after = _latest(replace(case, forced=force, over_all=over_all))
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
        room_id=device.room_id,
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
        over_all=force and over_all,
        countdown=countdown,
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


def objections(
    session: Session, device: Device, recipe: Recipe, tier: Tier, now: datetime, settings: Settings
) -> list[str]:
    """All that speaks against resetting it right now, as codes of REFUSALS."""
    case = _case(session, device, recipe, way_of(recipe, tier), now, settings)
    return [code for gate in GATES.values() if (code := gate(case))]


def _case(
    session: Session, device: Device, recipe: Recipe, way: Way, now: datetime, settings: Settings
) -> Case:
    """What the gates ask about it, when nobody insists."""
    rules = loading.rules(settings)
    room = session.get_one(Room, device.room_id)
    state = session.get(DeviceState, device.id)
    place = (room.site_id, room.id, device.id, recipe.id)
    quiet = quiet_hours(room.quiet)
    fresh = state is not None and state.facts_at is not None and now - state.facts_at <= FRESH
    return Case(
        now=now,
        rules=rules,
        length=way.length,
        busy=busy(session, [room.id], now - rules.grace, now + HORIZON),
        trusted=room.id in trusted_until(session, [room.id], now),
        in_use=bool(fresh and state and state.facts.get("sessions")) and not way.sends_away,
        held_by=held_by(loading.bans(session, now), now, place, automatic=False),
        too_loud=way.noisy and quiet is not None and quiet.at(now),
        in_service=device.service is Service.ACTIVE,
    )


def _latest(case: Case) -> datetime:
    """Until when it may begin. Raises ResetRefused when it may not now."""
    _, code = refusal(case)
    if code:
        raise ResetRefused(code)
    kept = case.rules.buffer + case.length
    latest = [each.start - kept for each in case.busy if each.start > case.now]
    return min([*latest, case.now + HAND_WINDOW])
