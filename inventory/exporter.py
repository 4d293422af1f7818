"""Writes the whole region as YAML or as CSV files: what the importer reads, nothing lost."""

import csv
import json
from pathlib import Path
from typing import Any

import yaml
from sqlmodel import Session

from inventory.region.consistency import known
from inventory.region.csv_file import escape
from inventory.region.rows import SHEETS
from inventory.region.yaml_file import typed

Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(Dumper):  # type: ignore[misc]
    """Puts every text in quotes that our reader would take for a number or the like."""


def _text(dumper: Any, text: str) -> Any:
    style = '"' if typed(text) is not text or "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def export_yaml(session: Session) -> str:
    """One YAML document with every sheet, sorted by id, the same each time."""
    region = {
        name: [_plain(row) for _, row in sorted(rows.items())]
        for name, rows in known(session).rows.items()
    }
    return dump(region)


def dump(region: dict[str, Any]) -> str:
    """Sheets of rows in the YAML that the importer reads."""
    return str(yaml.dump(region, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def export_csv(session: Session, folder: str | Path) -> list[Path]:
    """One file per sheet into the folder, made to be opened by a German Excel: UTF-8 with a mark,
    semicolons, and no cell that it would run as a formula. Returns the files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, rows in known(session).rows.items():
        path = folder / f"{name}.csv"
        with path.open("w", encoding="utf-8-sig", newline="") as opened:
            writer = csv.writer(opened, delimiter=";")
            writer.writerow(SHEETS[name].row.model_fields)
            for _, row in sorted(rows.items()):
                writer.writerow([_cell(key, value) for key, value in _plain(row).items()])
        written.append(path)
    return written


def _plain(row: Any) -> dict[str, Any]:
    """Only what JSON knows: enumerations become their words."""
    return {key: str(v) if isinstance(v, str) else v for key, v in row.items()}


def _cell(column: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case dict() if column == "required":
            return " ".join(f"{kind}={_need(need)}" for kind, need in value.items())
        case dict() | list():
            return json.dumps(value, ensure_ascii=False) if value else ""
        case _:
            return escape(str(value))


def _need(need: Any) -> str:
    return f"{need['wanted']}/{need['least']}" if isinstance(need, dict) else str(need)
