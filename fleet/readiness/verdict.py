"""Is this room fit for its course, and if not, why? Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any

from fleet.health import MAINTENANCE
from fleet.readiness import limits
from inventory import DeviceKind, Health, RunState, Verdict

REASONS: dict[str, str] = {
    "no_devices": "There is no device in the room.",
    "service_was_down": "The service was not running when the course began.",
    "moment_missed": "The service was not running at that moment.",
    "learned_late": "The service learned of the course only after it had begun.",
    "calendar_in_doubt": "The room's timetable cannot be read in full or is too old, so nothing is"
    " reset.",
    "agent_silent": "Nothing is heard from the site any more.",
    "canary_failed": "The reset's own test was not passed, so its proofs cannot be relied on.",
    "canary_stale": "The reset's own test has not been passed for days.",
    "too_few": "There are too few devices of a kind that the course can use.",
    "spare_needed": "A spare device has to be swapped in.",
    "device_failed": "The device is faulty.",
    "in_maintenance": "Somebody works on the device.",
    "reported_broken": "Somebody reported that the device cannot be used.",
    "battery_low": "The battery is below 40 per cent and the device is not plugged in.",
    "device_unknown": "It is not known how the device is.",
    "gap_too_short": "The break before the course is too short for a reset.",
    "reset_failed": "The reset failed.",
    "reset_unknown": "The end of the reset was never heard.",
    "reset_expired": "The reset could not begin in time.",
    "reset_again": "The last reset was not proved; it is tried again.",
    "not_proved": "It is not proved that the device was reset.",
    "used_since": "The device was used after its reset.",
    "no_course": "No course is planned in the next two weeks.",
}
"""Every code of a Reason → a sentence for people, the gravest first."""
_GRAVITY = {code: place for place, code in enumerate(REASONS)}


@dataclass(frozen=True)
class Reason:
    """Why a room is not simply ready. `device` is an id, `name` what people call it; `have` and
    `need` count devices of `kind`; `detail` is a further code, such as the device's own reason."""

    code: str
    kind: str = ""
    device: str = ""
    have: int = 0
    need: int = 0
    detail: str = ""
    name: str = ""


class Fitness(StrEnum):
    USABLE = "usable"
    PENDING = "pending"
    """Its reset is still to come, in time: counted on before the start, not at it. Once a try of
    it failed, it is counted on no more."""
    UNFIT = "unfit"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Proof:
    """A reset run, as far as it matters here. `in_time`: it is open and its deadline is to come;
    `clean`: the device still carries its proof."""

    state: RunState
    reason: str
    in_time: bool
    looked_at: datetime | None
    used_at: datetime | None
    clean: bool


@dataclass(slots=True)  # not frozen, which would treble the time to make 10,000
class Candidate:
    """A device in service in the room. `run`: its reset for this course; `by_hand`: resets that
    somebody asked for. `lead` is None for a device that needs no reset."""

    id: str
    name: str
    kind: DeviceKind
    spare: bool
    health: Health
    health_reason: str
    reported: bool = False
    seen_at: datetime | None = None
    battery: float | None = None
    """How full it is, 0 to 1; None: it is plugged in, or nobody knows."""
    lead: timedelta | None = None
    ahead: timedelta | None = None
    """How long before a course its reset may be; None: as long as `lead`."""
    run: Proof | None = None
    by_hand: tuple[Proof, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """The course that the room is judged for. `previous_end`: when the one before it ends."""

    start: datetime
    previous_end: datetime | None
    buffer: timedelta
    """Who uses a device this shortly before the start is already in the course."""
    unseen: str = ""
    """Why nobody knows how the devices were when it began, or asks for proof: a code of REASONS."""


@dataclass(frozen=True)
class Swap:
    """A spare to put in the place of a device that the course cannot use, by their names. Without
    `out` it is put beside the others, for there are too few."""

    kind: str
    out: str
    into: str


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    reasons: list[Reason] = field(default_factory=list)
    preparing: bool = False
    proved: int = 0
    to_prove: int = 0
    counts: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Kind → (usable, wanted, present), spares not counted."""
    swaps: list[Swap] = field(default_factory=list)


def judge_room(
    required: Mapping[str, Any],
    devices: Sequence[Candidate],
    lesson: Lesson | None,
    now: datetime,
    *,
    doubts: Iterable[Reason] = (),
) -> Judgement:
    """The verdict on a room for its running or next course.

    Before the start it is a forecast: resets that are still in time count as done. From the start
    on only proof counts. `doubts`: why the verdict must be unknown, or no more than degraded,
    whatever the devices say. A device of which nothing is known is taken once as good and once as
    bad: only where both give the same answer, or the bad case is still degraded, is the answer
    given.
    """
    judged = {each.id: fitness(each, lesson, now) for each in devices}
    reasons = list(doubts)
    worst, best = Verdict.READY, Verdict.READY
    counts: dict[str, tuple[int, int, int]] = {}
    swaps: list[Swap] = []
    for kind, (wanted, least) in sorted(_needs(required, devices).items()):
        same = [each for each in devices if each.kind == kind]
        good = [each for each in same if judged[each.id][0] in (Fitness.USABLE, Fitness.PENDING)]
        maybe = good + [each for each in same if judged[each.id][0] is Fitness.UNKNOWN]
        low, high = _enough(good, wanted, least), _enough(maybe, wanted, least)
        worst, best = _graver(worst, low), _graver(best, high)
        usable = _regular(good)
        counts[kind] = (usable, wanted, _regular(same))
        if low is not Verdict.READY:
            reasons += [reason for each in same if (reason := judged[each.id][1])]
            code = "spare_needed" if len(good) >= wanted else "too_few"
            reasons.append(Reason(code, kind, have=usable, need=wanted))
            swaps += _swaps(kind, same, good, wanted - usable)
    if not devices and not counts:
        reasons.append(Reason("no_devices"))
    if lesson is None:
        reasons.append(Reason("no_course"))
    elif lesson.unseen:
        reasons.append(Reason(lesson.unseen))
    doubtful = any(reason.code in _DOUBTS for reason in reasons)
    if any(reason.code in _WEAKER for reason in reasons):
        worst, best = _graver(worst, Verdict.DEGRADED), _graver(best, Verdict.DEGRADED)
    asked = lesson is not None and not lesson.unseen
    to_prove = [each for each in devices if asked and each.lead is not None and not each.spare]
    return Judgement(
        verdict=Verdict.UNKNOWN if doubtful else _between(worst, best),
        reasons=sorted(reasons, key=_rank),
        preparing=any(under_way(each, lesson, now) for each in devices),
        proved=sum(proved(each, lesson, now) for each in to_prove),
        to_prove=len(to_prove),
        counts=counts,
        swaps=swaps,
    )


def _swaps(
    kind: str, devices: Sequence[Candidate], good: Sequence[Candidate], missing: int
) -> list[Swap]:
    """Which spare replaces which device, in the order of their names, as far as spares are left."""
    spares = sorted((each.name for each in good if each.spare), key=in_order)
    lost = sorted(
        (each.name for each in devices if not each.spare and each not in good), key=in_order
    )
    places = (lost + [""] * missing)[:missing]
    return [Swap(kind, out, into) for out, into in zip(places, spares, strict=False)]


def in_order(name: str) -> list[tuple[int, str]]:
    """A key that sorts names as people count: Laptop 2 before Laptop 10."""
    parts = re.findall(r"\d+|\D+", name.casefold())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


_DOUBTS = frozenset(
    {"no_devices", "service_was_down", "learned_late", "calendar_in_doubt", "agent_silent"}
)
_WEAKER = frozenset({"canary_failed", "canary_stale"})
"""With these no room is simply ready, whatever its devices prove."""
_KINDS = frozenset(kind.value for kind in DeviceKind)
_WORSE = (Verdict.READY, Verdict.DEGRADED, Verdict.NOT_READY)


def _rank(reason: Reason) -> tuple[int, str, str]:
    return _GRAVITY[reason.code], reason.kind, reason.device


def _graver(one: Verdict, other: Verdict) -> Verdict:
    return max(one, other, key=_WORSE.index)


def _between(worst: Verdict, best: Verdict) -> Verdict:
    if worst is Verdict.NOT_READY and best is not Verdict.NOT_READY:
        return Verdict.UNKNOWN
    return worst


def _regular(devices: Iterable[Candidate]) -> int:
    return sum(not each.spare for each in devices)


def _enough(usable: Sequence[Candidate], wanted: int, least: int) -> Verdict:
    if _regular(usable) >= wanted:
        return Verdict.READY
    return Verdict.DEGRADED if len(usable) >= least else Verdict.NOT_READY


def _needs(required: Mapping[str, Any], devices: Iterable[Candidate]) -> dict[str, tuple[int, int]]:
    """Kind → (wanted, least). What the room does not say: all that stand there, four of five."""
    present: dict[str, int] = defaultdict(int)
    for each in devices:
        present[each.kind] += not each.spare
    needs = {str(kind): (count, _least(count)) for kind, count in present.items()}
    for kind, said in required.items():
        if kind not in _KINDS:
            continue
        if isinstance(said, Mapping):
            wanted = _count(said.get("wanted"), present[kind])
            needs[kind] = (wanted, min(_count(said.get("least"), _least(wanted)), wanted))
        else:
            wanted = _count(said, present[kind])
            needs[kind] = (wanted, _least(wanted))
    return needs


def _count(said: Any, otherwise: int) -> int:
    good = isinstance(said, int) and not isinstance(said, bool) and said >= 0
    return int(said) if good else otherwise


def _least(wanted: int) -> int:
    return ceil(limits.LEAST_SHARE * wanted)


def fitness(
    device: Candidate, lesson: Lesson | None, now: datetime
) -> tuple[Fitness, Reason | None]:
    """Whether the course can use the device, and if not, why."""

    def no(code: str, detail: str = "", how: Fitness = Fitness.UNFIT) -> tuple[Fitness, Reason]:
        return how, Reason(code, device.kind.value, device.id, detail=detail, name=device.name)

    if device.health is Health.FAILED:
        return no("device_failed", device.health_reason)
    if device.health_reason == MAINTENANCE:
        return no("in_maintenance")
    if device.reported:
        return no("reported_broken")
    if device.health is Health.UNKNOWN:
        return no("device_unknown", device.health_reason, Fitness.UNKNOWN)
    how, reset = _reset_fitness(device, lesson, now)
    if reset:
        return no(*reset, how=how)
    # Graver first: an unproved reset cannot be put right with a power supply.
    return no("battery_low") if _runs_empty(device, lesson, now) else (how, None)


def _reset_fitness(
    device: Candidate, lesson: Lesson | None, now: datetime
) -> tuple[Fitness, tuple[str, str] | None]:
    """The same by its resets alone; the code and detail of what is wrong, if anything."""
    if device.lead is None or lesson is None or lesson.unseen or proved(device, lesson, now):
        return Fitness.USABLE, None
    if under_way(device, lesson, now):
        if device.run and device.run.reason:
            return Fitness.UNKNOWN, ("reset_again", device.run.reason)
        return Fitness.PENDING, None
    if _not_yet_planned(device, device.lead, lesson, now):
        return Fitness.PENDING, None
    return Fitness.UNFIT, _unproved(device.run, lesson)


def _runs_empty(device: Candidate, lesson: Lesson | None, now: datetime) -> bool:
    """Whether it would go out in the course. `battery` is None when it is plugged in."""
    if lesson is None or device.battery is None or device.battery >= limits.BATTERY_RATIO:
        return False
    return lesson.start - limits.BATTERY_BEFORE <= now <= lesson.start + limits.LATE


def proved(device: Candidate, lesson: Lesson | None, now: datetime) -> bool:
    """Whether a look after a reset showed the device clean, and nobody has used it since.

    A reset by hand is as good as the planned one, if it is not older than that could be.
    """
    if lesson is None or device.lead is None:
        return False
    earliest = lesson.start - (device.ahead or device.lead)
    return (device.run is not None and _holds(device.run, lesson, now)) or any(
        each.looked_at is not None and each.looked_at >= earliest and _holds(each, lesson, now)
        for each in device.by_hand
    )


def _holds(run: Proof, lesson: Lesson, now: datetime) -> bool:
    if run.state is not RunState.VERIFIED or run.looked_at is None:
        return False
    if lesson.previous_end is not None and run.looked_at < lesson.previous_end:
        return False
    broken = run.used_at or (None if run.clean else now)
    return broken is None or broken >= lesson.start - lesson.buffer


def under_way(device: Candidate, lesson: Lesson | None, now: datetime) -> bool:
    """Whether a reset for this course is still open, and in time."""
    run = device.run
    return lesson is not None and run is not None and run.in_time and now < lesson.start


def _not_yet_planned(device: Candidate, lead: timedelta, lesson: Lesson, now: datetime) -> bool:
    """Before its lead time begins, or in the moment until the planner has come round."""
    return device.run is None and now < max(lesson.start - lesson.buffer, lesson.start - lead)


def _unproved(run: Proof | None, lesson: Lesson) -> tuple[str, str]:
    """The code, and the run's own reason."""
    if run is None:
        return "not_proved", ""
    if run.state is RunState.VERIFIED:
        old = lesson.previous_end and run.looked_at and run.looked_at < lesson.previous_end
        return ("not_proved", "") if old else ("used_since", "")
    if run.state is RunState.EXPIRED and run.reason == "gap_too_short":
        return "gap_too_short", ""
    ends = {
        RunState.FAILED: "reset_failed",
        RunState.UNKNOWN: "reset_unknown",
        RunState.EXPIRED: "reset_expired",
    }
    return ends.get(run.state, "not_proved"), run.reason
