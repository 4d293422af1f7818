"""The thresholds: which fact, of which kinds of device, is a fault from where on."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from inventory import DeviceKind, Health

Test = Callable[[Any], bool]
SOFT, HARD = Health.WARNING, Health.FAILED
GIGABYTE = 1_000_000_000


def number(value: Any) -> float | None:
    """The value when it is a finite number (true and false are none)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 else None


@dataclass(frozen=True)
class Limit:
    """A threshold: the usual one here, another for a site's kind, a device or a course."""

    usual: float
    crossed: Callable[[float, float], bool]
    """(value, limit) → whether it is a fault."""

    def __call__(self, value: Any, limit: float | None = None) -> bool:
        n = number(value)
        return n is not None and self.crossed(n, self.usual if limit is None else limit)


def above(limit: float) -> Limit:
    return Limit(limit, operator.gt)


def below(limit: float) -> Limit:
    return Limit(limit, operator.lt)


def beyond(limit: float) -> Limit:
    return Limit(limit, lambda value, furthest: abs(value) > furthest)


def yes(value: Any) -> bool:
    return value is True


def no(value: Any) -> bool:
    return value is False


def says(word: str) -> Test:
    return lambda value: isinstance(value, str) and value == word


@dataclass(frozen=True)
class Rule:
    """`fact` of `kinds` (None: all) is a fault when `test` holds and `unless` does not.

    `lasting`: a human must act, needed or not, and switching the device off does not heal it; the
    others count only while the device is needed.
    """

    reason: str
    sentence: str
    fact: str
    test: Test
    health: Health = SOFT
    kinds: frozenset[DeviceKind] | None = None
    lasting: bool = False
    unless: tuple[str, Test] | None = None

    @property
    def threshold(self) -> str:
        """By which name another limit can be set: the reason, with the fact where one reason has
        limits on two. Empty: there is nothing to set."""
        if not isinstance(self.test, Limit):
            return ""
        return f"{self.reason}.{self.fact}" if self.reason in _TWO_LIMITS else self.reason

    def applies(
        self, facts: Mapping[str, Any], lasting: bool, thresholds: Mapping[str, float]
    ) -> bool:
        """Whether the facts, with `fact` among them, show this fault; `lasting`: look only at
        faults that last; `thresholds`: limits that differ from the usual ones, by name."""
        if lasting and not self.lasting:
            return False
        value = facts[self.fact]
        if isinstance(self.test, Limit):
            if not self.test(value, thresholds.get(self.threshold)):
                return False
        elif not self.test(value):
            return False
        return self.unless is None or not self.unless[1](facts.get(self.unless[0]))


_TWO_LIMITS = frozenset({"disk_nearly_full"})
"""As a share and as bytes."""


MOBILE = frozenset({DeviceKind.LAPTOP, DeviceKind.TABLET})
LAPTOP = frozenset({DeviceKind.LAPTOP})
PICTURE = frozenset({DeviceKind.PROJECTOR, DeviceKind.DISPLAY})
NETWORK = frozenset({DeviceKind.ACCESS_POINT, DeviceKind.SWITCH})
UPS = frozenset({DeviceKind.UPS})
PLUGGED = ("plugged", yes)

RULES: tuple[Rule, ...] = (
    # reason, sentence, fact, from where on, how bad, of which kinds, lasting
    Rule("lamp_fault", "The lamp is broken.", "lamp_state", says("error"), HARD, None, True),
    Rule("fan_fault", "The fan is broken.", "fan_state", says("error"), HARD, None, True),
    Rule("too_hot", "It is too hot and will switch off.", "temperature_state", says("error"), HARD),
    Rule("cover_open", "The cover is open.", "cover_state", says("error"), HARD, None, True),
    Rule("device_fault", "It reports a fault.", "other_state", says("error"), HARD, None, True),
    Rule("disk_full", "The disk is full.", "disk_ratio", above(0.99), HARD, None, True),
    Rule("ups_empty", "The UPS has less than three minutes left.", "runtime_s", below(180), HARD,
         UPS, unless=("on_battery", no)),
    Rule("lamp_worn", "The lamp should be replaced.", "lamp_state", says("warning"), lasting=True),
    Rule("fan_worn", "The fan reports a warning.", "fan_state", says("warning"), lasting=True),
    Rule("hot", "It is getting too hot.", "temperature_state", says("warning")),
    Rule("cover_open", "The cover is open.", "cover_state", says("warning"), lasting=True),
    Rule("filter_clogged", "The filter must be cleaned or replaced.", "filter_state",
         says("error"), lasting=True),
    Rule("filter_dirty", "The filter should be cleaned.", "filter_state", says("warning"),
         lasting=True),
    Rule("device_warning", "It reports a warning.", "other_state", says("warning"), lasting=True),
    Rule("disk_failing", "The disk says that it will fail.", "disk_healthy", no, lasting=True),
    Rule("disk_nearly_full", "The disk is nearly full.", "disk_ratio", above(0.95), lasting=True),
    Rule("disk_nearly_full", "The disk is nearly full.", "disk_free_bytes", below(GIGABYTE),
         kinds=MOBILE, lasting=True),
    Rule("battery_low", "The battery is low and it is not plugged in.", "battery_ratio",
         below(0.2), kinds=MOBILE, unless=PLUGGED),
    Rule("battery_worn", "The battery has lost half of its capacity.", "battery_wear_ratio",
         above(0.5), lasting=True),
    Rule("lamp_old", "The lamp has reached its life.", "lamp_s", above(inf), kinds=PICTURE,
         lasting=True),
    Rule("filter_old", "The filter has reached its life.", "filter_s", above(inf), kinds=PICTURE,
         lasting=True),
    Rule("paper_jam", "Paper is jammed.", "paper_jam", yes, lasting=True),
    Rule("paper_empty", "There is no paper.", "paper_empty", yes, lasting=True),
    Rule("supply_low", "Toner or ink is low.", "supply_low", yes, lasting=True),
    Rule("supply_low", "Toner or ink is low.", "supply_ratio", below(0.05), lasting=True),
    Rule("door_open", "A door is open.", "door_open", yes),
    Rule("printer_stopped", "The printer has stopped.", "printer_state", says("stopped")),
    Rule("on_battery", "The UPS runs on its battery.", "on_battery", yes),
    Rule("ups_battery_low", "The battery of the UPS is low.", "battery_ratio", below(0.5),
         kinds=UPS),
    Rule("overloaded", "The UPS is nearly overloaded.", "load_ratio", above(0.9), kinds=UPS),
    Rule("hot", "It is getting too hot.", "temperature_c", above(75), kinds=NETWORK),
    Rule("hot", "It is getting too hot.", "temperature_c", above(95), kinds=LAPTOP),
    Rule("cpu_busy", "The processor is busy all the time.", "cpu_ratio", above(0.95),
         kinds=NETWORK),
    Rule("cpu_busy", "The processor is busy all the time.", "load_1m", above(4), kinds=LAPTOP),
    Rule("memory_low", "The memory is nearly full.", "memory_ratio", above(0.95)),
    Rule("clock_wrong", "The clock is wrong by more than 30 seconds.", "clock_offset_s",
         beyond(30)),
    Rule("services_failed", "Services of the operating system have failed.", "failed_units",
         above(0)),
    Rule("kiosk_unlocked", "The tablet is not locked to its kiosk.", "kiosk_locked", no),
    Rule("weak_wifi", "The Wi-Fi signal at the device is weak.", "wifi_dbm", below(-80),
         kinds=MOBILE),
)  # fmt: skip
"""Grave ones first; of equally grave ones the first that applies is named."""

BY_FACT: dict[DeviceKind, dict[str, list[tuple[int, Rule]]]] = {
    kind: {
        fact: [
            (place, rule)
            for place, rule in enumerate(RULES)
            if rule.fact == fact and (rule.kinds is None or kind in rule.kinds)
        ]
        for fact in {rule.fact for rule in RULES}
    }
    for kind in DeviceKind
}
"""The same by kind of device and fact, with each rule's place in the table."""

THRESHOLDS: dict[DeviceKind, dict[str, float]] = {
    kind: {
        rule.threshold: rule.test.usual
        for rule in RULES
        if isinstance(rule.test, Limit) and (rule.kinds is None or kind in rule.kinds)
    }
    for kind in DeviceKind
}
"""Kind of device → the thresholds that can be set for it, and the usual limit of each; infinite:
only a fault where somebody has set a limit."""
