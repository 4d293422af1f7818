"""May this order be carried out now? The agent's own look at clock, roster and calendar."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from agents.messages import Hold, Order, Roster

ROSTER_MAX_AGE = timedelta(hours=48)
"""Older, and its copy of the calendar has run out."""
SKEW = timedelta(seconds=60)
"""How far the agent's clock may be behind the centre's."""
STOPS = frozenset({"recalled", "paused_everywhere", "maintenance", "paused", "course_running"})
"""What stops an order even after it was begun, where the device still can."""
EARLY = timedelta(seconds=60)
"""A course counts as running this long before its start: people come early."""


def refusal(order: Order, roster: Roster | None, now: datetime) -> str:
    """Why not, as a code; empty when it may. Pure.

    `expired`, `too_early`, `no_roster`, `roster_old`, `clock_in_doubt`, `unknown_device`,
    `wrong_room`, `recalled`, `plan_changed`, `paused_everywhere`, `maintenance`, `paused`,
    `calendar_in_doubt`, `course_running`, `too_late`.
    """
    return next((code for code, wrong in _complaints(order, roster, now) if wrong), "")


def objection(order: Order, roster: Roster | None, now: datetime) -> str:
    """Why to take it back although it was begun: what was said since. A code of `refusal`, or
    empty. Pure.

    Not what time alone brings, for it was begun in time, and not a plan that has changed: it is
    free of people still.
    """
    found = (code for code, wrong in _complaints(order, roster, now) if wrong and code in STOPS)
    return next(found, "")


def next_start(order: Order, roster: Roster, now: datetime) -> datetime | None:
    """When the next course begins that would feel it, by the centre's word or the agent's copy."""
    rooms = _rooms(order, roster)
    starts = [busy.start for busy in roster.busy if busy.room in rooms and busy.start > now]
    if order.next_start:
        starts.append(order.next_start)
    return min(starts, default=None)


def _complaints(order: Order, roster: Roster | None, now: datetime) -> Iterator[tuple[str, object]]:
    """(code, whether it applies), the first that does decides."""
    yield "expired", now > order.not_after
    yield "too_early", now < order.not_before
    yield "no_roster", roster is None
    if roster is None:
        return
    yield "roster_old", now - roster.sent_at > ROSTER_MAX_AGE
    yield "clock_in_doubt", roster.sent_at - now > SKEW
    target = next((one for one in roster.targets if one.device == order.device), None)
    yield "unknown_device", target is None or order.site != roster.site
    yield "wrong_room", target and target.room != order.room
    yield "recalled", order.id in roster.recalled
    yield "plan_changed", order.plan_rev < roster.plan_rev
    held = {hold.reason for hold in roster.holds if _holds(hold, order, now)}
    if order.force:
        held &= set() if order.force_all else {"paused_everywhere"}
    yield "paused_everywhere", "paused_everywhere" in held
    yield "maintenance", "maintenance" in held
    yield "paused", held
    rooms = _rooms(order, roster)
    trusted = [roster.trusted_until.get(room) for room in rooms]
    doubtful = any(until is None or until < now for until in trusted)
    yield "calendar_in_doubt", doubtful and not order.force
    courses = [busy for busy in roster.busy if busy.room in rooms]
    yield "course_running", any(busy.start - EARLY <= now < busy.end for busy in courses)
    start = next_start(order, roster, now)
    length = timedelta(seconds=order.max_runtime_s + order.settle_s)
    yield "too_late", start and start < now + length


def _rooms(order: Order, roster: Roster) -> set[str]:
    """Where it is felt. To look at an access point disturbs nobody; to restart it, many."""
    target = next((one for one in roster.targets if one.device == order.device), None)
    return {order.room, *(target.serves if target and order.steps else ())}


def _holds(hold: Hold, order: Order, now: datetime) -> bool:
    here = hold.room in ("", order.room) and hold.device in ("", order.device)
    return here and hold.start <= now and (hold.end is None or now < hold.end)
