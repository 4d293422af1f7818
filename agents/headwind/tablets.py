"""What the server says of its tablets, in the words of the facts registry.

Of each only what is named here is read: never who holds it, its telephone number, its place.
"""

from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from agents.driver import Garbled, Misconfigured, Unreachable, WrongDevice
from agents.messages import Facts
from agents.plausible import label, share

READ = (
    "model", "androidVersion", "launcherVersion", "batteryLevel", "batteryCharging",
    "mdmMode", "kioskMode",
)  # fmt: skip
"""What is kept of each, beside its numbers: a list also holds every program of every tablet."""
AHEAD_S = 120.0
"""So far a report may come from the future: the server's clock moves, too."""


@dataclass(frozen=True)
class Tablet:
    """`reported_at`: in seconds of the server's clock, 0 when it never did."""

    number: str
    serial: str
    reported_at: float
    view: dict[str, Any]

    @classmethod
    def of(cls, item: object) -> "Tablet | None":
        """None for what is no tablet with a number."""
        if not isinstance(item, dict):
            return None
        info = item.get("info")
        if isinstance(info, str):
            info = _object(info)
        view = item | (info if isinstance(info, dict) else {})
        number = _text(item, "number", "deviceId") or _text(view, "deviceId")
        if not number:
            return None
        stamp = _number(item, "lastUpdate")
        reported_at = stamp / 1000 if stamp and 0 < stamp < 1e14 else 0.0
        kept = {name: view[name] for name in READ if name in view}
        return cls(number, _text(view, "serial"), reported_at, kept)

    def age(self, server_now: float, silent_after_s: float) -> float:
        """Seconds since its last report. Raises Unreachable when that is too long, and Garbled
        for a report that is yet to come."""
        if not self.reported_at:
            raise Unreachable("it has never reported to its server")
        age = server_now - self.reported_at
        if age < -AHEAD_S:
            raise Garbled("its last report comes from the future")
        if age > silent_after_s:
            raise Unreachable(f"it last reported to its server {age / 60:.0f} minutes ago")
        return max(0.0, round(age, 1))

    def facts(self) -> Facts:
        """What is told and plausible; the rest is left out."""
        charging = self.view.get("batteryCharging")
        told = {
            "serial": label(self.serial),
            "name": label(self.number),
            "model": label(_text(self.view, "model")),
            "firmware": label(self._firmware()),
            "battery_ratio": share(_number(self.view, "batteryLevel"), 100),
            "plugged": charging.strip() != "" if isinstance(charging, str) else None,
            "kiosk_locked": self._kiosk(),
        }
        return {fact: value for fact, value in told.items() if value is not None}

    def _kiosk(self) -> bool | None:
        """A kiosk that is not in charge of the tablet locks nothing."""
        kiosk, in_charge = self.view.get("kioskMode"), self.view.get("mdmMode")
        if not isinstance(kiosk, bool):
            return None
        return kiosk and in_charge is not False

    def _firmware(self) -> str:
        versions = (
            ("Android", _text(self.view, "androidVersion")),
            ("Headwind", _text(self.view, "launcherVersion")),
        )
        return ", ".join(f"{name} {version}" for name, version in versions if version)


@dataclass(frozen=True)
class Listing:
    """All tablets of a server. `began`, `read_at`: the agent's own clock that only grows;
    `server_time`: the server's, at `read_at`."""

    tablets: dict[str, Tablet]
    began: float
    read_at: float
    server_time: float

    def find(self, number: str, serial: str) -> Tablet:
        """By number, or by serial number where none is given.

        Raises WrongDevice when another tablet has the number, Misconfigured when none has."""
        if number:
            tablet = self.tablets.get(number.casefold())
            if tablet is None:
                raise Misconfigured("its server knows no tablet with this number")
            if serial and tablet.serial and tablet.serial.casefold() != serial.strip().casefold():
                raise WrongDevice(f"not the tablet with the serial number {serial}")
            return tablet
        if not serial:
            raise Misconfigured("options: number, or a serial number, must say which tablet")
        wanted = serial.strip().casefold()
        found = [one for one in self.tablets.values() if one.serial.casefold() == wanted]
        if len(found) != 1:
            several = "several tablets" if found else "no tablet"
            raise Misconfigured(f"its server knows {several} with this serial number")
        return found[0]


def _object(text: str) -> object:
    try:
        return from_json(text)
    except ValueError:
        return None


def _text(section: dict[str, Any], *names: str) -> str:
    for name in names:
        value = section.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _number(section: dict[str, Any], name: str) -> float | None:
    value = section.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
