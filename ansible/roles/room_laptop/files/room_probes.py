"""What the hardware tells of itself: Wi-Fi signal, temperature, and whether the disk still trusts
itself. Null where it cannot be told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, List, Optional

from room_programs import run

SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "acpitz")
"""Names of sensors that measure the processor, the best first."""


def probes() -> Dict[str, Any]:
    return {
        "wifi_dbm": wifi_dbm(),
        "temperature_c": temperature_c(),
        "disk_healthy": disk_healthy(),
    }


def wifi_dbm(path: str = "/proc/net/wireless") -> Optional[float]:
    """The strongest signal of the adapters that are connected."""
    try:
        lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()[2:]
    except OSError:
        return None
    levels = []
    for line in lines:
        # name: status quality level noise …; a driver without units tells 0 or a positive level.
        found = re.match(r"\s*\S+:\s+\S+\s+\S+\s+(-\d+(?:\.\d*)?)", line)
        if found:
            levels.append(float(found.group(1)))
    return max(levels) if levels else None


def temperature_c(folder: str = "/sys/class/hwmon") -> Optional[float]:
    """The hottest reading of the best sensor there is."""
    found: Dict[str, List[float]] = {}
    for chip in sorted(Path(folder).glob("*")):
        try:
            name = (chip / "name").read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            continue
        for sensor in chip.glob("temp*_input"):
            try:
                celsius = int(sensor.read_text(encoding="ascii")) / 1000
            except (OSError, ValueError):
                continue
            if 0 < celsius < 150:  # a sensor that is not fitted tells 0 or nonsense
                found.setdefault(name, []).append(celsius)
    return next((max(found[name]) for name in SENSORS if name in found), None)


def disk_healthy() -> Optional[bool]:
    """What the system disk says of itself (SMART); needs smartmontools."""
    source = run("findmnt", "-n", "-o", "SOURCE", "/", seconds=3)
    disks = run("lsblk", "-n", "-s", "-o", "PATH,TYPE", (source or "").strip(), seconds=3)
    for line in (disks or "").splitlines():
        path, kind = re.search(r"/\S+", line), line.split()[-1:]
        if path and kind == ["disk"]:
            return healthy(run("smartctl", "-j", "-H", path.group(0), seconds=6, any_code=True))
    return None


def healthy(answer: Optional[str]) -> Optional[bool]:
    """`smartctl -j -H`: a failing disk is told by its exit code too, so that is not looked at."""
    try:
        passed = json.loads(answer or "")["smart_status"]["passed"]
    except (ValueError, KeyError, TypeError):
        return None
    return passed if isinstance(passed, bool) else None
