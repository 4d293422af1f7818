"""The operating system itself: updates, restarts, and files of the guest in odd places."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from room_programs import run
from room_state import Config

DPKG_S = 600
LISTS_S = 300
CONFIRM = ("-o", "Dpkg::Options::=--force-confold", "-o", "DPkg::Lock::Timeout=60")


def repair_packages() -> bool:
    """Finish what a killed or powered-off installation left half done; whether there was any."""
    if not (run("dpkg", "--audit", seconds=60) or "").strip():
        return False
    run("dpkg", "--force-confold", "--configure", "-a", seconds=DPKG_S)
    return True


def install_updates(config: Config, left_s: float) -> Dict[str, Any]:
    """Only where they can end in time: an installation that is killed leaves half a system."""
    found: Dict[str, Any] = {"packages_repaired": repair_packages()}
    if left_s < config.updates_s:
        return dict(found, updates_installed=False, updates_skipped=True)
    run("apt-get", "-q", "update", seconds=LISTS_S)
    done = run("apt-get", "-q", "-y", *CONFIRM, "upgrade", seconds=config.updates_s - LISTS_S)
    run("apt-get", "clean", seconds=60)
    return dict(found, updates_installed=done is not None)


def restart_needed(config: Config) -> str:
    """Why the system should start anew; empty when it need not."""
    if os.path.exists("/run/reboot-required"):
        return "updates"
    if not os.path.isdir("/lib/modules/" + os.uname().release) and os.path.isdir("/lib/modules"):
        return "kernel" if os.listdir("/lib/modules") else ""
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    return "uptime" if up > config.restart_after_days * 86400 else ""


def boot_id() -> Optional[str]:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def local_roots(config: Config) -> Iterator[str]:
    """One path for each file system among the configured ones."""
    seen: List[int] = []
    for root in config.roots:
        try:
            device = os.stat(root, follow_symlinks=False).st_dev
        except OSError:
            continue
        if device not in seen:
            seen.append(device)
            yield root


def identity(*paths: str) -> List[Tuple[int, int]]:
    """(device, number) of what is there, by which a walk knows it again."""
    found = []
    for path in paths:
        try:
            info = os.stat(path, follow_symlinks=False)
        except OSError:
            continue
        found.append((info.st_dev, info.st_ino))
    return found


def idle_priority() -> None:
    """The rest of this process gets processor and disk only when nobody else wants them."""
    os.nice(19)
    run("ionice", "-c", "3", "-p", str(os.getpid()))
