"""Reads a region from YAML or CSV, shows what would change, and takes it over: all or nothing."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from inventory.device import DeviceKind
from inventory.region.changes import Change, Diff, apply, diff
from inventory.region.consistency import check, known
from inventory.region.csv_file import read_csv
from inventory.region.faults import Fault, ImportRefused, Place, not_known
from inventory.region.rows import SHEETS, Entry, Region, Sheet
from inventory.region.text_file import refused
from inventory.region.yaml_file import read_yaml

__all__ = [
    "Change",
    "Diff",
    "Fault",
    "ImportRefused",
    "Region",
    "apply",
    "diff",
    "read_region",
    "single",
]

Raw = tuple[Place, dict[str, Any], frozenset[str]]


def read_region(
    path: str | Path,
    *,
    drivers: Collection[str],
    thresholds: Mapping[DeviceKind, Collection[str]] | None = None,
    session: Session | None = None,
    prune: bool = False,
) -> Region:
    """Read one `.yaml` file, one `.csv` file, or a folder of `.csv` files.

    `drivers`: the names of the drivers there are. `thresholds`: kind of device → the names of the
    thresholds that can be set; None: any name will do. With a session, what the files say is held
    against the database too, so that all errors are shown at once; `diff` and `apply` do that in
    any case. Raises ImportRefused.
    """
    faults: list[Fault] = []
    entries: dict[str, list[Entry]] = {}
    unreadable: dict[str, frozenset[str]] = {}
    try:
        found, complete = _raw(Path(path), faults)
        for name, raw in found.items():
            context = {"drivers": drivers, "thresholds": thresholds}
            entries[name] = _validated(SHEETS[name], raw, context, faults)
            ids = frozenset(str(values.get("id", "")) for _, values, _ in raw)
            unreadable[name] = ids - {entry.row.id for entry in entries[name]}
        if complete:
            faults += check(Region(entries, unreadable), known(session) if session else None, prune)
    except ImportRefused as error:
        faults += error.faults
    if faults:
        raise ImportRefused(faults)
    return Region(entries)


def single(sheet: str, values: Mapping[str, Any], *, drivers: Collection[str]) -> Region:
    """A region of one entry that stands in no file: a page or a command says it.

    Raises ImportRefused.
    """
    faults: list[Fault] = []
    filled = {key: value for key, value in values.items() if value not in ("", None)}
    raw = [(Place("", 0), filled, frozenset(filled))]
    entries = _validated(SHEETS[sheet], raw, {"drivers": drivers}, faults)
    if faults:
        raise ImportRefused(faults)
    return Region({sheet: entries})


def _raw(path: Path, faults: list[Fault]) -> tuple[dict[str, list[Raw]], bool]:
    """The rows of each sheet, not yet validated, and whether all sheets could be read."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return read_yaml(path, faults), True
    found: dict[str, list[Raw]] = {}
    files = _sheet_files(path)
    for file in files:
        sheet = SHEETS.get(file.stem.lower())
        if not sheet:
            faults.append(Fault(file.name, 0, "", not_known("sheet", file.stem, SHEETS.keys())))
            continue
        try:
            found[sheet.name] = list(read_csv(file, sheet, faults))
        except ImportRefused as error:
            faults += error.faults
    return found, len(found) == len(files)


def _sheet_files(path: Path) -> list[Path]:
    if not path.is_dir():
        if path.suffix.lower() != ".csv":
            raise refused(path, 0, "is neither a .yaml nor a .csv file nor a folder of .csv files")
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".csv")
    if not files:
        raise refused(path, 0, f"holds no .csv file; expected are {', '.join(SHEETS)}")
    return files


def _validated(
    sheet: Sheet, raw: Iterable[Raw], context: dict[str, Any], faults: list[Fault]
) -> list[Entry]:
    entries = []
    for place, values, given in raw:
        try:
            row = sheet.row.model_validate(values, context=context)
        except ValidationError as error:
            faults += [_fault(sheet, place, detail) for detail in error.errors(include_url=False)]
        else:
            entries.append(Entry(row, given, place))
    return entries


def _fault(sheet: Sheet, place: Place, detail: Any) -> Fault:
    """One error of pydantic in our words."""
    column = str(detail["loc"][0]) if detail["loc"] else ""
    context = detail.get("ctx", {})
    said = str(detail["input"])[:80]
    match detail["type"]:
        case "value_error":
            text = str(context["error"])
        case "missing":
            text = f"is missing; every {sheet.one} needs it"
        case "extra_forbidden":
            text = not_known("field", column, sheet.row.model_fields.keys())
        case "string_too_short" | "too_short":
            text = f"is empty; every {sheet.one} needs it"
        case "string_too_long" | "too_long":
            text = f"is longer than {context['max_length']} characters; shorten it"
        case "string_type":
            text = "must be a text"
        case "enum":
            kinds = [
                word.strip("' ") for word in context["expected"].replace(" or ", ",").split(",")
            ]
            text = not_known(column, said, kinds)
        case "bool_parsing" | "bool_type":
            text = f"'{said}' is neither yes nor no; write yes or no"
        case "greater_than_equal":
            text = f"'{said}' is too small; the least is {context['ge']}"
        case "less_than_equal":
            text = f"'{said}' is too large; the most is {context['le']}"
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            text = f"'{said}' is no whole number; write digits only"
        case _:
            text = str(detail["msg"])
    return place.fault(column, text)
