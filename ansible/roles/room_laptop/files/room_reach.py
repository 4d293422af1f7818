"""Keeps the way to the agent open: a guest who switches Wi-Fi off, or takes the laptop into another
network, would keep every reset out until somebody comes."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from room_machine import machine_for
from room_network import active, connect, leave_foreign
from room_programs import run
from room_state import Config, Lock


def reach(config: Config) -> Dict[str, int]:
    """Switch on what was switched off, and once nobody is at work, leave networks that are not the
    room's. How much of each there was to do."""
    if _resetting(config):  # what it finds is for it to count and to remove
        return {}
    done = {"radios": _radios(config)}
    alone = _nobody_at_work(config)
    if alone:
        done["left"] = leave_foreign(config)
    # Whoever works in a network of their own keeps it until they go.
    if alone or not active():
        done["connected"] = connect(config)
    return done


def _resetting(config: Config) -> bool:
    """Only a look: a reset that begins meanwhile must not find the lock taken."""
    lock = Lock(config)
    try:
        return not lock.take()
    finally:
        lock.close()


def _radios(config: Config) -> int:
    """Wi-Fi only: whether Bluetooth is on is nobody's business."""
    blocked = 0
    for kind in Path(config.radios).glob("*/type"):
        switch = kind.with_name("soft")
        try:
            if kind.read_text().strip() == "wlan" and switch.read_text().strip() == "1":
                switch.write_text("0")
                blocked += 1
        except (OSError, ValueError):
            continue
    if not config.simulated:
        # NetworkManager remembers it, over a restart too. Where both are on, nothing happens.
        run("nmcli", "networking", "on")
        run("nmcli", "radio", "wifi", "on")
    return blocked


def _nobody_at_work(config: Config) -> bool:
    sessions = machine_for(config).sessions()
    return sessions is not None and all(session.idle for session in sessions)
