"""Decides who is told when of a room that will not be ready for its course. Pure.

The ladder: from 45 minutes before the start nobody is told, resets are only tried again. From 30
minutes the caretaker is told, from 15 minutes the duty and the office, at the start the pages show
it. Every step is taken at most once for a course and a set of reasons, never a lower one after a
higher one, and nothing is said any more once it was said that the room is ready after all.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from fleet.readiness import Reason
from fleet.resets.quiet import ZONE, parse
from inventory import Audience, Level, Verdict


@dataclass(frozen=True)
class Step:
    """A rung of the ladder."""

    level: Level
    before: timedelta
    """From how long before the start on."""
    verdicts: frozenset[Verdict]
    audiences: frozenset[Audience]
    """Who is told; where a site names none of them, its IT."""


WRONG = frozenset({Verdict.DEGRADED, Verdict.NOT_READY, Verdict.UNKNOWN})
LADDER = (
    Step(Level.CARETAKER, timedelta(minutes=30), WRONG, frozenset({Audience.CARETAKER})),
    Step(
        Level.DUTY,
        timedelta(minutes=15),
        frozenset({Verdict.NOT_READY, Verdict.UNKNOWN}),
        frozenset({Audience.DUTY, Audience.OFFICE}),
    ),
)
EARLIEST = max(step.before for step in LADDER)
AUDIENCES: dict[Level, frozenset[Audience]] = {
    **{step.level: step.audiences for step in LADDER},
    Level.DAY_BEFORE: frozenset({Audience.CARETAKER, Audience.OFFICE}),
}
URGENT = timedelta(minutes=60)
"""Quiet hours count for nothing when a course begins within this time."""
AFTERNOON = (time(13), time(18))
"""When, in local time, tomorrow's courses are looked at."""
_ORDER = list(Level)


@dataclass(frozen=True)
class Raised:
    """An alarm that was raised for the course before."""

    level: Level
    reasons: frozenset[str]


@dataclass(frozen=True)
class Case:
    """A course, how its room is for it, and what was said of it already."""

    start: datetime
    end: datetime
    verdict: Verdict
    reasons: Sequence[Reason]
    preparing: bool = False
    """Resets are still under way: the verdict is a hope, not yet a fact."""
    frozen: Verdict | None = None
    """The verdict at the start, once it is written."""
    raised: Sequence[Raised] = ()


def decide(case: Case, now: datetime) -> list[Level]:
    """The steps to take now, the lowest first."""
    before = [each for each in case.raised if each.level is not Level.DAY_BEFORE]
    steps = []
    if (
        case.start <= now < case.end
        and case.frozen is Verdict.NOT_READY
        and not any(each.level is Level.START for each in before)
    ):
        steps.append(Level.START)
    told = [each for each in before if each.level in AUDIENCES]
    over = now >= case.end or any(each.level is Level.RECOVERED for each in before)
    if over:
        return steps
    if case.verdict is Verdict.READY:
        return [*steps, Level.RECOVERED] if told and not case.preparing else steps
    if now >= case.start:
        return steps
    reached = max((_ORDER.index(each.level) for each in told), default=0)
    return [
        step.level
        for step in LADDER
        if now >= case.start - step.before
        and case.verdict in step.verdicts
        and _ORDER.index(step.level) >= reached
        and _something_new(keys(case.reasons), step.level, told)
    ]


def _something_new(found: frozenset[str], level: Level, told: Iterable[Raised]) -> bool:
    same = [each.reasons for each in told if each.level is level]
    return not same or bool(found - frozenset().union(*same))


def keys(reasons: Iterable[Reason]) -> frozenset[str]:
    """What makes two reasons the same for those who are told: the device, whatever is wrong with
    it by now; and not how many devices are left, that changes by itself."""
    return frozenset(each.device or f"{each.code} {each.kind}" for each in reasons)


def key_of(found: Collection[str]) -> str:
    """One name for a set of reasons."""
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:32]


def warns(case: Case) -> list[Level]:
    """Whether tomorrow's course is warned of today: once, and only of what is certain."""
    certain = case.verdict in (Verdict.DEGRADED, Verdict.NOT_READY)
    said = any(each.level is Level.DAY_BEFORE for each in case.raised)
    return [Level.DAY_BEFORE] if certain and not said else []


def tomorrow(now: datetime) -> tuple[datetime, datetime] | None:
    """The local day whose courses are to be warned of now; None outside of the afternoon."""
    local = now.astimezone(ZONE)
    if not AFTERNOON[0] <= local.time() < AFTERNOON[1]:
        return None
    first = datetime.combine(local.date() + timedelta(days=1), time(), ZONE)
    last = datetime.combine(local.date() + timedelta(days=2), time(), ZONE)
    return first, last


def send_from(quiet: str, start: datetime, now: datetime) -> datetime:
    """From when a message about a course that begins at `start` may be sent."""
    hours = parse(quiet)
    if hours is None or start - now <= URGENT:
        return now
    return min(hours.next_loud(now), max(now, start - URGENT))
