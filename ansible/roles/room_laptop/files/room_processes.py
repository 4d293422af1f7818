"""The guest's processes, which may hide and fight: how many there are, and signals to all."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any, Callable, List

CHILD_S = 60.0
"""So long may anything take that is done with the guest's rights."""
NOBODYS = 2**32 - 2
"""The number of a user that nobody is."""
STATUS = re.compile(
    rb"^State:\t(?P<state>.).*^Uid:\t(?P<uid>\d+)\t(?P<euid>\d+)\t.*^Threads:\t(?P<threads>\d+)",
    re.MULTILINE | re.DOTALL,
)


def count_processes(ids: List[range]) -> int:
    """Those that run as one of these users, without those that only wait to be collected."""
    found = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # As bytes: a process may have any name, but no line of its own in here.
            about = STATUS.search((folder / "status").read_bytes())
        except OSError:
            continue
        owners = [int(number) for number in about.group("uid", "euid")] if about else []
        if about and any(owner in numbers for numbers in ids for owner in owners):
            # One whose first thread has ended looks dead while the others go on.
            dead = about.group("state") in b"ZX" and int(about.group("threads")) < 2
            found += not dead
    return found


def signal_all(uid: int, gid: int, number: int) -> None:
    """To everything of this user at once, with the user's rights: nothing can fork away from it.

    Not as the user, whose processes could stop the one who ends them.
    """

    def send() -> None:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(NOBODYS, uid, NOBODYS)
        os.kill(-1, number)

    in_child(send)


def in_child(what: Callable[[], Any], seconds: float = CHILD_S) -> None:
    """Do it in a process of its own, which is killed when it takes too long."""
    child = os.fork()
    if child == 0:
        try:
            what()
        finally:
            os._exit(0)
    until, pause, ended = time.monotonic() + seconds, 0.001, False
    try:
        while not ended and time.monotonic() < until:
            ended = os.waitpid(child, os.WNOHANG)[0] != 0
            if not ended:
                time.sleep(pause)
                pause = min(pause * 2, 0.05)
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
