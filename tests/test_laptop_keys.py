"""Keys that a guest gave to the kernel: each is seen, also alone, and goes with the reset."""

import os
import secrets
import subprocess
import sys

import pytest

from tests.reset_machine import FILES, ROOT

pytestmark = pytest.mark.skipif(not ROOT, reason="needs root to be somebody else than the guest")
SCRIPT = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
uid = int(sys.argv[2])
from room_machine import Machine
from room_state import Config
machine = Machine(Config(guest="kurs", uid=uid, gid=uid, home="/home/kurs", skeletons="/opt/s",
                         trash="/home/.t", state="/opt"))
libc = ctypes.CDLL(None, use_errno=True)
ADD, CALL = {"x86_64": (248, 250), "aarch64": (217, 219)}[sys.argv[3]]
def leave():
    ring = libc.syscall(CALL, 22, ctypes.c_long(-1), -2) if sys.argv[4] == "persistent" else -4
    libc.syscall(ADD, b"user", b"ticket", b"secret", 6, ring)
before = machine.count_system_traces()["keys"]
machine.as_guest(leave)
dirty = machine.count_system_traces()["keys"]
machine.remove_system_traces()
print(before, dirty > 0, machine.count_system_traces()["keys"])
"""


@pytest.mark.parametrize("ring", ["user", "persistent"])
def test_a_key_that_outlives_its_session_is_seen_and_goes(ring: str) -> None:
    uid = 50_000_000 + secrets.randbelow(10_000_000)  # the kernel keeps keys by this number
    done = subprocess.run(
        [sys.executable, "-Bc", SCRIPT, str(FILES), str(uid), os.uname().machine, ring],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "0 True 0\n", done.stderr
