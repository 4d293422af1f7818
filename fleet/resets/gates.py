"""What must be true before anything is done to a device: eight small questions, each in one
function, each asked again at the last moment; pure.

`GATES` is the table. Whoever decides takes it as an argument, so that a test can take a gate out
and show that something then goes wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from fleet.overrides import EVERYWHERE
from fleet.resets.window import Timed
from fleet.resets.world import Rules


@dataclass(frozen=True)
class Case:
    """One reset that is due, and everything the gates ask about it."""

    now: datetime
    rules: Rules
    length: timedelta
    busy: Sequence[Timed]
    """When the room is in use."""
    trusted: bool
    in_use: bool
    """Somebody was signed in when the device was last looked at, and is not to be sent away."""
    held_by: str = ""
    """What was said by hand against it, as a code."""
    too_loud: bool = False
    """It would be heard in the room's quiet hours."""
    crowded: str = ""
    """Which limit is reached, as a code."""
    current: bool = True
    """The plan looked at it since something of its site changed, and its course is still so."""
    in_service: bool = True
    forced: bool = False
    over_all: bool = False
    """Forced by somebody who may say what holds for every site."""


Gate = Callable[[Case], str]
"""Why not, as a code of `dashboards.reasons.RUN`; empty: this gate is open."""


def known_timeline(case: Case) -> str:
    """G1: no course is running in the room, has just ended, or is about to begin."""
    guard = max(case.rules.guard, case.rules.buffer)
    within = (one.start - guard <= case.now < one.end + case.rules.grace for one in case.busy)
    return "course_running" if any(within) else ""


def time_left(case: Case) -> str:
    """G2: begun now, it ends before people come to the next course, whatever it does."""
    ready_by = case.now + case.length + case.rules.buffer
    return "too_close" if any(case.now < one.start < ready_by for one in case.busy) else ""


def calendar_trusted(case: Case) -> str:
    """G3: the timetable was read in full, and lately."""
    return "" if case.trusted or case.forced else "calendar_in_doubt"


def nobody_at_it(case: Case) -> str:
    """G4: nobody is signed in. The device itself has the last word."""
    return "in_use" if case.in_use else ""


def nothing_said_against(case: Case) -> str:
    """G5: no pause, no maintenance, no stopped recipe; and nobody is woken by it."""
    if case.forced:
        binding = case.held_by == EVERYWHERE and not case.over_all
        return case.held_by if binding else ""
    return case.held_by or ("quiet_hours" if case.too_loud else "")


def free_and_room(case: Case) -> str:
    """G6: nothing else is under way on the device, and there is a place for one more."""
    return case.crowded


def plan_current(case: Case) -> str:
    """G7: it is not a plan of yesterday."""
    return "" if case.current else "plan_changed"


def in_service(case: Case) -> str:
    """G8: the device is neither in repair nor lent nor retired."""
    return "" if case.in_service else "not_active"


GATES: Mapping[str, Gate] = MappingProxyType(
    {
        "G1": known_timeline,
        "G2": time_left,
        "G3": calendar_trusted,
        "G4": nobody_at_it,
        "G5": nothing_said_against,
        "G6": free_and_room,
        "G7": plan_current,
        "G8": in_service,
    }
)


def refusal(case: Case, gates: Mapping[str, Gate] = GATES) -> tuple[str, str]:
    """The first gate that is closed and why, or two empty words."""
    for name, gate in gates.items():
        if code := gate(case):
            return name, code
    return "", ""
