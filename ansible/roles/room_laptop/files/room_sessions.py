"""Who is or was signed in: what logind, `who`, `last`, the journal and the keyboard tell."""

from __future__ import annotations

import glob
import os
import re
import select
import struct
import time
from dataclasses import dataclass
from datetime import datetime
from typing import List, Optional

from room_programs import run
from room_state import moment

IDLE_MINUTES = 15
ABOUT = ("Name", "Class", "State", "IdleHint")
NEW_SESSION = "8d45620c1a4348dbb17410da57c60c66"
"""The number by which systemd-logind marks a new session in the journal."""
WATCH_S = 2.0
"""How long keyboard and mouse are watched where all sessions call themselves idle."""
EVENT = struct.Struct("@llHHi")
KEY, MOVE, POSITION = 1, 2, 3
"""Kinds of input that a hand makes; a lid or a shaken sensor is none."""
FINGERS = range(0x2F, 0x3E)
"""Positions that only a touchpad or touchscreen tells."""


@dataclass(frozen=True)
class Session:
    user: str
    idle: bool


def moved_lately(folder: str) -> bool:
    """Watch every input device for a moment; whether a key or a mouse moved."""
    files = []
    for path in glob.glob(os.path.join(folder, "event*")):
        try:
            files.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            continue
    try:
        return bool(files) and _moves(files, time.monotonic() + WATCH_S)
    finally:
        for file in files:
            os.close(file)


def _moves(files: List[int], until: float) -> bool:
    while files and time.monotonic() < until:
        ready, _, _ = select.select(files, [], [], max(0.0, until - time.monotonic()))
        for file in ready:
            try:
                data = os.read(file, EVENT.size * 64)
            except OSError:
                data = b""
            if not data:
                files = [one for one in files if one != file]
            whole = len(data) - len(data) % EVENT.size
            if any(_by_hand(kind, code) for _, _, kind, code, _ in EVENT.iter_unpack(data[:whole])):
                return True
    return False


def _by_hand(kind: int, code: int) -> bool:
    return kind in (KEY, MOVE) or (kind == POSITION and code in FINGERS)


def logind_sessions() -> Optional[List[Session]]:
    listing = run("loginctl", "list-sessions", "--no-legend")
    if listing is None:
        return None
    found = []
    for line in listing.splitlines():
        number = (line.split() or [""])[0]
        # Unlike systemctl it takes one name at a time, and prints nothing for a list of them.
        wanted = (word for name in ABOUT for word in ("-p", name))
        shown = run("loginctl", "show-session", number, *wanted)
        if shown is None:
            continue  # it has ended meanwhile
        about = dict(pair.split("=", 1) for pair in shown.splitlines() if "=" in pair)
        if not about.keys() >= {*ABOUT}:
            return None
        if about.get("Class") == "user" and about.get("State") != "closing":
            found.append(Session(about.get("Name", ""), idle=about.get("IdleHint") == "yes"))
    return found


def terminal_sessions() -> Optional[List[Session]]:
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


def recorded_logins(guest: str, wtmp: str, since: datetime) -> Optional[int]:
    """What `last` tells, where the system still has it."""
    listing = run("last", "-f", wtmp, "-n", "200", "--time-format", "iso", guest)
    if listing is None:
        return None
    moments = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:?\d\d", listing)
    return sum(_last_moment(text) >= since for text in moments)


def journal_login(guest: str, since: datetime) -> Optional[bool]:
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
