"""Which time zone a timetable means: real exporters name zones in ways that no library knows."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Calendar, Component
from icalendar.prop import vDDDLists, vDDDTypes, vRecur

from fleet.calendars.contents import Wanted

BERLIN = ZoneInfo("Europe/Berlin")

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
_OWN = {"customized time zone", "tzone://microsoft/custom"}
_BERLIN = {
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
_BERLIN_STARTS = ("(utc+01:00)", "(gmt+01:00)", "utc+01:00 ", "gmt +0100 ")


def named(name: str, local: ZoneInfo) -> ZoneInfo | None:
    """The zone behind a name that the calendar library did not know, or None."""
    plain = name.strip().strip('"').casefold()
    if plain in _UTC:
        return ZoneInfo("UTC")
    if plain in _OWN:
        return local
    if plain in _BERLIN or plain.startswith(_BERLIN_STARTS):
        return BERLIN
    # Such as /freeassociation.sourceforge.net/Tzfile/Europe/Berlin
    for candidate in (name.strip(), "/".join(name.strip().split("/")[-2:])):
        try:
            return ZoneInfo(candidate)
        except (ValueError, OSError, KeyError):  # all are its ways to say "unknown"
            continue
    return None


def settle(calendar: Calendar, wanted: Wanted, warnings: Counter[str]) -> None:
    """Put every moment of its events into a zone; `warnings` counts what was guessed.

    A zone that a moment names beats the calendar's own, which beats the feed's.
    """
    local = ZoneInfo(wanted.zone)
    # Or the expansion would look at the name once more, and know fewer than we do.
    stated = str(calendar.pop("X-WR-TIMEZONE", ""))
    zone = named(stated, local) if stated else None
    if stated and zone is None:
        warnings["unknown_zone"] += 1
    doubted = wanted.utc_is_local or wanted.utc_is_mistaken
    if zone is not None and doubted and _in_utc(datetime(2000, 7, 1, tzinfo=zone)):
        zone = None  # the feed's options know better
    for event in calendar.walk("VEVENT"):
        _each_moment(event, partial(_name, local=local, warnings=warnings))
        if wanted.utc_is_mistaken:
            _each_moment(event, partial(_relabel, zone=zone or local))
            _relabel_until(event, zone or local)
        elif zone is not None or wanted.utc_is_local:
            _into_local(event, zone or local, warnings)
        _each_moment(event, partial(_fill, zone=zone or local, guessed=not zone, warnings=warnings))
        _at_its_time(event)


Change = Callable[[datetime, str], datetime]
"""A moment and the name of its zone as it stands there → the moment as it is meant."""


def _each_moment(event: Component, change: Change) -> None:
    for key in _MOMENTS:
        if key not in event:
            continue
        held = event[key]
        values = held if isinstance(held, list) else [held]
        changed = [_changed(value, change) for value in values]
        event[key] = changed if isinstance(held, list) else changed[0]


def _changed(value: Any, change: Change) -> Any:
    name = str(value.params.get("TZID", ""))

    def mend(held: Any) -> Any:
        if isinstance(held, tuple):  # a period: start and end, or start and length
            return tuple(mend(each) for each in held)
        return change(held, name) if isinstance(held, datetime) else held

    if isinstance(value, vDDDLists):
        before = [each.dt for each in value.dts]
        after = [mend(each) for each in before]
        return value if after == before and _zones(after) == _zones(before) else vDDDLists(after)
    held = getattr(value, "dt", None)
    mended = mend(held)
    # "This and all following" must stay so.
    kept = {key: value.params[key] for key in ("RANGE",) if key in value.params}
    return value if mended is held else vDDDTypes(mended, kept)


def _zones(moments: list[Any]) -> list[Any]:
    flat = [m for each in moments for m in (each if isinstance(each, tuple) else [each])]
    return [getattr(each, "tzinfo", None) for each in flat]


def _name(moment: datetime, name: str, *, local: ZoneInfo, warnings: Counter[str]) -> datetime:
    """A moment whose zone's name the library did not know, and so left out."""
    if moment.tzinfo is not None or not name:
        return moment
    zone = named(name, local)
    if zone is None:
        warnings["unknown_zone"] += 1
    return moment.replace(tzinfo=zone or local)


def _fill(
    moment: datetime, _name: str, *, zone: ZoneInfo, guessed: bool, warnings: Counter[str]
) -> datetime:
    if moment.tzinfo is not None:
        return moment
    warnings["no_zone"] += guessed
    return moment.replace(tzinfo=zone)


def _at_its_time(event: Component) -> None:
    """A further lesson of which only the day is told begins when the series does."""
    begins = getattr(event.get("DTSTART"), "dt", None)
    held = event.get("RDATE", [])
    told = [one.dt for each in (held if isinstance(held, list) else [held]) for one in each.dts]
    if isinstance(begins, datetime) and any(type(one) is date for one in told):
        event["RDATE"] = vDDDLists(
            [datetime.combine(one, begins.timetz()) if type(one) is date else one for one in told]
        )


def _in_utc(moment: datetime) -> bool:
    return moment.tzinfo is not None and moment.tzname() == "UTC"


def _relabel(moment: datetime, _name: str, *, zone: ZoneInfo) -> datetime:
    return moment.replace(tzinfo=zone) if _in_utc(moment) else moment


def _relabel_until(event: Component, zone: ZoneInfo) -> None:
    for rule in rules(event):
        rule["UNTIL"] = [
            each.replace(tzinfo=zone).astimezone(UTC) if isinstance(each, datetime) else each
            for each in rule.get("UNTIL", [])
        ]
        if not rule["UNTIL"]:
            del rule["UNTIL"]


def _into_local(event: Component, zone: ZoneInfo, warnings: Counter[str]) -> None:
    """A series in UTC keeps its local time when the clocks change, if its weekdays allow it."""
    begins = getattr(event.get("DTSTART"), "dt", None)
    if isinstance(begins, datetime) and _in_utc(begins):
        days = any("BYDAY" in rule or "BYMONTHDAY" in rule for rule in rules(event))
        if days and begins.astimezone(zone).date() != begins.date():
            # Sunday 23:30 in UTC is Monday here: "on Sundays" would lose lessons.
            warnings["utc_weekday"] += 1
            return
    _each_moment(event, lambda moment, _: moment.astimezone(zone) if _in_utc(moment) else moment)


def rules(event: Component) -> list[vRecur]:
    held = event.get("RRULE", [])
    return held if isinstance(held, list) else [held]


def midnight(day: date, zone: str) -> datetime:
    """When that day begins there."""
    return datetime.combine(day, time(), tzinfo=ZoneInfo(zone))
