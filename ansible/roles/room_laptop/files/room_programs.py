"""Other programs of the system, asked in one language and for a limited time."""

from __future__ import annotations

import shutil
import subprocess
from typing import Optional

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(program: str) -> Optional[str]:
    return shutil.which(program, path=PATH)


def run(*command: str, seconds: float = 10.0, any_code: bool = False) -> Optional[str]:
    """What a program printed; None when it is missing, took too long, or (unless `any_code`)
    failed."""
    program = find(command[0])
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
            env={"PATH": PATH, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if any_code or done.returncode == 0 else None
