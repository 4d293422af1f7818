"""What another tool read from the same recordings: the values a fact may have."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SUPPLIES = ("toner", "ink", "markerSupply")


class Answers:
    """The answer key of one recording."""

    def __init__(self, path: Path, recording: Path) -> None:
        self._tables: dict[str, list[dict[str, Any]]] = {}
        for module in json.loads(path.read_text()).values():
            for part in ("discovery", "poller"):  # the poller's word is the later one
                found = module.get(part)
                if isinstance(found, dict):
                    self._tables |= found
        self._raw = {}
        for line in recording.read_text("utf-8", "replace").splitlines():
            name, _, rest = line.partition("|")
            self._raw[name] = rest.partition("|")[2]

    def allowed(self, fact: str) -> list[float | str]:
        """Every value that agrees with the key; empty when the key is silent about this fact."""
        found: Iterator[Any] = getattr(self, f"_{fact}", lambda: iter(()))()
        return [value for value in found if value not in (None, "", "<private>")]

    def _cpu_ratio(self) -> Iterator[float]:
        loads = [row["processor_usage"] / 100 for row in self._tables.get("processors", [])]
        if loads:
            yield from (sum(loads) / len(loads), max(loads))

    def _memory_ratio(self) -> Iterator[float]:
        for row in self._tables.get("mempools", []):
            if row["mempool_class"] == "system" and row["mempool_total"]:
                yield row["mempool_used"] / row["mempool_total"]

    def _memory_total_bytes(self) -> Iterator[float]:
        for row in self._tables.get("mempools", []):
            if row["mempool_total"] != 100:  # a share only
                yield row["mempool_total"]

    def _sensors(self, name: str) -> Iterator[dict[str, Any]]:
        for row in self._tables.get("sensors", []):
            if row["sensor_class"] == name and row["sensor_current"] is not None:
                yield row

    def _current(self, name: str, factor: float) -> Iterator[float]:
        for row in self._sensors(name):
            yield row["sensor_current"] * factor

    def _temperature_c(self) -> Iterator[float]:
        for row in self._sensors("temperature"):
            if "sfp" not in row["sensor_descr"].casefold():  # a plug's, not the device's
                yield row["sensor_current"]

    def _battery_ratio(self) -> Iterator[float]:
        return self._current("charge", 0.01)

    def _runtime_s(self) -> Iterator[float]:
        return self._current("runtime", 60)

    def _load_ratio(self) -> Iterator[float]:
        return self._current("load", 0.01)

    def _voltage_v(self) -> Iterator[float]:
        return self._current("voltage", 1)

    def _power_watts(self) -> Iterator[float]:
        # Phases without load may be told with a negative sign; those draw nothing.
        phases = [v for v in self._current("power", 1) if v >= 0]
        yield from (*phases, sum(phases)) if phases else ()

    def _poe_watts(self) -> Iterator[float]:
        return self._current("power", 1)

    def _lamp_s(self) -> Iterator[float]:
        for row in self._sensors("count"):
            if "Lamp" in row["sensor_descr"]:
                yield row["sensor_current"] * 3600

    def _wireless(self, name: str) -> Iterator[dict[str, Any]]:
        for row in self._tables.get("wireless_sensors", []):
            if row["sensor_class"] == name and row["sensor_current"] is not None:
                yield row

    def _clients(self) -> Iterator[float]:
        """Single values, and sums over all rows of each table column that is named."""
        columns: dict[tuple[int, str], float] = defaultdict(float)
        for name in {
            oid.strip(".")
            for row in self._wireless("clients")
            for oid in json.loads(row["sensor_oids"])
        }:
            parts, raw = name.split("."), self._raw.get(name, "")
            for depth in range(1, 9):
                columns[depth, ".".join(parts[:-depth])] += float(raw) if raw.isdigit() else 0
        yield from columns.values()
        yield from (row["sensor_current"] for row in self._wireless("clients"))
        for row in self._sensors("count"):
            if "Station" in row["sensor_descr"]:
                yield row["sensor_current"]

    def _channels(self, low: int, high: int) -> Iterator[float]:
        for row in self._wireless("frequency"):
            mhz = row["sensor_current"]
            if low <= mhz <= high:
                yield (mhz - (2407 if mhz < 3000 else 5000)) // 5

    def _channel_2g(self) -> Iterator[float]:
        return self._channels(2412, 2472)

    def _channel_5g(self) -> Iterator[float]:
        return self._channels(5160, 5885)

    def _noise_dbm(self) -> Iterator[float]:
        known = [row["sensor_current"] for row in self._wireless("noise-floor")]
        if negative := [value for value in known if value < 0]:
            yield max(negative)
            # Radios that are switched off tell a noise too; the key counts them, we do not.
            yield from negative

    def _utilisation_ratio(self) -> Iterator[float]:
        busy = [row["sensor_current"] / 100 for row in self._wireless("utilization")]
        if busy:
            yield max(busy)

    def _supply_ratio(self) -> Iterator[float]:
        for row in self._tables.get("printer_supplies", []):
            if row["supply_type"] in _SUPPLIES:
                yield row["supply_current"] / 100

    def _system(self, name: str) -> Iterator[str]:
        for row in self._tables.get("devices", []):
            yield row[name]

    def _serial(self) -> Iterator[str]:
        return self._system("serial")

    def _firmware(self) -> Iterator[str]:
        return self._system("version")

    def _model(self) -> Iterator[str]:
        return self._system("hardware")
