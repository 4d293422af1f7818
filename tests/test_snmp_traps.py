"""What real devices tell wrongly or strangely, each over a socket through its own profile."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.drivers.snmp import Snmp
from agents.messages import Facts
from tests.snmp_targets import driver, running, target
from tests.snmp_written import Long, Name, Short, Ticks, Told, written

__all__ = ["driver"]

LONG = timedelta(seconds=5)
NET_SNMP = "1.3.6.1.4.1.8072.3.2.10"
UPS, PRINTER, IF = "1.3.6.1.2.1.33.1.", "1.3.6.1.2.1.43.11.1.1.", "1.3.6.1.2.1.2.2.1."


def look(driver: Snmp, device: Any, version: str = "2c", **changes: object) -> Facts:
    async def scene() -> Facts:
        async with running(device) as (port,):
            await driver.poll(target(port, version, **changes), LONG)  # it learns; then it knows
            facts = await driver.poll(target(port, version, **changes), LONG)
        await driver.close()
        return facts

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("descr", "number", "objects", "profile", "expected"),
    [
        pytest.param(
            "Brother NC-1",
            "1.3.6.1.4.1.2435.2.3.9.1",
            {
                f"{PRINTER}5.1.1": 3,
                f"{PRINTER}6.1.1": "Black",
                f"{PRINTER}8.1.1": -2,
                f"{PRINTER}9.1.1": -3,
            },
            "brother-printer",
            {"supply_ratio": None, "supplies": None},
            id="1 negative supply levels",
        ),
        pytest.param(
            "card",
            "1.3.6.1.2.1.33",
            {f"{UPS}2.1.0": 2, f"{UPS}4.1.0": 3, f"{UPS}2.7.0": "", f"{UPS}2.4.0": 100},
            "ups-mib",
            {"temperature_c": None, "battery_ratio": 1, "on_battery": False},
            id="2 an empty text for an integer",
        ),
        pytest.param(
            "EPSON Built-in",
            "1.3.6.1.4.1.1248.1",
            {"1.3.6.1.2.1.25.3.5.1.1.1": 3, "1.3.6.1.2.1.25.3.5.1.2.1": b""},
            "printer-mib",
            {"paper_jam": None, "door_open": None, "printer_state": "idle"},
            id="2 an empty error state",
        ),
        pytest.param(
            "Barco",
            "1.3.6.1.4.1.7312.2468",
            {"7312.2468.1.2.3.0": b"48.25\x00", "7312.2468.1.1.5.0": b"77\x00"},
            "clickshare",
            {"temperature_c": 48.25, "serial": "77"},
            id="3 numbers in texts that end in NUL",
        ),
        pytest.param(
            "EdgeSwitch 8, 1.9.3",
            "1.3.6.1.4.1.4413",
            {"4413.1.1.1.1.4.9.0": "5 Secs (  7.5000%)   60 Secs ( 16.0000%)"},
            "fastpath-switch",
            {"cpu_ratio": 0.075},
            id="3 a percent sign in a text",
        ),
        pytest.param(
            "ArubaOS (MODEL: 505), Version 8.10",
            "1.3.6.1.4.1.14823.1.2.131",
            {
                "14823.2.3.3.1.2.2.1.4.2.0.0.0.0.1.0": "44+",
                "14823.2.3.3.1.2.2.1.6.2.0.0.0.0.1.0": 92,
            },
            "aruba-instant",
            {"noise_dbm": -92, "channel_5g": 44, "channel_2g": None},
            id="4 noise without its sign, channel with a suffix",
        ),
        pytest.param(
            "AP305C, HiveOS 10.0r9",
            "1.3.6.1.4.1.26928.1",
            {"26928.1.1.1.2.1.5.1.3.7": 163, "26928.1.1.1.2.1.5.1.1.7": 11},
            "aerohive",
            {"noise_dbm": -93, "channel_2g": 11},
            id="4 noise with 256 added",
        ),
        pytest.param(
            "RouterOS RBcAP",
            "1.3.6.1.4.1.14988.1",
            {
                "14988.1.1.1.3.1.9.1": -104,
                "14988.1.1.1.3.1.9.8": 0,
                "14988.1.1.1.3.1.7.1": 2437,
                "14988.1.1.1.3.1.6.1": 5,
                "14988.1.1.1.3.1.6.8": 2,
            },
            "mikrotik",
            {"noise_dbm": -104, "clients": 7, "clients_2g": 5, "channel_2g": 6},
            id="4 noise 0 of virtual access points",
        ),
        pytest.param(
            "Cambium ePMP",
            "1.3.6.1.4.1.17713.21",
            {"17713.21.2.1.64.0": 130},
            "cambium-epmp",
            {"cpu_ratio": 0.13},
            id="5 per mille",
        ),
        pytest.param(
            "Linux 2.6",
            "1.3.6.1.4.1.10002.1",
            {
                "41112.1.4.1.1.4.1": 5785,
                "41112.1.4.8.3.0": 1250,
                "41112.1.4.6.1.7.1": 312,
                "41112.1.4.8.4.0": 160_000_000,
            },
            "airos",
            {
                "cpu_ratio": 0.125,
                "utilisation_ratio": 0.312,
                "temperature_c": None,
                "channel_5g": 157,
            },
            id="5 hundredths, 7 a temperature that nothing survives",
        ),
        pytest.param(
            "APC Web/SNMP",
            "1.3.6.1.4.1.318.1.3.27",
            {"318.1.1.1.4.1.1.0": 2, "318.1.1.1.2.2.3.0": Ticks(180_000)},
            "apc-ups",
            {"runtime_s": 1800, "on_battery": False},
            id="6 run time in hundredths of a second",
        ),
        pytest.param(
            "card",
            "1.3.6.1.2.1.33",
            {f"{UPS}2.1.0": 2, f"{UPS}2.3.0": 25},
            "ups-mib",
            {"runtime_s": 1500},
            id="6 run time in minutes",
        ),
        pytest.param(
            "ConnectUPS",
            "1.3.6.1.4.1.534.1",
            {"534.1.2.1.0": 1500, "534.1.4.5.0": 5},
            "eaton-ups",
            {"runtime_s": 1500, "on_battery": True},
            id="6 run time in seconds",
        ),
        pytest.param(
            "NET Agent",
            "1.3.6.1.4.1.935",
            {"935.1.1.1.2.2.4.0": 9999, "935.1.1.1.2.2.1.0": 90},
            "netagent-ups",
            {"runtime_s": None, "battery_ratio": 0.9},
            id="6 run time 9999",
        ),
        pytest.param(
            "Linux box 5.10 #1",
            NET_SNMP,
            {"1.3.6.1.2.1.25.3.3.1.2.1": 12},
            "linux-host",
            {"cpu_ratio": 0.12},
            id="10 net-snmp's number on a computer",
        ),
        pytest.param(
            "Linux Grandstream 4.4.60",
            NET_SNMP,
            {"42397.1.1.2.1.0": "GWN7664", "42397.1.1.3.1.1.4.1": 6, "42397.1.1.2.4.0": b"1.0\x00"},
            "grandstream-ap",
            {"model": "GWN7664", "channel_2g": 6, "firmware": "1.0"},
            id="10 net-snmp's number on an access point",
        ),
        pytest.param(
            "Linux phone 4.4",
            NET_SNMP,
            {"42397.1.1.2.1.0": "GXW4216", "42397.1.1.3.1.1.4.1": 6},
            "linux-host",
            {"channel_2g": None},
            id="10 the same numbers in a telephone",
        ),
        pytest.param(
            "8-Port Gigabit Smart Switch",
            "1.3.6.1.4.1.11863.1.1.25",
            {f"{IF}3.1": 6, f"{IF}8.1": 1, f"{IF}10.1": Short(4_000_000_000)},
            "tplink-switch",
            {"in_bytes": 4_000_000_000, "out_bytes": None},
            id="12 nothing but 32-bit counters",
        ),
        pytest.param(
            "GS728TP",
            "1.3.6.1.4.1.4526.100.4.32",
            {
                f"{IF}3.2147483600": 6,
                f"{IF}8.2147483600": 1,
                f"{IF}3.49153": 6,
                f"{IF}8.49153": 2,
                "1.3.6.1.2.1.31.1.1.1.6.2147483600": Long(2**64 - 1),
            },
            "netgear-switch",
            {"ports": 2, "ports_up": 1, "in_bytes": 2**64 - 1},
            id="14 huge indexes",
        ),
        pytest.param(
            "Xerox",
            "1.3.6.1.4.1.253.8",
            {
                f"{PRINTER}5.1.1": 3,
                f"{PRINTER}6.1.1": b"Schwarz \xe4\xff\x00\x01",
                f"{PRINTER}8.1.1": 5300,
                f"{PRINTER}9.1.1": 1060,
            },
            "printer-mib",
            {"supplies": ["Schwarz ??: 20 %"], "supply_ratio": 0.2},
            id="16 names that are no text",
        ),
        pytest.param(
            "Hardware: x - Software: Windows Version 10.0",
            "1.3.6.1.4.1.311.1.1.3.1.2",
            {
                "1.3.6.1.2.1.25.2.3.1.2.1": Name("1.3.6.1.2.1.25.2.1.4"),
                "1.3.6.1.2.1.25.2.3.1.2.2": Name("1.3.6.1.2.1.25.2.1.4"),
                "1.3.6.1.2.1.25.2.3.1.3.1": "C:\\ Label: ",
                "1.3.6.1.2.1.25.2.3.1.3.2": "D:\\",
                "1.3.6.1.2.1.25.2.3.1.4.1": 4096,
                "1.3.6.1.2.1.25.2.3.1.4.2": 0,
                "1.3.6.1.2.1.25.2.3.1.5.1": 1000,
                "1.3.6.1.2.1.25.2.3.1.5.2": 0,
                "1.3.6.1.2.1.25.2.3.1.6.1": 250,
                "1.3.6.1.2.1.25.2.3.1.6.2": 0,
            },
            "windows-host",
            {"disk_ratio": 0.25},
            id="17 a drive without capacity",
        ),
        pytest.param(
            "Cisco Controller",
            "1.3.6.1.4.1.9.1.1279",
            {"14179.1.1.5.1.0": 3, "14179.2.3.1.13.0": 5000},
            "cisco-wlc",
            {"temperature_c": None, "cpu_ratio": 0.03},
            id="7 five thousand degrees",
        ),
    ],
)
def test_trap(
    driver: Snmp,
    tmp_path: Path,
    descr: str,
    number: str,
    objects: dict[str, Told],
    profile: str,
    expected: dict[str, Any],
) -> None:
    facts = look(driver, written(tmp_path, descr, number, objects))
    assert facts["profile"] == profile
    for name, value in expected.items():
        told = facts.get(name)
        assert told == (pytest.approx(value) if isinstance(value, float) else value), name


def test_11_without_an_uptime_there_is_none(driver: Snmp, tmp_path: Path) -> None:
    facts = look(driver, written(tmp_path, "thing", "1.3.6.1.4.1.99999.1", {}, uptime=False))
    assert facts["profile"] == "generic"
    assert "uptime_s" not in facts
    assert (facts["object_id"], facts["description"]) == ("1.3.6.1.4.1.99999.1", "thing")


def test_11_the_hosts_uptime_is_better_than_the_agents(driver: Snmp, tmp_path: Path) -> None:
    objects: dict[str, Told] = {"1.3.6.1.2.1.25.1.1.0": Ticks(99_000)}
    assert look(driver, written(tmp_path, "thing", NET_SNMP, objects))["uptime_s"] == 990


def test_13_a_v1_agent_lacks_some_of_what_is_asked(driver: Snmp, tmp_path: Path) -> None:
    """noSuchName fails the whole answer, and there is no GETBULK."""
    objects: dict[str, Told] = {"1248.4.1.1.1.1.0": 79}
    device = written(tmp_path, "EPSON Network Projector", "1.3.6.1.4.1.1248.4.1", objects)
    facts = look(driver, device, "1")
    assert (facts["lamp_s"], facts["name"]) == (79 * 3600, "written")
    assert "power" not in facts


def test_a_known_model_says_nothing_of_its_numbers(driver: Snmp, tmp_path: Path) -> None:
    facts = look(driver, written(tmp_path, "Cambium ePMP", "1.3.6.1.4.1.17713.21", {}))
    assert not facts.keys() & {"object_id", "description"}
