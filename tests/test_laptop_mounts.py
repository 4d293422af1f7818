"""What a guest mounts: in odd places, one over the other, under odd names, from programs."""

import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.machine import Machine
from tests.reset_machine import FILES

GUEST = 54321
SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import os, room_residue
from room_machine import Machine
from room_state import Config
config = Config(guest="kurs", uid={uid}, gid={uid}, home="/home/kurs", skeletons="/opt/s",
                trash="/tmp/.trash", state="/opt", places={{"tmp": ["/tmp/place"]}})
os.makedirs(config.trash, mode=0o700, exist_ok=True)
machine = Machine(config)
print({what})
"""
FUSE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
device = os.open("/dev/fuse", os.O_RDWR)
about = f"fd={device},rootmode=40000,user_id={sys.argv[2]},group_id={sys.argv[2]}"
made = libc.mount(b"/dev/AppImage", os.fsencode(sys.argv[1]), b"fuse.app", 6, about.encode())
sys.exit(made)
"""
ALIVE = FUSE.replace("sys.exit(made)", "import time; time.sleep(600)")


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        machine.sh("mkdir -p /tmp/place /home/kurs")
        for name, program in (("fuse", FUSE), ("alive", ALIVE)):
            machine.sh(f"printf %s {shlex.quote(program)} > /opt/{name}.py")
        yield machine


def told(machine: Machine, what: str) -> str:
    script = SCRIPT.format(folder=str(FILES), what=what, uid=GUEST)
    return machine.sh(f"timeout 30 /usr/bin/python3 -Bc {shlex.quote(script)}").strip()


def fuse(machine: Machine, where: str) -> None:
    """As by a program that was killed."""
    if not Path("/dev/fuse").exists():
        pytest.skip("this kernel has no FUSE")
    machine.sh(f"install -d -o {GUEST} {where}; python3 /opt/fuse.py {where} {GUEST}")


def fuse_alive(machine: Machine, where: str) -> None:
    """By a program that runs, and lets nobody in but its guest."""
    fuse(machine, where)
    machine.sh(f"umount {where}; setsid python3 /opt/alive.py {where} {GUEST} >/dev/null 2>&1 &")
    for _ in range(100):
        if where in machine.sh("cat /proc/self/mountinfo"):
            return
        time.sleep(0.02)
    raise AssertionError


@pytest.mark.parametrize("where", ["/tmp/place/.mount_app", "/home/kurs", "/home/kurs/cloud"])
def test_what_a_program_mounted_goes_wherever_it_is(machine: Machine, where: str) -> None:
    fuse(machine, where)
    assert told(machine, "machine.count_mounts()") == "1"
    assert told(machine, "machine.unmount()") == "{'unmounted': 1, 'lost_items': 0}"
    assert told(machine, "room_residue.sweep(config, machine) * 0") == "0"
    assert told(machine, "room_residue.count(config, machine)['tmp']") == "0"
    assert "fuse" not in machine.sh("cat /proc/self/mountinfo")


@pytest.mark.parametrize("by", [fuse, fuse_alive], ids=["killed", "alive"])
def test_what_even_root_cannot_see_is_a_trace_and_no_failure(
    machine: Machine, by: Callable[[Machine, str], None]
) -> None:
    by(machine, "/tmp/place/one")
    machine.sh(f"install -d -o {GUEST} /tmp/place/two; touch /tmp/place/two/x")
    assert told(machine, "room_residue.count(config, machine)['tmp']") == "2"
    assert told(machine, "room_residue.sweep(config, machine)") == "1"
    assert told(machine, "room_residue.count(config, machine)['tmp']") == "1"


def test_one_over_the_other_and_under_odd_names(machine: Machine) -> None:
    for name in ("a/b", "a", "$(printf 'x\\rone two\\014three')", "$(printf 'y\\302\\205z')"):
        machine.sh(f'w="/home/kurs/{name}"; mkdir -p "$w"; mount -t tmpfs x "$w"')
    assert told(machine, "machine.count_mounts()") == "4"
    assert told(machine, "machine.unmount()") == "{'unmounted': 4, 'lost_items': 0}"
    assert "/home/kurs" not in machine.sh("cat /proc/self/mountinfo")
