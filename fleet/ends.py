"""Counts how resets ended. What was counted of a run stays counted, also when it is planned anew or
proved late: a counter that falls is taken for one that began again at 0."""

import re
from collections import defaultdict
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, func, select
from sqlmodel import Session, col

from agents.steps import STEPS
from inventory import Device, ResetRun, Room, RunState, Tally
from inventory.recipes import CANARY
from inventory.reset import stood_in
from inventory.tally import Key, add
from inventory.upsert import insert_missing

RESULTS, FAILURES, CANARIES = "results", "failures", "canaries"
HORIZON = "horizon"
OTHER = "other"
"""What is no code, or no step that is known: labels must stay few whatever a device says."""
REASON = re.compile(r"[a-z][a-z0-9_]{0,47}")

Counts = defaultdict[Key, float]


def keep(session: Session, *which: ColumnElement[bool]) -> None:
    """Count the ends of these runs for good, for they are about to be taken away or to end
    otherwise. In the caller's transaction, and before that."""
    found: Counts = defaultdict(float)
    count(session, col(ResetRun.planned_at) > locked_horizon(session), found, *which)
    add(session, found)


def count(
    session: Session, final: ColumnElement[bool], found: Counts, *which: ColumnElement[bool]
) -> None:
    """Add the ends of the runs to which all this applies."""
    canary = col(ResetRun.recipe_id) == CANARY
    run, kind = (col(ResetRun.state), col(ResetRun.tier)), col(Device.kind)
    by = (col(Room.site_id), kind, *run, col(ResetRun.reason), col(ResetRun.step), canary)
    rows = session.execute(
        select(*by, func.count())
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .join(Room, col(Room.id) == stood_in())
        .where(final, *which)
        .group_by(*by)
    )
    for site, kind_, state, tier, reason, step, is_canary, number in rows:
        found[(RESULTS, site, kind_.value, state.value, tier.value)] += number
        if state in (RunState.VERIFIED, RunState.DROPPED):
            continue
        known = reason if REASON.fullmatch(reason) else OTHER
        at = step if step in STEPS or not step else OTHER
        found[(FAILURES, site, kind_.value, known, at)] += number
        if is_canary and state in (RunState.FAILED, RunState.UNKNOWN):
            found[(CANARIES, site)] += number


def locked_horizon(session: Session) -> datetime:
    """Up to when runs are counted in the table; nobody else counts until the transaction ends."""
    session.execute(
        insert_missing(session, Tally),
        [{"counter": HORIZON, "labels": "", "value": 0.0}],
    )
    value = session.execute(
        select(col(Tally.value)).where(col(Tally.counter) == HORIZON).with_for_update()
    ).scalar_one()
    return datetime.fromtimestamp(value, UTC)
