"""Do the rows fit together, and to what is in the database? Two of everything ends here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, select

from inventory.device import Service
from inventory.recipes import BUILT_IN, usual_recipe
from inventory.region.faults import Fault, not_known
from inventory.region.rows import NO_RECIPE, SHEETS, Entry, Region, Sheet
from inventory.reset import ResetRun

Rows = Mapping[str, Mapping[str, Any]]
"""Id → the values of a thing, named as in files."""


@dataclass(frozen=True)
class Known:
    """Everything that a region file can speak of, as the database has it now."""

    rows: Mapping[str, Rows]
    """By the sheet's name."""
    kept: frozenset[str] = frozenset()
    """Recipes that are never removed: the built-in ones, and those of resets in the past."""


NOTHING = Known({name: {} for name in SHEETS})


def known(session: Session) -> Known:
    rows = {sheet.name: _rows(session, sheet) for sheet in SHEETS.values()}
    used = session.exec(select(ResetRun.recipe_id).distinct())
    return Known(rows, frozenset({*BUILT_IN, *used}))


def _rows(session: Session, sheet: Sheet) -> Rows:
    columns = [getattr(sheet.table, sheet.column(name)) for name in sheet.row.model_fields]
    found = [dict(row) for row in session.execute(select(*columns)).mappings()]
    return {row["id"]: sheet.shown(row) for row in found}


def check(region: Region, there: Known | None, prune: bool = False) -> Iterator[Fault]:
    """Everything that does not fit. Without `there` only the files are held against themselves."""
    for entries in region.entries.values():
        yield from _twice_in_file(entries)
    then = {name: after(region, there or NOTHING, name, prune) for name in SHEETS}
    yield from _twins(region, then)
    yield from _left_behind(region, (there or NOTHING).rows["devices"], then["devices"])
    yield from _circles(region, then["devices"])
    if there:
        yield from _dangling(region, then)
        yield from _orphaned(region, there, then)


def after(region: Region, there: Known, sheet: str, prune: bool) -> Rows:
    """What there would be of one sheet after the import."""
    old = there.rows[sheet]
    entries = region.entries.get(sheet)
    if entries is None:
        return old
    kept = there.kept if sheet == "recipes" else ()
    rows = {name: values for name, values in old.items() if not prune or name in kept}
    for entry in entries:
        values = entry.row.model_dump()
        if entry.row.id in old:
            values = {**old[entry.row.id], **{key: values[key] for key in entry.given}}
        rows[entry.row.id] = values
    return rows


def _twice_in_file(entries: list[Entry]) -> Iterator[Fault]:
    first: dict[str, Entry] = {}
    for entry in entries:
        other = first.setdefault(entry.row.id, entry)
        if other is not entry:
            yield entry.place.fault(
                "id", f"'{entry.row.id}' is already used in line {other.place.line}; use another"
            )


def _twins(region: Region, then: Mapping[str, Rows]) -> Iterator[Fault]:
    """Two devices with the same serial number, hardware address, address or label code."""
    places = {entry.row.id: entry.place for entry in region.entries.get("devices", ())}
    rooms = then["rooms"]

    def reached_at(device: Mapping[str, Any]) -> Any:
        # Every municipality has its own 192.168.1.10, and a retired device has none any more.
        if device["service"] is Service.RETIRED:
            return None
        site = rooms.get(device["room"], {}).get("site", device["room"])
        # A controller's address is that of all access points behind it, and a management
        # server's that of all its tablets.
        behind = str(device["options"].get("access_point", "")).lower().replace("-", ":")
        if device["driver"] == "headwind":
            behind = str(device["options"].get("number") or device["serial"]).lower()
        return (site, device["address"].lower(), device["port"], behind)

    keys: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        "serial": lambda device: device["serial"],
        "mac": lambda device: device["mac"],
        "address": reached_at,
        "code": lambda device: device["code"],
    }
    for column, key in keys.items():
        owners: dict[Any, str] = {}
        for name, device in then["devices"].items():
            value = key(device)
            other = owners.setdefault(value, name) if value else name
            if other == name:
                continue
            late, early = (name, other) if name in places else (other, name)
            if late in places:
                line = f" in line {places[early].line}" if early in places else ""
                yield places[late].fault(
                    column, f"'{device[column]}' already belongs to device '{early}'{line}"
                )


def _left_behind(region: Region, old: Rows, devices: Rows) -> Iterator[Fault]:
    """A known device that becomes another sort and would keep the usual recipe of the old one,
    which the new driver cannot do."""
    for entry in region.entries.get("devices", ()):
        before, now = old.get(entry.row.id), devices[entry.row.id]
        if before is None or "recipe" in entry.given:
            continue
        usual = usual_recipe(before["kind"], before["driver"])
        fitting = usual_recipe(now["kind"], now["driver"])
        if now["recipe"] == usual != fitting:
            yield entry.place.fault(
                "driver" if now["kind"] == before["kind"] else "kind",
                f"would keep the recipe '{usual}' of what it was; add a column recipe and write"
                f" {fitting}, or another one",
            )


def _circles(region: Region, devices: Rows) -> Iterator[Fault]:
    """A device that, link by link, would hang on itself."""
    for entry in region.entries.get("devices", ()):
        for column in ("uplink", "power"):
            at: str = devices[entry.row.id][column] or ""
            seen = {""}
            while at not in seen | {entry.row.id}:
                seen.add(at)
                at = devices.get(at, {}).get(column) or ""
            if at == entry.row.id:
                yield entry.place.fault(column, f"'{entry.row.id}' would hang on itself")


def _dangling(region: Region, then: Mapping[str, Rows]) -> Iterator[Fault]:
    """What points to something that is not there, or to a room of another site."""
    for name, entries in region.entries.items():
        sheet = SHEETS[name]
        for entry in entries:
            values = then[name][entry.row.id]
            for column, target in sheet.points_to.items():
                said = values[column]
                there = then[target].keys() | region.unreadable.get(target, frozenset())
                if target == "recipes":
                    there |= BUILT_IN.keys()
                if said and said not in there and said != NO_RECIPE:
                    yield entry.place.fault(column, not_known(SHEETS[target].one, said, there))
            yield from _elsewhere(entry, values, then) if name == "devices" else ()
            room = then["rooms"].get(values.get("room") or "") if name == "feeds" else None
            if room and room["site"] != values["site"]:
                yield entry.place.fault(
                    "room",
                    f"room '{values['room']}' belongs to site '{room['site']}', not this one",
                )
            if name == "feeds":
                yield from _unknown_places(entry, values, then, region)


def _unknown_places(
    entry: Entry, feed: Mapping[str, Any], then: Mapping[str, Rows], region: Region
) -> Iterator[Fault]:
    """What a feed's `locations` lead to: rooms of its own site."""
    here = {room for room, values in then["rooms"].items() if values["site"] == feed["site"]}
    here |= region.unreadable.get("rooms", frozenset())
    for place, room in feed["options"].get("locations", {}).items():
        if room is not None and room not in here:
            yield entry.place.fault(
                "options", f"location '{place[:80]}': {not_known('room', room, here)}"
            )


def _elsewhere(
    entry: Entry, values: Mapping[str, Any], then: Mapping[str, Rows]
) -> Iterator[Fault]:
    """Nothing hangs on a device of another site."""

    def site(device: Mapping[str, Any]) -> Any:
        return then["rooms"].get(device["room"], {}).get("site")

    for column in ("uplink", "power"):
        other = then["devices"].get(values[column] or "")
        if other and site(other) != site(values):
            yield entry.place.fault(column, f"device '{values[column]}' stands at another site")


def _orphaned(region: Region, there: Known, then: Mapping[str, Rows]) -> Iterator[Fault]:
    """With `prune`: what would be removed although something that stays points to it."""
    gone = {name: there.rows[name].keys() - then[name].keys() for name in SHEETS}
    for sheet in SHEETS.values():
        entries = region.entries.get(sheet.name)
        listed = {entry.row.id for entry in entries or ()}
        for column, target in sheet.points_to.items():
            users: dict[str, list[str]] = {}
            for name, values in then[sheet.name].items():
                if name not in listed and values[column] in gone[target]:
                    users.setdefault(values[column], []).append(name)
            for lost, left in users.items():
                yield Fault(
                    target,
                    0,
                    "",
                    f"{SHEETS[target].one} '{lost}' cannot be removed: {len(left)} {sheet.name}"
                    f" still belong to it, such as '{left[0]}'; list them too, or keep it",
                )
