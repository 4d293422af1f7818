"""Starts what must go on when nobody is connected any more, and bounds it all the same.

Where systemd runs, it becomes a unit of its own with a limited time. Elsewhere it is a process of
its own session, and the one that forked it stays as its watchdog.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Callable

from room_programs import find, run

SYSTEMD = "/run/systemd/system"
GRACE_S = 10
"""What a reset gets to end by itself after its own time limit."""


class TooLong(BaseException):
    """The watchdog: the time that was promised is over. Not an Exception, so no step eats it."""


def by_systemd() -> bool:
    return os.path.isdir(SYSTEMD) and find("systemd-run") is not None


def as_unit(config_path: str, reset_id: str, seconds: int) -> bool:
    """Whether systemd took it. A unit of this name that runs already is the same reset."""
    command = os.path.join(os.path.dirname(os.path.realpath(__file__)), "room_command.py")
    unit = "raumwart-reset-" + reset_id.replace(".", "-")
    answer = run(
        "systemd-run", "--quiet", "--collect", f"--unit={unit}",
        "-p", f"RuntimeMaxSec={seconds + GRACE_S}", "-p", "KillMode=control-group",
        "-p", f"TimeoutStopSec={GRACE_S}", "--",
        sys.executable, "-Es", command, "--config", config_path, "run", reset_id,
    )  # fmt: skip
    if answer is not None:
        return True
    # Asked twice at once, the second time it runs already.
    state = run("systemctl", "show", "--value", "-p", "ActiveState", f"{unit}.service") or ""
    return state.strip() in ("active", "activating", "deactivating")


def as_session(work: Callable[[], None], seconds: int, too_late: Callable[[], None]) -> None:
    """Returns at once. `too_late` is told when the work had to be killed."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        _hear_nobody()
        if os.fork() == 0:
            _watch(work, seconds, too_late)
    finally:
        os._exit(0)


def _watch(work: Callable[[], None], seconds: int, too_late: Callable[[], None]) -> None:
    worker = os.fork()
    if worker == 0:
        try:
            os.setpgid(0, 0)
            work()
        finally:
            os._exit(0)
    until = time.monotonic() + seconds + GRACE_S
    while os.waitpid(worker, os.WNOHANG)[0] == 0:
        if time.monotonic() > until:
            _kill_group(worker)
            os.waitpid(worker, 0)
            too_late()
            return
        time.sleep(0.1)


def _kill_group(worker: int) -> None:
    try:
        os.killpg(worker, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(worker, signal.SIGKILL)


def _hear_nobody() -> None:
    """Let go of the connection, which otherwise stays open as long as the reset."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    if nothing > 2:
        os.close(nothing)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
