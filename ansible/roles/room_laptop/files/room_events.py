"""What a reset tells of itself, kept in a file, so that nobody has to be connected to hear it."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from room_state import Config, Journal, Lock

Emit = Callable[[Dict[str, Any]], None]
PAUSE_S = (0.02, 0.15)
BEGIN_S = 15.0
"""How long a reset that was handed to systemd may take until its first word."""
WAITING = ("restarting",)
"""The laptop will go on by itself after its restart."""


class Events:
    """JSON Lines of one reset. A line that was cut off by a power failure is skipped."""

    def __init__(self, config: Config, reset_id: str) -> None:
        self._path = run_file(config, reset_id, "events")
        self._reset_id = reset_id

    def clear(self) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._path.write_bytes(b"")

    def __call__(self, event: Dict[str, Any]) -> None:
        about = {
            "t": datetime.now(timezone.utc).isoformat(),
            "seq": self.last() + 1,
            "reset_id": self._reset_id,
        }
        line = json.dumps(dict(about, **event), separators=(",", ":")).encode() + b"\n"
        file = os.open(str(self._path), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(file).st_size
            cut = size > 0 and os.pread(file, 1, size - 1) != b"\n"
            os.write(file, (b"\n" if cut else b"") + line)
            os.fsync(file)
        finally:
            os.close(file)

    def since(self, seq: int) -> List[Dict[str, Any]]:
        """What was told after this number."""
        return [event for event in self._read() if _seq(event) > seq]

    def last(self) -> int:
        """The last number; 0: nothing was told yet."""
        known = self._read()
        return _seq(known[-1]) if known else 0

    def step_times(self) -> Dict[str, int]:
        """Step → its milliseconds; of one that was begun again after a restart, all together."""
        times: Dict[str, int] = {}
        for event in self._read():
            step, ms = event.get("step"), event.get("ms")
            if event.get("event") == "step" and isinstance(step, str) and isinstance(ms, int):
                times[step] = times.get(step, 0) + ms
        return times

    def _read(self) -> List[Dict[str, Any]]:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                found.append(event)
        return found


def _seq(event: Dict[str, Any]) -> int:
    seq = event.get("seq")
    return seq if isinstance(seq, int) else 0


def run_file(config: Config, reset_id: str, kind: str) -> Path:
    return Path(config.state) / "runs" / f"{reset_id}.{kind}"


def forget_old(config: Config, kept: List[str]) -> None:
    """The files of runs that the journal no longer knows."""
    for path in (Path(config.state) / "runs").glob("*"):
        if path.stem not in kept:
            path.unlink()


def follow(
    config: Config, reset_id: str, seq: int, emit: Emit, *, handed: bool = False
) -> Optional[Dict[str, Any]]:
    """Pass on what is told after `seq` until the end; returns the end event.

    None: whoever worked on it is gone without an end. Following again changes nothing. `handed`:
    to systemd, a moment ago, so that its worker may still be on its way.
    """
    events, until = Events(config, reset_id), time.monotonic() + BEGIN_S
    told, pause = events.last(), PAUSE_S[0]
    while True:
        alive = _alive(config, reset_id)
        if not alive and (handed or not told) and seq <= told:
            alive = time.monotonic() < until
        fresh = events.since(seq)
        for event in fresh:
            emit(event)
            seq = _seq(event)
            if event.get("event") == "end":
                return event
        if not alive and not fresh:
            emit({"event": "interrupted", "reset_id": reset_id})
            return None
        pause = PAUSE_S[0] if fresh else min(pause * 1.5, PAUSE_S[1])
        time.sleep(pause)


def _alive(config: Config, reset_id: str) -> bool:
    if (Journal(config).find(reset_id) or {}).get("phase") in WAITING:
        return True
    lock = Lock(config)
    try:
        return not lock.take() and lock.holder() == reset_id
    finally:
        lock.close()
