"""The answer key of one recording as rows, with a note of those that were used."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Allowed = list[float | str | bool]

_TABLES = (
    *("processors", "mempools", "storage", "sensors", "wireless_sensors", "printer_supplies"),
)


class Key:
    """The answer key of one recording; with `part` only what it says of that part of the OIDs."""

    def __init__(self, path: Path, recording: Path, part: str = "") -> None:
        self._tables: dict[str, list[Row]] = {}
        for module in json.loads(path.read_text()).values():
            for stage in ("discovery", "poller"):  # the poller's word is the later one
                found = module.get(stage)
                if isinstance(found, dict):
                    self._tables |= found
        if part:
            self._tables = {
                name: [row for row in rows if part in json.dumps(row)]
                for name, rows in self._tables.items()
                if name not in {"ports", "devices"}
            }
        self._raw = {}
        for line in recording.read_text("utf-8", "replace").splitlines():
            name, _, rest = line.partition("|")
            self._raw[name] = rest.partition("|")[2]
        self._used: set[int] = set()

    def allowed(self, fact: str) -> Allowed:
        """Every value that agrees with the key; empty when the key is silent about this fact."""
        found: Iterable[Any] = getattr(self, f"_{fact}", lambda: ())()
        return [value for value in found if value not in (None, "", "<private>")]

    def left_out(self) -> int:
        """Rows of the key that no fact was compared with; ask all facts first."""
        rows = [row for name in _TABLES for row in self._tables.get(name, [])]
        return sum(id(row) not in self._used for row in rows)

    def _rows(self, table: str, kind: str = "", key: str = "sensor_class") -> list[Row]:
        rows = self._tables.get(table, [])
        return [row for row in rows if not kind or row[key] == kind]

    def _use(self, rows: Iterable[Row]) -> list[Row]:
        kept = list(rows)
        self._used |= {id(row) for row in kept}
        return kept

    def _sensors(self, kind: str, without: tuple[str, ...] = ()) -> list[Row]:
        return self._use(
            row
            for row in self._rows("sensors", kind)
            if row["sensor_current"] is not None
            and not any(word in row["sensor_descr"].casefold() for word in without)
        )

    def _current(self, kind: str, factor: float, without: tuple[str, ...] = ()) -> list[float]:
        return [row["sensor_current"] * factor for row in self._sensors(kind, without)]
