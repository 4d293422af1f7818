"""What this laptop is set up as, and what it remembers of its resets."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Optional

KEPT_RUNS = 20
FIRST_PERSON = 1000
OPEN = ("running", "restarting")


class BadConfig(Exception):
    """The configuration does not describe a laptop that may be reset."""


@dataclass(frozen=True)
class Config:
    """`laptop.json`: written by the role, readable only by those who may act."""

    guest: str
    """The account that the room's visitors use."""
    uid: int
    gid: int
    home: str
    skeletons: str
    """Folder of prepared homes, one per profile."""
    trash: str
    """Where used homes go, on the same file system as `home`."""
    state: str
    """Folder for the journal and the lock."""
    places: Dict[str, List[str]] = field(default_factory=dict)
    """Name of a place → folders in which the guest may have left files."""
    account: str = "raumwart"
    """The account that the agent uses; its own sessions do not count."""
    wtmp: str = "/var/log/wtmp"
    sessions: str = ""
    """Set only for a simulated laptop: a file that stands in for logins and processes."""
    serial: str = ""
    """Set only where the hardware does not tell one."""
    named: Dict[str, List[str]] = field(default_factory=dict)
    """Name of a place → patterns of what the system itself keeps of the guest: `{guest}`, `{uid}`
    and `*` within one part of the path. What matches goes whole, whoever owns it."""
    connections: str = ""
    """Folder of NetworkManager's profiles; empty: none are touched, and nobody can tell."""
    netplan: str = ""
    """Folder in which NetworkManager keeps them where netplan does it for it (Ubuntu)."""
    kept_connections: List[str] = field(default_factory=list)
    """UUIDs of the profiles that are the room's own."""
    bluetooth: str = ""
    """Folder of the Bluetooth pairings; empty: none are touched."""
    kept_bluetooth: List[str] = field(default_factory=list)
    """Addresses of the room's own mice and keyboards."""
    radios: str = "/sys/class/rfkill"
    """Where the kernel tells which radios are switched off."""
    inputs: str = "/dev/input"
    """Folder of keyboards and mice: whoever moves one is at the desk."""
    backlight: str = "/sys/class/backlight"
    alarm: str = "/sys/class/rtc/rtc0/wakealarm"
    """Where the clock is told when to wake the laptop."""
    volume: int = -1
    """Percent; -1: left as it is."""
    brightness: int = -1
    printer: str = ""
    """The room's printer; empty: left as it is."""
    updates_s: int = 1800
    """How long installing updates may take: they begin only when so much time is left."""
    restart_after_days: int = 7
    roots: List[str] = field(default_factory=list)
    """File systems that are searched whole for files of the guest (tiers standard and full)."""
    subuids: str = "/etc/subuid"
    """Who may take which further numbers for programs in containers of their own."""
    space_bytes: int = 1 << 29
    """Free space without which no reset begins."""

    @property
    def simulated(self) -> bool:
        return bool(self.sessions)


def load_config(path: str) -> Config:
    """Raises BadConfig, with the reason."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        config = Config(**values)
    except (OSError, ValueError, TypeError) as error:
        raise BadConfig(str(error)) from None
    for item in fields(Config):
        given = getattr(config, item.name)
        expected = {"int": int, "str": str, "List[str]": list}.get(str(item.type), dict)
        if not isinstance(given, expected):
            raise BadConfig(f"{item.name} has the wrong type")
    for folder in (config.home, config.skeletons, config.trash, config.state):
        if not os.path.isabs(folder) or not os.path.normpath(folder).strip("/"):
            raise BadConfig(f"{folder!r} is not an absolute path below the root")
    for folders in (*config.places.values(), *config.named.values()):
        if not isinstance(folders, list) or not all(os.path.isabs(str(x)) for x in folders):
            raise BadConfig("a place is a list of absolute paths")
    for folder in (config.connections, config.netplan, config.bluetooth):
        if folder and not os.path.isabs(folder):
            raise BadConfig(f"{folder!r} is not an absolute path")
    if not config.simulated and config.uid < FIRST_PERSON:
        raise BadConfig("the guest is a system account")
    return config


def guest_ids(config: Config) -> List[range]:
    """The numbers by which files and processes are the guest's."""
    found = [range(config.uid, config.uid + 1)]
    try:
        lines = Path(config.subuids).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        who, _, numbers = line.strip().partition(":")
        first, _, count = numbers.partition(":")
        if who in (config.guest, str(config.uid)) and first.isdigit() and count.isdigit():
            found.append(range(int(first), int(first) + int(count)))
    return found


def write_json(path: Path, values: Any) -> None:
    """Replace the file whole and durably: whoever is killed or loses power leaves the old one or
    the new one, never half of it."""
    handle, name = tempfile.mkstemp(dir=str(path.parent), prefix=".state-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(values, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, str(path))
    folder = os.open(str(path.parent), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Journal:
    """`state.json`: the last runs, so that the same order is never done twice."""

    def __init__(self, config: Config) -> None:
        self._folder = Path(config.state)
        self._path = self._folder / "state.json"
        self._broken = False
        self.runs: Dict[str, Dict[str, Any]] = {}
        try:
            self.runs = json.loads(self._path.read_text(encoding="utf-8"))["runs"]
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            self._broken = True

    def open_runs(self) -> List[str]:
        """Those that were begun and have no end, the newest last."""
        found = [key for key, run in self.runs.items() if run["phase"] in OPEN]
        return sorted(found, key=lambda key: str(self.runs[key].get("started_at")))

    def find(self, reset_id: str) -> Optional[Dict[str, Any]]:
        return self.runs.get(reset_id)

    def last_done(self) -> Optional[Dict[str, Any]]:
        """The run that finished last, with `reset_id`, `profile` and `finished_at`."""
        done = [dict(run, reset_id=key) for key, run in self.runs.items() if run["phase"] == "done"]
        return max(done, key=lambda run: str(run["finished_at"])) if done else None

    def note(self, reset_id: str, **values: Any) -> None:
        """Add to what is known of a run, durably: it survives a power cut after this returns."""
        if self._broken:
            # Half a journal proves nothing; keep it for a human and begin a new one.
            self._path.replace(self._folder / "state.broken")
            self._broken = False
        self.runs.setdefault(reset_id, {"phase": "running"}).update(values)
        newest = sorted(self.runs, key=lambda key: str(self.runs[key].get("started_at")))
        self.runs = {key: self.runs[key] for key in newest[-KEPT_RUNS:]}
        write_json(self._path, {"v": 1, "runs": self.runs})


class Lock:
    """One reset at a time. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, config: Config) -> None:
        flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(str(Path(config.state) / "lock"), flags, 0o600)

    def take(self, reset_id: str = "") -> bool:
        """Whether it is ours now. With an id, others can see for which reset it is held."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if reset_id:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, reset_id.encode("ascii"), 0)
        return True

    def take_within(self, seconds: float, reset_id: str) -> bool:
        until = time.monotonic() + seconds
        while not self.take(reset_id):
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def holder(self) -> str:
        return os.pread(self._file, 100, 0).decode("ascii", errors="replace")

    def close(self) -> None:
        os.close(self._file)


def moment(text: str) -> datetime:
    """An aware moment from ISO 8601; Python 3.8 does not know the Z. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("not a text")
    value = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if value.tzinfo is None:
        raise ValueError("no time zone")
    return value
