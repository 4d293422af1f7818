"""The separate look after a reset: reads only, and believes nothing that the reset reported."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Optional

import room_residue
from room_events import Events
from room_health import disk, power, script_hash
from room_machine import machine_for
from room_network import count_foreign
from room_settings import alarm_ahead
from room_state import Config, Journal, moment
from room_tree import TooBig, hash_tree, open_folder


def verify(config: Config, reset_id: str) -> Dict[str, Any]:
    """What is true now. From the reset it takes the id, the profile and the moment it ended.

    `reset_id` is the one asked about; the answer names the one that finished last, and the
    centre compares. None means: cannot be told.
    """
    machine = machine_for(config)
    last = Journal(config).last_done()
    evidence = last["end"].get("evidence", {}) if last else {}
    since = moment(last["finished_at"]) if last else None
    sessions = machine.sessions()
    residue = room_residue.count(config, machine)
    home = _hash(config.home, config.uid)
    prepared = _hash(os.path.join(config.skeletons, last["profile"]), None) if last else None
    facts = {
        "v": 1,
        "now": time.time(),
        "asked": reset_id,
        "serial": machine.serial(),
        "reset_id": last["reset_id"] if last else None,
        "tier": last.get("tier") if last else None,
        "sessions": None if sessions is None else len(sessions),
        "processes": machine.count_processes(),
        "used_since": machine.used_since(since) if since else None,
        "logins": machine.count_logins(since) if since else None,
        "home_hash": home,
        "home_clean": home is not None and home == prepared,
        "skeleton_hash": prepared,
        "residue": sum(residue.values()),
        "residue_places": ",".join(sorted(place for place, found in residue.items() if found)),
        "counts": residue,
        "foreign_networks": count_foreign(config),
        "print_jobs": residue.get("print", 0),
        "mounts": machine.count_mounts(),
        "trash": len(room_residue.in_trash(config)),
        "boot_id": machine.boot_id(),
        "boot_fresh": _boot_fresh(last, machine.boot_id()),
        "alarm_set": alarm_ahead(config.alarm, time.time()),
        "script_hash": script_hash(),
        "step_times": Events(config, last["reset_id"]).step_times() if last else {},
    }
    for name in ("canary_planted", "canary_unseen", "lost_items"):
        facts[name] = evidence.get(name)
    facts.update(disk(), **power())
    return facts


def _boot_fresh(last: Optional[Dict[str, Any]], now: Optional[str]) -> Optional[bool]:
    """Whether every restart that the reset asked for has happened."""
    if last is None:
        return None
    return last.get("restart_from") is None or last["restart_from"] != now


def _hash(path: str, owner: Optional[int]) -> Optional[str]:
    try:
        folder = open_folder(path)
    except OSError:
        return None
    try:
        return hash_tree(folder, owner)
    except (OSError, TooBig):
        return None
    finally:
        os.close(folder)
