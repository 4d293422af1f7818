"""The registry of facts is consistent, and it lets no wrong value through."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.facts import FACTS, LONGEST_TEXT, Kind, check_facts, clean

UNITS = {"", "s", "bytes", "ratio", "celsius", "dbm", "hz", "watts", "volts", "bool"}


def test_registry_is_consistent() -> None:
    for name, fact in FACTS.items():
        assert name == fact.name
        assert fact.unit in UNITS, name
        assert fact.help, name
        if fact.unit == "bool" or fact.values:
            assert fact.kind is Kind.STATE, name


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"power": "on", "lamp_s": 3600, "picture_muted": False, "model": "EB-L200"},
        {"channel_2g": 6, "channel_5g": "36,44", "clock_offset_s": -1.5, "wifi_dbm": -61},
        {"battery_ratio": 0, "disk_ratio": 1, "residue_places": ["downloads", "cookies"]},
        {"name": "Lernraum Süd", "residue": "none"},
    ],
)
def test_right_values_pass(facts: dict[str, object]) -> None:
    assert check_facts(facts) == []
    assert clean(facts) == facts


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("power", "asleep"),
        ("power", ["on"]),
        ("plugged", 1),
        ("plugged", "true"),
        ("battery_ratio", 100),
        ("battery_ratio", -0.01),
        ("cpu_ratio", math.nan),
        ("temperature_c", math.inf),
        ("temperature_c", True),
        ("lamp_s", "812"),
        ("lamp_s", -1),
        ("disk_free_bytes", -1),
        ("model", None),
        ("model", 5),
        ("model", "x" * (LONGEST_TEXT + 1)),
        ("model", "EB\x00"),
        ("channel_2g", True),
        ("residue_places", [1]),
    ],
)
def test_wrong_values_are_refused(name: str, value: object) -> None:
    assert len(check_facts({name: value})) == 1
    with pytest.raises(ValueError, match=name):
        clean({name: value, "uptime_s": 5})


def test_unknown_facts_are_dropped_and_named() -> None:
    assert clean({"mood": "sunny", "uptime_s": 5}) == {"uptime_s": 5}
    assert check_facts({"mood": "sunny"}) == ["mood is not a known fact"]


def test_complaints_quote_no_value() -> None:
    secret = "hunter2"
    complaints = check_facts({"power": secret, "plugged": secret, "lamp_s": secret})
    assert len(complaints) == 3
    assert secret not in "".join(complaints)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(FACTS)) | st.text(max_size=9), json_values))
def test_whatever_comes_is_either_clean_or_refused(facts: dict[str, object]) -> None:
    try:
        kept = clean(facts)
    except ValueError:
        return
    assert set(kept) == set(facts) & set(FACTS)
    assert check_facts(kept) == []
