"""Processes of a guest that hide, or fight the one who ends them, on a machine of its own."""

import shlex
import time
from collections.abc import Iterator

import pytest

from tests.machine import Machine
from tests.reset_machine import FILES

GUEST = 54321
SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from room_machine import Machine
from room_state import Config
machine = Machine(Config(guest="kurs", uid={uid}, gid={uid}, home="/home/kurs",
                         skeletons="/opt/s", trash="/home/.t", state="/opt",
                         places={{"place": ["/opt/place"]}}))
print({what})
"""
IGNORE = (
    "import ctypes, os, signal, threading, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
)
WAIT = "print('ready', flush=True)\ntime.sleep(600)\n"
HIDING = {
    "its first thread has ended": IGNORE
    + "def stay():\n    time.sleep(0.2)\n    print('ready', flush=True)\n    time.sleep(600)\n"
    + "threading.Thread(target=stay).start()\nctypes.CDLL(None).syscall(60, 0)\n",
    "its name tells another owner": IGNORE
    + "ctypes.CDLL(None).prctl(15, b'\\rUid:\\t0\\t0')\n"
    + WAIT,
    "its name tells that it is dead": IGNORE
    + "ctypes.CDLL(None).prctl(15, b'\\rState:\\tZ')\n"
    + WAIT,
}
IN_A_CONTAINER = (
    IGNORE
    + """
libc = ctypes.CDLL(None)
libc.unshare(0x10000000)  # CLONE_NEWUSER; the numbers in it are written from outside
print('ready', flush=True)
while libc.setresuid(7, 7, 7):
    time.sleep(0.02)
time.sleep(600)
"""
)
STOPS_OTHERS = (
    IGNORE
    + """
print('ready', flush=True)
while True:
    with open('/proc/loadavg') as file:
        last = int(file.read().split()[-1])
    for _ in range(50):
        for pid in range(last + 1, last + 8):
            try:
                os.kill(pid, signal.SIGSTOP)
            except OSError:
                pass
"""
)
"""Whoever becomes this guest is stopped at once: the one who should end all of them, too."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


def told(machine: Machine, what: str) -> str:
    script = SCRIPT.format(folder=str(FILES), what=what, uid=GUEST)
    return machine.sh(f"timeout 30 /usr/bin/python3 -Bc {shlex.quote(script)}").strip()


def begin(machine: Machine, program: str) -> None:
    become = f"setpriv --reuid {GUEST} --regid {GUEST} --clear-groups"
    words = f"/usr/bin/python3 -Bc {shlex.quote(program)}"
    machine.sh(f"rm -f /opt/said; setsid {become} {words} </dev/null >/opt/said 2>&1 &")
    for _ in range(200):
        if machine.sh("cat /opt/said 2>/dev/null || true") == "ready\n":
            return
        time.sleep(0.02)
    raise AssertionError(machine.sh("cat /opt/said"))


@pytest.mark.parametrize("program", HIDING.values(), ids=HIDING)
def test_what_hides_is_counted_and_ended(machine: Machine, program: str) -> None:
    begin(machine, program)
    assert told(machine, "machine.count_processes()") == "1"
    assert told(machine, "machine.end_sessions()") == "None"
    left = machine.sh(f"ps -L -o pid=,stat= -u {GUEST} | grep -v Z || true")
    assert left == ""


def test_one_who_stops_others_stops_no_reset(machine: Machine) -> None:
    begin(machine, STOPS_OTHERS)
    told(machine, "[machine._signal(15) for _ in range(200)]")  # it hears none of them
    assert told(machine, "machine.count_processes()") == "1"
    assert told(machine, "machine.end_sessions()") == "None"


def test_what_runs_or_lies_under_a_number_of_its_containers_is_the_guests(machine: Machine) -> None:
    machine.sh("echo kurs:100000:65536 > /etc/subuid; mkdir -p /opt/place")
    begin(machine, IN_A_CONTAINER)
    numbers = f"0 {GUEST} 1\\n1 100000 65536\\n"
    machine.sh(f"printf '{numbers}' > /proc/$(pgrep -n -u {GUEST} python3)/uid_map")
    machine.sh("timeout 20 sh -c 'until pgrep -U 100006; do sleep 0.02; done'")
    machine.sh("install -o 100006 /dev/null /opt/place/x")
    assert told(machine, "machine.count_processes()") == "1"
    assert told(machine, "machine.end_sessions()") == "None"
    assert machine.sh("ps -o stat= -u 100006 | grep -v Z || true") == ""
    counted = "__import__('room_residue').count(machine._config, machine)['place']"
    assert told(machine, counted) == "1"
