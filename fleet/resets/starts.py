"""Which of the resets that are due begin now, in which order, and what keeps the others; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleet.resets.gates import GATES, Case, Gate, refusal
from fleet.resets.load import Load, Seat
from fleet.resets.planner import lot
from fleet.resets.quiet import Quiet
from fleet.resets.ways import Way, up_to
from fleet.resets.window import Timed
from fleet.resets.world import Rules
from inventory import Tier


@dataclass(frozen=True)
class Due:
    """A run whose time has come. `start`: of the course it is for, or when it is given up;
    `share`: how much of its kind the room needs."""

    id: str
    device: str
    room: str
    site: str
    uplink: str | None
    start: datetime
    share: float
    ways: tuple[Way, ...]
    tier: Tier
    busy: Sequence[Timed]
    trusted: bool
    signed_in: bool
    held_by: str
    quiet: Quiet | None
    current: bool
    in_service: bool
    automatic: bool
    forced: bool = False
    over_all: bool = False


@dataclass(frozen=True)
class Decision:
    """`gate` and `code` say why it has to wait; both empty: it begins, in this way."""

    due: Due
    way: Way
    gate: str = ""
    code: str = ""


def decide(
    now: datetime,
    due: Sequence[Due],
    load: Load,
    rules: Rules,
    gates: Mapping[str, Gate] = GATES,
) -> list[Decision]:
    """One decision for each: the earliest course first, in it the rooms that can spare least, then
    by lot, so that no room waits for one bad device. `load` is counted up."""
    decided = []
    for one in sorted(due, key=lambda each: (each.start, -each.share, lot(each.device), each.id)):
        way = _way(now, one, rules)
        seat = Seat(one.device, one.room, one.site, one.uplink, way)
        case = Case(
            now=now,
            rules=rules,
            length=way.length,
            busy=one.busy,
            trusted=one.trusted,
            in_use=one.signed_in and not way.sends_away,
            held_by=one.held_by,
            too_loud=way.noisy and one.quiet is not None and one.quiet.at(now),
            crowded=load.crowded(seat, rules, automatic=one.automatic),
            current=one.current,
            in_service=one.in_service,
            forced=one.forced,
            over_all=one.over_all,
        )
        gate, code = refusal(case, gates)
        if not code:
            load.take(seat)
        decided.append(Decision(one, way, gate, code))
    return decided


def _way(now: datetime, one: Due, rules: Rules) -> Way:
    """The richest that was planned and still leaves time for the simplest; what was planned first
    may no longer fit."""
    found = up_to(one.ways, one.tier)
    following = min((each.start for each in one.busy if each.start > now), default=None)
    if following is None:
        return found[-1]
    for way in reversed(found[1:]):
        if now + way.length + found[0].length + rules.buffer <= following:
            return way
    return found[0]
