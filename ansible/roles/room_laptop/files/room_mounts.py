"""What is mounted in the guest's places, or by the guest anywhere: sticks, network and cloud
folders, and programs that bring a file system of their own."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

from room_state import Config

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8


@dataclass(frozen=True)
class Mount:
    where: str
    stick: bool
    """A disk that is still plugged in, so it is somebody's."""


def guest_mounts(config: Config) -> List[Mount]:
    """All of the guest's, the latest last."""
    guest, uid = config.guest, config.uid
    places = (config.home, f"/media/{guest}", f"/run/media/{guest}", f"/run/user/{uid}")
    below = tuple(os.fsencode(place + "/") for place in places)
    by_guest = f"user_id={uid}".encode()
    found = []
    # As bytes: what ends a line of text elsewhere may be part of a name here.
    for line in Path("/proc/self/mountinfo").read_bytes().split(b"\n"):
        about, dash, source = line.partition(b" - ")
        if not dash:
            continue
        octal = about.split(b" ")[4]
        where = re.sub(rb"\\([0-7]{3})", lambda one: bytes([int(one.group(1), 8)]), octal)
        own = by_guest in source.split(b" ")[-1].split(b",")  # a file system in a program (FUSE)
        if own or where.startswith(below):
            stick = not own and source.split(b" ")[1].startswith(b"/dev/")
            found.append(Mount(os.fsdecode(where), stick))
    return found


def unmount(config: Config) -> Dict[str, int]:
    """Take them away. The writes to a stick are finished first, and it is told."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = left = guest_mounts(config)
    sticks = [mount for mount in found if mount.stick]
    for stick in sticks:
        _flush(libc, stick.where)
    while left:
        # The latest may lie over the others, which can be reached only without it.
        where = os.fsencode(left[-1].where)
        if libc.umount2(where, MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
            raise OSError(ctypes.get_errno(), "cannot unmount")
        before, left = len(left), guest_mounts(config)
        if len(left) >= before:
            raise OSError(errno.EBUSY, "mounted again")
    return {"unmounted": len(found), "lost_items": len(sticks)}


def _flush(libc: ctypes.CDLL, path: str) -> None:
    """Finish the writes to a stick, so that its owner finds it whole."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    libc.syncfs(folder)
    os.close(folder)
