"""Counts for ever, although the rows are deleted one day: counters never go backwards.

What has rows is counted from them; what leaves none, or whose row says something else later, is
added to the same table when it happens (`inventory.tally.add`, `fleet.ends.keep`).
"""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, cast, exists, extract, func, or_, select
from sqlmodel import Session, col

from fleet import ends
from fleet.ends import HORIZON, Counts, locked_horizon
from inventory import (
    OPEN_STATES,
    Course,
    Device,
    Readiness,
    Report,
    ResetRun,
    Room,
    RunState,
    Tally,
)
from inventory.notice import OPEN_NOTICES, Notice
from inventory.reset import stood_in
from inventory.tally import Key, add
from inventory.upsert import upsert

SETTLED = timedelta(hours=6)
"""What is older and final is counted into the table `tally` once and for all."""
LATE = timedelta(days=2)
"""So long a run whose end was not heard is waited for: its proof may still come."""

BUCKETS = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800)
"""Upper bounds of the duration histogram, seconds."""

SLACK = (0, 60, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
"""Upper bounds of the histogram of how long before its course a reset was proved, seconds."""

DURATION, VIOLATIONS = "duration", "violations"
SLACK_NAME = "slack"
VERDICTS, NOTICES, REPORTS = "verdicts", "notices", "reports"
GATES = "gate_refusals"
"""This and `inventory.tally.WAKES` have no rows to count: who refuses or wakes adds to them."""


def totals(session: Session) -> Counts:
    """All counters: what is in the table, and the runs since.

    RESULTS: site, kind, final state, tier. FAILURES: site, kind, reason, step. CANARIES: site.
    VERDICTS: site, verdict. NOTICES: channel, state. GATES: site, gate.
    WAKES: site, method, result. DURATION: kind, tier, upper bound or `+Inf`, cumulative;
    SLACK_NAME: tier, bound; the sums of these two under `<name>_sum`. VIOLATIONS: no label.
    REPORTS: site, kind, impact.
    """
    found: Counts = defaultdict(float)
    horizon = datetime.fromtimestamp(0, UTC)
    for row in session.execute(select(col(Tally.counter), col(Tally.labels), col(Tally.value))):
        if row.counter == HORIZON:
            horizon = datetime.fromtimestamp(row.value, UTC)
        else:
            found[(row.counter, *(row.labels.split("\n") if row.labels else ()))] += row.value
    for key, value in _count(session, horizon, None).items():
        found[key] += value
    return found


def settle(session: Session, now: datetime) -> None:
    """Count what is settled into the table. Has to run before such rows are deleted."""
    horizon = locked_horizon(session)
    until = now - SETTLED
    unheard = and_(col(ResetRun.state) == RunState.UNKNOWN, col(ResetRun.planned_at) > now - LATE)
    not_final = or_(col(ResetRun.state).in_(OPEN_STATES), unheard)
    for oldest in (
        select(func.min(col(ResetRun.planned_at))).where(not_final),
        select(func.min(col(Notice.made_at))).where(col(Notice.state).in_(OPEN_NOTICES)),
    ):
        if (still_open := session.execute(oldest).scalar_one_or_none()) is not None:
            until = min(until, still_open - timedelta(seconds=1))
    until = until.replace(microsecond=0)
    if until <= horizon:
        return
    add(session, _count(session, horizon, until))
    session.execute(
        upsert(session, Tally), [{"counter": HORIZON, "labels": "", "value": until.timestamp()}]
    )


def _between(moment: Any, horizon: datetime, until: datetime | None) -> ColumnElement[bool]:
    after: ColumnElement[bool] = moment > horizon
    return after if until is None else and_(after, moment <= until)


def _count(session: Session, horizon: datetime, until: datetime | None) -> Counts:
    found: Counts = defaultdict(float)
    final = and_(
        _between(col(ResetRun.planned_at), horizon, until), col(ResetRun.state).not_in(OPEN_STATES)
    )
    ends.count(session, final, found)
    _count_times(session, final, found)
    found[(VIOLATIONS,)] += _violations(session, final)
    verdicts = session.execute(
        select(col(Room.site_id), col(Readiness.verdict), func.count())
        .join(Room, col(Room.id) == col(Readiness.room_id))
        .where(_between(col(Readiness.judged_at), horizon, until))
        .group_by(col(Room.site_id), col(Readiness.verdict))
    )
    for site, verdict, count in verdicts:
        found[(VERDICTS, site, verdict.value)] += count
    notices = session.execute(
        select(col(Notice.channel), col(Notice.state), func.count())
        .where(_between(col(Notice.made_at), horizon, until))
        .where(col(Notice.state).not_in(OPEN_NOTICES))
        .group_by(col(Notice.channel), col(Notice.state))
    )
    for channel, state, count in notices:
        found[(NOTICES, channel.value, state.value)] += count
    reports = session.execute(
        select(col(Room.site_id), col(Device.kind), col(Report.impact), func.count())
        .join(Device, col(Device.id) == col(Report.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(_between(col(Report.reported_at), horizon, until))
        .group_by(col(Room.site_id), col(Device.kind), col(Report.impact))
    )
    for site, kind, impact, count in reports:
        found[(REPORTS, site, kind.value, impact.value)] += count
    return found


def _count_times(session: Session, final: ColumnElement[bool], found: Counts) -> None:
    took = _seconds(session, col(ResetRun.ordered_at), col(ResetRun.acted_at))
    kind, tier = col(Device.kind), col(ResetRun.tier)
    durations = session.execute(
        select(kind, tier, *_alike(session, took))
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .where(final, col(ResetRun.acted_at) >= col(ResetRun.ordered_at))
        .group_by(kind, tier, "whole")
    )
    for kind_, tier_, whole, total, count in durations:
        _fill(found, DURATION, (kind_.value, tier_.value), BUCKETS, (whole, total, count))
    left = _seconds(session, col(ResetRun.looked_at), col(ResetRun.course_start))
    slacks = session.execute(
        select(tier, *_alike(session, left))
        .where(final, col(ResetRun.state) == RunState.VERIFIED)
        .where(col(ResetRun.looked_at).is_not(None), col(ResetRun.course_start).is_not(None))
        .group_by(tier, "whole")
    )
    for tier_, whole, total, count in slacks:
        _fill(found, SLACK_NAME, (tier_.value,), SLACK, (whole, total, count))


def _alike(session: Session, value: ColumnElement[Any]) -> tuple[Any, Any, Any]:
    """The values by whole seconds, rounded up, with their sum and number: a tenth of the work of
    asking the database for every bound."""
    up = value + 0.9999
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    whole = func.floor(up) if on_postgresql else cast(up, Integer)
    return whole.label("whole"), func.sum(value), func.count()


def _fill(
    found: Counts,
    name: str,
    labels: Key,
    bounds: tuple[int, ...],
    some: tuple[float, float, int],
) -> None:
    whole, total, count = some
    found[(f"{name}_sum", *labels)] += float(total)
    for bound in bounds:
        if whole <= bound:
            found[(name, *labels, str(bound))] += count
    found[(name, *labels, "+Inf")] += count


def _violations(session: Session, which: ColumnElement[bool]) -> int:
    """Resets that were going on while a course was running in the room. Must stay 0."""
    within_a_course = exists().where(
        col(Course.room_id) == stood_in(),
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
