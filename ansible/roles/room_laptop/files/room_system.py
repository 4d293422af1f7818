"""The operating system itself: updates, restarts, and files of the guest in odd places."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from room_programs import run
from room_state import Config

DPKG_S = 600
LISTS_SHARE = 0.2
"""Of the time for updates, what fetching the lists may take."""
FAIL_LOUDLY = ("-o", "APT::Update::Error-Mode=any")
CONFIRM = ("-o", "Dpkg::Options::=--force-confold", "-o", "DPkg::Lock::Timeout=60")


def half_done() -> bool:
    """Whether a killed or powered-off installation left something behind."""
    return bool((run("dpkg", "--audit", seconds=60) or "").strip())


def repair_packages() -> bool:
    """Finish what was left half done, without fetching anything; whether that sufficed."""
    run("dpkg", "--force-confold", "--configure", "-a", seconds=DPKG_S)
    return not half_done()


def _fetch_again() -> bool:
    """For packages that miss another, and for those of which only a part lies there."""
    run("apt-get", "-q", "-y", *CONFIRM, "--fix-broken", "install", seconds=DPKG_S)
    listing = run("dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Eflag}\n") or ""
    torn = [line.split()[0] for line in listing.splitlines() if line.endswith(" reinstreq")]
    if torn:
        run("apt-get", "-q", "-y", *CONFIRM, "--reinstall", "install", *torn, seconds=DPKG_S)
    return not half_done()


def install_updates(config: Config, left_s: float) -> Dict[str, Any]:
    """Only where they can end in time: an installation that is killed leaves half a system."""
    found: Dict[str, Any] = {}
    if half_done():
        found["packages_repaired"] = repair_packages()
    if left_s < config.updates_s:
        return dict(found, updates_installed=False, updates_skipped=True)
    lists_s = config.updates_s * LISTS_SHARE
    fresh = run("apt-get", "-q", *FAIL_LOUDLY, "update", seconds=lists_s) is not None
    if found.get("packages_repaired") is False:
        found["packages_repaired"] = _fetch_again()
    # A new kernel is a package of another name.
    upgrade = ("upgrade", "--with-new-pkgs")
    done = run("apt-get", "-q", "-y", *CONFIRM, *upgrade, seconds=config.updates_s - lists_s)
    run("apt-get", "clean", seconds=60)
    return dict(found, updates_installed=fresh and done is not None)


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
