"""Counts resets for ever, although their rows are deleted one day: counters never go backwards."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, extract, func, select
from sqlmodel import Session, col

from inventory import OPEN_STATES, Course, Device, ResetRun, Room, Tally
from inventory.upsert import insert, insert_missing, upsert

SETTLED = timedelta(days=2)
"""Runs planned longer ago are final, and are counted into the table `tally` once and for all."""

BUCKETS = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800)
"""Upper bounds of the duration histogram, seconds."""

RESULTS, DURATION, DURATION_SUM, VIOLATIONS = "results", "duration", "duration_sum", "violations"
_HORIZON = "horizon"

Key = tuple[str, ...]
"""The counter's name, then its labels' values."""

Counts = defaultdict[Key, float]


def totals(session: Session) -> Counts:
    """All counters: what is in the table, and the runs since.

    RESULTS: site, kind, final state. DURATION: kind, upper bound or `+Inf`, cumulative.
    DURATION_SUM: kind, seconds. VIOLATIONS: no label.
    """
    found: Counts = defaultdict(float)
    horizon = datetime.fromtimestamp(0, UTC)
    for row in session.execute(select(col(Tally.counter), col(Tally.labels), col(Tally.value))):
        if row.counter == _HORIZON:
            horizon = datetime.fromtimestamp(row.value, UTC)
        else:
            found[(row.counter, *(row.labels.split("\n") if row.labels else ()))] += row.value
    for key, value in _count(session, col(ResetRun.planned_at) > horizon).items():
        found[key] += value
    return found


def settle(session: Session, now: datetime) -> None:
    """Count what is settled into the table. Has to run before such rows are deleted."""
    horizon = _locked_horizon(session)
    oldest_open = session.execute(
        select(func.min(col(ResetRun.planned_at))).where(col(ResetRun.state).in_(OPEN_STATES))
    ).scalar_one_or_none()
    until = now - SETTLED
    if oldest_open is not None:
        until = min(until, oldest_open - timedelta(seconds=1))
    until = until.replace(microsecond=0)
    if until <= horizon:
        return
    planned = col(ResetRun.planned_at)
    added = _count(session, and_(planned > horizon, planned <= until))
    rows: list[dict[str, Any]] = [
        {"counter": key[0], "labels": "\n".join(key[1:]), "value": value}
        for key, value in added.items()
    ]
    if rows:
        add = insert(session, Tally)
        add = add.on_conflict_do_update(
            index_elements=["counter", "labels"],
            set_={"value": col(Tally.value) + add.excluded["value"]},
        )
        session.execute(add, rows)
    session.execute(
        upsert(session, Tally), [{"counter": _HORIZON, "labels": "", "value": until.timestamp()}]
    )


def _locked_horizon(session: Session) -> datetime:
    """Up to when runs are counted in the table; nobody else counts until the transaction ends."""
    session.execute(
        insert_missing(session, Tally),
        [{"counter": _HORIZON, "labels": "", "value": 0.0}],
    )
    value = session.execute(
        select(col(Tally.value)).where(col(Tally.counter) == _HORIZON).with_for_update()
    ).scalar_one()
    return datetime.fromtimestamp(value, UTC)


def _count(session: Session, which: ColumnElement[bool]) -> Counts:
    found: Counts = defaultdict(float)
    final = and_(which, col(ResetRun.state).not_in(OPEN_STATES))
    results = session.execute(
        select(col(Room.site_id), col(Device.kind), col(ResetRun.state), func.count())
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(final)
        .group_by(col(Room.site_id), col(Device.kind), col(ResetRun.state))
    )
    for site, kind, state, count in results:
        found[(RESULTS, site, kind.value, state.value)] += count
    took = _seconds(session, col(ResetRun.ordered_at), col(ResetRun.acted_at))
    durations = session.execute(
        select(
            col(Device.kind),
            func.sum(took),
            func.count(),
            *(func.sum(case((took <= bound, 1), else_=0)) for bound in BUCKETS),
        )
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .where(final, col(ResetRun.acted_at) >= col(ResetRun.ordered_at))
        .group_by(col(Device.kind))
    )
    for kind, total, count, *buckets in durations:
        found[(DURATION_SUM, kind.value)] += float(total)
        found[(DURATION, kind.value, "+Inf")] += count
        for bound, within in zip(BUCKETS, buckets, strict=True):
            found[(DURATION, kind.value, str(bound))] += within
    found[(VIOLATIONS,)] += _violations(session, final)
    return found


def _violations(session: Session, which: ColumnElement[bool]) -> int:
    """Resets that were going on while a course was running in the room. Must stay 0."""
    within_a_course = exists().where(
        col(Course.room_id) == col(Device.room_id),
        col(Course.cancelled).is_(False),
        col(Course.start) < col(ResetRun.acted_at),
        col(Course.end) > col(ResetRun.ordered_at),
    )
    count: int = session.execute(
        select(func.count())
        .select_from(ResetRun)
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .where(which, col(ResetRun.acted_at).is_not(None), within_a_course)
    ).scalar_one()
    return count


def _seconds(session: Session, start: Any, end: Any) -> ColumnElement[Any]:
    if session.get_bind().dialect.name == "postgresql":
        return extract("epoch", end - start)
    return (func.julianday(end) - func.julianday(start)) * 86400.0
