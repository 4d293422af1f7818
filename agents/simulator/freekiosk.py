"""A tablet under FreeKiosk: its REST interface, and what guests leave behind."""

import ssl
from collections.abc import Callable
from typing import Any

from agents.simulator import Mood
from agents.simulator.http import Asked, HttpDevice, Said


class FreeTablet(HttpDevice):
    """A simulated tablet.

    Change it while it runs: `browse(url)` is a guest; `faults["/api/clearCache"] = "text"` makes a
    command fail, and at the command `dies_at` it loses power; `told` overrides parts of the
    status; `received` holds all paths in order. `old`: the interface of an earlier version, with
    other names and without the battery in its status.
    """

    def __init__(
        self,
        name: str = "Tablet",
        key: str = "",
        start_url: str = "https://start.example/",
        serial: str = "SIM-FREE-1",
        *,
        battery: float = 80.0,
        owner: bool = True,
        old: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls)
        self.name = name
        self.key = key
        self.serial = serial
        self.page = start_url
        self.cookies = 0
        self.cache = 0
        self.screen_on = True
        self.kiosk = True
        self.plugged = True
        self.battery = battery
        self.owner = owner
        self.old = old
        self.restarts = 0
        self.faults: dict[str, str] = {}
        self.told: dict[str, Any] = {}
        self.dies_at = ""
        self.received: list[str] = []

    def browse(self, url: str) -> None:
        """A guest opens a page, which leaves its traces."""
        self.page = url
        self.cookies += 3
        self.cache += 5

    def answer(self, asked: Asked) -> Said:
        if self.mood is Mood.DENIED or (self.key and asked.headers.get("x-api-key") != self.key):
            return _complaint("Unauthorized", 401)
        self.received.append(asked.path)
        if asked.path == self.dies_at:
            self.mood = Mood.OFF
        if asked.path in self.faults:
            return _complaint(self.faults[asked.path], 200)
        asking = self._questions() if asked.method == "GET" else {}
        if asked.path in asking:
            return _envelope(asking[asked.path]())
        if asked.method == "POST":
            return self._do(asked)
        return _complaint("Endpoint not found", 404)

    def _do(self, asked: Asked) -> Said:
        match asked.path:
            case "/api/screen/on":
                self.screen_on = True
            case "/api/screen/off":
                self.screen_on = False
            case "/api/clearCache":
                self.cache = 0
            case "/api/reload":
                pass
            case "/api/url":
                if not isinstance(asked.json().get("url"), str):
                    return _complaint("Missing url", 400)
                self.page = asked.json()["url"]
            case "/api/reboot":
                if not self.owner:
                    return _complaint("Device Owner mode required", 200)
                self.restarts += 1
            case _:
                return _complaint("Endpoint not found", 404)
        return _envelope({"executed": True, "command": asked.path.removeprefix("/api/")})

    def _questions(self) -> dict[str, Callable[[], dict[str, Any]]]:
        return {
            "/api/status": self._status,
            "/api/battery": self._battery,
            "/api/wifi": self._wifi,
            "/api/health": lambda: {"status": "ok"},
        }

    def _status(self) -> dict[str, Any]:
        serial = "another-tablet" if self.mood is Mood.WRONG_DEVICE else self.serial
        if self.old:
            return {
                "screenOn": self.screen_on,
                "currentUrl": self.page,
                "kioskMode": self.kiosk,
                "deviceId": serial,
                "version": "1.1.0",
            } | self.told
        return {
            "battery": self._battery(),
            "wifi": self._wifi(),
            "screen": {"on": self.screen_on, "brightness": 75, "screensaverActive": False},
            "webview": {"currentUrl": self.page, "canGoBack": False, "loading": False},
            "device": {
                "serial": serial,
                "hostname": self.name,
                "model": "Tab M10",
                "manufacturer": "LENOVO",
                "androidVersion": "13",
                "version": "1.2.4",
                "isDeviceOwner": self.owner,
                "kioskMode": self.kiosk,
            },
            "storage": {"totalMB": 51200, "availableMB": 38400, "usedPercent": 25},
            "memory": {"totalMB": 4096, "availableMB": 1024, "usedPercent": 75},
        } | self.told

    def _battery(self) -> dict[str, Any]:
        if self.old:
            return {"batteryLevel": round(self.battery), "isCharging": self.plugged}
        plugged = "ac" if self.plugged else "none"
        return {"level": round(self.battery), "charging": self.plugged, "plugged": plugged}

    def _wifi(self) -> dict[str, Any]:
        network = {"ssid": "lernraum", "connected": True}
        return network | ({"rssi": -61} if self.old else {"signalStrength": -58, "signalLevel": 78})


def _envelope(data: dict[str, Any]) -> Said:
    return Said({"success": True, "data": data, "timestamp": 1764230400})


def _complaint(text: str, status: int) -> Said:
    return Said({"success": False, "error": text, "timestamp": 1764230400}, status)
