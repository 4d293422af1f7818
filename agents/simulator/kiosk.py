"""A tablet under Fully Kiosk Browser: a small HTTP server, and what guests leave behind."""

import ssl
import time
from collections.abc import Callable
from typing import Any

from agents.simulator import Mood
from agents.simulator.http import Asked, HttpDevice, Said


class Tablet(HttpDevice):
    """A simulated tablet.

    Change it while it runs: `browse(url)` is a guest; `faults["clearCache"] = "text"` makes a
    command fail, and at the command `dies_at` it loses power; `extra` overrides keys of
    deviceInfo; `received` holds all commands in order.
    """

    def __init__(
        self,
        name: str = "Tablet",
        password: str = "",
        start_url: str = "https://start.example/",
        serial: str = "SIM-TAB-1",
        *,
        battery: float = 80.0,
        drain_per_h: float = 12.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls)
        self.name = name
        self.password = password
        self.start_url = start_url
        self.serial = serial
        self.page = start_url
        self.cookies = 0
        self.webstorage = 0
        self.cache = 0
        self.webview_history = 0
        self.screen_on = True
        self.screensaver = False
        self.kiosk_locked = True
        self.plugged = False
        self.drain_per_h = drain_per_h
        self.settings: dict[str, Any] = {"startURL": start_url, "screenBrightness": 120}
        self.faults: dict[str, str] = {}
        self.extra: dict[str, Any] = {}
        self.dies_at = ""
        self.received: list[str] = []
        self._battery = battery
        self._charged_at = time.monotonic()

    @property
    def battery(self) -> float:
        """Per cent left; drains while it is not plugged in."""
        hours = 0.0 if self.plugged else (time.monotonic() - self._charged_at) / 3600
        return max(0.0, self._battery - hours * self.drain_per_h)

    def browse(self, url: str) -> None:
        """A guest opens a page, which leaves its traces."""
        self.page = url
        self.cookies += 3
        self.webstorage += 1
        self.cache += 5
        self.webview_history += 1

    def answer(self, asked: Asked) -> Said:
        return Said(self._answer(asked.query | asked.form()))

    def _answer(self, asked: dict[str, str]) -> dict[str, Any]:
        denied = self.mood is Mood.DENIED
        if denied or not self.password or asked.get("password") != self.password:
            return {"status": "Error", "statustext": "Please login"}
        command = asked.get("cmd", "")
        self.received.append(command)
        if command == self.dies_at:
            self.mood = Mood.OFF
        if command in self.faults:
            return {"status": "Error", "statustext": self.faults[command]}
        asking: dict[str, Callable[[], dict[str, Any]]] = {
            "deviceInfo": self._info,
            "listSettings": lambda: self.settings,
            "setStringSetting": lambda: self._set(command, asked),
            "setBooleanSetting": lambda: self._set(command, asked),
        }
        if command in asking:
            return asking[command]()
        act = self._commands().get(command)
        if act is None:
            return {"status": "Error", "statustext": "Unknown command"}
        act()
        return {"status": "OK", "statustext": f"{command} done"}

    def _set(self, command: str, asked: dict[str, str]) -> dict[str, Any]:
        if not asked.get("key") or "value" not in asked:
            return {"status": "Error", "statustext": "Key or value is missing"}
        boolean = command == "setBooleanSetting"
        self.settings[asked["key"]] = asked["value"] == "true" if boolean else asked["value"]
        return {"status": "OK", "statustext": f"{asked['key']} set"}

    def _commands(self) -> dict[str, Callable[[], None]]:
        def put(**values: Any) -> Callable[[], None]:
            return lambda: self.__dict__.update(values)

        return {
            "screenOn": put(screen_on=True),
            "screenOff": put(screen_on=False),
            "startScreensaver": put(screensaver=True),
            "stopScreensaver": put(screensaver=False),
            "clearCookies": put(cookies=0),
            "clearWebstorage": put(webstorage=0),
            "clearCache": put(cache=0),
            "resetWebview": put(webview_history=0),
            "loadStartUrl": put(page=self.start_url),
            "lockKiosk": put(kiosk_locked=True),
            "unlockKiosk": put(kiosk_locked=False),
        }

    def _info(self) -> dict[str, Any]:
        stranger = self.mood is Mood.WRONG_DEVICE
        return {
            "deviceName": self.name,
            "batteryLevel": round(self.battery),
            "isPlugged": self.plugged,
            "SSID": '"lernraum"',
            "Mac": "",
            "wifiSignalLevel": 7,
            "screenBrightness": 120,
            "screenOn": self.screen_on,
            "isInScreensaver": self.screensaver,
            "batteryTemperature": 27,
            "serial": "unknown",
            "androidVersion": "13",
            "internalStorageFreeSpace": 11675512832,
            "internalStorageTotalSpace": 12938534912,
            "ramUsedMemory": 1077755904,
            "ramTotalMemory": 1440129024,
            "kioskMode": True,
            "kioskLocked": self.kiosk_locked,
            "maintenanceMode": False,
            "startUrl": self.start_url,
            "currentPage": self.page,
            "deviceID": "other-tablet" if stranger else self.serial,
            "appVersionName": "1.57.2",
            "deviceModel": "SM-X210",
            "deviceManufacturer": "samsung",
            "foregroundApp": "de.ozerov.fully",
            "lastAppStart": "11/23/2026 7:00:47 AM",
        } | self.extra
