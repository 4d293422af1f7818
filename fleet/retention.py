"""Decides what is deleted when; one table of rules."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, Table, and_, delete, exists, func, or_, select, update
from sqlmodel import SQLModel

from fleet import evidence
from fleet.metrics import tally
from inventory import OPEN_SEARCHES, OPEN_STATES, OverrideKind, ProposalState, ReportState, Subject
from inventory.db import session

log = logging.getLogger(__name__)

BATCH = 1000
"""Rows in one transaction, so that nobody waits for a clean-up."""

MAX_BATCHES = 200
"""Per rule and call; the rest waits for the next call."""


def _table(name: str) -> Table:
    return SQLModel.metadata.tables[name]


READING, FLIP, REPORT = _table("reading"), _table("flip"), _table("report")
SIGN_IN, LINK = _table("sign_in"), _table("one_time_link")
INCIDENT = _table("incident")
SNAPSHOT = _table("feed_snapshot")
NOTICE = _table("notice")
PROPOSAL, SEARCH = _table("proposal"), _table("search")
OVERRIDE = _table("override")
COURSE, RUN = _table("course"), _table("reset_run")
EVIDENCE, SEAL = _table("evidence"), _table("evidence_seal")

Condition = Callable[[datetime], ColumnElement[bool]]
"""What is old enough, given the moment before which things are old."""


@dataclass(frozen=True)
class Rule:
    """Rows of `table` that are older than `after` are deleted, or only lose some columns."""

    name: str
    table: Table
    after: timedelta
    old: Condition
    blank: dict[str, Any] = field(default_factory=dict)
    """Column → value that it is overwritten with; empty: the row is deleted."""


def _done_with(column: str) -> Condition:
    """Reports that were done before the moment and still hold this text."""
    return lambda then: and_(
        REPORT.c.state == ReportState.DONE, REPORT.c.closed_at < then, REPORT.c[column] != ""
    )


def _superseded_flips(then: datetime) -> ColumnElement[bool]:
    """Old flips, but not the last one of a room or device: it says how things still are."""
    later = FLIP.alias()
    same = and_(
        later.c.subject == FLIP.c.subject,
        later.c.room_id == FLIP.c.room_id,
        func.coalesce(later.c.device_id, "") == func.coalesce(FLIP.c.device_id, ""),
        later.c.id > FLIP.c.id,
    )
    return and_(FLIP.c.at < then, FLIP.c.subject.in_(Subject), exists().where(same))


def _finished_runs(then: datetime) -> ColumnElement[bool]:
    return and_(RUN.c.planned_at < then, RUN.c.state.not_in(OPEN_STATES))


def _kept_bodies(then: datetime) -> ColumnElement[bool]:
    return and_(SNAPSHOT.c.seen_at < then, SNAPSHOT.c.body.is_not(None))


def _superseded(table: Table, moment: str, chain: str = "") -> Condition:
    """Old links of a chain, but not the newest of them: what follows is checked against it."""
    later = table.alias()
    follows = [later.c.number > table.c.number]
    follows += [later.c[chain] == table.c[chain]] if chain else []
    return lambda then: and_(
        table.c[moment] < then, exists().where(later.c[moment] < then, *follows)
    )


def _unseen(*states: ProposalState) -> Condition:
    return lambda then: and_(PROPOSAL.c.last_seen < then, PROPOSAL.c.state.in_(states))


def _ended_searches(then: datetime) -> ColumnElement[bool]:
    return and_(SEARCH.c.asked_at < then, SEARCH.c.state.not_in(OPEN_SEARCHES))


def _ended_overrides(then: datetime) -> ColumnElement[bool]:
    """What was taken back or ran out; a course called off ends with its course, when that is
    forgotten."""
    forgotten = and_(
        OVERRIDE.c.kind == OverrideKind.CANCEL,
        OVERRIDE.c.course_id.is_(None),
        OVERRIDE.c.made_at < then,
    )
    return or_(OVERRIDE.c.ended_at < then, OVERRIDE.c.until < then, forgotten)


DAY = timedelta(days=1)
YEAR = 365 * DAY

RULES = (
    Rule("readings", READING, 90 * DAY, lambda then: READING.c.taken_at < then),
    Rule("flips", FLIP, YEAR, _superseded_flips),
    Rule("incidents", INCIDENT, YEAR, lambda then: INCIDENT.c.closed_at < then),
    Rule("contacts of reports", REPORT, 14 * DAY, _done_with("contact"), {"contact": ""}),
    Rule("texts of reports", REPORT, YEAR, _done_with("text"), {"text": ""}),
    Rule("sign-ins", SIGN_IN, 0 * DAY, lambda then: SIGN_IN.c.expires_at < then),
    Rule("one-time links", LINK, 0 * DAY, lambda then: LINK.c.expires_at < then),
    Rule("notices", NOTICE, YEAR, lambda then: NOTICE.c.made_at < then),
    Rule("finds", PROPOSAL, 30 * DAY, _unseen(ProposalState.OPEN, ProposalState.SETTLED)),
    Rule(
        "decided finds",
        PROPOSAL,
        90 * DAY,
        _unseen(ProposalState.ACCEPTED, ProposalState.FOLLOWED),
    ),
    Rule("ignored finds", PROPOSAL, YEAR, _unseen(ProposalState.IGNORED)),
    Rule("searches", SEARCH, 90 * DAY, _ended_searches),
    Rule("reset runs", RUN, YEAR, _finished_runs),
    Rule("timetable contents", SNAPSHOT, 30 * DAY, _kept_bodies, {"body": None}),
    Rule("timetable snapshots", SNAPSHOT, 180 * DAY, lambda then: SNAPSHOT.c.seen_at < then),
    Rule("courses", COURSE, YEAR, lambda then: COURSE.c.end < then),
    Rule("what was said by hand", OVERRIDE, YEAR, _ended_overrides),
    Rule("evidence", EVIDENCE, evidence.KEPT, _superseded(EVIDENCE, "recorded_at", "device_id")),
    Rule("seals of evidence", SEAL, evidence.KEPT, _superseded(SEAL, "sealed_at")),
)
"""Done reports lose the contact after 14 days and the text after a year; what was broken stays.
A course takes its verdicts, alarms and reset runs along."""


def forget(engine: Engine, now: datetime) -> dict[str, int]:
    """Delete what is old, in small transactions. Returns rule → rows; safe to repeat."""
    with session(engine) as opened:
        tally.settle(opened, now)
        evidence.seal(opened, now)
    done: dict[str, int] = {}
    for rule in RULES:
        for _ in range(MAX_BATCHES):
            count = _batch(engine, rule, now)
            if count:
                done[rule.name] = done.get(rule.name, 0) + count
            if count < BATCH:
                break
    for name, count in done.items():
        log.info("%s: %d that were too old are gone", name, count)
    return done


def _batch(engine: Engine, rule: Rule, now: datetime) -> int:
    (key,) = rule.table.primary_key
    old = select(key).where(rule.old(now - rule.after)).order_by(key).limit(BATCH)
    with session(engine) as opened:
        ids = opened.execute(old).scalars().all()
        if not ids:
            return 0
        chosen = key.in_(ids)
        change = (
            update(rule.table).where(chosen).values(rule.blank)
            if rule.blank
            else delete(rule.table).where(chosen)
        )
        opened.execute(change)
        return len(ids)
