"""The verdict on one device: examples from a room's day, and what holds for all facts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.driver import (
    Denied,
    DriverError,
    Garbled,
    HostKeyChanged,
    Misconfigured,
    MissingCredential,
    ServerSilent,
    TimedOut,
    Unreachable,
    WrongDevice,
)
from agents.facts import FACTS
from fleet.health import (
    PERMANENT,
    REASONS,
    Expected,
    Judgement,
    expectation,
    judge,
    silence_limit,
)
from fleet.health.rules import RULES
from inventory import DeviceKind, Health, Service

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SEVERITY = {
    Health.OK: 0,
    Health.OFF: 0,
    Health.WARNING: 1,
    Health.UNKNOWN: 2,
    Health.FAILED: 3,
}


def verdict(
    kind: DeviceKind,
    facts: dict[str, Any],
    expected: Expected,
    *,
    age: float = 10,
    facts_age: float | None = 10,
    failures: int = 0,
    problem: str = "",
    service: Service = Service.ACTIVE,
) -> Judgement:
    return judge(
        kind,
        reachable=failures == 0 or problem not in ("", "unreachable", "timed_out"),
        problem=problem,
        failures=failures,
        facts=facts,
        taken_at=NOW - timedelta(seconds=age),
        facts_at=None if facts_age is None else NOW - timedelta(seconds=facts_age),
        expected=expected,
        service=service,
        now=NOW,
        poll_s=60,
    )


IDLE, NEEDED, IN_USE, ALWAYS = Expected.IDLE, Expected.NEEDED, Expected.IN_USE, Expected.ALWAYS
LAPTOP, PROJECTOR, TABLET = DeviceKind.LAPTOP, DeviceKind.PROJECTOR, DeviceKind.TABLET
AP, PRINTER, UPS = DeviceKind.ACCESS_POINT, DeviceKind.PRINTER, DeviceKind.UPS


@pytest.mark.parametrize(
    ("kind", "facts", "expected", "health", "reason"),
    [
        (LAPTOP, {"battery_ratio": 0.9}, NEEDED, Health.OK, ""),
        (LAPTOP, {"battery_ratio": 0.1, "plugged": False}, NEEDED, Health.WARNING, "battery_low"),
        (LAPTOP, {"battery_ratio": 0.1}, NEEDED, Health.WARNING, "battery_low"),
        (LAPTOP, {"battery_ratio": 0.1, "plugged": True}, NEEDED, Health.OK, ""),
        (LAPTOP, {"battery_ratio": 0.1, "plugged": False}, IDLE, Health.OK, ""),
        (LAPTOP, {"disk_ratio": 0.97}, IDLE, Health.WARNING, "disk_nearly_full"),
        (LAPTOP, {"disk_ratio": 1.0}, NEEDED, Health.FAILED, "disk_full"),
        (LAPTOP, {"disk_healthy": False}, IDLE, Health.WARNING, "disk_failing"),
        (LAPTOP, {"clock_offset_s": -31}, NEEDED, Health.WARNING, "clock_wrong"),
        (LAPTOP, {"clock_offset_s": 30}, NEEDED, Health.OK, ""),
        (LAPTOP, {"failed_units": 1}, IN_USE, Health.WARNING, "services_failed"),
        (LAPTOP, {"temperature_c": 80}, IN_USE, Health.OK, ""),
        (AP, {"temperature_c": 80}, ALWAYS, Health.WARNING, "hot"),
        (AP, {"cpu_ratio": 0.99}, ALWAYS, Health.WARNING, "cpu_busy"),
        (TABLET, {"screen_on": False}, IDLE, Health.OFF, "asleep"),
        (TABLET, {"screen_on": False}, IN_USE, Health.OK, ""),
        (TABLET, {"kiosk_locked": False}, NEEDED, Health.WARNING, "kiosk_unlocked"),
        (PROJECTOR, {"power": "standby"}, IDLE, Health.OFF, "standby"),
        (PROJECTOR, {"power": "cooling"}, IDLE, Health.OFF, "cooling"),
        (PROJECTOR, {"power": "warming"}, IDLE, Health.OK, "warming"),
        (PROJECTOR, {"power": "standby"}, NEEDED, Health.OK, "standby"),
        (PROJECTOR, {"power": "warming"}, IN_USE, Health.OK, "warming"),
        (PROJECTOR, {"power": "standby"}, IN_USE, Health.WARNING, "standby"),
        (PROJECTOR, {"power": "cooling"}, IN_USE, Health.WARNING, "cooling"),
        (PROJECTOR, {"power": "on", "lamp_state": "error"}, IN_USE, Health.FAILED, "lamp_fault"),
        (PROJECTOR, {"power": "standby", "lamp_state": "error"}, IDLE, Health.FAILED, "lamp_fault"),
        (PROJECTOR, {"power": "on", "fan_state": "warning"}, NEEDED, Health.WARNING, "fan_worn"),
        (PROJECTOR, {"temperature_state": "error"}, IN_USE, Health.FAILED, "too_hot"),
        (PRINTER, {"paper_empty": True}, NEEDED, Health.WARNING, "paper_empty"),
        (PRINTER, {"paper_jam": True}, IDLE, Health.WARNING, "paper_jam"),
        (PRINTER, {"supply_ratio": 0.02}, NEEDED, Health.WARNING, "supply_low"),
        (UPS, {"on_battery": True}, ALWAYS, Health.WARNING, "on_battery"),
        (UPS, {"on_battery": True, "runtime_s": 60}, ALWAYS, Health.FAILED, "ups_empty"),
        (UPS, {"on_battery": False, "runtime_s": 60}, ALWAYS, Health.OK, ""),
    ],
)
def test_facts(
    kind: DeviceKind, facts: dict[str, Any], expected: Expected, health: Health, reason: str
) -> None:
    assert verdict(kind, facts, expected) == Judgement(health, reason)


def test_off_is_healthy_unless_needed() -> None:
    def off(expected: Expected) -> Judgement:
        return verdict(LAPTOP, {}, expected, failures=5, problem="unreachable", facts_age=90_000)

    assert off(IDLE) == Judgement(Health.OFF, "off")
    assert off(NEEDED) == Judgement(Health.FAILED, "unreachable")
    assert off(ALWAYS) == Judgement(Health.FAILED, "unreachable")


def test_switching_off_does_not_heal() -> None:
    facts = {"lamp_state": "error", "temperature_state": "error"}
    gone = verdict(PROJECTOR, facts, IDLE, failures=9, problem="unreachable", facts_age=90_000)
    assert gone == Judgement(Health.FAILED, "lamp_fault")
    cold = verdict(
        PROJECTOR, {"temperature_state": "error"}, IDLE, failures=9, problem="unreachable"
    )
    assert cold == Judgement(Health.OFF, "off")


def test_one_failed_poll_is_no_failure() -> None:
    one = verdict(AP, {"cpu_ratio": 0.1}, ALWAYS, failures=1, problem="timed_out", facts_age=70)
    assert one.health is Health.OK
    two = verdict(AP, {"cpu_ratio": 0.1}, ALWAYS, failures=2, problem="timed_out", facts_age=130)
    assert two == Judgement(Health.FAILED, "timed_out")
    first_ever = verdict(AP, {}, ALWAYS, failures=1, problem="unreachable", facts_age=None)
    assert first_ever == Judgement(Health.UNKNOWN, "waiting")


def test_silence_is_not_peace() -> None:
    assert verdict(AP, {}, ALWAYS, age=179, facts_age=179).health is Health.OK
    assert verdict(AP, {}, ALWAYS, age=181) == Judgement(Health.UNKNOWN, "no_news")
    assert verdict(LAPTOP, {}, IDLE, age=181) == Judgement(Health.UNKNOWN, "no_news")
    # A device that fails is polled only every five minutes.
    slow = verdict(AP, {}, ALWAYS, age=400, failures=7, problem="unreachable")
    assert slow == Judgement(Health.FAILED, "unreachable")
    assert verdict(AP, {}, ALWAYS, age=481, failures=7, problem="unreachable").reason == "no_news"


def test_a_human_must_act_even_when_idle() -> None:
    assert verdict(LAPTOP, {}, IDLE, failures=1, problem="denied") == Judgement(
        Health.WARNING, "denied"
    )
    assert verdict(LAPTOP, {}, NEEDED, failures=1, problem="denied").health is Health.FAILED
    assert verdict(LAPTOP, {}, IDLE, failures=1, problem="host_key_changed") == Judgement(
        Health.FAILED, "host_key_changed"
    )
    garbled = verdict(LAPTOP, {}, IDLE, failures=2, problem="garbled")
    assert garbled == Judgement(Health.WARNING, "garbled")


@pytest.mark.parametrize("service", [Service.REPAIR, Service.LENT, Service.RETIRED])
def test_out_of_service(service: Service) -> None:
    judged = verdict(AP, {}, ALWAYS, failures=9, problem="denied", age=1e6, service=service)
    assert judged == Judgement(Health.OFF, service.value)


def test_every_problem_of_the_drivers_has_its_reason() -> None:
    errors: list[type[DriverError]] = [
        Unreachable, TimedOut, Denied, HostKeyChanged, MissingCredential, Garbled, WrongDevice,
        Misconfigured, ServerSilent,
    ]  # fmt: skip
    for error in errors:
        assert verdict(AP, {}, ALWAYS, failures=2, problem=error.code).reason == error.code
        assert (error.code in PERMANENT) == error.permanent


def test_rules_speak_of_facts_that_exist() -> None:
    for rule in RULES:
        assert rule.fact in FACTS
        assert rule.unless is None or rule.unless[0] in FACTS
        assert rule.test(object()) is False


def test_grave_rules_stand_first() -> None:
    grave = [rule.health is Health.FAILED for rule in RULES]
    assert grave == sorted(grave, reverse=True)
    both = {"lamp_state": "warning", "fan_state": "error"}
    assert verdict(PROJECTOR, both, NEEDED).reason == "fan_fault"
    assert verdict(PROJECTOR, dict(reversed(both.items())), NEEDED).reason == "fan_fault"


def test_access_points_are_always_expected() -> None:
    assert expectation(AP, IDLE) is ALWAYS
    assert expectation(LAPTOP, IDLE) is IDLE
    assert expectation(PROJECTOR, IN_USE) is IN_USE


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.sampled_from(["on", "standby", "cooling", "warming", "error", "warning", "ok", "stopped"]),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)
problems = st.sampled_from(["", *PERMANENT, "unreachable", "timed_out", "garbled", "whatever"])
looks = st.fixed_dictionaries(
    {
        "reachable": st.booleans(),
        "problem": problems,
        "failures": st.integers(0, 50),
        "facts": st.dictionaries(st.sampled_from(sorted(FACTS)), values, max_size=12),
        "taken_at": st.integers(-100, 1000).map(lambda s: NOW - timedelta(seconds=s)),
        "facts_at": st.none()
        | st.integers(-100, 100_000).map(lambda s: NOW - timedelta(seconds=s)),
        "expected": st.sampled_from(Expected),
        "service": st.sampled_from(Service),
        "poll_s": st.floats(1, 3600),
    }
)
kinds = st.sampled_from(DeviceKind)


@given(kinds, looks)
def test_total_and_deterministic(kind: DeviceKind, look: dict[str, Any]) -> None:
    first = judge(kind, now=NOW, **look)
    assert first == judge(kind, now=NOW, **look)
    assert first.reason in REASONS or first == Judgement(Health.OK, "")
    assert first.health is Health.OK or first.reason


@given(kinds, looks)
def test_never_ok_on_old_facts(kind: DeviceKind, look: dict[str, Any]) -> None:
    if judge(kind, now=NOW, **look).health is Health.OK:
        limit = silence_limit(0, look["poll_s"])
        assert look["facts_at"] is not None
        assert NOW - look["facts_at"] <= limit
        assert NOW - look["taken_at"] <= silence_limit(look["failures"], look["poll_s"])


@given(kinds, looks, st.integers(1, 50))
def test_more_failures_are_never_better(kind: DeviceKind, look: dict[str, Any], more: int) -> None:
    before = judge(kind, now=NOW, **look)
    after = judge(kind, now=NOW, **look | {"failures": look["failures"] + more})
    assert SEVERITY[after.health] >= SEVERITY[before.health]
