"""The kernel's key rings of the guest: passwords and tickets that outlive every process."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path
from typing import Optional

NUMBERS = {"x86_64": (248, 250), "aarch64": (217, 219), "armv7l": (309, 311), "riscv64": (217, 219)}
"""Machine → numbers of the system calls add_key and keyctl, which the C library does not offer."""
GET, CLEAR, INVALIDATE, GET_PERSISTENT = 0, 7, 21, 22
PROCESS, RINGS = -2, (-4, -5)
"""A process's own ring; the user's ring and the one of the user's sessions."""
EMPTY = 2
"""Both rings are keys themselves."""


def count_keys(uid: int) -> Optional[int]:
    """Keys in the guest's rings; None: this kernel does not tell."""
    try:
        text = Path("/proc/key-users").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(rf"^\s*{uid}:\s+\d+\s+(\d+)/", text, re.MULTILINE)
    return max(0, int(found.group(1)) - EMPTY) if found else 0


def make_rings() -> None:
    """Of whoever calls, so that nothing else can be taken for them: run as the guest."""
    for ring in RINGS:
        _keyctl(GET, ring, 1)


def clear_keys() -> None:
    """Of whoever calls: run as the guest. The kernel collects them a moment later."""
    for ring in RINGS:
        _keyctl(CLEAR, ring)
    # One more lasts for three days, whether anybody is signed in or not.
    lasting = _keyctl(GET_PERSISTENT, -1, PROCESS)
    if lasting > 0:
        _keyctl(CLEAR, lasting)
        _keyctl(INVALIDATE, lasting)


def _keyctl(*words: int) -> int:
    """Below zero: it cannot be done, or not on this kernel."""
    numbers = NUMBERS.get(os.uname().machine)
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(numbers[1], *map(ctypes.c_long, words))) if numbers else -1


def add_key(name: bytes) -> bool:
    """Into the ring of whoever calls; whether it worked."""
    numbers = NUMBERS.get(os.uname().machine)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(numbers) and libc.syscall(numbers[0], b"user", name, b"x", 1, RINGS[0]) > 0
