"""What a guest may have turned: volume, brightness, the printer; and when the laptop wakes next."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, Optional

from room_programs import run
from room_state import Config


def ensure_settings(config: Config) -> Dict[str, Any]:
    """What could be set back; what this laptop does not have is left out, and no failure."""
    done = {}
    if config.volume >= 0:
        for words in (("sset", "Master", "unmute"), ("sset", "Master", f"{config.volume}%")):
            done["volume_set"] = run("amixer", "-q", *words) is not None
        run("alsactl", "store")
    if config.brightness >= 0:
        done["brightness_set"] = _brighten(config)
    if config.printer:
        done["printer_set"] = run("lpadmin", "-d", config.printer) is not None
    return done


def _brighten(config: Config) -> bool:
    lamps = sorted(Path(config.backlight).glob("*/max_brightness"))
    try:
        for lamp in lamps:
            wanted = max(1, int(lamp.read_text(encoding="ascii")) * config.brightness // 100)
            lamp.with_name("brightness").write_text(str(wanted), encoding="ascii")
    except (OSError, ValueError):
        return False
    return bool(lamps)


def set_alarm(path: str, when: datetime) -> bool:
    """Tell the clock to wake the laptop then. Not every clock can: False is no failure."""
    seconds = int(when.timestamp())
    try:
        # The kernel refuses a new alarm while an old one stands.
        for text in ("0", str(seconds)):
            with open(path, "w", encoding="ascii") as file:
                file.write(text + "\n")
    except OSError:
        return False
    return alarm_ahead(path, seconds - 1) is True


def alarm_ahead(path: str, now: float) -> Optional[bool]:
    """Whether the clock will wake the laptop; None: it has no such clock."""
    if not os.path.exists(path):
        return None
    try:
        text = Path(path).read_text(encoding="ascii").strip()
        return bool(text) and int(text) > now
    except (OSError, ValueError):
        return None
