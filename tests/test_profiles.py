"""Profiles: what is refused at load, how devices are recognised, and the traps of real values."""

import re
from pathlib import Path
from typing import Any

import pytest

from agents.facts import FACTS, check_facts
from agents.snmp.facts import Readings, fact, number, text
from agents.snmp.message import Missing, OidText, Value, oid
from agents.snmp.profile import FALLBACK, ProfileError, Source, candidates, load
from agents.snmp.session import Column

A, B, C = "1.3.6.1.4.1.1.1", "1.3.6.1.4.1.1.2", "1.3.6.1.4.1.1.3"
PROFILES = load()


def folder(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "generic.toml").write_text(f'[facts.name]\noid = "{A}"\n')
    for name, content in files.items():
        (tmp_path / f"{name}.toml").write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f'[facts.moisture]\noid = "{A}"', "'moisture' is not a fact"),
        ('drop = ["moisture"]', "'moisture' is not a fact"),
        ('[facts.clients]\noid = "1.3.x"', "facts.clients.0.oid"),
        ("[facts.clients]", "either 'oid' or 'column'"),
        (f'[facts.clients]\noid = "{A}"\ncolumn = "{B}"', "either 'oid' or 'column'"),
        (f'[facts.clients]\noid = "{A}"\nover = "{B}"', "belong to a 'column'"),
        (f'[facts.clients]\noid = "{A}"\nunit = "s"', "unit: Extra inputs"),
        (f'[facts.clients]\ncolumn = "{A}"\naggregate = "list"', "belong together"),
        (f'[facts.clients]\noid = "{A}"\npattern = "("', "not a regular expression"),
        (f'[facts.clients]\ncolumn = "{A}"\naggregate = "median"', "aggregate"),
        ("[[match]]", "without any condition"),
        ('[[match]]\nsys_descr = "["', "not a regular expression"),
        ('inherits = ["nobody"]', "no profile 'nobody'"),
        ('inherits = ["bad"]', "inherits from itself"),
        ("facts = 3", "facts"),
        ("= broken", "bad.toml"),
    ],
)
def test_a_bad_profile_is_refused_with_file_and_reason(
    tmp_path: Path, content: str, told: str
) -> None:
    with pytest.raises(ProfileError, match=re.escape(told)) as caught:
        load(folder(tmp_path, bad=content))
    assert "bad.toml" in str(caught.value)


def test_a_folder_without_the_generic_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="generic"):
        load(tmp_path)


def test_inheritance_replaces_and_drops(tmp_path: Path) -> None:
    profiles = load(
        folder(
            tmp_path,
            parent=f'inherits = ["generic"]\nfacts.model.oid = "{A}"\nfacts.serial.oid = "{A}"',
            child=f'inherits = ["parent"]\ndrop = ["serial"]\n[facts.model]\noid = "{B}"',
        )
    )
    assert profiles["child"].facts.keys() == {"name", "model"}
    assert profiles["child"].facts["model"][0].oid == B


def test_our_own_profiles_load_and_speak_only_of_facts() -> None:
    assert len(PROFILES) >= 20
    for profile in PROFILES.values():
        assert profile.facts.keys() <= FACTS.keys()
        assert "uptime_s" in profile.facts or "uptime_s" in profile.drop


@pytest.mark.parametrize(
    ("oid", "descr", "expected"),
    [
        ("1.3.6.1.4.1.8072.3.2.10", "UAP-nanoHD 5.43.36.12724", "unifi-ap"),
        ("1.3.6.1.4.1.41112", "U6-LR 6.5.28", "unifi-ap"),
        ("1.3.6.1.4.1.8072.3.2.10", "USW-Flex 5.76.7.13442", "unifi-switch"),
        ("1.3.6.1.4.1.14823.1.2.59", "ArubaOS (MODEL: 225), Version 8.4", "aruba-instant"),
        ("1.3.6.1.4.1.25053.3.1.4.71", "Ruckus Wireless Inc (C) 2006", "ruckus-ap"),
        ("1.3.6.1.4.1.14988.1", "RouterOS RB760iGS", "mikrotik"),
        ("1.3.6.1.4.1.14988.2", "CSS106-1G-4P-1S SwOS v2.11", "mikrotik-swos"),
        ("1.3.6.1.4.1.890.1.15", "NWA110AX", "zyxel-nwa"),
        ("1.3.6.1.4.1.12356.120.10.23113", "any name", "fortiap"),
        ("1.3.6.1.4.1.9.6.1.80", "Linux, Cisco Systems, Inc WAP371 (WAP371-A-K9)", "cisco-sb-ap"),
        ("1.3.6.1.4.1.1248.4.1", "EPSON Network Projector", "epson-projector"),
        ("1.3.6.1.4.1.311.1.1.3.1.2", "Hardware: … Software: Windows Version 6.3", "windows-host"),
    ],
)
def test_a_model_is_recognised_before_any_standard(oid: str, descr: str, expected: str) -> None:
    fits = candidates(PROFILES, oid, descr)
    assert next(name for name, probe in fits if probe is None) == expected
    ranks = [PROFILES[name].rank for name, _ in fits]
    assert ranks == sorted(ranks, reverse=True)


def test_net_snmp_is_a_host_only_after_all_questions() -> None:
    fits = candidates(PROFILES, "1.3.6.1.4.1.8072.3.2.10", "Linux box 5.10")
    assert fits[-1] == ("linux-host", None)
    assert {"openwrt-ap", "printer-mib", "ups-mib"} <= {name for name, _ in fits[:-1]}


def test_a_prefix_ends_at_a_dot() -> None:
    names = {name for name, _ in candidates(PROFILES, "1.3.6.1.4.1.318999.1", "x")}
    assert "apc-ups" not in names
    assert FALLBACK not in names  # it is what remains, not a candidate


def value(name: str, raw: Value, **source: Any) -> Any:
    return fact(name, Source(oid=A, **source), Readings({oid(A): raw}))


@pytest.mark.parametrize(
    ("name", "raw", "source", "expected"),
    [
        ("temperature_c", b"", {}, None),  # powerwalker: an empty text for an integer
        ("temperature_c", b"55.652\x00", {}, 55.652),  # clickshare: text ending in NUL
        ("temperature_c", 160_000_000, {}, None),  # airOS
        ("temperature_c", 160_000_000, {"scale": 0.1}, None),
        ("temperature_c", 0, {"sentinels": [0]}, None),  # no sensor fitted
        ("temperature_c", 369, {"scale": 0.1}, 36.9),
        ("noise_dbm", 94, {"scale": -1}, -94),  # Aruba: sign dropped
        ("noise_dbm", 161, {"offset": -256}, -95),  # Aerohive: 256 added
        ("noise_dbm", 0, {}, None),  # MikroTik: virtual access point
        ("cpu_ratio", b"5 Secs ( 31.1%)", {"pattern": r"\( *([\d.]+)%", "scale": 0.01}, 0.311),
        ("cpu_ratio", b"37 %", {"scale": 0.01}, 0.37),
        ("cpu_ratio", 420, {"scale": 0.001}, 0.42),  # per mille
        ("cpu_ratio", 101, {"scale": 0.01}, None),
        ("cpu_ratio", -1, {"scale": 0.01}, None),
        ("cpu_ratio", b"nan", {}, None),
        ("cpu_ratio", b"1_0", {}, None),
        ("runtime_s", 10_976_200, {"scale": 0.01}, 109762.0),  # hundredths, not minutes
        ("runtime_s", 43, {"scale": 60}, 2580),
        ("runtime_s", 9999, {"scale": 60, "sentinels": [9999]}, None),
        ("in_bytes", 2**64 - 1, {}, 2**64 - 1),  # does not fit into a float
        ("clients", Missing.NO_OBJECT, {}, None),
        ("clients", None, {}, None),
        ("channel_5g", 5785, {"type": "channel", "range": [32, 177]}, 157),
        ("channel_2g", 2484, {"type": "channel", "range": [1, 14]}, 14),
        ("channel_2g", 5785, {"type": "channel", "range": [1, 14]}, None),
        ("channel_2g", 58_320, {"type": "channel", "range": [1, 14]}, None),  # 60 GHz
        ("model", b"GWN7660\x00\x00", {}, "GWN7660"),
        ("model", b"K\xfcche", {}, "K?che"),  # not UTF-8
        ("model", b"   ", {}, None),
        ("model", OidText("1.3.6.1"), {}, "1.3.6.1"),
        ("serial", b"\xf0\x9f\xc2\x00\x00\x07", {"type": "mac"}, "f0:9f:c2:00:00:07"),
        ("serial", bytes(6), {"type": "mac"}, None),
        ("serial", b"", {"type": "mac"}, None),
        ("on_battery", 5, {"map": {"3": False, "5": True}}, True),
        ("on_battery", 9, {"map": {"3": False, "5": True}}, None),
        ("power", b"03" + b"0" * 10, {"pattern": "^(0[1-4])", "map": {"03": "on"}}, "on"),
        ("power", 1, {"map": {"1": "glowing"}}, None),  # no word of this fact
        ("paper_jam", b"\x04", {"bits": [5]}, True),
        ("paper_jam", b"\x20\x00", {"bits": [5]}, False),
        ("supply_low", b"\x20\x00", {"bits": [2, 3]}, True),
        ("paper_jam", b"", {"bits": [5]}, None),  # Epson: says nothing at all
        ("door_open", b"", {"bits": [4, 12]}, None),
    ],
)  # fmt: skip
def test_scalar_traps(name: str, raw: Value, source: dict[str, Any], expected: Any) -> None:
    found = value(name, raw, **source)
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)
    assert isinstance(found, bool) == isinstance(expected, bool)


def table(**columns: dict[int, Value]) -> Readings:
    names = {"a": A, "b": B, "c": C}
    return Readings(
        {},
        {
            oid(names[key]): Column({(at,): raw for at, raw in rows.items()}, complete=True)
            for key, rows in columns.items()
        },
    )


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        *(("sum", 18), ("max", 14), ("min", 0), ("mean", 4.5)),
        *(("count", 4), ("first", 4), ("only", None)),
    ],
)
def test_aggregates(aggregate: str, expected: float | None) -> None:
    rows = table(a={1: 4, 2: 0, 3: 14, 4: 0})
    source = Source.model_validate({"column": A, "aggregate": aggregate})
    assert fact("clients", source, rows) == expected


def test_supply_levels_below_zero_yield_no_share() -> None:
    """Brother: level -3 of -2. No tool can know how much that is."""
    source = Source(column=A, over=B, sentinels=(-1, -2, -3), range=(0, 1), aggregate="min")
    assert fact("supply_ratio", source, table(a={1: -3}, b={1: -2})) is None
    assert fact("supply_ratio", source, table(a={1: -3, 2: 11501}, b={1: -2, 2: 12000})) == (
        pytest.approx(0.958417)
    )
    assert fact("supply_ratio", source, table(a={1: 50}, b={1: 0})) is None  # no capacity
    assert fact("supply_ratio", source, table(a={1: 50}, b={})) is None


def test_waste_containers_are_no_supply() -> None:
    source = Source.model_validate(
        {
            "column": A,
            "over": B,
            "where": [{"column": C, "one_of": ["3", "5"]}],
            "aggregate": "min",
        }
    )
    rows = table(a={1: 40, 2: 5}, b={1: 100, 2: 100}, c={1: 3, 2: 4})
    assert fact("supply_ratio", source, rows) == 0.4


def test_a_table_that_was_cut_yields_nothing_but_its_first_row() -> None:
    rows = table(a={1: 4, 2: 5})
    rows.columns[oid(A)].complete = False
    assert fact("clients", Source(column=A, aggregate="sum"), rows) is None
    assert fact("clients", Source(column=A, aggregate="count"), rows) is None
    assert fact("clients", Source(column=A), rows) == 4


def test_an_empty_table_is_unknown_not_zero() -> None:
    assert fact("clients", Source(column=A, aggregate="sum"), table(a={})) is None
    assert fact("ports_up", Source(column=A, aggregate="count"), Readings()) is None


def test_ports_without_link_are_zero_and_no_ports_are_unknown() -> None:
    source = Source.model_validate(
        {
            "column": A,
            "where": [{"column": B, "one_of": ["6"]}],
            "map": {"1": True},
            "aggregate": "count",
        }
    )
    assert fact("ports_up", source, table(a={1: 2, 2: 7}, b={1: 6, 2: 6})) == 0
    assert fact("ports_up", source, table(a={1: 1, 2: 2, 3: 1}, b={1: 6, 2: 6, 3: 24})) == 1
    assert fact("ports_up", source, table(a={1: 1}, b={1: 24})) is None


def test_lines_add_up_clients_and_never_shares() -> None:
    counts = Source.model_validate({"column": A, "label": B, "aggregate": "list"})
    names: dict[int, Value] = {1: b"Lernraum", 2: b"", 3: b"Lernraum", 4: b"Verwaltung\x00"}
    readings = table(a={1: 3, 2: 9, 3: b"11", 4: 0}, b=names)
    assert fact("clients_per_network", counts, readings) == ["Lernraum: 14", "Verwaltung: 0"]
    shares = Source.model_validate(
        {"column": A, "label": B, "over": C, "range": [0, 1], "aggregate": "list"}
    )
    readings = table(
        a={1: 20, 2: 30, 3: -3}, b={1: b"Drum", 2: b"Drum", 3: b"x"}, c={1: 40, 2: 100, 3: 100}
    )
    assert fact("supplies", shares, readings) == ["Drum: 50 %", "Drum: 30 %"]


def test_lines_without_end_are_cut_to_what_a_fact_may_hold() -> None:
    counts = Source.model_validate({"column": A, "label": B, "aggregate": "list"})
    many: dict[int, Value] = {at: f"network {at} {'x' * 60}".encode() for at in range(200)}
    found = fact("clients_per_network", counts, table(a=dict.fromkeys(range(200), 1), b=many))
    assert not check_facts({"clients_per_network": found})
    assert len(found) > 5


def test_memory_without_caches_and_without_division_by_zero() -> None:
    source = PROFILES["host-resources"].facts["memory_ratio"][0]
    storage = "1.3.6.1.2.1.25.2.3.1."
    ram, other = OidText("1.3.6.1.2.1.25.2.1.2"), OidText("1.3.6.1.2.1.25.2.1.1")
    rows: dict[str, dict[int, Value]] = {
        "2": {1: ram, 6: other, 7: other},
        "3": {1: b"Physical memory", 6: b"Memory buffers", 7: b"Cached memory"},
        "5": {1: 509384, 6: 509384, 7: 21216},
        "6": {1: 72852, 6: 2204, 7: 21216},
    }

    def readings() -> Readings:
        columns = {
            oid(storage + key): Column({(at,): raw for at, raw in found.items()}, True)
            for key, found in rows.items()
        }
        return Readings({}, columns)

    assert fact("memory_ratio", source, readings()) == pytest.approx(0.097043, abs=1e-6)
    rows["5"][1] = 0
    assert fact("memory_ratio", source, readings()) is None


def test_the_worst_state_wins() -> None:
    source = Source(column=A, map={"2": "ok", "3": "error"}, aggregate="worst")
    assert fact("fan_state", source, table(a={1: 2, 2: 3, 3: 2, 4: 7})) == "error"
    assert fact("fan_state", source, table(a={1: 7})) is None


def test_an_enumeration_that_runs_the_other_way() -> None:
    """Cisco's bsnAPIfOperStatus says 1 for down and 2 for up: the map says so, not the code."""
    assert value("plugged", 2, map={"1": False, "2": True}) is True


def test_rows_named_by_text() -> None:
    name = "noise-floor-wlan0"
    index = (len(name), *map(ord, name))
    rows = Readings({}, {oid(A): Column({index: b"-90", (3, 1, 2, 3): b"7"}, complete=True)})
    assert fact("noise_dbm", Source(column=A, named="^noise-floor-", aggregate="max"), rows) == -90


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(b" 12 ", 12), (b"+3.5", 3.5), (b"0x10", None), (b"1e5", None), (b"9" * 30, None)],
)
def test_numbers_in_texts(raw: bytes, expected: float | None) -> None:
    assert number(raw) == expected


def test_texts_are_short_and_printable() -> None:
    assert text(b"a\x00b\x1b[31m" + b"x" * 500).startswith("a b [31mxx")
    assert len(text(b"x" * 500)) == 200
