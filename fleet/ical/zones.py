"""Which time zone a timetable means: real exporters name zones in ways that no library knows."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import x_wr_timezone
from icalendar import Calendar, Component
from icalendar.prop import vDDDLists, vDDDTypes

LOCAL = ZoneInfo("Europe/Berlin")
"""What a moment means that names no zone, or one that nobody knows."""

_MOMENTS = ("DTSTART", "DTEND", "RECURRENCE-ID", "EXDATE", "RDATE")
_UTC = {
    "utc",
    "gmt",
    "z",
    "tzone://microsoft/utc",
    "coordinated universal time",
    "(utc) coordinated universal time",
    "koordinierte weltzeit",
    "(utc) koordinierte weltzeit",
}
_LOCAL = {
    "customized time zone",
    "tzone://microsoft/custom",
    "mez",
    "mesz",
    "cest",
    "mitteleuropäische zeit",
    "mitteleuropäische sommerzeit",
    "mitteleuropäische normalzeit",
    "westeuropa",
    "w. europe",
    "west-europa",
    "berlin",
    "deutschland",
}
_LOCAL_STARTS = ("(utc+01:00)", "(gmt+01:00)", "utc+01:00 ", "gmt +0100 ")


def named(name: str) -> ZoneInfo | None:
    """The zone behind a name that the calendar library did not know, or None."""
    plain = name.strip().strip('"').casefold()
    if plain in _UTC:
        return ZoneInfo("UTC")
    if plain in _LOCAL or plain.startswith(_LOCAL_STARTS):
        return LOCAL
    # Such as /freeassociation.sourceforge.net/Tzfile/Europe/Berlin
    for candidate in (name.strip(), "/".join(name.strip().split("/")[-2:])):
        try:
            return ZoneInfo(candidate)
        except (ValueError, OSError, KeyError):  # all are its ways to say "unknown"
            continue
    return None


def settle(calendar: Calendar, warnings: Counter[str]) -> Calendar:
    """The calendar with every moment of its events in a zone; `warnings` counts what was guessed.

    A zone that a moment names beats the calendar's own, which beats ours.
    """
    for event in calendar.walk("VEVENT"):
        _fill(event, warnings, only_named=True)
    stated = str(calendar.get("X-WR-TIMEZONE", ""))
    zone = named(stated) if stated else None
    if zone is not None:
        calendar = x_wr_timezone.to_standard(calendar, timezone=zone)
    else:
        # Or the expansion would look at the unusable name once more.
        calendar.pop("X-WR-TIMEZONE", None)
        if stated:
            warnings["unknown_zone"] += 1
    for event in calendar.walk("VEVENT"):
        _fill(event, warnings, only_named=False)
    return calendar


def _fill(event: Component, warnings: Counter[str], *, only_named: bool) -> None:
    for key in _MOMENTS:
        if key not in event:
            continue
        held = event[key]
        values = held if isinstance(held, list) else [held]
        filled = [_with_zone(value, warnings, only_named=only_named) for value in values]
        event[key] = filled if isinstance(held, list) else filled[0]


def _with_zone(value: Any, warnings: Counter[str], *, only_named: bool) -> Any:
    moments = list(_inside(value))
    if not any(isinstance(each, datetime) and each.tzinfo is None for each in moments):
        return value
    name = str(value.params.get("TZID", ""))
    if only_named and not name:
        return value
    zone = named(name) if name else LOCAL
    if zone is None or not name:
        warnings["unknown_zone" if name else "no_zone"] += 1
    if isinstance(value, vDDDLists):
        return vDDDLists([_replace(each.dt, zone or LOCAL) for each in value.dts])
    return vDDDTypes(_replace(value.dt, zone or LOCAL))


def _inside(value: Any) -> Iterator[Any]:
    for each in value.dts if isinstance(value, vDDDLists) else [value]:
        held = getattr(each, "dt", None)
        yield from held if isinstance(held, tuple) else [held]


def _replace(held: Any, zone: tzinfo) -> Any:
    if isinstance(held, tuple):  # a period: start and end, or start and length
        return tuple(_replace(each, zone) for each in held)
    if isinstance(held, datetime) and held.tzinfo is None:
        return held.replace(tzinfo=zone)
    return held


def midnight(day: date) -> datetime:
    """When that day begins here."""
    return datetime.combine(day, time(), tzinfo=LOCAL)
