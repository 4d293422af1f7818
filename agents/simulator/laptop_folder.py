"""A laptop's insides in a folder: homes, places, sessions, and what its health would be."""

import json
import math
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parents[2] / "ansible" / "roles" / "room_laptop" / "files"
"""The scripts that are installed on real laptops."""
COMMAND_S = 150.0
WORDS = {"start": 0, "verify": 1, "abort": 1, "warn": 1, "status": 0, "preflight": 0}
"""Verb → how many words follow it."""
GUEST = "kurs"
OTHER_SERIAL = "OTHER-0000"
MODELS = (
    ("LENOVO", "ThinkPad L14 Gen 4"),
    ("Dell Inc.", "Latitude 5440"),
    ("HP", "ProBook 450 G10"),
)
BATTERY_S = 4 * 3600.0
"""From full to empty; charging takes half of it."""
REFUSED = b'{"event":"end","result":"refused","reason":"bad_request"}\n'


class LaptopFolder:
    """`obey` does what the forced command does on a real laptop."""

    def __init__(self, folder: Path, seed: int, serial: str) -> None:
        self.home = folder / "home"
        self.victim = folder / "outside" / "keep.txt"
        self._folder, self._serial = folder, serial
        self._random = random.Random(seed)
        self._vendor, self._model = self._random.choice(MODELS)
        self._battery = self._random.uniform(0.3, 1.0)
        self._plugged = self._random.random() < 0.7
        self._disk_free = self._random.uniform(0.2, 0.8)
        self._phase = self._random.uniform(0, math.tau)
        self._booted = time.monotonic() - self._random.uniform(0, 5 * 86400)
        self._looked = time.monotonic()
        self._lay_out()

    def plant_traces(self) -> None:
        """What a guest leaves, and the links by which a careless reset would do harm."""
        (self.home / "Downloads").mkdir(exist_ok=True)
        (self.home / "Downloads" / "Bewerbung.odt").write_text("a guest's letter")
        (self.home / ".bash_history").write_text("ssh somewhere\n")
        (self.home / ".mozilla").mkdir(exist_ok=True)
        (self.home / ".mozilla" / "cookies.sqlite").write_text("a guest's cookies")
        for name in ("Bilder", ".config"):
            link = self.home / name
            if not link.is_symlink():
                link.symlink_to(self.victim.parent)
        rc = self.home / ".bashrc"
        rc.unlink(missing_ok=True)
        rc.symlink_to(self.victim)
        (self._folder / "places" / "tmp" / "scan.pdf").write_text("a guest's scan")
        self._sessions([], [*self._logins(), datetime.now(UTC).isoformat()])

    def obey(
        self, command: str, job: bytes, *, in_use: bool, leaves_traces: bool, wrong_serial: bool
    ) -> tuple[bytes, int]:
        """Standard output and exit code of one verb."""
        self._sessions([GUEST] if in_use else [], self._logins())
        if command == "health":
            health = self.health(OTHER_SERIAL if wrong_serial else self._serial)
            return json.dumps(health).encode() + b"\n", 0
        verb, *rest = command.split(" ")
        if WORDS.get(verb) != len(rest):
            return REFUSED, 64
        config = self._folder / ("other.json" if wrong_serial else "laptop.json")
        done = subprocess.run(
            [sys.executable, "-Es", SCRIPTS / "room_command.py", "--config", config, verb, *rest],
            input=job,
            capture_output=True,
            timeout=COMMAND_S,
            check=False,
        )
        if leaves_traces and verb == "start":
            (self._folder / "places" / "tmp" / "left-behind").write_text("")
        return done.stdout, done.returncode

    def health(self, serial: str) -> dict[str, Any]:
        now = time.monotonic()
        self._drain(now - self._looked)
        self._looked = now
        last, used = self._last_reset()
        wave = math.sin(now / 300 + self._phase)
        total = 512 * 10**9
        return {
            "v": 1,
            "vendor": self._vendor,
            "model": self._model,
            "serial": serial,
            "name": self._folder.name,
            "firmware": "Debian GNU/Linux 13 (trixie)",
            "uptime_s": round(now - self._booted),
            "load_1m": round(0.3 + 0.2 * wave + self._random.uniform(0, 0.1), 2),
            "memory_total_bytes": 16 * 2**30,
            "memory_ratio": round(0.4 + 0.15 * wave, 3),
            "disk_free_bytes": int(total * self._disk_free),
            "disk_ratio": round(1 - self._disk_free, 4),
            "battery_ratio": round(self._battery, 3),
            "battery_wear_ratio": 0.08,
            "plugged": self._plugged,
            "wifi_dbm": round(-58 + 6 * wave),
            "sessions": len(self._read("sessions.json").get("active", [])),
            "failed_units": 0,
            "updates": 3,
            "security_updates": 0,
            "reboot_needed": False,
            "reset_id": last,
            "used_since": used,
            "now": time.time(),
        }

    def _drain(self, seconds: float) -> None:
        change = seconds / BATTERY_S * (2 if self._plugged else -1)
        self._battery = min(max(self._battery + change, 0.0), 1.0)
        if self._battery < 0.45:
            self._plugged = True  # somebody puts it back into the cart

    def _last_reset(self) -> tuple[str | None, bool | None]:
        runs = self._read("state/state.json").get("runs", {})
        done = {run["finished_at"]: key for key, run in runs.items() if run["phase"] == "done"}
        if not done:
            return None, None
        finished = max(done)
        active = bool(self._read("sessions.json").get("active"))
        return done[finished], active or any(login >= finished for login in self._logins())

    def _lay_out(self) -> None:
        skeleton = self._folder / "skeletons" / "standard"
        for folder in (skeleton / "Schreibtisch", self._folder / "state", self.victim.parent):
            folder.mkdir(parents=True, exist_ok=True)
        for place in ("tmp", "shm"):
            (self._folder / "places" / place).mkdir(parents=True, exist_ok=True)
        (skeleton / ".bashrc").write_text("# prepared\n")
        (skeleton / "Schreibtisch" / "Willkommen.txt").write_text("Willkommen im Lernraum!\n")
        self.home.mkdir(exist_ok=True)
        self.victim.write_text("not a guest's\n")
        for name, serial in (("laptop.json", self._serial), ("other.json", OTHER_SERIAL)):
            (self._folder / name).write_text(json.dumps(self._config(serial)))

    def _config(self, serial: str) -> dict[str, Any]:
        places = {place: [str(self._folder / "places" / place)] for place in ("tmp", "shm")}
        return {
            "guest": GUEST,
            "uid": os.getuid(),
            "gid": os.getgid(),
            "home": str(self.home),
            "skeletons": str(self._folder / "skeletons"),
            "trash": str(self._folder / "trash"),
            "state": str(self._folder / "state"),
            "places": places,
            "sessions": str(self._folder / "sessions.json"),
            "serial": serial,
        }

    def _logins(self) -> list[str]:
        logins: list[str] = self._read("sessions.json").get("logins", [])
        return logins

    def _sessions(self, active: list[str], logins: list[str]) -> None:
        """Replaced in one step: a reset may be reading it."""
        new = self._folder / f"sessions.{time.monotonic_ns()}"
        new.write_text(json.dumps({"active": active, "logins": logins[-20:]}))
        new.replace(self._folder / "sessions.json")

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self._folder / name).read_text())
        except FileNotFoundError:
            return {}
        return content
