"""A region that exists only on this machine: what `fleet demo` shows to a newcomer."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

import yaml
from icalendar import Calendar, Event

from fleet.settings import Settings

ROOM_DEVICES = 20
"""10 laptops, 5 tablets, 2 access points, a projector, a switch and a printer."""

MUNICIPALITIES = (
    ("buchenried", "Buchenried", "Alter Bahnhof", "Lernwerkstatt"),
    ("erlental", "Erlental", "Gemeindebücherei", "Lesesaal"),
    ("wiesbrunn", "Wiesbrunn", "Bürgerhaus", "Digitalwerkstatt"),
)

COURSES = (
    "Smartphone für Einsteiger",
    "Scratch: Programmieren für Kinder",
    "Bewerbung am Computer",
    "Deutsch digital",
    "Fotos ordnen und sichern",
)

SECRETS = {
    "demo-snmp": {"community": "demo-community"},
    "demo-laptop": {"user": "raumwart", "password": "demo-laptop-password"},
    "demo-tablet": {"password": "demo-tablet-password"},
    "demo-projector": {"password": "demo-projector"},
}

START_URL = "https://lernen.example/start"


@dataclass(frozen=True)
class Kind:
    """How a kind of device appears in a demo room."""

    kind: str
    short: str
    name: str
    driver: str
    credential: str
    models: tuple[str, ...]
    """What the simulator plays."""
    count: int
    written: tuple[str, ...] = ()
    """What the inventory says, one for each of `models`. Without: the device says it itself."""


KINDS = (
    Kind("laptop", "pc", "Laptop", "ssh", "demo-laptop", ("",), 10),
    Kind("tablet", "tab", "Tablet", "kiosk", "demo-tablet", ("Tablet",), 5, ("Galaxy Tab A9+",)),
    Kind(
        "projector",
        "beamer",
        "Beamer",
        "pjlink",
        "demo-projector",
        ("EB-992F",),
        1,
        ("Epson EB-992F",),
    ),
    Kind(
        "access_point",
        "ap",
        "WLAN",
        "snmp",
        "demo-snmp",
        ("unifi-ap", "aruba-ap", "openwrt-ap"),
        2,
        ("UniFi U6 Lite", "Aruba AP-505", "TP-Link Archer C7"),
    ),
    Kind("switch", "switch", "Switch", "snmp", "demo-snmp", ("switch-poe",), 1, ("EdgeSwitch 24",)),
    Kind(
        "printer", "drucker", "Drucker", "snmp", "demo-snmp", ("printer",), 1, ("HP LaserJet M454",)
    ),
)


@dataclass(frozen=True)
class Place:
    """One demo room and the site it belongs to."""

    number: int

    @property
    def _town(self) -> tuple[str, str, str, str]:
        return MUNICIPALITIES[self.number % len(MUNICIPALITIES)]

    @property
    def _round(self) -> int:
        return self.number // len(MUNICIPALITIES)

    @property
    def site(self) -> str:
        return self._town[0] + (f"-{self._round // 5 + 1}" if self._round >= 5 else "")

    @property
    def site_row(self) -> dict[str, Any]:
        _, town, house, _ = self._town
        return {"id": self.site, "name": house, "municipality": town, "phone": "0800 000 00 00"}

    @property
    def room(self) -> str:
        room = self._town[3].lower()
        return f"{self._town[0]}-{room}" + (f"-{self._round + 1}" if self._round else "")

    @property
    def room_row(self) -> dict[str, Any]:
        name = self._town[3] + (f" {self._round + 1}" if self._round else "")
        return {"id": self.room, "site": self.site, "name": name}


@dataclass(frozen=True)
class DemoDevice:
    """One device of the demo, before it has a port."""

    place: Place
    kind: Kind
    number: int
    index: int

    @property
    def id(self) -> str:
        return f"{self.place.room}-{self.kind.short}-{self.number:02}"

    @property
    def _choice(self) -> int:
        return (self.place.number + self.number) % len(self.kind.models)

    @property
    def model(self) -> str:
        return self.kind.models[self._choice]

    @property
    def written_model(self) -> str:
        return self.kind.written[self._choice] if self.kind.written else ""

    @property
    def serial(self) -> str:
        if self.model == "unifi-ap":  # these give the address of their first port
            return f"02:52:57:00:{self.index >> 8:02x}:{self.index & 255:02x}"
        return f"RW{self.index:06}"

    def row(self, port: int) -> dict[str, Any]:
        """As the inventory's import reads it. The access points hang on the room's switch."""
        uplink = {"uplink": f"{self.place.room}-switch-01"} if self.kind.short == "ap" else {}
        return uplink | {
            "id": self.id,
            "room": self.place.room,
            "kind": self.kind.kind,
            "name": f"{self.kind.name} {self.number}",
            "model": self.written_model,
            "serial": self.serial,
            "driver": self.kind.driver,
            "address": "127.0.0.1",
            "port": port,
            "credential": self.kind.credential,
        }

    def plan(self) -> dict[str, Any]:
        """As the simulator reads it. In the third room something is wrong with three devices."""
        secret = SECRETS[self.kind.credential]
        troubled = self.place.number == 2
        return {
            "id": self.id,
            "driver": self.kind.driver,
            "model": self.model,
            "serial": self.serial,
            "secret": secret.get("community") or secret["password"],
            "start_url": START_URL,
            "used": True,
            "dirty": troubled and self.kind.kind == "laptop" and self.number == 3,
            "refuse": troubled and self.kind.kind == "laptop" and self.number == 7,
            "lamp": 1 if troubled and self.kind.kind == "projector" else 0,
        }


def devices(count: int) -> list[DemoDevice]:
    """The first `count` devices, room by room."""
    found: list[DemoDevice] = []
    for room in range(ceil(count / ROOM_DEVICES)):
        for kind in KINDS:
            found += [
                DemoDevice(Place(room), kind, number, len(found) + number)
                for number in range(1, kind.count + 1)
            ]
    return found[:count]


def timetable(place: Place, now: datetime) -> bytes:
    """The room's calendar: what runs now, the next course in minutes, and the week after."""
    start = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    first = start + timedelta(minutes=(7, 9, 5)[place.number % 3])
    occurrences = [(first, 90), (first + timedelta(minutes=120), 90)]
    if place.number % 3 == 1:
        occurrences.insert(0, (start - timedelta(minutes=45), 46))
    occurrences += [
        (first.replace(hour=8, minute=0) + timedelta(days=day), 120) for day in range(1, 8)
    ]
    calendar = Calendar()
    calendar.add("prodid", "-//Raumwart//Demo//DE")
    calendar.add("version", "2.0")
    for number, (begin, minutes) in enumerate(occurrences):
        event = Event()
        event.add("uid", f"{place.room}-{number}@demo.example")
        event.add("summary", COURSES[(place.number + number) % len(COURSES)])
        event.add("dtstamp", now)
        event.add("dtstart", begin)
        event.add("dtend", begin + timedelta(minutes=minutes))
        calendar.add_component(event)
    return bytes(calendar.to_ical())


def write_region(folder: Path, count: int, ports: dict[str, int], now: datetime) -> Path:
    """The region as files, the way a real one is brought in: YAML, timetables, credentials."""
    (folder / "credentials").mkdir(parents=True, exist_ok=True)
    for name, parts in SECRETS.items():
        path = folder / "credentials" / f"{name}.json"
        path.touch(0o600)
        path.write_text(json.dumps(parts))
    chosen = devices(count)
    places = list(dict.fromkeys(device.place for device in chosen))
    feeds = []
    for place in places:
        path = folder / f"{place.room}.ics"
        path.write_bytes(timetable(place, now))
        feeds.append(
            {
                "id": place.room,
                "site": place.site,
                "room": place.room,
                "url": path.resolve().as_uri(),
            }
        )
    region = {
        "sites": list({place.site: place.site_row for place in places}.values()),
        "rooms": [place.room_row for place in places],
        "feeds": feeds,
        "devices": [device.row(ports[device.id]) for device in chosen],
    }
    file = folder / "region.yaml"
    file.write_text(yaml.safe_dump(region, allow_unicode=True, sort_keys=False))
    return file


def plan(count: int) -> dict[str, Any]:
    """What the simulator is to do: every device, and a fault that comes and goes."""
    chosen = devices(count)
    events = [
        {"after_s": after, "device": device.id, "mood": mood}
        for device in chosen
        if device.place.number == 1 and device.kind.kind == "access_point" and device.number == 2
        for after, mood in ((40, "hang"), (150, "ok"))
    ]
    return {"devices": [device.plan() for device in chosen], "events": events}


def settings(folder: Path, port: int, count: int) -> Settings:
    """The service's settings for a demo: polls every ten seconds (a large one: every minute), and
    short waits around courses, so that a newcomer need not wait an hour."""
    return Settings(
        home=folder,
        port=port,
        credentials=folder / "credentials",
        poll_s=10 if count <= 200 else 60,
        reset_grace_s=10,
        reset_buffer_s=60,
        calendar_s=30,
    )


def greeting(link: str, folder: Path) -> str:
    """What the newcomer reads first."""
    return f"""
[bold]Raumwart shows a region that exists only on this machine.[/bold]

  Sign in with this link (it works once):
  [bold]{link}[/bold]

  In the first minutes you will see
  • all devices polled, and the resets before the next courses with their proof,
  • in Erlental a course that is running: nothing is touched until it has ended;
    then everything is reset, and meanwhile an access point falls silent and comes back,
  • in Wiesbrunn a laptop whose reset leaves traces (the proof finds them), one that is still in
    use, and a projector whose lamp is at its end: the room is not simply "ready".
  Every device's page links to the form behind the code on its label ("Formular ansehen"): report
  a fault there as a caretaker would, and see it arrive.

  What it keeps lies in {folder}. Stop with Ctrl+C.
"""


@contextmanager
def simulated(folder: Path, count: int) -> Iterator[dict[str, int]]:
    """The simulated devices in a process of their own; device → port. They end with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "plan.json"
    file.write_text(json.dumps(plan(count)))
    with subprocess.Popen(
        [sys.executable, "-m", "agents.simulator", file, folder / "devices"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the simulated devices did not start")
            yield json.loads(line)
        finally:
            process.stdin.close()


def free_port(wanted: int) -> int:
    """The wanted port on loopback, or the next one that nobody listens on."""
    for port in range(wanted, min(wanted + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port from {wanted} on is free")
