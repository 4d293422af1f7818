"""What Prometheus is told of resets: how they ended, how long they took, what held them up."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import func, select
from sqlmodel import Session, col

from agents.driver import ResetFailed
from agents.steps import STEPS_OF
from fleet import ends
from fleet.ends import Counts
from fleet.metrics import tally
from fleet.metrics.exposition import Family
from inventory import (
    OPEN_STATES,
    Device,
    Recipe,
    ResetRun,
    Room,
    RunState,
    Tier,
    Verdict,
)
from inventory.tally import WAKES

FINAL = tuple(state for state in RunState if state not in OPEN_STATES)
USUAL = ("gap_too_short", "in_use", "no_answer", "not_clean", "not_sent", "unreachable")
"""Reasons whose counters begin at 0, so that the first one is seen as an increase."""
BROKEN = ResetFailed.code
"""The one that a step comes with; all steps begin at 0."""
GATES = ("calendar_in_doubt", "course_running", "in_use", "too_close")
WAYS_TO_WAKE = (
    ("magic_packet", "woken"),
    ("magic_packet", "asleep"),
    ("none", "switched_off"),
)
"""Method and result of `agents.messages.Wake`."""


def reset_families(session: Session, counted: Counts) -> Iterable[Family]:
    """`counted`: what `tally.totals` gave."""
    kinds = _resettable(session)
    kinds |= {(key[1], key[2]) for key in counted if key[0] == ends.RESULTS}
    sites = sorted(set(session.scalars(select(col(Room.site_id)).distinct())))
    limits = _limits(session)
    yield from _ends(counted, sorted(kinds), limits)
    yield from _times(counted, limits)
    yield from _doings(counted, sites)
    yield _open(session, sorted({site for site, _ in kinds}))


def _ends(
    counted: Counts, kinds: list[tuple[str, str]], limits: Collection[tuple[str, str]]
) -> Iterable[Family]:
    """`limits`: the pairs of kind and tier that there are."""
    results = Family("raumwart_resets_total", "counter", "Resets that came to an end, by result")
    failures = Family(
        "raumwart_reset_failures_total",
        "counter",
        "Resets that proved nothing, by reason and the step at which the device said it broke",
    )
    violations = Family(
        "raumwart_reset_safety_violations_total",
        "counter",
        "Resets that ran while a course was running in the room; must stay 0",
    )
    reasons: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    tiers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for key in counted:
        if key[0] == ends.FAILURES:
            reasons[key[1], key[2]].add((key[3], key[4]))
        elif key[0] == ends.RESULTS:
            tiers[key[1], key[2]].add(key[4])
    for site, kind in kinds:
        for tier in sorted(tiers[site, kind].union(t for k, t in limits if k == kind)):
            for state in FINAL:
                value = counted[(ends.RESULTS, site, kind, state.value, tier)]
                results.add(value, site=site, kind=kind, tier=tier, result=state.value)
        broken = ((BROKEN, step) for step in STEPS_OF.get(kind, ()))
        usual = ((reason, "") for reason in USUAL)
        for reason, step in sorted(reasons[site, kind].union(broken, usual)):
            value = counted[(ends.FAILURES, site, kind, reason, step)]
            failures.add(value, site=site, kind=kind, reason=reason, step=step)
    violations.add(counted[(tally.VIOLATIONS,)])
    return results, failures, violations


def _times(counted: Counts, limits: Mapping[tuple[str, str], int]) -> Iterable[Family]:
    took = Family(
        "raumwart_reset_duration_seconds",
        "histogram",
        "From the order to the device's word that it finished",
    )
    slack = Family(
        "raumwart_reset_slack_seconds",
        "histogram",
        "How long before its course's start a reset was proved",
    )
    limit = Family(
        "raumwart_reset_watchdog_seconds",
        "gauge",
        "After which time a reset is ended by the device itself, the longest of the kind",
    )
    timed = {(key[1], key[2]) for key in counted if key[0] == tally.DURATION}
    for kind, tier in sorted(timed.union(limits)):
        _histogram(took, counted, tally.DURATION, tally.BUCKETS, kind=kind, tier=tier)
    for (kind, tier), seconds in sorted(limits.items()):
        limit.add(seconds, kind=kind, tier=tier)
    tiers = {key[1] for key in counted if key[0] == tally.SLACK_NAME}
    for tier in sorted(tiers.union(tier for _, tier in limits)):
        _histogram(slack, counted, tally.SLACK_NAME, tally.SLACK, tier=tier)
    return took, slack, limit


def _doings(counted: Counts, sites: list[str]) -> Iterable[Family]:
    verdicts = Family(
        "raumwart_course_verdicts_total", "counter", "Courses by the verdict at their start"
    )
    refused = Family(
        "raumwart_reset_gate_refusals_total",
        "counter",
        "Resets that were due and held up, by what held them up",
    )
    wakes = Family("raumwart_wakes_total", "counter", "Sleeping devices that were to wake")
    gates = {key[2] for key in counted if key[0] == tally.GATES}.union(GATES)
    for site in sites:
        for verdict in Verdict:
            value = counted[(tally.VERDICTS, site, verdict.value)]
            verdicts.add(value, site=site, verdict=verdict.value)
        for gate in sorted(gates):
            refused.add(counted[(tally.GATES, site, gate)], site=site, gate=gate)
        for method, result in WAYS_TO_WAKE:
            value = counted[(WAKES, site, method, result)]
            wakes.add(value, site=site, method=method, result=result)
    return verdicts, refused, wakes


def _open(session: Session, sites: list[str]) -> Family:
    underway = Family("raumwart_resets_open", "gauge", "Resets on the way, by state")
    rows = session.execute(
        select(col(Room.site_id), col(ResetRun.state), func.count())
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(col(ResetRun.state).in_(OPEN_STATES))
        .group_by(col(Room.site_id), col(ResetRun.state))
    )
    now = {(site, state): count for site, state, count in rows}
    for site in sites:
        for state in RunState:
            if state in OPEN_STATES:
                underway.add(now.get((site, state), 0), site=site, state=state.value)
    return underway


def _resettable(session: Session) -> set[tuple[str, str]]:
    """Site and kind of the devices that have a recipe: their counters begin at 0."""
    rows = session.execute(
        select(col(Room.site_id), col(Device.kind))
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(col(Device.recipe_id).is_not(None))
        .distinct()
    )
    return {(site, kind.value) for site, kind in rows}


def _limits(session: Session) -> dict[tuple[str, str], int]:
    """Kind and tier → the longest watchdog of the recipes that its devices have."""
    recipes = {recipe.id: recipe for recipe in session.scalars(select(Recipe))}
    pairs = session.execute(
        select(col(Device.kind), col(Device.recipe_id))
        .where(col(Device.recipe_id).is_not(None))
        .distinct()
    )
    limits: dict[tuple[str, str], int] = {}
    for kind, recipe_id in pairs:
        recipe = recipes[recipe_id]
        for tier in recipe.tiers or (Tier.QUICK.value,):
            said = recipe.tiers.get(tier, {}).get("max_runtime_s", recipe.max_runtime_s)
            limits[kind.value, tier] = max(said, limits.get((kind.value, tier), 0))
    return limits


def _histogram(
    family: Family, counted: Counts, name: str, bounds: Iterable[int], **values: str
) -> None:
    parts = {
        suffix: Family(family.name + suffix, "histogram", "")
        for suffix in ("_bucket", "_sum", "_count")
    }
    key = (name, *values.values())
    for bound in (*map(str, bounds), "+Inf"):
        parts["_bucket"].add(counted[(*key, bound)], **values, le=bound)
    parts["_sum"].add(counted[(f"{name}_sum", *values.values())], **values)
    parts["_count"].add(counted[(*key, "+Inf")], **values)
    for part in parts.values():
        family.lines.extend(part.lines)
