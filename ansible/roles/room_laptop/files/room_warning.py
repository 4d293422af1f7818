"""Tells whoever sits at the laptop that it will be emptied soon.

Root writes one file into a folder that only root can write to; a small program in the session reads
it and shows the words. Nothing of root's runs in the session, and nothing there can ask root.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Callable, Dict

from room_state import write_json

FOLDER = Path("/run/raumwart")
BANNER = Path("/etc/xdg/autostart/raumwart-banner.desktop")
"""Starts the program that shows it, in every session."""
MOST_MINUTES = 60


def announce(ends_at: float, *, folder: Path = FOLDER, countdown: bool = False) -> None:
    """The end comes then (0: it does not come). `countdown`: every second of it is shown."""
    folder.mkdir(mode=0o755, exist_ok=True)
    os.chmod(str(folder), 0o755)  # noqa: S103 the visitor reads it
    write_json(folder / "warning.json", {"ends_at": ends_at, "countdown": countdown})
    os.chmod(str(folder / "warning.json"), 0o644)


def warn(minutes: int, announce: Callable[[float], None]) -> Dict[str, Any]:
    """Announce the end in so many minutes; 0 takes it back."""
    if not 0 <= minutes <= MOST_MINUTES:
        return {"event": "end", "result": "refused", "reason": "bad_request"}
    ends_at = time.time() + minutes * 60 if minutes else 0.0
    announce(ends_at)
    return {"v": 1, "warned": minutes > 0, "ends_at": ends_at}
