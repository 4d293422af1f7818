"""What another tool read from the same recordings: the values that facts may have.

Health values are the quantities that `QUANTITIES` names; what else the key holds (states of parts,
link qualities, optics, currents, trays, other disks) is counted as left out.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.snmp_wireless import Network

QUANTITIES = (
    *("cpu_ratio", "memory_ratio", "disk_ratio", "temperature_c", "fan_state"),
    *("battery_ratio", "runtime_s", "load_ratio", "on_battery", "battery_replace"),
    *("voltage_v", "power_watts", "poe_watts", "lamp_s"),
    *("clients", "clients_2g", "clients_5g", "clients_per_network"),
    *("channel_2g", "channel_5g", "noise_dbm", "utilisation_ratio"),
    *("access_points", "access_points_up"),
    *("ports", "ports_up", "in_bytes", "out_bytes", "errors"),
    *("printer_state", "supply_ratio", "supplies", "pages"),
)
IDENTITY = ("model", "firmware", "serial")
_COLOURS = ("toner", "ink", "inkCartridge", "tonerCartridge", "markerSupply")


class Answers(Network):
    """All of it."""

    # Computers

    def _cpu_ratio(self) -> Iterator[float]:
        loads = [row["processor_usage"] / 100 for row in self._use(self._rows("processors"))]
        if loads:
            yield from (sum(loads) / len(loads), max(loads))

    def _memory_ratio(self) -> Iterator[float]:
        """The fullest; network buffers and flash are no memory, and some agents tell no use."""
        no = ("transport", "ip free", "flash", "allocated")
        rows = [
            row
            for row in self._rows("mempools", "system", "mempool_class")
            if not row["mempool_descr"].casefold().startswith(no) and row["mempool_total"]
        ]
        used = [row["mempool_used"] / row["mempool_total"] for row in self._use(rows)]
        if told := [ratio for ratio in used if 0 < ratio < 1]:
            yield max(told)

    def _memory_total_bytes(self) -> Iterator[float]:
        for row in self._tables.get("mempools", []):
            if row["mempool_total"] != 100:  # a share only
                yield from (row["mempool_total"], row["mempool_total"] * 1024)

    def _disk_ratio(self) -> Iterator[float]:
        for row in self._rows("storage"):
            descr = row["storage_descr"].casefold()
            if descr == "/" or descr.startswith(("c:\\", "/volume")):
                self._use([row])
                if row["storage_size"] and row["storage_used"] is not None:
                    yield row["storage_used"] / row["storage_size"]

    def _temperature_c(self) -> Iterator[float]:
        """Not a plug's, nor that of a probe in the room; 0 means that none is fitted."""
        rooms = ("sfp", "equipment room", "ambient", "remote", "environment")
        found = self._current("temperature", 1, rooms) or self._current("temperature", 1, ("sfp",))
        if told := [value for value in found if value and -40 <= value <= 130]:
            yield max(told)

    def _fan_state(self) -> Iterator[str]:
        words = {0: "ok", 1: "warning", 2: "error"}
        states: dict[str, dict[Any, int]] = defaultdict(dict)
        for row in self._tables.get("state_indexes", []):
            states[row["state_name"]][row["state_value"]] = row["state_generic_value"]
        worst = -1
        for row in self._rows("sensors", "state"):
            if "fan" in row["sensor_descr"].casefold():
                self._use([row])
                worst = max(worst, states[row["sensor_type"]].get(row["sensor_current"], -1))
        if worst in words:
            yield words[worst]

    # Power

    def _battery_ratio(self) -> list[float]:
        return self._current("charge", 0.01)

    def _runtime_s(self) -> list[float]:
        past = ("time on battery", "last battery", "days remaining")
        return self._current("runtime", 60, past)

    def _load_ratio(self) -> Iterator[float]:
        loads = self._current("load", 0.01)
        if loads:
            yield max(loads)

    def _state(self, oid: str) -> int | None:
        for row in self._rows("sensors", "state"):
            if row["sensor_oid"].strip(".") == f"1.3.6.1.{oid}":
                return int(self._use([row])[0]["sensor_current"])
        return None

    def _on_battery(self) -> Iterator[bool]:
        for oid, batteries in (
            ("2.1.33.1.4.1.0", {5}),
            ("4.1.318.1.1.1.4.1.1.0", {3}),
            ("4.1.3808.1.1.1.4.1.1.0", {3}),
            ("4.1.705.1.7.3.0", {1}),
        ):
            if (state := self._state(oid)) is not None:
                yield state in batteries

    def _battery_replace(self) -> Iterator[bool]:
        for oid, yes in (
            ("4.1.318.1.1.1.2.2.4.0", 2),
            ("4.1.3808.1.1.1.2.2.5.0", 2),
            ("4.1.705.1.5.11.0", 1),
        ):
            if (state := self._state(oid)) is not None:
                yield state == yes

    def _voltage_v(self) -> Iterator[float]:
        rows = self._rows("sensors", "voltage")
        inputs = [
            row for row in rows if row["sensor_descr"].casefold().startswith(("input", "in "))
        ]
        one = [r for r in rows if r["sensor_descr"].startswith(("Voltage", "AC RMS"))]
        for row in self._use(inputs or one):
            yield row["sensor_current"]

    def _power(self, poe: bool) -> Iterator[float]:
        rows = [
            row
            for row in self._rows("sensors", "power")
            if ("4.1.11863.6.56" in row["sensor_oid"] or "POE" in row["sensor_descr"]) == poe
            and not row["sensor_descr"].startswith(
                ("Input", "System Input", "Bypass", "Apparent", "Power Limit", "Power Remaining")
            )
        ]
        standard = [row for row in rows if ".2.1.33.1.4.4." in row["sensor_oid"]]
        rows = standard or rows  # a vendor's own row says the same once more
        # Phases without load may be told with a negative sign; those draw nothing.
        phases = [row["sensor_current"] for row in self._use(rows) if row["sensor_current"] >= 0]
        totals = [r["sensor_current"] for r in rows if r["sensor_descr"] == "Power Consumption"]
        if phases:
            yield from (totals or [sum(phases)])

    def _power_watts(self) -> Iterator[float]:
        return self._power(False)

    def _poe_watts(self) -> Iterator[float]:
        return self._power(True)

    # Projectors and printers

    def _lamp_s(self) -> Iterator[float]:
        for row in self._rows("sensors", "count"):
            if "Lamp" in row["sensor_descr"]:
                yield self._use([row])[0]["sensor_current"] * 3600

    def _pages(self) -> Iterator[float]:
        for row in self._rows("sensors", "count"):
            if row["sensor_oid"].strip(".").startswith("1.3.6.1.2.1.43.10.2.1.4."):
                yield self._use([row])[0]["sensor_current"]

    def _printer_state(self) -> Iterator[str]:
        for row in self._rows("sensors", "state"):
            if row["sensor_oid"].strip(".").startswith("1.3.6.1.2.1.25.3.2.1.5."):
                self._use([row])
                at = row["sensor_oid"].rpartition(".")[2]
                words = {"1": "other", "3": "idle", "4": "printing", "5": "warming"}
                raw = self._raw.get(f"1.3.6.1.2.1.25.3.5.1.1.{at}", "")
                yield "stopped" if row["sensor_current"] == 5 else words.get(raw, "")

    def _supply_ratio(self) -> Iterator[float]:
        """The emptiest of what colours paper; levels below zero are no share."""
        waste = ("waste", "drum", "transfer", "fuser", "roller", "developer", "staple", "belt")
        levels = []
        for row in self._rows("printer_supplies"):
            named = row["supply_descr"].casefold()
            if row["supply_type"] in _COLOURS and not any(word in named for word in waste):
                self._use([row])
                if float(self._raw.get(row["supply_oid"].strip("."), "-1") or -1) >= 0:
                    levels.append(row["supply_current"] / 100)
        if levels:
            yield min(levels)

    def _supplies(self) -> Iterator[str]:
        """Every fill in percent; the names are cut and joined in too many ways to be compared."""
        levels = []
        for row in self._rows("printer_supplies"):
            raw = self._raw.get(row["supply_oid"].strip("."), "")
            most = self._raw.get(row["supply_capacity_oid"].strip("."), "")
            if row["supply_type"] != "input" and float(raw or -1) >= 0 and float(most or -1) > 0:
                self._use([row])
                levels.append(f"{row['supply_current']:.0f} %")
        if levels:
            yield "; ".join(sorted(levels))

    # Identity

    def _system(self, name: str) -> Iterator[str]:
        for row in self._tables.get("devices", []):
            yield row[name]

    def _serial(self) -> Iterator[str]:
        return self._system("serial")

    def _firmware(self) -> Iterator[str]:
        return self._system("version")

    def _model(self) -> Iterator[str]:
        return self._system("hardware")
