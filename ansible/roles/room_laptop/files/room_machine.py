"""Who uses this laptop: sessions, logins, processes and what the system holds for the guest."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from room_state import Config, moment, write_json

IDLE_MINUTES = 15
QUIT_S = 2.0
KILL_S = 10.0
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
NEW_SESSION = "8d45620c1a4348dbb17410da57c60c66"
"""The number by which systemd-logind marks a new session in the journal."""
IPC = {"shm": ("shmid", "-m"), "sem": ("semid", "-s"), "msg": ("msqid", "-q")}


class StillThere(Exception):
    """Something of the guest could not be ended or removed; the text holds no name of theirs."""


@dataclass(frozen=True)
class Session:
    user: str
    idle: bool


def run(*command: str, seconds: float = 10.0) -> Optional[str]:
    """What a program printed; None when it is missing, failed or took too long."""
    program = shutil.which(command[0], path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
            encoding="utf-8",
            errors="replace",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


class Machine:
    """The real thing. Needs root for all that changes something."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def sessions(self) -> Optional[List[Session]]:
        """People signed in, without the agent itself; None: cannot be told."""
        found = _logind_sessions()
        if found is None:
            found = _terminal_sessions()
        if found is None:
            return None
        return [session for session in found if session.user != self._config.account]

    def used_since(self, since: datetime) -> Optional[bool]:
        """Whether the guest signed in since then; None: this system keeps no record."""
        guest = self._config.guest
        told = [_recorded_login(guest, self._config.wtmp, since), _journal_login(guest, since)]
        sessions = self.sessions()
        if sessions and any(session.user == guest for session in sessions):
            return True
        return True if True in told else False if False in told else None

    def lock(self) -> None:
        """Nobody signs in as the guest while the home is being exchanged."""
        self._expire("1")

    def unlock(self) -> None:
        self._expire("")

    def _expire(self, day: str) -> None:
        if run("usermod", "--expiredate", day, self._config.guest) is None:
            raise OSError("usermod failed")

    def end_sessions(self) -> int:
        """End all that runs as the guest; returns how many processes. Raises StillThere."""
        found = self.count_processes()
        run("loginctl", "disable-linger", self._config.guest)
        run("loginctl", "terminate-user", self._config.guest)
        self._signal(signal.SIGTERM)
        if self._gone_within(QUIT_S):
            return found
        deadline = time.monotonic() + KILL_S
        while time.monotonic() < deadline:
            self._signal(signal.SIGKILL)
            if self._gone_within(0.5):
                return found
        raise StillThere(f"{self.count_processes()} processes")

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.count_processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _signal(self, number: int) -> None:
        """As the guest, to everything of the guest at once: nothing can fork away from it."""
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setresgid(self._config.gid, self._config.gid, self._config.gid)
                os.setresuid(self._config.uid, self._config.uid, self._config.uid)
                os.kill(-1, number)
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    def count_processes(self) -> int:
        """Processes that run as the guest, without those that only wait to be collected."""
        found = 0
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                status = (folder / "status").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            owner = re.search(r"^Uid:\s+(\d+)\s+(\d+)", status, re.MULTILINE)
            alive = not re.search(r"^State:\s+[ZX]", status, re.MULTILINE)
            if owner and alive and str(self._config.uid) in owner.groups():
                found += 1
        return found

    def unmount(self) -> int:
        """Take away what is mounted in the guest's places: sticks, network and cloud folders."""
        guest, uid = self._config.guest, self._config.uid
        below = (self._config.home, f"/media/{guest}", f"/run/media/{guest}", f"/run/user/{uid}")
        mounts = [path for path in _mounts() if path.startswith(tuple(x + "/" for x in below))]
        libc = ctypes.CDLL(None, use_errno=True)
        for path in sorted(mounts, reverse=True):
            if libc.umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
                raise OSError(ctypes.get_errno(), "cannot unmount")
        return len(mounts)

    def count_system_traces(self) -> Dict[str, int]:
        jobs = run("lpstat", "-W", "all", "-o") or ""
        return {"ipc": len(ipc_of(self._config.uid)), "print": len(jobs.splitlines())}

    def remove_system_traces(self) -> int:
        found = ipc_of(self._config.uid)
        for kind, number in found:
            run("ipcrm", IPC[kind][1], number)
        run("cancel", "-a", "-x")
        return len(found)

    def serial(self) -> str:
        """The serial number that the maker wrote into the hardware; empty: none."""
        try:
            text = Path("/sys/class/dmi/id/product_serial").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            text = ""
        return self._config.serial or text


class SimulatedMachine(Machine):
    """A laptop in a folder: one file says who is signed in and when somebody was."""

    def _read(self) -> Dict[str, List[str]]:
        try:
            text = Path(self._config.sessions).read_text(encoding="utf-8")
        except FileNotFoundError:
            text = "{}"
        values = json.loads(text)
        return {"active": values.get("active", []), "logins": values.get("logins", [])}

    def sessions(self) -> Optional[List[Session]]:
        return [Session(user, idle=False) for user in self._read()["active"]]

    def used_since(self, since: datetime) -> Optional[bool]:
        known = self._read()
        return bool(known["active"]) or any(moment(text) >= since for text in known["logins"])

    def lock(self) -> None:
        pass

    def unlock(self) -> None:
        pass

    def end_sessions(self) -> int:
        known = self._read()
        write_json(Path(self._config.sessions), {"active": [], "logins": known["logins"]})
        return len(known["active"])

    def unmount(self) -> int:
        return 0

    def count_processes(self) -> int:
        return len(self._read()["active"])

    def count_system_traces(self) -> Dict[str, int]:
        return {}

    def remove_system_traces(self) -> int:
        return 0

    def serial(self) -> str:
        return self._config.serial


def machine_for(config: Config) -> Machine:
    return SimulatedMachine(config) if config.simulated else Machine(config)


def _logind_sessions() -> Optional[List[Session]]:
    listing = run("loginctl", "list-sessions", "--no-legend")
    if listing is None:
        return None
    found = []
    for line in listing.splitlines():
        number = (line.split() or [""])[0]
        shown = run("loginctl", "show-session", number, "-p", "Name,Class,State,IdleHint") or ""
        about = dict(pair.split("=", 1) for pair in shown.splitlines() if "=" in pair)
        if about.get("Class") == "user" and about.get("State") != "closing":
            found.append(Session(about.get("Name", ""), idle=about.get("IdleHint") == "yes"))
    return found


def _terminal_sessions() -> Optional[List[Session]]:
    """For systems without logind: what `who` tells."""
    listing = run("who", "-u")
    if listing is None:
        return None
    found = []
    for line in listing.splitlines():
        about = re.match(r"(\S+)\s+\S+\s+\S.*?\d\d:\d\d\s+(\S+)", line)
        if about:
            found.append(Session(about.group(1), idle=_is_idle(about.group(2))))
    return found


def _recorded_login(guest: str, wtmp: str, since: datetime) -> Optional[bool]:
    """What `last` tells, where the system still has it."""
    listing = run("last", "-f", wtmp, "-n", "200", "--time-format", "iso", guest)
    if listing is None:
        return None
    moments = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:?\d\d", listing)
    return any(_last_moment(text) >= since for text in moments)


def _journal_login(guest: str, since: datetime) -> Optional[bool]:
    """What the session manager wrote to the system's journal, if that reaches back far enough."""
    at = f"@{int(since.timestamp())}"
    before = run("journalctl", "-q", "-o", "cat", "-n", "1", "--until", at)
    if not before:
        return None
    search = ("MESSAGE_ID=" + NEW_SESSION, "USER_ID=" + guest)
    found = run("journalctl", "-q", "-o", "cat", "-n", "1", "--since", at, *search)
    return None if found is None else bool(found.strip())


def _is_idle(column: str) -> bool:
    if column == "old":
        return True
    hours, _, minutes = column.partition(":")
    return minutes.isdigit() and int(hours) * 60 + int(minutes) >= IDLE_MINUTES


def _last_moment(text: str) -> datetime:
    return moment(text if text[-3] == ":" else text[:-2] + ":" + text[-2:])


def _mounts() -> List[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    points = (line.split(" ")[4] for line in lines.splitlines())
    return [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), point) for point in points]


def ipc_of(uid: int, folder: str = "/proc/sysvipc") -> List[Tuple[str, str]]:
    """(kind, number) of the System V shared memory, semaphores and queues of a user."""
    found = []
    for kind, (column, _) in IPC.items():
        try:
            lines = (Path(folder) / kind).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        header = lines[0].split()
        for line in lines[1:]:
            row = dict(zip(header, line.split()))
            if str(uid) in (row.get("uid"), row.get("cuid")):
                found.append((kind, row[column]))
    return found
