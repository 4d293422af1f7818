"""Takes the runs that are due, earliest course first, and makes each an order; every gate is
looked at once more, right before, in the transaction that takes them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, case, func, select, update
from sqlmodel import Session, col

from agents.messages import Order
from fleet.resets import loading, storm
from fleet.resets.due import BY_PLAN, MOST, due_rows, dues, load_now, lock_sites, settled, touched
from fleet.resets.gates import GATES, Gate
from fleet.resets.orders import make_order
from fleet.resets.runs import answer_due, check
from fleet.resets.starts import Decision, decide
from fleet.settings import Settings
from inventory import (
    CourseKind,
    ResetRun,
    RunState,
)
from inventory.tally import add

BUS_PAUSE = timedelta(seconds=10)
"""Until the next try when the bus is away."""
TURN = timedelta(seconds=5)
"""A tick and a little more: so long MOST others have their turn."""
NO_PLACE = ("fleet_busy", "site_busy", "storm")
"""Who only waits for a place keeps its turn."""
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
    counted. When very many are due, some are looked at, the earliest course first, and what holds
    one back does not hold those behind it. `started`: when this process began; who has not
    reported since is waited for.
    """
    due = (
        col(ResetRun.state) == RunState.PLANNED,
        col(ResetRun.next_try_at) <= now,
        col(ResetRun.not_before) <= now,
        col(ResetRun.not_after) >= now,
        col(ResetRun.recalled_at).is_(None),
    )
    sites = settled(session, lock_sites(session, due), now, started)
    if not sites:
        return []
    load, rules = load_now(session, now), loading.rules(settings)
    full = [site for site, count in load.sites.items() if count >= rules.site]
    rows = {row.id: row for row in due_rows(session, due, sites, full)}
    found = dues(session, list(rows.values()), now, settings)
    load.touched = touched(session, {one.device for one in found}, now)
    decisions = decide(now, found, load, rules, gates)
    waiting = [one for one in decisions if one.code]
    _note_waiting(session, waiting, rows)
    if len(rows) == MOST:
        _step_back(session, waiting, due, now)
    kinds = session.scalars(select(CourseKind).order_by(col(CourseKind.id))).all()
    sendable = [
        (one, make_order(rows[one.due.id], one, kinds, now, settings))
        for one in decisions
        if not one.code
    ]
    taken = _take(session, sendable, rows, now)
    storm.count(session, now, sum(one.due.automatic and one.due.id in taken for one, _ in sendable))
    return [order for one, order in sendable if one.due.id in taken]


def give_back(session: Session, orders: Sequence[Order], now: datetime) -> None:
    """Plan again what was claimed but certainly never left: no device heard of it, so it is no
    attempt, and nobody need wait for an answer."""
    check(RunState.ORDERED, RunState.PLANNED)
    mine = (
        col(ResetRun.order_id).in_([order.id for order in orders]),
        col(ResetRun.state) == RunState.ORDERED,
    )
    planned = select(col(ResetRun.ordered_at)).where(*mine, col(ResetRun.requested_by) == BY_PLAN)
    for at, number in Counter(session.scalars(planned)).items():
        if at is not None:
            storm.take_back(session, at, number)
    session.execute(
        update(ResetRun)
        .where(*mine)
        .values(
            state=RunState.PLANNED,
            attempts=col(ResetRun.attempts) - 1,
            next_try_at=now + BUS_PAUSE,
            deadline=col(ResetRun.not_after),
            reason="",
        )
        .execution_options(synchronize_session=False)
    )


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
                    busy_until=None,
                    deadline=deadline,
                    reason="",
                    detail="",
                    step="",
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
            .values(reason=code, step="")
            .execution_options(synchronize_session=False)
        )
    add(session, Counter((GATE_REFUSALS, one.due.site, one.gate) for one in fresh))


def _step_back(
    session: Session, waiting: Sequence[Decision], due: Sequence[Any], now: datetime
) -> None:
    """Those that something of their own holds up are not asked again before all that are due were
    looked at once; else they would stand in the way of the others for ever."""
    count = session.scalar(select(func.count()).select_from(ResetRun).where(*due)) or 0
    later = now + TURN * (count // MOST + 1)
    session.execute(
        update(ResetRun)
        .where(col(ResetRun.id).in_([one.due.id for one in waiting if one.code not in NO_PLACE]))
        .where(col(ResetRun.state) == RunState.PLANNED)
        .values(
            next_try_at=case(
                (col(ResetRun.not_after) < later, col(ResetRun.not_after)), else_=later
            )
        )
        .execution_options(synchronize_session=False)
    )
