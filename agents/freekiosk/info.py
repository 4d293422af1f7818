"""What a tablet under FreeKiosk says, whichever version's names it uses, in the facts' words."""

from typing import Any

from agents.messages import Facts
from agents.plausible import between, label, same_page, share

Section = dict[str, Any]
_MB = 1024 * 1024
_NUMBERS = ("serial", "serialNumber", "deviceId", "deviceID", "androidId")
_UNKNOWN = {"", "unknown", "null", "none"}


class Info:
    """The status, and what else was asked because the status lacked it.

    What does not fit is left out: the names differ between versions and their documents.
    """

    def __init__(self, status: Section) -> None:
        self._whole = status

    def add(self, section: str, data: Section) -> None:
        self._whole = self._whole | {section: data}

    def lacks(self, section: str) -> bool:
        return not isinstance(self._whole.get(section), dict)

    def numbers(self) -> list[str]:
        """The numbers by which it can be known; often none."""
        device = self._section("device") | self._section("info")
        told = [_text(place, name) for place in (device, self._whole) for name in _NUMBERS]
        return [number for number in told if number.lower() not in _UNKNOWN]

    def belongs_to(self, serial: str) -> bool:
        """Whether the expected number is this tablet's, or it tells none."""
        known = [number.casefold() for number in self.numbers()]
        return not known or serial.strip().casefold() in known

    def facts(self, start_page: str) -> Facts:
        """What is told and plausible."""
        told = {
            **self._identity(),
            **self._power(),
            **self._disk(),
            **self._page(start_page),
            "screen_on": _yes_no(self._section("screen", "on"), "on", "isOn", "screenOn"),
            "kiosk_locked": _yes_no(self._section("device"), "kioskMode", "kioskEnabled"),
            "memory_ratio": self._memory(),
            "wifi_dbm": between(
                _number(self._section("wifi"), "signalStrength", "rssi"), -100, -10
            ),
        }
        return {fact: value for fact, value in told.items() if value is not None}

    def _section(self, name: str, bare: str = "") -> Section:
        """A part of the status, over what stands in the status itself. `bare`: what a version
        means that tells one value in its place."""
        part = self._whole.get(name)
        if isinstance(part, dict):
            return self._whole | part
        return self._whole | ({bare: part} if bare and part is not None else {})

    def _identity(self) -> Facts:
        device = self._section("device") | self._section("info")
        versions = [
            f"{name} {version}"
            for name, version in (
                ("Android", _text(device, "androidVersion", "osVersion")),
                ("FreeKiosk", _text(device, "version", "appVersion")),
            )
            if version
        ]
        return {
            "serial": label(next(iter(self.numbers()), "")),
            "name": label(_text(device, "deviceName", "hostname", "name")),
            "model": label(_text(device, "model", "deviceModel")),
            "vendor": label(_text(device, "manufacturer", "brand")),
            "firmware": label(", ".join(versions)),
        }

    def _power(self) -> Facts:
        battery = self._section("battery", "level")
        plugged = battery.get("plugged")
        if isinstance(plugged, str):
            known = plugged.strip().lower()
            plugged = None if known in ("", "unknown") else known not in ("none", "unplugged")
        if not isinstance(plugged, bool):
            plugged = _yes_no(battery, "charging", "isCharging", "isPlugged")
        level = _number(battery, "level", "batteryLevel", "percentage")
        return {"battery_ratio": share(level, 100), "plugged": plugged}

    def _disk(self) -> Facts:
        storage = self._whole.get("storage")
        if not isinstance(storage, dict):
            return {}
        free = _number(storage, "availableMB", "freeMB")
        left = share(free, _number(storage, "totalMB"))
        if free is None or left is None:
            return {}
        return {"disk_free_bytes": int(free * _MB), "disk_ratio": round(1 - left, 4)}

    def _memory(self) -> float | None:
        memory = self._whole.get("memory")
        if not isinstance(memory, dict):
            return None
        left = share(_number(memory, "availableMB", "freeMB"), _number(memory, "totalMB"))
        return None if left is None else round(1 - left, 4)

    def _page(self, start_page: str) -> Facts:
        page = _text(self._section("webview"), "currentUrl", "url")
        if not page or not start_page:
            return {}
        return {"on_start_page": same_page(page, start_page)}


def _text(section: Section, *names: str) -> str:
    for name in names:
        value = section.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _number(section: Section, *names: str) -> float | None:
    for name in names:
        value = section.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:
            return value
    return None


def _yes_no(section: Section, *names: str) -> bool | None:
    for name in names:
        value = section.get(name)
        if isinstance(value, bool):
            return value
    return None
