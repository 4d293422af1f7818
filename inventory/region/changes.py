"""What an import would change, and the change itself."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, update
from sqlmodel import Session

from inventory.device import Device, new_code
from inventory.recipes import ensure_recipes
from inventory.region.consistency import after, check, known
from inventory.region.faults import ImportRefused
from inventory.region.rows import NO_RECIPE, SHEETS, Entry, Region, Sheet

FORGET_FEED = {
    "etag": "",
    "modified": "",
    "tried_at": None,
    "good_at": None,
    "problem": "",
    "detail": "",
}
"""A feed that points elsewhere has not been read yet, whatever the old address said."""
READ_ANEW = {"url", "site", "room", "kind", "options"}


@dataclass(frozen=True)
class Change:
    """One thing that is added (no old values), changed or removed (no values at all)."""

    sheet: str
    id: str
    fields: Mapping[str, tuple[Any, Any]]
    """Field, named as in files → old and new value."""

    @property
    def moved(self) -> tuple[str, str] | None:
        """The old and the new room of a device that moves."""
        return self.fields.get("room") if self.sheet == "devices" else None


_NAMING = ("name", "url", "range")
"""The field that says most of a new thing, in this order."""


@dataclass(frozen=True)
class Diff:
    """What an import changes, in the order of the files."""

    added: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()
    removed: tuple[Change, ...] = ()
    unchanged: int = 0

    @property
    def empty(self) -> bool:
        return not (self.added or self.changed or self.removed)

    def lines(self) -> Iterator[str]:
        """For reading: + added, ~ changed, > moved to another room, - removed."""
        for change in self.added:
            name = next(change.fields[key][1] for key in _NAMING if key in change.fields)
            yield f"+ {SHEETS[change.sheet].one} {change.id} ({name})"
        for change in self.changed:
            told = ", ".join(
                f"{field} {_said(field, old)} → {_said(field, new)}"
                for field, (old, new) in change.fields.items()
            )
            sign = ">" if change.moved else "~"
            yield f"{sign} {SHEETS[change.sheet].one} {change.id}: {told}"
        for change in self.removed:
            yield f"- {SHEETS[change.sheet].one} {change.id}"


def _said(field: str, value: Any) -> str:
    if field == "code":
        return "…"  # it opens the caretaker's form, so it is not for everybody's screen
    return json.dumps(value, ensure_ascii=False) if value not in ("", None, {}) else "(empty)"


def diff(session: Session, region: Region, prune: bool = False) -> Diff:
    """What `apply` would do; changes nothing. Raises ImportRefused.

    `prune`: what is there but not in the files is removed, of those sheets that the files have.
    Built-in recipes and recipes that a past reset used always stay.
    """
    there = known(session)
    faults = list(check(region, there, prune))
    if faults:
        raise ImportRefused(faults)
    added, changed, removed = [], [], []
    unchanged = 0
    for name, entries in ((name, region.entries.get(name)) for name in SHEETS):
        old = there.rows[name]
        for entry in entries or ():
            change = Change(name, entry.row.id, _fields(entry, old.get(entry.row.id)))
            if entry.row.id not in old:
                added.append(change)
            elif change.fields:
                changed.append(change)
            else:
                unchanged += 1
        gone = old.keys() - after(region, there, name, prune).keys()
        removed += [Change(name, lost, {}) for lost in sorted(gone)]
    return Diff(tuple(added), tuple(changed), tuple(removed), unchanged)


def _fields(entry: Entry, old: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    values = entry.row.model_dump()
    if not values.get("code", "-"):
        del values["code"]  # an empty cell never takes a label's code away
    if old is None:
        return {name: (None, value) for name, value in values.items() if name != "id"}
    return {
        name: (old[name], value)
        for name, value in values.items()
        if name in entry.given and not _same(old[name], value)
    }


def _same(old: Any, new: Any) -> bool:
    # For Python 1 and true are the same, for a device they are not.
    return bool(old == new) and json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def apply(session: Session, region: Region, prune: bool = False) -> Diff:
    """Take the region over inside the caller's transaction. Raises ImportRefused, then having
    changed nothing; every other error leaves the transaction to be rolled back."""
    done = diff(session, region, prune)
    _release_codes(session, done)
    for sheet in SHEETS.values():
        _insert(session, sheet, done, region)
        _update(session, sheet, done)
        if sheet.name == "recipes":
            ensure_recipes(session)
    for sheet in reversed(SHEETS.values()):
        gone = [change.id for change in done.removed if change.sheet == sheet.name]
        for at in range(0, len(gone), 500):
            condition = sheet.table.id.in_(gone[at : at + 500])  # type: ignore[attr-defined]
            session.execute(delete(sheet.table).where(condition))
    session.expire_all()
    return done


def _release_codes(session: Session, done: Diff) -> None:
    """Two devices may swap their codes, or one take over a removed one's."""
    changing = [*done.removed, *(change for change in done.changed if "code" in change.fields)]
    fresh = [{"id": c.id, "code": new_code()} for c in changing if c.sheet == "devices"]
    if fresh:
        session.execute(update(Device), fresh)


def _insert(session: Session, sheet: Sheet, done: Diff, region: Region) -> None:
    new = {change.id for change in done.added if change.sheet == sheet.name}
    for entry in region.entries.get(sheet.name, ()):
        if entry.row.id in new:
            values = sheet.stored(entry.row)
            if not values.get("code", "-"):
                del values["code"]
            session.add(sheet.table(**values))
    session.flush()


def _update(session: Session, sheet: Sheet, done: Diff) -> None:
    rows = [
        {"id": change.id, **_columns(sheet, change)}
        for change in done.changed
        if change.sheet == sheet.name
    ]
    if rows:
        session.execute(update(sheet.table), rows)


def _columns(sheet: Sheet, change: Change) -> dict[str, Any]:
    values = {name: new for name, (_, new) in change.fields.items()}
    if values.get("recipe") == NO_RECIPE:
        values["recipe"] = None
    forgotten = FORGET_FEED if sheet.name == "feeds" and READ_ANEW & set(values) else {}
    return {**{sheet.column(name): value for name, value in values.items()}, **forgotten}
