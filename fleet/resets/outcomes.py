"""Follows orders to their end: what the agent says, what it never says, and what proves a reset."""

import re
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import case, exists, func, update
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from agents.messages import Outcome, Step, Wake
from fleet import ends
from fleet.evidence import ENDS, record
from fleet.health.judging import lock_devices
from fleet.resets import storm
from fleet.resets.due import BY_PLAN
from fleet.resets.proof import evidence, verify
from fleet.resets.recall import RECALLED, drop_recalled
from fleet.resets.runs import ANSWER_MARGIN, look_due, move, move_all, prepared, retry
from fleet.resets.ways import Way, simpler, way_of
from inventory import Course, Device, DeviceState, Health, Recipe, ResetRun, Room, RunState
from inventory.recipes import CANARY
from inventory.tally import WAKES, add
from inventory.upsert import insert

UNDER_WAY = (RunState.ORDERED, RunState.ACTED)
UNSUPPORTED = "unsupported_tier"
"""The device cannot do so much: it is asked for less."""
STEP = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""A name as devices give their steps; one that this version does not know is kept all the same."""
UNTOUCHED = frozenset({"unreachable", "server_silent"})
"""A failed attempt for such a reason touched nothing: the device was away."""
PROVED_BACK = timedelta(days=2)
"""So far back it is looked for proofs that were used up, and for courses that used them."""
PROVABLE = (*UNDER_WAY, RunState.PLANNED, RunState.UNKNOWN)
"""Where the proof of the last order still counts: it may come late, after a dead uplink."""


def apply_outcome(session: Session, outcome: Outcome, now: datetime) -> None:
    """Take in what an agent says of an order. Safe when it is repeated, late or out of order.

    What it says of an earlier attempt is ignored: the newer one does it all again, and tells.
    """
    run = session.get(ResetRun, outcome.order.rpartition(".")[0], with_for_update=True)
    if run is None or (run.order_id, run.device_id) != (outcome.order, outcome.device):
        return
    recipe, before = session.get_one(Recipe, run.recipe_id), run.state
    if outcome.wake and run.state is RunState.ORDERED and outcome.step is not Step.ACCEPTED:
        _count_wake(session, run, outcome.wake)
    match outcome.step:
        case Step.ACTED if run.state is RunState.ORDERED:
            move(run, RunState.ACTED, now)
            run.acted_at = outcome.finished_at or outcome.at
            run.deadline = look_due(now, _way_of(run, recipe))
            _mark_touched(session, run)
        case Step.LOOKED if run.state in PROVABLE:
            _judge_look(session, run, recipe, outcome, now)
        case Step.REFUSED if run.state is RunState.ORDERED:
            if outcome.reason == UNSUPPORTED:
                run.tier_limit = simpler(recipe, run.tier) or run.tier
            _give_place_back(session, run)
            _end(run, recipe, outcome, now, counts=False)
        case Step.FAILED if run.state is RunState.ORDERED and outcome.reason in UNTOUCHED:
            _give_place_back(session, run)
            _end(run, recipe, outcome, now, counts=False)
        case Step.FAILED | Step.UNKNOWN if run.state in UNDER_WAY:
            _mark_touched(session, run)
            _end(run, recipe, outcome, now)
        case Step.REFUSED | Step.FAILED if run.state is RunState.PLANNED and outcome.permanent:
            _end(run, recipe, outcome, now)
    session.flush()
    if run.state is not before and run.state in ENDS:
        record(session, run, now)


def _way_of(run: ResetRun, recipe: Recipe) -> Way:
    return way_of(recipe, run.tier, countdown=run.countdown)


def _give_place_back(session: Session, run: ResetRun) -> None:
    """Nothing began: laptops that sleep must not keep those that are awake waiting."""
    if run.requested_by == BY_PLAN and run.ordered_at is not None:
        storm.take_back(session, run.ordered_at)


def _count_wake(session: Session, run: ResetRun, wake: Wake) -> None:
    """Once, for what the answer says moves the run on: a repeated answer finds it elsewhere."""
    site = session.exec(
        select(Room.site_id)
        .join(Device, col(Device.room_id) == col(Room.id))
        .where(Device.id == run.device_id)
    ).one()
    add(session, {(WAKES, site, wake.method, wake.result): 1})


def _end(
    run: ResetRun, recipe: Recipe, outcome: Outcome, now: datetime, *, counts: bool = True
) -> None:
    """The attempt came to nothing."""
    reason = outcome.reason or outcome.step.value
    step = outcome.broke_at if STEP.fullmatch(outcome.broke_at) else ""
    if outcome.permanent:
        move(run, RunState.FAILED, now, reason=reason, detail=outcome.detail, step=step)
        return
    if run.recalled_at and not counts:
        move(run, RunState.DROPPED, now, reason=RECALLED)
        return
    earliest = None
    if outcome.step is Step.UNKNOWN and run.state is RunState.ORDERED:
        # Its end was not heard, so perhaps it is still running: until its own watchdog ends it,
        # and the device has come back.
        earliest = run.deadline - ANSWER_MARGIN
        if outcome.started_at:
            # How long ago it began, by one clock: the agent's may be wrong.
            began = now - (outcome.at - outcome.started_at)
            earliest = min(began + _way_of(run, recipe).length, earliest)
    final = {Step.REFUSED: RunState.EXPIRED, Step.UNKNOWN: RunState.UNKNOWN}
    retry(
        run,
        recipe,
        now,
        otherwise=final.get(outcome.step, RunState.FAILED),
        reason=reason,
        detail=outcome.detail,
        step=step,
        counts=counts,
        earliest=earliest,
    )


def _judge_look(
    session: Session, run: ResetRun, recipe: Recipe, outcome: Outcome, now: datetime
) -> None:
    acts = [each for each in (outcome.finished_at, run.acted_at) if each is not None]
    newer = bool(acts) and outcome.at >= max(acts)
    wrong = [each.fact for each in verify(recipe.expects, outcome.facts, outcome.order)]
    if newer and not wrong:
        if run.state is RunState.UNKNOWN:
            ends.keep(session, col(ResetRun.id) == run.id)
        move(run, RunState.VERIFIED, now)
        run.acted_at, run.looked_at, run.busy_until = max(acts), outcome.at, None
        run.evidence = evidence(outcome.facts)
        if _of_rest(run) or _prepares_nobody(session, run, now):
            _mark_touched(session, run)
        else:
            _mark_clean(session, run, outcome.at)
    elif run.state in UNDER_WAY:
        run.looked_at, run.evidence = outcome.at, evidence(outcome.facts)
        retry(
            run,
            recipe,
            now,
            otherwise=RunState.FAILED,
            reason="not_clean" if newer else "look_too_old",
            detail=", ".join(wrong),
        )


def _of_rest(run: ResetRun) -> bool:
    """A device that was put to rest is not ready for anybody."""
    return run.course_id is None and run.requested_by == BY_PLAN


def _prepares_nobody(session: Session, run: ResetRun, now: datetime) -> bool:
    """A canary on a device that was prepared for a course: what it leaves is clean, but not what
    the course is to find (its profile), so it is prepared once more, as after a use."""
    if run.recipe_id != CANARY:
        return False
    here = select(Device.id).where(Device.id == run.device_id, prepared(now))
    return session.exec(here).first() is not None


def _mark_touched(session: Session, run: ResetRun) -> None:
    """Whatever proved the device clean before this order proves nothing any more."""
    session.execute(
        update(DeviceState)
        .where(col(DeviceState.device_id) == run.device_id)
        .where(col(DeviceState.clean_run_id) != run.id)
        .values(clean_run_id=None)
        .execution_options(synchronize_session=False)
    )


def _mark_clean(session: Session, run: ResetRun, at: datetime) -> None:
    """This run proves the device clean, unless something newer was ordered meanwhile."""
    newer = exists().where(
        col(ResetRun.device_id) == run.device_id,
        col(ResetRun.id) != run.id,
        col(ResetRun.ordered_at) > run.ordered_at,
    )
    if session.scalar(select(newer)):
        return
    proof = {"clean_run_id": run.id, "clean_at": at}
    first = {"device_id": run.device_id, "taken_at": at, "reachable": True, **proof}
    empty = {"problem": "", "detail": "", "facts": {}, "failures": 0, "reason": ""}
    empty |= {"losses": [], "cause": ""}
    row = insert(session, DeviceState).values(**first, **empty, health=Health.UNKNOWN)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["device_id"],
            set_=proof,
            where=col(DeviceState.clean_at).is_(None) | (col(DeviceState.clean_at) < at),
        )
    )


def expire(session: Session, now: datetime) -> None:
    """End what has lasted too long: every state that is not final has a deadline."""
    drop_recalled(session, now)
    waited_for = col(ResetRun.reason)
    move_all(
        session,
        RunState.PLANNED,
        RunState.EXPIRED,
        col(ResetRun.deadline) < now,
        now=now,
        reason=case((waited_for == "", "not_sent"), else_=waited_for),
        step=col(ResetRun.step),
    )
    overdue = col(ResetRun.state).in_(UNDER_WAY), col(ResetRun.deadline) < now
    devices = session.exec(select(ResetRun.device_id).where(*overdue)).all()
    overtaken = session.exec(_overtaken(now)).all()
    # Before the runs, as the intake does, which would else write an older proof back.
    lock_devices(session, {*devices, *overtaken})
    silent = select(ResetRun).where(*overdue, col(ResetRun.device_id).in_(devices))
    for run in session.exec(silent.order_by(col(ResetRun.id)).with_for_update()).all():
        recipe = session.get_one(Recipe, run.recipe_id)
        _mark_touched(session, run)
        retry(run, recipe, now, otherwise=RunState.UNKNOWN, reason="no_answer")
        if run.state in ENDS:
            record(session, run, now)
    session.flush()
    if overtaken:
        _take_proofs_away(session, overtaken, now)
    _note_use(session, now)


def _overtaken(now: datetime) -> SelectOfScalar[str]:
    """Devices that were proved clean for a later course than one that began in their room since."""
    held = (
        select(Course.room_id, func.max(Course.end).label("end"))
        .where(col(Course.cancelled).is_(False))
        .where(Course.start <= now, Course.start > now - PROVED_BACK)
        .group_by(col(Course.room_id))
        .subquery()
    )
    later = exists().where(
        col(ResetRun.device_id) == col(Device.id),
        col(ResetRun.state) == RunState.VERIFIED,
        col(ResetRun.used_at).is_(None),
        col(ResetRun.course_start) > now,
    )
    return (
        select(DeviceState.device_id)
        .join(Device, col(Device.id) == col(DeviceState.device_id))
        .join(held, held.c.room_id == col(Device.room_id))
        .where(col(DeviceState.clean_run_id).is_not(None))
        .where(col(DeviceState.clean_at) < held.c.end, later)
    )


def _take_proofs_away(session: Session, devices: Collection[str], now: datetime) -> None:
    """The course uses the proof up, whether anybody was seen at the device or not: it is reset
    once more."""
    still = col(DeviceState.device_id).in_(_overtaken(now))
    session.execute(
        update(DeviceState)
        .where(col(DeviceState.device_id).in_(devices), still)
        .values(clean_run_id=None)
        .execution_options(synchronize_session=False)
    )


def _note_use(session: Session, now: datetime) -> None:
    """Remember when a proved device was used, for its state only says that it was."""
    used = exists().where(
        col(DeviceState.device_id) == col(ResetRun.device_id),
        col(DeviceState.clean_run_id).is_(None),
    )
    session.execute(
        update(ResetRun)
        .where(
            col(ResetRun.state) == RunState.VERIFIED,
            col(ResetRun.used_at).is_(None),
            col(ResetRun.planned_at) > now - PROVED_BACK,
            used,
        )
        .values(used_at=now)
        .execution_options(synchronize_session=False)
    )
