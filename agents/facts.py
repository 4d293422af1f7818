"""Every fact a driver may report: its name, unit and kind. Drivers, profiles, health, metrics and
pages all speak these words; a fact that is not here does not exist."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LONGEST_TEXT = 500
"""Characters; a longer label is not a label but an attack or a mistake."""


class Kind(StrEnum):
    STATE = "state"
    """A condition: a change of it is worth keeping."""
    GAUGE = "gauge"
    """A measure that moves all the time: kept hourly."""
    COUNTER = "counter"
    """Only grows, until a restart."""
    LABEL = "label"
    """Identity: model, firmware, serial."""
    DETAIL = "detail"
    """Lines for people, as "Lernraum: 14": shown, neither measured nor kept for a change of it."""


@dataclass(frozen=True)
class Fact:
    """`unit`: s, bytes, ratio (0 to 1), celsius, dbm, hz, watts, volts, bool, or empty.

    `values`: the closed list of words of a STATE that is not a bool.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    values: tuple[str, ...] = ()


_ALL = (
    Fact("model", Kind.LABEL, "", "Model as the device names it"),
    Fact("vendor", Kind.LABEL, "", "Maker"),
    Fact("firmware", Kind.LABEL, "", "Firmware or operating system version"),
    Fact("serial", Kind.LABEL, "", "Serial number"),
    Fact("name", Kind.LABEL, "", "Name the device has given itself"),
    Fact("profile", Kind.LABEL, "", "SNMP profile that was used"),
    Fact("object_id", Kind.LABEL, "", "Model number of a device that no SNMP profile knows"),
    Fact("description", Kind.LABEL, "", "What such a device says of itself"),
    Fact("uptime_s", Kind.COUNTER, "s", "Time since the device started"),
    Fact("round_trip_s", Kind.GAUGE, "s", "Round trip time of the look"),
    Fact("cpu_ratio", Kind.GAUGE, "ratio", "Processor in use"),
    Fact("memory_ratio", Kind.GAUGE, "ratio", "Memory in use, without caches"),
    Fact("memory_total_bytes", Kind.GAUGE, "bytes", "Memory fitted"),
    Fact("load_1m", Kind.GAUGE, "", "Load average over a minute, per processor"),
    Fact("disk_free_bytes", Kind.GAUGE, "bytes", "Free space of the system disk"),
    Fact("disk_ratio", Kind.GAUGE, "ratio", "System disk in use"),
    Fact("temperature_c", Kind.GAUGE, "celsius", "Temperature"),
    Fact("battery_ratio", Kind.GAUGE, "ratio", "Battery charge"),
    Fact("battery_wear_ratio", Kind.GAUGE, "ratio", "Battery capacity lost since new"),
    Fact("plugged", Kind.STATE, "bool", "On mains power"),
    Fact("clients", Kind.GAUGE, "", "Wi-Fi clients connected"),
    Fact("clients_2g", Kind.GAUGE, "", "Wi-Fi clients connected, 2.4 GHz"),
    Fact("clients_5g", Kind.GAUGE, "", "Wi-Fi clients connected, 5 GHz"),
    Fact("clients_6g", Kind.GAUGE, "", "Wi-Fi clients connected, 6 GHz"),
    Fact("clients_per_network", Kind.DETAIL, "", "Wi-Fi clients connected, per network"),
    Fact("channel_2g", Kind.STATE, "", "Wi-Fi channel, 2.4 GHz"),
    Fact("channel_5g", Kind.STATE, "", "Wi-Fi channel, 5 GHz"),
    Fact("channel_6g", Kind.STATE, "", "Wi-Fi channel, 6 GHz"),
    Fact("utilisation_ratio", Kind.GAUGE, "ratio", "Busiest radio's channel utilisation"),
    Fact("noise_dbm", Kind.GAUGE, "dbm", "Worst noise floor of the radios"),
    Fact("access_points", Kind.GAUGE, "", "Access points that the controller knows"),
    Fact("access_points_up", Kind.GAUGE, "", "Access points connected to the controller"),
    Fact("in_bytes", Kind.COUNTER, "bytes", "Bytes received, all ports"),
    Fact("out_bytes", Kind.COUNTER, "bytes", "Bytes sent, all ports"),
    Fact("errors", Kind.COUNTER, "", "Packets with errors, all ports"),
    Fact("ports_up", Kind.GAUGE, "", "Ports with link"),
    Fact("ports", Kind.GAUGE, "", "Physical ports"),
    Fact("poe_watts", Kind.GAUGE, "watts", "Power delivered over Ethernet"),
    Fact("power_watts", Kind.GAUGE, "watts", "Power drawn"),
    Fact("voltage_v", Kind.GAUGE, "volts", "Supply voltage"),
    Fact(
        "power",
        Kind.STATE,
        "",
        "Power state",
        ("standby", "on", "cooling", "warming"),
    ),
    Fact("input", Kind.STATE, "", "Chosen input, as PJLink writes it"),
    Fact("inputs", Kind.LABEL, "", "Inputs there are, each with its name"),
    Fact("signal", Kind.STATE, "bool", "A picture comes in at the chosen input"),
    Fact("resolution", Kind.STATE, "", "Resolution of that picture"),
    Fact("native_resolution", Kind.LABEL, "", "Resolution that the device recommends"),
    Fact("frozen", Kind.STATE, "bool", "Picture frozen"),
    Fact("at_rest", Kind.STATE, "bool", "Throws no picture: standby, cooling, or muted"),
    Fact("picture_muted", Kind.STATE, "bool", "Picture blanked"),
    Fact("sound_muted", Kind.STATE, "bool", "Sound off"),
    Fact("lamp_s", Kind.COUNTER, "s", "Lamp time of the most used lamp"),
    Fact("filter_s", Kind.COUNTER, "s", "Filter time"),
    Fact("lamp_part", Kind.LABEL, "", "Lamp to order, by the maker's number"),
    Fact("filter_part", Kind.LABEL, "", "Filter to order, by the maker's number"),
    Fact("details", Kind.LABEL, "", "What else the maker says of it"),
    Fact("fan_state", Kind.STATE, "", "Fan", ("ok", "warning", "error")),
    Fact("lamp_state", Kind.STATE, "", "Lamp", ("ok", "warning", "error")),
    Fact("temperature_state", Kind.STATE, "", "Temperature", ("ok", "warning", "error")),
    Fact("cover_state", Kind.STATE, "", "Cover", ("ok", "warning", "error")),
    Fact("filter_state", Kind.STATE, "", "Filter", ("ok", "warning", "error")),
    Fact("other_state", Kind.STATE, "", "Other fault", ("ok", "warning", "error")),
    Fact(
        "printer_state",
        Kind.STATE,
        "",
        "Printer state",
        ("idle", "printing", "warming", "stopped", "other"),
    ),
    Fact("paper_empty", Kind.STATE, "bool", "No paper"),
    Fact("paper_jam", Kind.STATE, "bool", "Paper jam"),
    Fact("door_open", Kind.STATE, "bool", "A door is open"),
    Fact("supply_ratio", Kind.GAUGE, "ratio", "Emptiest supply (toner, ink)"),
    Fact("supplies", Kind.DETAIL, "", "Fill of each supply (toner, ink)"),
    Fact("supply_low", Kind.STATE, "bool", "A supply is low or empty"),
    Fact("pages", Kind.COUNTER, "", "Pages printed in its life"),
    Fact("on_battery", Kind.STATE, "bool", "UPS is running on its battery"),
    Fact("battery_replace", Kind.STATE, "bool", "UPS battery must be replaced"),
    Fact("runtime_s", Kind.GAUGE, "s", "UPS run time left"),
    Fact("load_ratio", Kind.GAUGE, "ratio", "UPS load"),
    Fact("screen_on", Kind.STATE, "bool", "Screen on"),
    Fact("kiosk_locked", Kind.STATE, "bool", "Locked to the kiosk"),
    Fact("on_start_page", Kind.STATE, "bool", "Shows its start page"),
    Fact("settings_kept", Kind.STATE, "bool", "The settings are those of the reset"),
    Fact("wifi_dbm", Kind.GAUGE, "dbm", "Wi-Fi signal at the device"),
    Fact("report_age_s", Kind.GAUGE, "s", "Time since the device last reported to its server"),
    Fact("sessions", Kind.GAUGE, "", "People signed in"),
    Fact("failed_units", Kind.GAUGE, "", "System services that failed"),
    Fact("updates", Kind.GAUGE, "", "Updates waiting"),
    Fact("security_updates", Kind.GAUGE, "", "Security updates waiting"),
    Fact("reboot_needed", Kind.STATE, "bool", "A restart is needed"),
    Fact("disk_healthy", Kind.STATE, "bool", "The disk says of itself that it is healthy"),
    Fact("clock_offset_s", Kind.GAUGE, "s", "The device's clock against the agent's"),
    Fact("reset_id", Kind.LABEL, "", "The last reset that the device finished"),
    Fact("residue", Kind.STATE, "", "Traces of guests found by the look after a reset"),
    Fact(
        "residue_places", Kind.LABEL, "", "Where such traces were: names of places, never of files"
    ),
    Fact("home_hash", Kind.LABEL, "", "Hash over the guest's fresh home"),
    Fact("home_clean", Kind.STATE, "bool", "The guest's home equals the prepared one"),
    Fact("used_since", Kind.STATE, "bool", "Somebody signed in since the last reset"),
    Fact("tier", Kind.LABEL, "", "Kind of the last reset: quick, standard or full"),
    Fact("processes", Kind.GAUGE, "", "Programs that run as the guest"),
    Fact("logins", Kind.GAUGE, "", "How often the guest signed in since the last reset"),
    Fact("skeleton_hash", Kind.LABEL, "", "Hash over the prepared home"),
    Fact("script_hash", Kind.LABEL, "", "Hash over the scripts that reset and look"),
    Fact("residue_counts", Kind.LABEL, "", "Traces of guests by place, as place:number"),
    Fact("step_times", Kind.LABEL, "", "Steps of the last reset, as step:milliseconds"),
    Fact("foreign_networks", Kind.STATE, "", "Network profiles that are not the room's own"),
    Fact("print_jobs", Kind.GAUGE, "", "Print jobs that the laptop keeps"),
    Fact("mounts", Kind.GAUGE, "", "Sticks and network folders mounted for the guest"),
    Fact("lost_items", Kind.STATE, "", "Sticks that the last reset found plugged in"),
    Fact("trash", Kind.GAUGE, "", "Used homes that wait to be deleted"),
    Fact("boot_id", Kind.LABEL, "", "Another one after each restart"),
    Fact("boot_fresh", Kind.STATE, "bool", "The restart that the last reset needed has happened"),
    Fact("alarm_set", Kind.STATE, "bool", "The device will wake itself for its next reset"),
    Fact("canary_planted", Kind.GAUGE, "", "Kinds of traces that the reset's own test planted"),
    Fact("canary_unseen", Kind.STATE, "", "Of these, how many the device's own probe did not see"),
)

FACTS = {fact.name: fact for fact in _ALL}


def check_facts(facts: Mapping[str, Any]) -> list[str]:
    """What is wrong with these facts, one line each; empty when all fit the registry.

    Values are never quoted: what a device says may hold anything.
    """
    complaints = []
    for name, value in facts.items():
        fact = FACTS.get(name)
        complaint = "is not a known fact" if fact is None else _complaint(fact, value)
        if complaint:
            complaints.append(f"{name[:63]} {complaint}")
    return complaints


def clean(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that the registry knows. Raises ValueError when one of them has a wrong value.

    An unknown fact is dropped, since a newer driver may know more than this registry.
    """
    known = {name: value for name, value in facts.items() if name in FACTS}
    complaints = check_facts(known)
    if complaints:
        raise ValueError("; ".join(complaints[:5]))
    return known


def _complaint(fact: Fact, value: object) -> str:
    if fact.unit == "bool":
        return "" if isinstance(value, bool) else "is not a bool"
    if fact.values:
        return "" if value in fact.values else f"is not one of {', '.join(fact.values)}"
    if fact.kind in (Kind.GAUGE, Kind.COUNTER):
        return _number_complaint(fact, value)
    if fact.kind is Kind.STATE and isinstance(value, int) and not isinstance(value, bool):
        return ""
    return _text_complaint(value)


def _number_complaint(fact: Fact, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is not a number"
    if not math.isfinite(value):
        return "is not finite"
    if fact.unit == "ratio" and not 0 <= value <= 1:
        return "is not between 0 and 1"
    if value < 0 and (fact.kind is Kind.COUNTER or fact.unit in ("bytes", "watts", "hz")):
        return "is negative"
    return ""


def _text_complaint(value: object) -> str:
    """A text, or a list of texts; NUL and other control characters do not belong in a label."""
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        return "is not a text"
    if sum(map(len, texts)) > LONGEST_TEXT:
        return f"is longer than {LONGEST_TEXT} characters"
    return "" if all(map(str.isprintable, texts)) else "holds control characters"
