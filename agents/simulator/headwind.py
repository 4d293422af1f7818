"""An MDM server (Headwind) with the tablets that report to it."""

import hashlib
import json
import ssl
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from agents.simulator import Mood
from agents.simulator.http import Asked, HttpDevice, Said


@dataclass
class Managed:
    """One tablet, as its server knows it. `hears`: whether messages reach it now."""

    number: str
    serial: str
    battery: float = 80
    charging: str | None = "usb"
    kiosk: bool = True
    mdm: bool = True
    hears: bool = True
    silent_s: float = 10.0
    """How long ago it last reported."""
    restarts: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


class MdmServer(HttpDevice):
    """A simulated server.

    `logins`, `searches` count; `pushed` holds each message with its tablet's number;
    `forget_tokens()` is what a restart of the server does; `ahead_s`: how wrong its clock is;
    `push_answer`, `list_answer`: what it says instead.
    """

    def __init__(
        self,
        user: str = "admin",
        password: str = "",
        tablets: list[Managed] | None = None,
        *,
        path: str = "/rest",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls)
        self.user = user
        self.password = password
        self.tablets = tablets or []
        self.path = path
        self.ahead_s = 0.0
        self.logins = 0
        self.searches = 0
        self.pushed: list[tuple[str, str]] = []
        self.push_answer: Said | None = None
        self.list_answer: Said | None = None
        self.dies_at = ""
        self.info_as_text = False
        self._tokens: set[str] = set()

    def forget_tokens(self) -> None:
        self._tokens.clear()

    def answer(self, asked: Asked) -> Said:
        what = asked.path.removeprefix(self.path + "/")
        if what == self.dies_at:
            self.mood = Mood.OFF
        if self.mood is Mood.DENIED:
            return Said({}, 401)
        if what == "public/jwt/login":
            return self._enter(asked.json())
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self._tokens:
            return Said({}, 403)
        match what:
            case "private/devices/search":
                return self._search(asked.json())
            case "private/push":
                return self._push(asked.json())
        return Said({}, 404)

    def _enter(self, about: dict[str, Any]) -> Said:
        wanted = hashlib.md5(self.password.encode()).hexdigest().upper()
        if (about.get("login"), about.get("password")) != (self.user, wanted):
            return Said({}, 401)
        self.logins += 1
        token = f"eyJ.token-{self.logins}.{id(self):x}"
        self._tokens.add(token)
        return Said({"id_token": token}, headers=(f"Authorization: Bearer {token}",))

    def _search(self, about: dict[str, Any]) -> Said:
        self.searches += 1
        if self.list_answer:
            return self.list_answer
        size = about.get("pageSize", 50)
        first = (about.get("pageNum", 1) - 1) * size
        items = [self._view(each, one) for each, one in enumerate(self.tablets)]
        devices = {"items": items[first : first + size], "totalItemsCount": len(items)}
        return self._said({"configurations": {"1": {"name": "Lernraum"}}, "devices": devices})

    def _push(self, about: dict[str, Any]) -> Said:
        if self.push_answer:
            return self.push_answer
        for number in about.get("deviceNumbers", []):
            self.pushed.append((number, about.get("messageType", "")))
            for tablet in self.tablets:
                if tablet.number == number and tablet.hears:
                    tablet.silent_s = -1.0
                    tablet.kiosk = True
                    tablet.restarts += about.get("messageType") == "reboot"
        return self._said(None)

    def _said(self, data: Any) -> Said:
        date = f"Date: {formatdate(self._now(), usegmt=True)}"
        return Said({"status": "OK", "message": None, "data": data}, headers=(date,))

    def stamp(self) -> int:
        """This moment, as the server writes it."""
        return int(self._now() * 1000)

    def _now(self) -> float:
        return time.time() + self.ahead_s

    def _view(self, each: int, tablet: Managed) -> dict[str, Any]:
        stranger = self.mood is Mood.WRONG_DEVICE
        serial = "another-tablet" if stranger else tablet.serial
        info: Any = {
            "deviceId": tablet.number,
            "model": "Tab A9+",
            "batteryLevel": tablet.battery,
            "batteryCharging": tablet.charging,
            "androidVersion": "13",
            "mdmMode": tablet.mdm,
            "kioskMode": tablet.kiosk,
            "serial": serial,
            "cpu": "arm64-v8a",
            "applications": [{"pkg": "org.example.reader", "version": "2.1"}] * 40,
            "files": [],
            "phone": "+49 171 0000000",
        }
        return {
            "id": each + 1,
            "number": tablet.number,
            "description": "von Frau Muster",
            "lastUpdate": int((self._now() - tablet.silent_s) * 1000),
            "configurationId": 1,
            "launcherVersion": "5.31",
            "info": json.dumps(info) if self.info_as_text else info,
        } | tablet.extra
