"""What the key says of radios, networks, controllers and ports."""

import re
from collections import defaultdict
from collections.abc import Iterator

from tests.snmp_key import Key, Row

_BITS = {"2G": "2", "2.4G": "2", "ng": "2", "5G": "5", "5.0G": "5", "na": "5"}
_WIRED = re.compile(r"(eth|en|em|ether|lan|wan|wired)[a-z0-9-]*$", re.IGNORECASE)


class Network(Key):
    """Wi-Fi and wire."""

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
