"""The nightly test of the reset itself: markers in every place where a guest can leave something.

They are planted as the guest, with the guest's rights; what only the system can write (a print job,
a network profile) is planted by root as the system would leave it. The laptop's own probe must see
every one of them: a probe that sees nothing proves nothing.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import uuid
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import room_residue
from room_keys import add_key
from room_machine import Machine
from room_programs import find, run
from room_state import Config
from room_tree import CREATE, TooBig, hash_tree, open_folder, read_file

MARKER = "raumwart-canary"
CONTENT = b"a guest's words\n"
IPC_CREATE = 0o1666
"""IPC_CREAT, readable by everybody."""


def plant(config: Config, machine: Machine) -> Dict[str, Any]:
    """How many kinds of traces were planted, and how many of them the probe does not see."""
    before, home = room_residue.count(config, machine), _home_hash(config)
    _set_up_victim(config)
    machine.as_guest(lambda: _in_home(config))
    for place, folder in _folders(config):
        machine.as_guest(lambda folder=folder: _file(os.path.join(folder, MARKER)))
        if not os.path.lexists(os.path.join(folder, MARKER)):
            _file(os.path.join(folder, MARKER), config)
        before.setdefault(place, 0)
    planted = {place for place, _ in _folders(config)}
    planted |= {place for place, done in _by_system(config, machine) if done}
    after = room_residue.count(config, machine)
    unseen = [place for place in planted if after.get(place, 0) <= before.get(place, 0)]
    now = _home_hash(config)
    unseen += ["home"] if now == home and now is not None else []
    return {
        "canary_planted": len(planted) + 1,
        "canary_unseen": len(unseen),
        "unseen_places": ",".join(sorted(unseen)),
    }


def harmed(config: Config) -> bool:
    """Whether what the planted links point at was touched: changed, emptied or given away."""
    try:
        folder = open_folder(_victim(config))
    except OSError:
        return True
    try:
        about = os.fstat(folder)
        names, content = os.listdir(folder), read_file("keep", folder)
        owner = os.stat("keep", dir_fd=folder, follow_symlinks=False).st_uid
    except OSError:
        return True
    finally:
        os.close(folder)
    return (names, content) != (["keep"], CONTENT) or {owner, about.st_uid} != {os.geteuid()}


def _victim(config: Config) -> str:
    return os.path.join(config.state, "victim")


def _set_up_victim(config: Config) -> None:
    os.makedirs(_victim(config), mode=0o700, exist_ok=True)
    folder = open_folder(_victim(config))
    try:
        for name in os.listdir(folder):
            os.unlink(name, dir_fd=folder)
        with os.fdopen(os.open("keep", CREATE, 0o600, dir_fd=folder), "wb") as file:
            file.write(CONTENT)
    finally:
        os.close(folder)


def _home_hash(config: Config) -> Optional[str]:
    """None: there is more than a prepared home can hold, which the look takes for dirty."""
    try:
        folder = open_folder(config.home)
    except OSError:
        return ""
    try:
        return hash_tree(folder, config.uid)
    except (OSError, TooBig):
        return None
    finally:
        os.close(folder)


def _in_home(config: Config) -> None:
    """A download, a browser's cookies, a history, and links by which a careless root does harm."""
    os.chdir(config.home)
    victim = _victim(config)
    for folder in ("Downloads", ".mozilla", ".config"):
        os.makedirs(folder, exist_ok=True)
    _file(os.path.join("Downloads", MARKER + ".pdf"))
    _file(".bash_history")
    with sqlite3.connect(os.path.join(".mozilla", "cookies.sqlite")) as cookies:
        cookies.execute("create table if not exists moz_cookies (host text, value text)")
        cookies.execute("insert into moz_cookies values ('example.org', 'a guest')")
    cookies.close()
    for name, target in ((".bashrc", victim + "/keep"), ("Bilder", victim), (".cache", victim)):
        if not os.path.isdir(name) or os.path.islink(name):
            if os.path.lexists(name):
                os.unlink(name)
            os.symlink(target, name)
    if not os.path.lexists("wurzel"):
        os.symlink("/", "wurzel")
    if not config.simulated:
        _leave_a_process()


def _leave_a_process() -> None:
    """It outlives its session, as a guest's download or miner would."""
    program = find("sleep")
    if program and os.fork() == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        os.execv(program, ["sleep", "600"])


def _folders(config: Config) -> Iterator[Tuple[str, str]]:
    for place, folders in config.places.items():
        for folder in folders:
            if os.path.isdir(folder) and not os.path.islink(folder):
                yield place, folder


def _file(path: str, owner: Any = None) -> None:
    """A new file, as the guest; or as root and then the guest's, where only the system writes."""
    try:
        file = os.open(path, CREATE, 0o600)
    except FileExistsError:
        return
    except PermissionError:
        if owner is None:
            return
        raise
    try:
        os.write(file, CONTENT)
        if owner is not None:
            os.fchown(file, owner.uid, owner.gid)
    finally:
        os.close(file)


def _by_system(config: Config, machine: Machine) -> Iterator[Tuple[str, bool]]:
    """(place, whether it was planted) of what is no file in a folder that guests may write to."""
    yield "wifi", _profile(config)
    yield "bluetooth", _pairing(config)
    for place, patterns in config.named.items():
        yield place, sum(_named(config, pattern) for pattern in patterns) > 0
    if config.simulated:
        return
    machine.as_guest(_share_memory)
    yield "ipc", True
    machine.as_guest(lambda: add_key(MARKER.encode()))
    yield "keys", machine.count_system_traces()["keys"] > 0
    machine.as_guest(_print)
    yield "print", find("lpstat") is not None and run("lpstat", "-d") is not None


def _profile(config: Config) -> bool:
    if not os.path.isdir(config.connections):
        return False
    path = os.path.join(config.connections, MARKER + ".nmconnection")
    text = f"[connection]\nid={MARKER}\nuuid={uuid.uuid4()}\ntype=wifi\nautoconnect=false\n"
    _system_file(path, text.encode())
    return True


def _pairing(config: Config) -> bool:
    adapters: List[str] = os.listdir(config.bluetooth) if os.path.isdir(config.bluetooth) else []
    adapters = [name for name in adapters if name.count(":") == 5]
    for adapter in adapters:
        os.makedirs(os.path.join(config.bluetooth, adapter, "02:00:00:00:00:01"), exist_ok=True)
    return bool(adapters)


def _named(config: Config, pattern: str) -> bool:
    """Only where the system's folder exists already."""
    filled = pattern.replace("{guest}", config.guest).replace("{uid}", str(config.uid))
    folder, _, name = filled.rpartition("/")
    if "*" in folder or not os.path.isdir(folder):
        return False
    _system_file(os.path.join(folder, name.replace("*", "0").replace("[0-9]", "0")), CONTENT)
    return True


def _system_file(path: str, content: bytes) -> None:
    try:
        with os.fdopen(os.open(path, CREATE, 0o600), "wb") as file:
            file.write(content)
    except FileExistsError:
        pass


def _share_memory() -> None:
    """A segment, a semaphore and a queue of System V, which belong to no process."""
    libc = ctypes.CDLL(None, use_errno=True)
    calls: Tuple[Callable[[], int], ...] = (
        lambda: libc.shmget(0, ctypes.c_size_t(4096), IPC_CREATE),
        lambda: libc.semget(0, 1, IPC_CREATE),
        lambda: libc.msgget(0, IPC_CREATE),
    )
    for call in calls:
        call()


def _print() -> None:
    run("lp", "-t", MARKER, "/etc/hostname")
