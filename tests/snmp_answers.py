"""What another tool read from the same recordings: the values that facts may have.

Health values are the quantities that `QUANTITIES` names; what else the key holds (states of parts,
link qualities, optics, mains current, trays and drums, shares) is counted as left out.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Allowed = list[float | str | bool]

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
_BITS = {"2G": "2", "2.4G": "2", "ng": "2", "5G": "5", "5.0G": "5", "na": "5"}
_WIRED = re.compile(r"(eth|en|em|ether|lan|wan|wired)[a-z0-9-]*$", re.IGNORECASE)
_TABLES = (
    *("processors", "mempools", "storage", "sensors", "wireless_sensors", "printer_supplies"),
)


class Answers:
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

    # Wireless

    def _wireless(self, kind: str) -> list[Row]:
        return self._use(r for r in self._rows("wireless_sensors", kind) if _known(r))

    def _clients(self) -> Iterator[float]:
        """A total that is named so, else the sum over networks or radios that the key lists."""
        rows = self._wireless("clients")
        totals = [r for r in rows if "total" in r["sensor_descr"].casefold()]
        totals += [r for r in rows if r["sensor_descr"] in ("wlan", "Connected Clients")]
        yield from (row["sensor_current"] for row in totals)
        for row in self._sensors("count"):
            if "Station" in row["sensor_descr"]:
                yield row["sensor_current"]
                totals.append(row)
        if totals or not rows:
            return
        for kind in ("SSID", ""):
            some = [r for r in rows if r["sensor_descr"].startswith("SSID") == bool(kind)]
            if some and not (kind and len(some) < len(rows) and "mtxr" in str(rows)):
                yield sum(row["sensor_current"] for row in some)
        yield sum(row["sensor_current"] for row in rows)

    def _clients_on(self, band: str) -> Iterator[float]:
        counts = [
            row["sensor_current"]
            for row in self._rows("wireless_sensors", "clients")
            if _known(row) and _band(row) == band
        ]
        if counts:
            yield sum(counts)

    def _clients_2g(self) -> Iterator[float]:
        return self._clients_on("2")

    def _clients_5g(self) -> Iterator[float]:
        return self._clients_on("5")

    def _clients_per_network(self) -> Iterator[str]:
        counts: dict[str, int] = defaultdict(int)
        for row in self._rows("wireless_sensors", "clients"):
            descr = row["sensor_descr"]
            radio = re.match(r"\dG: ", descr)
            if (descr.startswith("SSID") or radio) and _known(row) and "<private>" not in descr:
                name = re.sub(r"^(SSID|\dG):? |( Clients)$", "", descr)
                counts[name] += int(row["sensor_current"])
        if counts:
            yield "; ".join(sorted(f"{name}: {number}" for name, number in counts.items()))

    def _channels(self, low: int, high: int) -> Iterator[float]:
        for row in self._wireless("frequency"):
            mhz = row["sensor_current"]
            if low <= mhz <= high:
                yield (mhz - (2407 if mhz < 3000 else 5000)) // 5
        for row in self._wireless("channel"):
            if (low < 3000) == (row["sensor_current"] <= 14):
                yield row["sensor_current"]

    def _channel_2g(self) -> Iterator[float]:
        return self._channels(2412, 2472)

    def _channel_5g(self) -> Iterator[float]:
        return self._channels(5160, 5885)

    def _noise_dbm(self) -> Iterator[float]:
        known = [row["sensor_current"] for row in self._wireless("noise-floor")]
        if negative := [value for value in known if value < 0]:
            yield max(negative)
            # Radios that are switched off tell a noise too; the key counts them, we do not.
            on = [
                row["sensor_descr"]
                for row in self._rows("wireless_sensors", "frequency")
                if row["sensor_current"]
            ]
            yield from (
                row["sensor_current"]
                for row in self._rows("wireless_sensors", "noise-floor")
                if row["sensor_descr"] in on and row["sensor_current"] < 0
            )

    def _utilisation_ratio(self) -> Iterator[float]:
        modem = (
            row
            for row in self._rows("wireless_sensors", "capacity")
            if "Modem" in row["sensor_descr"]
        )
        rows = [*self._wireless("utilization"), *self._use(modem)]
        busy = [row["sensor_current"] / 100 for row in rows]
        if busy:
            yield max(busy)

    def _access_points(self) -> Iterator[float]:
        return self._counted("total aps", "configured aps", "ap count")

    def _access_points_up(self) -> Iterator[float]:
        return self._counted("connected aps")

    def _counted(self, *names: str) -> Iterator[float]:
        for row in self._wireless("ap-count"):
            if row["sensor_descr"].casefold() in names:
                yield row["sensor_current"]

    # Ports

    def _ethernet(self) -> list[list[Row]]:
        """All Ethernet ports; those that have a socket; those that are named like a wire."""
        kinds = ("ethernetCsmacd", "gigabitEthernet", "6", "117")
        rows = self._tables.get("ports", [])
        every = [row for row in rows if row["ifType"] in kinds]
        real = [row for row in every if row["ifConnectorPresent"] == "true"]
        wired = [row for row in rows if _WIRED.match(row["ifDescr"] or "")]
        return [some for some in (every, real, wired) if some]

    def _ports(self) -> list[float]:
        return [len(rows) for rows in self._ethernet()]

    def _ports_up(self) -> list[float]:
        return [sum(row["ifOperStatus"] == "up" for row in rows) for rows in self._ethernet()]

    def _octets(self, name: str) -> Iterator[float]:
        for rows in self._ethernet():
            told = [row[name] for row in rows if row.get(name) is not None]
            if any(told):
                yield sum(told)

    def _in_bytes(self) -> Iterator[float]:
        return self._octets("ifInOctets")

    def _out_bytes(self) -> Iterator[float]:
        return self._octets("ifOutOctets")

    def _errors(self) -> Iterator[float]:
        if not any(name.startswith("1.3.6.1.2.1.2.2.1.14.") for name in self._raw):
            return  # the key has a 0 for what the device did not say
        for rows in self._ethernet():
            told = [row["ifInErrors"] for row in rows if row.get("ifInErrors") is not None]
            if told:
                yield sum(told)

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


def _known(row: Row) -> bool:
    return row["sensor_current"] is not None


def _band(row: Row) -> str:
    descr = row["sensor_descr"]
    for word, band in _BITS.items():
        if (
            word
            in descr.replace("(", " ")
            .replace(")", " ")
            .replace(":", " ")
            .replace("-", " ")
            .replace("Hz", "")
            .split()
        ):
            return band
    return ""
