"""How this laptop is: one look, one JSON object, names and units as the agent's facts.

What cannot be told is null, never zero.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from room_machine import machine_for
from room_probes import probes
from room_programs import run
from room_state import Config, Journal, moment

LISTS = "/var/lib/apt/lists"
INSTALLED = "/var/lib/dpkg/status"
CACHE = "updates.json"


def health(config: Config) -> Dict[str, Any]:
    """Facts of `agents.facts`, and `now` (Unix time) for the clock comparison."""
    machine = machine_for(config)
    sessions = machine.sessions()
    last = Journal(config).last_done()
    updates, security = _updates(Path(config.state) / CACHE)
    facts: Dict[str, Any] = {
        "v": 1,
        "vendor": _read("/sys/class/dmi/id/sys_vendor"),
        "model": _read("/sys/class/dmi/id/product_name"),
        "serial": machine.serial() or None,
        "name": os.uname().nodename,
        "firmware": _system_name(),
        "uptime_s": _first_number("/proc/uptime"),
        "load_1m": _load(),
        "sessions": None if sessions is None else len(sessions),
        "failed_units": _failed_units(),
        "updates": updates,
        "security_updates": security,
        "reboot_needed": os.path.exists("/run/reboot-required"),
        "reset_id": last["reset_id"] if last else None,
        "used_since": machine.used_since(moment(last["finished_at"])) if last else None,
        "script_hash": script_hash(),
    }
    facts.update(_memory())
    facts.update(disk())
    facts.update(power())
    facts.update(probes())
    facts["now"] = time.time()
    return facts


def _read(path: str) -> Optional[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()[:200] or None
    except OSError:
        return None


def _number(path: str) -> Optional[float]:
    try:
        return float(_read(path) or "")
    except ValueError:
        return None


def _first_number(path: str) -> Optional[float]:
    try:
        return float((_read(path) or "").split()[0])
    except (ValueError, IndexError):
        return None


def _system_name() -> Optional[str]:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', _read("/etc/os-release") or "", re.MULTILINE)
    return found.group(1) if found else None


def _load() -> Optional[float]:
    load = _first_number("/proc/loadavg")
    return None if load is None else round(load / (os.cpu_count() or 1), 3)


def _memory() -> Dict[str, Any]:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return {}
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", text, re.MULTILINE)}
    total, free = kib.get("MemTotal"), kib.get("MemAvailable")
    if not total or free is None:
        return {}
    return {"memory_total_bytes": total * 1024, "memory_ratio": round(1 - free / total, 4)}


def disk() -> Dict[str, Any]:
    try:
        disk = os.statvfs("/")
    except OSError:
        return {}
    usable = disk.f_blocks - disk.f_bfree + disk.f_bavail
    return {
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
        "disk_ratio": round(1 - disk.f_bavail / usable, 4) if usable else None,
    }


def power(folder: str = "/sys/class/power_supply") -> Dict[str, Any]:
    """Several batteries count as one; those of mice and keyboards do not."""
    now: List[float] = []
    wear: List[float] = []
    plugged: Optional[bool] = None
    for supply in sorted(Path(folder).glob("*")):
        kind = _read(str(supply / "type"))
        if kind in ("Mains", "USB") and _read(str(supply / "online")) is not None:
            plugged = bool(plugged) or _read(str(supply / "online")) == "1"
        if kind == "Battery" and _read(str(supply / "scope")) != "Device":
            charge = _number(str(supply / "capacity"))
            full = _number(str(supply / "energy_full")) or _number(str(supply / "charge_full"))
            new = _number(str(supply / "energy_full_design")) or _number(
                str(supply / "charge_full_design")
            )
            now += [] if charge is None else [min(charge, 100) / 100]
            wear += [max(0.0, 1 - full / new)] if full and new else []
    return {
        "battery_ratio": round(sum(now) / len(now), 3) if now else None,
        "battery_wear_ratio": round(sum(wear) / len(wear), 3) if wear else None,
        "plugged": plugged,
    }


def _failed_units() -> Optional[int]:
    listing = run("systemctl", "--failed", "--plain", "--no-legend", "--no-pager", seconds=5)
    return None if listing is None else len(listing.splitlines())


def _lists_state() -> Optional[List[float]]:
    """Changes whenever the answer to "which updates are there" may have changed."""
    try:
        return [os.stat(LISTS).st_mtime, os.stat(INSTALLED).st_mtime]
    except OSError:
        return None


def _updates(cache: Path) -> Tuple[Optional[int], Optional[int]]:
    """(all, security) updates as last counted; None when the lists have changed since."""
    try:
        known = json.loads(cache.read_text(encoding="ascii"))
        if known["state"] == _lists_state():
            return known["updates"], known["security"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None, None


def count_updates(config: Config) -> None:
    """Count anew when the lists have changed. Takes seconds: done after the answer was given."""
    cache, state = Path(config.state) / CACHE, _lists_state()
    if state is None or _updates(cache) != (None, None):
        return
    listing = run(
        "apt-get", "-s", "-o", "Debug::NoLocking=true", "upgrade", "--with-new-pkgs", seconds=30
    )
    if listing is None:
        return
    found = re.findall(r"^Inst .*", listing, re.MULTILINE)
    security = sum(1 for line in found if "security" in line.lower())
    new = cache.with_suffix(".new")
    new.write_text(json.dumps({"state": state, "updates": len(found), "security": security}))
    new.replace(cache)


def script_hash() -> str:
    """SHA-256 over the scripts as they lie here: what runs, not what was meant to."""
    total = hashlib.sha256()
    for path in sorted(Path(__file__).resolve().parent.iterdir()):
        if path.is_file() and path.suffix in ("", ".py"):
            total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()
