"""Decides how one device is, from its facts, their age, the timetable and the clock; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from fleet.health.rules import BY_FACT, RULES
from inventory import DeviceKind, Health, Service

PATIENCE = 2
"""So many polls in a row must fail before a failure is believed: packets get lost."""

BACKOFF = timedelta(seconds=300)
"""The longest pause that an agent makes between two polls of a device that fails."""

FLAPS = 3
FLAP_WITHIN = timedelta(minutes=30)
STEADY = timedelta(minutes=10)
"""A device that was lost FLAPS times within FLAP_WITHIN is not well again before it has answered
for STEADY: one long fault is told once, a fault that comes and goes would be told all day."""


class Expected(StrEnum):
    """What a device is needed for now."""

    ALWAYS = "always"
    """Has to work day and night: access points, switches, UPS."""
    NEEDED = "needed"
    """A course begins in its room within the lead time: its reset is due."""
    IN_USE = "in_use"
    """A course is running in its room."""
    IDLE = "idle"
    """Nobody needs it: off, asleep, standby and unreachable are healthy."""


NO_THRESHOLDS: Mapping[str, float] = MappingProxyType({})

ALWAYS_ON = frozenset({DeviceKind.ACCESS_POINT, DeviceKind.SWITCH, DeviceKind.UPS})


@dataclass(frozen=True)
class Judgement:
    health: Health
    reason: str = ""
    """A key of REASONS; empty: nothing to say, it is simply well."""


NEVER_SEEN = Judgement(Health.UNKNOWN, "never_seen")
"""The verdict on a device of which nothing was ever heard."""

PERMANENT = {
    "denied": "The device refuses the credential.",
    "host_key_changed": "The device shows another SSH host key than before: replaced, or somebody"
    " is in between.",
    "wrong_device": "Another device answers at this address.",
    "misconfigured": "What the inventory says of this device makes no sense to its driver.",
    "missing_credential": "The named credential is not on the agent's machine.",
}
"""Problems that last until a human acts: shown at once, and also while nobody needs the device."""

SUSPICIOUS = frozenset({"host_key_changed", "wrong_device"})
"""Might be somebody else's machine: never just a warning."""

PASSING = {
    "unreachable": "The device does not answer.",
    "server_silent": "The server that speaks for the device does not answer.",
    "asleep_wifi": "Asleep; an access point still sees it on the Wi-Fi.",
    "timed_out": "The device begins to answer and does not finish in time.",
    "garbled": "The device's answers do not follow the protocol.",
    "refused": "The device refuses to answer.",
    "failed": "Looking at the device fails.",
}
MAINTENANCE = "maintenance"
AWAY = frozenset({"unreachable", "server_silent", "timed_out", "asleep_wifi"})

REASONS: dict[str, str] = {
    "never_seen": "Nothing was ever heard of this device.",
    "no_news": "The agent has not told anything about this device for too long.",
    "waiting": "One look failed; the next one decides.",
    "cut_off": "It cannot be reached, because what it hangs on has failed.",
    "flapping": "It answers, then again it does not.",
    "off": "Off, and nobody needs it now.",
    "asleep": "Asleep, and nobody needs it now.",
    "standby": "In standby.",
    "cooling": "Switching off.",
    "warming": "Warming up.",
    MAINTENANCE: "Somebody works on it.",
    "repair": "In repair.",
    "lent": "Lent to somebody.",
    "retired": "No longer in service.",
    **PERMANENT,
    **PASSING,
    **{rule.reason: rule.sentence for rule in RULES},
}
"""Every reason that `judge` can give, except the empty one → the sentence for people."""


def silence_limit(failures: int, poll_s: float) -> timedelta:
    """How old the last look may be before nobody knows any more.

    Three polls, and at least three minutes: an agent that restarts or a queue that is full for a
    moment must not turn a region grey. A device that fails is polled more rarely, so it may be
    silent for one longest pause more.
    """
    limit = timedelta(seconds=max(3 * poll_s, 180))
    return limit + BACKOFF if failures else limit


def expectation(kind: DeviceKind, room: Expected) -> Expected:
    """What is expected of a device of this kind in a room of which `room` is expected."""
    return Expected.ALWAYS if kind in ALWAYS_ON else room


def judge(
    kind: DeviceKind,
    *,
    reachable: bool,
    problem: str,
    failures: int,
    facts: Mapping[str, Any],
    taken_at: datetime,
    facts_at: datetime | None,
    expected: Expected,
    service: Service,
    now: datetime,
    poll_s: float,
    thresholds: Mapping[str, float] = NO_THRESHOLDS,
    losses: Sequence[datetime] = (),
    cut_off: bool = False,
    maintained: bool = False,
) -> Judgement:
    """The verdict on one device. Total: any facts give a verdict, never an error.

    `taken_at`, `reachable`, `problem`, `failures`: the last poll, and how many failed in a row.
    `facts`, `facts_at`: the last poll that answered. `thresholds`: limits that differ from the
    usual ones of `rules.THRESHOLDS`. `losses`: when it was lost lately. `cut_off`: something that
    it hangs on has failed, so nobody can know how it is. `maintained`: somebody works on it. OK is
    never said on facts older than `silence_limit`, and one more failure never makes the verdict
    better.
    """
    failing = not reachable or bool(problem)
    failures = max(failures, 1) if failing else 0
    if service != Service.ACTIVE or maintained:
        return Judgement(Health.OFF, MAINTENANCE if service == Service.ACTIVE else service.value)
    if now - taken_at > silence_limit(failures, poll_s):
        return Judgement(Health.UNKNOWN, "no_news")
    if failing and (failures >= PATIENCE or problem in PERMANENT):
        if not cut_off or reachable or expected is Expected.IDLE:
            return _failing(kind, reachable, problem, facts, expected, thresholds)
        return Judgement(Health.UNKNOWN, "cut_off")
    if facts_at is not None and now - facts_at <= silence_limit(0, poll_s):
        return _damped(_answering(kind, facts, expected, thresholds), expected, losses, now)
    unknown = Judgement(Health.UNKNOWN, "waiting" if failing else "no_news")
    return _resting(kind, facts, thresholds) if expected is Expected.IDLE else unknown


def flapping(losses: Sequence[datetime], now: datetime) -> bool:
    """Whether a device that was lost at these moments comes and goes."""
    last = losses[-FLAPS:]
    return len(last) == FLAPS and last[-1] - last[0] <= FLAP_WITHIN and now - last[-1] < STEADY


def _damped(
    found: Judgement, expected: Expected, losses: Sequence[datetime], now: datetime
) -> Judgement:
    if expected is Expected.IDLE or found.health is Health.FAILED or not flapping(losses, now):
        return found
    return Judgement(Health.FAILED, "flapping")


def _failing(
    kind: DeviceKind,
    reachable: bool,
    problem: str,
    facts: Mapping[str, Any],
    expected: Expected,
    thresholds: Mapping[str, float],
) -> Judgement:
    reason = problem or "unreachable"
    if reason not in PASSING and reason not in PERMANENT:
        reason = "failed"
    if reason == "asleep_wifi":
        return _sleeping(kind, facts, expected, thresholds)
    if expected is not Expected.IDLE or reason in SUSPICIOUS:
        return Judgement(Health.FAILED, reason)
    resting = _resting(kind, facts, thresholds)
    if resting.health is Health.FAILED:
        return resting
    if reason in PERMANENT or (reachable and reason not in AWAY):
        # It is there and talks nonsense: not a device that is merely off.
        return Judgement(Health.WARNING, reason)
    return resting


def _sleeping(
    kind: DeviceKind, facts: Mapping[str, Any], expected: Expected, thresholds: Mapping[str, float]
) -> Judgement:
    """It is there and cannot be asked: healthy while nobody needs it, else a warning."""
    resting = _resting(kind, facts, thresholds)
    if resting.health is not Health.OFF:
        return resting
    health = Health.OFF if expected is Expected.IDLE else Health.WARNING
    return Judgement(health, "asleep_wifi")


def _resting(
    kind: DeviceKind, facts: Mapping[str, Any], thresholds: Mapping[str, float]
) -> Judgement:
    """Off while nobody needs it: healthy, unless the last facts show what being off cannot heal."""
    return _worst(kind, facts, thresholds, lasting=True) or Judgement(Health.OFF, "off")


def _answering(
    kind: DeviceKind, facts: Mapping[str, Any], expected: Expected, thresholds: Mapping[str, float]
) -> Judgement:
    idle = expected is Expected.IDLE
    fault = _worst(kind, facts, thresholds, lasting=idle)
    power = facts.get("power")
    resting = power if power in ("standby", "cooling") else ""
    if resting and expected is Expected.IN_USE and not (fault and fault.health is Health.FAILED):
        return Judgement(Health.WARNING, resting)
    if fault:
        return fault
    if resting:
        # Before a course the reset will switch it on.
        return Judgement(Health.OFF if idle else Health.OK, resting)
    if power == "warming":
        return Judgement(Health.OK, "warming")
    if idle and facts.get("screen_on") is False:
        return Judgement(Health.OFF, "asleep")
    return Judgement(Health.OK)


def _worst(
    kind: DeviceKind, facts: Mapping[str, Any], thresholds: Mapping[str, float], *, lasting: bool
) -> Judgement | None:
    """The gravest fault that the facts show, of those that last or of all; the first of equals."""
    rules = BY_FACT[kind]
    found = [
        (place, rule)
        for fact in facts
        for place, rule in rules.get(fact, ())
        if rule.applies(facts, lasting, thresholds)
    ]
    if not found:
        return None
    _, rule = min(found, key=lambda each: each[0])
    return Judgement(rule.health, rule.reason)
