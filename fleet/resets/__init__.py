"""Plans the resets before each course, and takes back those that no longer fit.

A run is a row: planned here, sent by `dispatch`, followed to its end by `outcomes`.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, update
from sqlmodel import Session, col, select

from fleet import ends, overrides
from fleet.resets import loading
from fleet.resets.breaker import stop_failing
from fleet.resets.dispatch import claim, give_back
from fleet.resets.due import SETTLING
from fleet.resets.gates import GATES
from fleet.resets.manual import (
    REFUSALS,
    ResetRefused,
    RoomAnswer,
    counts_down,
    may_insist,
    objections,
    request,
    request_room,
)
from fleet.resets.outcomes import apply_outcome, expire
from fleet.resets.planner import Action, Add, Change, Close, Reopen
from fleet.resets.planner import plan as decide
from fleet.resets.proof import Mismatch, verify
from fleet.resets.recall import recall, recallable
from fleet.resets.rest import plan as plan_rest
from fleet.resets.runs import move_all, prepared
from fleet.resets.world import World
from fleet.settings import Settings
from inventory import Device, ResetRun, Room, RunState, Site
from inventory.upsert import insert_missing

__all__ = [
    "GATES",
    "REFUSALS",
    "SETTLING",
    "Mismatch",
    "ResetRefused",
    "RoomAnswer",
    "apply_outcome",
    "claim",
    "counts_down",
    "expire",
    "give_back",
    "may_insist",
    "objections",
    "plan",
    "plan_rest",
    "prepared",
    "recall",
    "recallable",
    "request",
    "request_room",
    "verify",
]


def plan(session: Session, now: datetime, settings: Settings) -> None:
    """One run per device with a recipe before each course that comes near, and no other.

    Safe to repeat and to run in several processes. A gap that is too short gets its run too, at
    once expired, so that it is seen. Rooms whose calendar is in doubt get none.
    """
    stop_failing(session, now)
    before = _revisions(session)
    world = loading.load(session, now, settings)
    actions = decide(now, world)
    changed = _sites_changed(session, actions)
    # First, so that nobody claims meanwhile, who would take the same rows in another order.
    overrides.lock(session, before.keys())
    if changed:
        overrides.new_plan(session, changed)
    _write(session, world, actions, now)
    _renew(session, before, changed)
    loading.remember(session, now)


def _write(session: Session, world: World, actions: Sequence[Action], now: datetime) -> None:
    for (state, reason), ids in _alike(actions).items():
        move_all(
            session, RunState.PLANNED, state, col(ResetRun.id).in_(ids), now=now, reason=reason
        )
    for change in (each for each in actions if isinstance(each, Change)):
        session.execute(
            update(ResetRun)
            .where(col(ResetRun.id) == change.run.id, col(ResetRun.state) == RunState.PLANNED)
            .values(_changed(change, now))
            .execution_options(synchronize_session=False)
        )
    reopened = [each.run.id for each in actions if isinstance(each, Reopen)]
    if reopened:
        never_begun = and_(col(ResetRun.id).in_(reopened), col(ResetRun.attempts) == 0)
        ends.keep(session, never_begun)
        session.execute(delete(ResetRun).where(never_begun))
    revisions = _revisions(session)
    rows = [
        _row(each, revisions[world.places[each.machine.room].site], now)
        for each in actions
        if isinstance(each, Add)
    ]
    if rows:
        session.execute(insert_missing(session, ResetRun), rows)


def _sites_changed(session: Session, actions: Iterable[Action]) -> set[str]:
    """Where something that was planned, and perhaps just sent, is no longer so."""
    wrong = [
        each.run
        for each in actions
        if isinstance(each, Close) or (isinstance(each, Change) and each.moved)
    ]
    devices = {run.device for run in wrong}
    if not devices:
        return set()
    rows = session.exec(
        select(Room.site_id)
        .join(Device, col(Device.room_id) == col(Room.id))
        .where(col(Device.id).in_(devices))
        .distinct()
    )
    return set(rows)


def _alike(actions: Iterable[Action]) -> dict[tuple[RunState, str], list[str]]:
    found: dict[tuple[RunState, str], list[str]] = defaultdict(list)
    for each in actions:
        if isinstance(each, Close):
            found[each.state, each.reason].append(each.run.id)
    return found


def _changed(change: Change, now: datetime) -> dict[str, Any]:
    run, window = change.run, change.window
    values: dict[str, Any] = {"tier": change.tier}
    if (run.not_before, run.not_after) != (window.not_before, window.not_after):
        values |= {
            "not_before": window.not_before,
            "not_after": window.not_after,
            "deadline": window.not_after,
            "next_try_at": max(window.not_before, now),
        }
    return values


def _row(each: Add, plan_rev: int, now: datetime) -> dict[str, Any]:
    window = each.window
    run = ResetRun(
        id=uuid.uuid4().hex,
        device_id=each.machine.id,
        room_id=each.machine.room,
        course_id=each.lesson.id,
        course_start=each.lesson.start,
        recipe_id=each.machine.recipe,
        tier=each.tier,
        state=RunState.EXPIRED if each.reason else RunState.PLANNED,
        planned_at=now,
        not_before=window.not_before,
        not_after=window.not_after,
        deadline=window.not_after,
        next_try_at=max(window.not_before, now),
        finished_at=now if each.reason else None,
        reason=each.reason,
        plan_rev=plan_rev,
    )
    return run.model_dump()


def _revisions(session: Session) -> dict[str, int]:
    return dict(session.exec(select(Site.id, Site.plan_rev)).all())


def _renew(session: Session, before: dict[str, int], changed: Collection[str]) -> None:
    """What waits and is still right belongs to the newest plan.

    Not where something was said by hand since the world was read: the next plan knows of it.
    """
    now = _revisions(session)
    seen = [site for site, rev in now.items() if rev == before.get(site, 0) + (site in changed)]
    newest = (
        select(Site.plan_rev)
        .join(Room, col(Room.site_id) == col(Site.id))
        .join(Device, col(Device.room_id) == col(Room.id))
        .where(col(Device.id) == col(ResetRun.device_id))
        .scalar_subquery()
    )
    here = select(Device.id).join(Room, col(Room.id) == col(Device.room_id))
    session.execute(
        update(ResetRun)
        .where(col(ResetRun.state) == RunState.PLANNED, col(ResetRun.plan_rev) != newest)
        .where(col(ResetRun.device_id).in_(here.where(col(Room.site_id).in_(seen))))
        .values(plan_rev=newest)
        .execution_options(synchronize_session=False)
    )
