"""A guest's process swaps folders and links in a tight loop while root resets: nothing outside is
touched, in hundreds of rounds."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.laptops import Prepared
from tests.reset_machine import FILES, GUEST, ROOT, Machine, open_folder
from tests.test_room_laptop import Agent, an_order

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not ROOT, reason="needs root to be somebody else than the guest"),
]
ROUNDS = 400
ATTACK = """
import ctypes, os, sys, time
home, tmp, victims, uid = sys.argv[1:4] + [int(sys.argv[4])]
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
libc = ctypes.CDLL(None)
def swap(one, two):
    libc.renameat2(-100, one.encode(), -100, two.encode(), 2)
def nothing(call, *words):
    try: call(*words)
    except OSError: pass
turn = 0
while True:
    turn += 1
    time.sleep(0.001)
    for top in (tmp, home):
        for depth in ("a", "a/b", "a/b/c"):
            nothing(os.mkdir, f"{top}/{depth}")
            nothing(os.symlink, victims, f"{top}/link{turn % 7}")
            nothing(open, f"{top}/{depth}/file", "w")
            swap(f"{top}/{depth}", f"{top}/link{turn % 7}")
            nothing(os.rename, f"{top}/{depth}", f"{top}/moved")
            nothing(os.symlink, victims, f"{top}/{depth}")
            swap(f"{top}/moved", f"{top}/{depth}")
            nothing(os.link, f"{top}/{depth}/file", f"{top}/hard{turn % 5}")
"""
RESET = """
import os, sys
sys.path.insert(0, sys.argv[1])
import room_residue
from room_machine import machine_for
from room_state import load_config
from room_tree import hash_tree, open_folder, remove
config = load_config(sys.argv[2])
machine = machine_for(config)
os.makedirs(config.trash, mode=0o700, exist_ok=True)
for turn in range(int(sys.argv[3])):
    room_residue.sweep(config, machine)
    room_residue.count(config, machine)
    room_residue.empty_trash(config, room_residue.in_trash(config), 60.0)
    home = open_folder(os.path.dirname(config.home))
    try:
        name = f"used{turn}"
        os.rename("home", name, src_dir_fd=home, dst_dir_fd=home)
        os.mkdir("home", 0o700, dir_fd=home)
        os.chown("home", config.uid, config.gid, dir_fd=home, follow_symlinks=False)
        for _ in range(20):
            try:
                remove(name, home)
                break
            except OSError:
                continue
    finally:
        os.close(home)
print("done", turn + 1)
"""


@pytest.fixture
def machine() -> Iterator[Machine]:
    with open_folder() as folder:
        machine = Machine(folder)
        machine.tmp.chmod(0o1777)
        (machine.victims / "deep").mkdir()
        (machine.victims / "deep" / "important").write_text("a course's file\n")
        (machine.victims / "tool").write_text("#!/bin/sh\n")
        (machine.victims / "tool").chmod(0o4755)
        yield machine


def state_of(folder: Path) -> list[tuple[object, ...]]:
    found = []
    for path in sorted([folder, *folder.rglob("*")]):
        about = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found.append(
            (str(path), about.st_ino, about.st_uid, about.st_gid, about.st_mode, about.st_nlink,
             about.st_mtime_ns, content)
        )  # fmt: skip
    return found


def attackers(machine: Machine, number: int) -> list[subprocess.Popen[bytes]]:
    words = [machine.home, machine.tmp, machine.victims, str(GUEST)]
    return [subprocess.Popen([sys.executable, "-c", ATTACK, *words]) for _ in range(number)]


def test_root_touches_nothing_outside_while_folders_become_links(machine: Machine) -> None:
    before = state_of(machine.victims)
    running = attackers(machine, 2)
    try:
        while not (any(machine.tmp.iterdir()) and any(machine.home.iterdir())):
            time.sleep(0.01)
        done = subprocess.run(
            [sys.executable, "-c", RESET, FILES, machine.folder / "laptop.json", str(ROUNDS)],
            capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        assert all(one.poll() is None for one in running), "the attackers attack to the end"
    finally:
        for one in running:
            one.kill()
            one.wait()
    assert done.stdout == f"done {ROUNDS}\n", done.stderr[-2000:]
    assert state_of(machine.victims) == before


def test_a_whole_reset_while_the_guests_processes_fight_back(tmp_path: Path) -> None:
    """From before its first step until it ends them, they swap folders and links, as fast as they
    can and up to a bounded heap of rubbish."""
    with Prepared() as world:
        agent = Agent(world, tmp_path)
        world.sh("mkdir -p /mnt/victims/deep; echo system > /mnt/victims/rc; chmod -R a+rX /mnt")
        uid = world.sh("id -u kurs").strip()
        before = world.sh("find /mnt/victims -printf '%p %i %u %m %n %T@\\n' | sort")
        attack = shlex.quote(ATTACK)
        words = f"/home/kurs /tmp /mnt/victims {uid}"
        for _ in range(2):
            world.sh(f"setsid python3 -c {attack} {words} >/dev/null 2>&1 &")
        assert agent.look(an_order("01J.1"))["processes"] == 2
        agent.act(an_order("01J.1"))
        seen = agent.look(an_order("01J.1"))
        assert (seen["home_clean"], seen["residue"], seen["processes"]) == (True, 0, 0), seen
        after = world.sh("find /mnt/victims -printf '%p %i %u %m %n %T@\\n' | sort")
        assert after == before
