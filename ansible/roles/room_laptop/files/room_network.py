"""Networks and devices that a guest made known to this laptop, and their secrets.

What is the room's own is on a list: profiles by their UUID, Bluetooth devices by their address. A
laptop without such a list keeps everything: it must not lose the way to its agent.
"""

from __future__ import annotations

import os
import re
from typing import List, Optional, Set, Tuple

from room_programs import run
from room_state import Config
from room_tree import open_folder, read_file, remove

UUID = re.compile(rb"^\s*uuid\s*=\s*([0-9A-Fa-f-]{36})\s*$", re.MULTILINE)
NETPLAN = re.compile(
    r"90-NM-([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}).*\.yaml", re.DOTALL
)
"""What NetworkManager saves there on Ubuntu, instead of a profile in its own folder."""
CONNECT_S = 20
ADDRESS = re.compile(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}")


def count_foreign(config: Config) -> Optional[int]:
    """Profiles (Wi-Fi, VPN, mobile) that are not on the list; None: cannot be told."""
    if not config.connections:
        return None
    return sum(len(_foreign(config, path)) for path in _folders(config))


def remove_foreign(config: Config) -> int:
    """Take them away, first from the running service, then from the disk."""
    removed = 0
    for path in _folders(config):
        for name, uuid in _foreign(config, path):
            if uuid:
                run("nmcli", "connection", "delete", "uuid", uuid)
            folder = open_folder(path)
            try:
                remove(name, folder)
            finally:
                os.close(folder)
            removed += 1
    if removed:
        run("nmcli", "connection", "reload")
    return removed


def active() -> Set[str]:
    """UUIDs of the profiles that are in use, the kernel's own loop left out."""
    lines = run("nmcli", "-t", "-f", "UUID,TYPE", "connection", "show", "--active") or ""
    pairs = (line.partition(":") for line in lines.lower().splitlines())
    return {uuid for uuid, _, kind in pairs if kind != "loopback"}


def leave_foreign(config: Config) -> int:
    """Take away those that are in use."""
    used, left = active(), 0
    for path in _folders(config):
        for _, uuid in _foreign(config, path):
            if uuid.lower() in used:
                run("nmcli", "connection", "delete", "uuid", uuid)
                left += 1
    return left


def connect(config: Config) -> int:
    """Take up the room's own network again: what somebody disconnected by hand stays so."""
    if not config.kept_connections or active() & {one.lower() for one in config.kept_connections}:
        return 0
    for uuid in config.kept_connections:
        wait = ("--wait", str(CONNECT_S))
        if run("nmcli", *wait, "connection", "up", "uuid", uuid, seconds=CONNECT_S + 5) is not None:
            return 1
    return 0


def _folders(config: Config) -> List[str]:
    return [path for path in (config.connections, config.netplan) if path and config.connections]


def _foreign(config: Config, path: str) -> List[Tuple[str, str]]:
    """(file, UUID) of each profile in this folder that is not on the list."""
    kept = {uuid.lower() for uuid in config.kept_connections}
    try:
        folder = open_folder(path)
    except FileNotFoundError:
        return []
    try:
        found = [(name, _uuid(name, folder)) for name in os.listdir(folder)]
    finally:
        os.close(folder)
    if path == config.netplan:
        found = [(name, own.group(1)) for name, _ in found if (own := NETPLAN.fullmatch(name))]
    return [(name, uuid) for name, uuid in found if uuid.lower() not in kept]


def _uuid(name: str, folder: int) -> str:
    """Empty for what is no profile: a folder or a link has no business there."""
    try:
        found = UUID.search(read_file(name, folder))
    except OSError:
        return ""
    return found.group(1).decode("ascii") if found else ""


def count_pairings(config: Config) -> int:
    return sum(len(_pairings(config, adapter)) for adapter in _adapters(config))


def remove_pairings(config: Config) -> int:
    removed = 0
    for adapter in _adapters(config):
        folder = open_folder(os.path.join(config.bluetooth, adapter))
        try:
            for device in _pairings(config, adapter):
                run("bluetoothctl", "remove", device)
                remove(device, folder)
                removed += 1
        finally:
            os.close(folder)
    if removed:
        run("systemctl", "try-restart", "bluetooth")
    return removed


def _adapters(config: Config) -> List[str]:
    return _addresses(config.bluetooth) if config.bluetooth else []


def _pairings(config: Config, adapter: str) -> List[str]:
    kept = {address.upper() for address in config.kept_bluetooth}
    return [d for d in _addresses(os.path.join(config.bluetooth, adapter)) if d not in kept]


def _addresses(path: str) -> List[str]:
    try:
        return [name for name in os.listdir(path) if ADDRESS.fullmatch(name)]
    except OSError:
        return []
