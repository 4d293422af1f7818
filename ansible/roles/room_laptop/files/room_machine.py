"""Who uses this laptop: sessions, logins, processes and what the system holds for the guest."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import room_named
import room_network
import room_warning
from room_keys import clear_keys, count_keys, make_rings
from room_mounts import guest_mounts, unmount
from room_processes import count_processes, in_child, signal_all
from room_programs import run
from room_sessions import (
    Session,
    journal_login,
    logind_sessions,
    moved_lately,
    recorded_logins,
    terminal_sessions,
)
from room_state import Config, guest_ids, moment, write_json
from room_system import boot_id, install_updates, restart_needed

QUIT_S = 2.0
KILL_S = 10.0
COLLECT_S = 2.0
"""So long the kernel may take to collect keys that were given up."""
SCREEN = "display-manager"
IPC = {"shm": ("shmid", "-m"), "sem": ("semid", "-s"), "msg": ("msqid", "-q")}


class StillThere(Exception):
    """Something of the guest could not be ended or removed; the text holds no name of theirs."""


class Machine:
    """The real thing. Needs root for all that changes something."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def sessions(self) -> Optional[List[Session]]:
        """People signed in, without the agent itself; None: cannot be told."""
        found = logind_sessions()
        # Where logind runs but cannot be understood, `who` may know less than it.
        if found is None and not os.path.isdir("/run/systemd/seats"):
            found = terminal_sessions()
        if found is None:
            return None
        return [session for session in found if session.user != self._config.account]

    def moved(self) -> bool:
        """Whether a key or the mouse moves right now: an idle session may have somebody before it,
        for desktops tell idleness badly."""
        return moved_lately(self._config.inputs)

    def used_since(self, since: datetime) -> Optional[bool]:
        """Whether the guest signed in since then; None: this system keeps no record."""
        guest = self._config.guest
        logins = self.count_logins(since)
        told = [None if logins is None else logins > 0, journal_login(guest, since)]
        sessions = self.sessions()
        if sessions and any(session.user == guest for session in sessions):
            return True
        return True if True in told else False if False in told else None

    def count_logins(self, since: datetime) -> Optional[int]:
        """How often the guest signed in since then; None: this system keeps no such list."""
        return recorded_logins(self._config.guest, self._config.wtmp, since)

    def has_banner(self) -> bool:
        """Whether whoever is signed in would see what is announced."""
        return room_warning.BANNER.exists()

    def announce(self, ends_at: float, *, countdown: bool = False) -> None:
        """Show to whoever is signed in when the end comes; 0 takes it back."""
        room_warning.announce(ends_at, countdown=countdown)

    def lock(self) -> None:
        """Nobody signs in as the guest while the home is being exchanged."""
        self._expire("1")

    def unlock(self) -> None:
        self._expire("")

    def locked(self) -> bool:
        """Whether a reset that failed keeps the guest out."""
        entry = (run("getent", "shadow", self._config.guest) or "").strip().split(":")
        return len(entry) == 9 and entry[7] == "1"

    def close_screen(self) -> None:
        """Nobody meets a sign-in that does not work. A mark tells that it was us."""
        if not os.path.isdir("/run/systemd/system"):
            return
        if run("systemctl", "--quiet", "is-active", SCREEN) is not None:
            self._screen_mark().touch()
            run("systemctl", "stop", SCREEN, seconds=20)

    def open_screen(self) -> None:
        """Whatever happened: the screen comes back."""
        if self._screen_mark().exists():
            run("systemctl", "--no-block", "start", SCREEN, seconds=20)
            self._screen_mark().unlink()

    def _screen_mark(self) -> Path:
        return Path(self._config.state) / "screen-closed"

    def install_updates(self, left_s: float) -> Dict[str, Any]:
        return install_updates(self._config, left_s)

    def restart_reason(self) -> str:
        """Why the system should start anew; empty when it need not."""
        return restart_needed(self._config)

    def boot_id(self) -> Optional[str]:
        return boot_id()

    def restart(self) -> bool:
        """Whether the laptop is up again already; a real one goes down first."""
        # The system ends this unit, and what it started, while the answer is still on its way.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if run("systemctl", "reboot") is None:
            raise StillThere("a system that does not restart")
        return False

    def _expire(self, day: str) -> None:
        if run("usermod", "--expiredate", day, self._config.guest) is None:
            raise OSError("usermod failed")

    def end_sessions(self) -> None:
        """End all that runs as the guest. Raises StillThere."""
        run("loginctl", "disable-linger", self._config.guest)
        run("loginctl", "terminate-user", self._config.guest)
        self._signal(signal.SIGTERM)
        try:
            self._kill_all()
        finally:
            self._end_manager()

    def _kill_all(self) -> None:
        if self._gone_within(QUIT_S):
            return
        deadline = time.monotonic() + KILL_S
        while time.monotonic() < deadline:
            self._signal(signal.SIGKILL)
            if self._gone_within(0.5):
                return
        raise StillThere(f"{self.count_processes()} processes")

    def _end_manager(self) -> None:
        """Until systemd, too, is done with the guest; that we killed its part is no fault of it."""
        units = [f"{name}@{self._config.uid}.service" for name in ("user", "user-runtime-dir")]
        run("systemctl", "stop", *units)
        run("systemctl", "reset-failed", *units)

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.count_processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _signal(self, number: int) -> None:
        signal_all(self._config.uid, self._config.gid, number)

    def as_guest(self, what: Callable[[], Any]) -> None:
        """Do it in a process that has the guest's rights and no other. Its errors stay there."""

        def do() -> None:
            self._become_guest()
            what()

        in_child(do)

    def _become_guest(self) -> None:
        os.setgroups([])
        os.setresgid(self._config.gid, self._config.gid, self._config.gid)
        os.setresuid(self._config.uid, self._config.uid, self._config.uid)

    def count_processes(self) -> int:
        return count_processes(guest_ids(self._config))

    def unmount(self) -> Dict[str, int]:
        return unmount(self._config)

    def count_mounts(self) -> int:
        return len(guest_mounts(self._config))

    def count_system_traces(self) -> Dict[str, int]:
        """Place → traces of the guest that are no files of the guest's."""
        jobs = run("lpstat", "-W", "all", "-o") or ""
        counts = {
            "ipc": len(ipc_of(self._config.uid)),
            "print": len(jobs.splitlines()),
            "keys": self._count_keys(),
        }
        for place, found in self._count_kept().items():
            counts[place] = counts.get(place, 0) + found
        return counts

    def _count_keys(self) -> int:
        self.as_guest(make_rings)
        return count_keys(self._config.uid) or 0

    def _count_kept(self) -> Dict[str, int]:
        """What the system's own files say of the guest."""
        counts = {
            "wifi": room_network.count_foreign(self._config) or 0,
            "bluetooth": room_network.count_pairings(self._config),
        }
        for place, patterns in self._config.named.items():
            counts[place] = room_named.count_named(self._config, patterns)
        return counts

    def remove_prints(self) -> int:
        found = len((run("lpstat", "-W", "all", "-o") or "").splitlines())
        run("cancel", "-a", "-x")
        return found

    def remove_networks(self) -> int:
        removed = room_network.remove_foreign(self._config)
        return removed + room_network.remove_pairings(self._config)

    def remove_system_traces(self) -> int:
        found = ipc_of(self._config.uid)
        for kind, number in found:
            run("ipcrm", IPC[kind][1], number)
        self.as_guest(clear_keys)
        until = time.monotonic() + COLLECT_S
        while self._count_keys() and time.monotonic() < until:
            time.sleep(0.02)
        removed = len(found)
        for patterns in self._config.named.values():
            removed += room_named.remove_named(self._config, patterns)
        return removed

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

    def count_logins(self, since: datetime) -> Optional[int]:
        return sum(moment(text) >= since for text in self._read()["logins"])

    def has_banner(self) -> bool:
        return True

    def announce(self, ends_at: float, *, countdown: bool = False) -> None:
        folder = Path(self._config.sessions).parent / "run"
        room_warning.announce(ends_at, folder=folder, countdown=countdown)

    def close_screen(self) -> None:
        pass

    def install_updates(self, left_s: float) -> Dict[str, Any]:
        return {"updates_installed": False}

    def restart_reason(self) -> str:
        return ""

    def boot_id(self) -> Optional[str]:
        try:
            return self._boots().read_text(encoding="ascii")
        except FileNotFoundError:
            return boot_id()

    def restart(self) -> bool:
        self._boots().write_text(str(uuid.uuid4()), encoding="ascii")
        return True

    def _boots(self) -> Path:
        return Path(self._config.state) / "boot"

    def lock(self) -> None:
        pass

    def unlock(self) -> None:
        pass

    def locked(self) -> bool:
        return False

    def end_sessions(self) -> None:
        known = self._read()
        write_json(Path(self._config.sessions), {"active": [], "logins": known["logins"]})

    def _become_guest(self) -> None:
        if os.geteuid() == 0 and self._config.uid != 0:
            super()._become_guest()

    def unmount(self) -> Dict[str, int]:
        return {"unmounted": 0, "lost_items": 0}

    def count_mounts(self) -> int:
        return 0

    def moved(self) -> bool:
        return False

    def count_processes(self) -> int:
        return len(self._read()["active"])

    def remove_prints(self) -> int:
        return 0

    def count_system_traces(self) -> Dict[str, int]:
        return self._count_kept()

    def remove_system_traces(self) -> int:
        named = self._config.named.values()
        return sum(room_named.remove_named(self._config, patterns) for patterns in named)

    def serial(self) -> str:
        return self._config.serial


def machine_for(config: Config) -> Machine:
    return SimulatedMachine(config) if config.simulated else Machine(config)


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
