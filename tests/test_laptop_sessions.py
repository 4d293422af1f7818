"""Who is signed in, as the real `loginctl` tells it; and the screen, which is closed meanwhile."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.logind import need_logind, sign_in
from tests.machine import Machine
from tests.reset_machine import FILES

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from room_machine import Machine
from room_sessions import logind_sessions
from room_state import Config
config = Config(guest="kurs", uid=54321, gid=54321, home="/home/kurs", skeletons="/opt/s",
                trash="/home/.t", state="/opt")
machine = Machine(config)
print({what})
"""
PERSON = {"Name": "kurs", "Class": "user", "State": "active", "IdleHint": False}
SYSTEMCTL = """#!/bin/sh
echo "$*" >> /opt/asked
case "$*" in *-q*) ;; *) echo active ;; esac
"""


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


def told(machine: Machine, what: str) -> str:
    script = SCRIPT.format(folder=str(FILES), what=what)
    return machine.sh(f"/usr/bin/python3 -Bc {shlex.quote(script)}").strip()


def sessions(machine: Machine) -> Any:
    what = "__import__('json').dumps([[one.user, one.idle] for one in machine.sessions()])"
    return json.loads(told(machine, what))


def test_people_are_seen_as_the_real_loginctl_tells_them(machine: Machine) -> None:
    need_logind()
    sign_in(
        machine,
        {
            "c1": PERSON,
            "c2": PERSON | {"Name": "it", "IdleHint": True},
            "c3": PERSON | {"Name": "gdm", "Class": "greeter"},
            "c4": PERSON | {"Name": "gone", "State": "closing"},
            "c5": PERSON | {"Name": "raumwart"},
        },
    )
    assert sessions(machine) == [["kurs", False], ["it", True]]


def test_a_session_of_which_nothing_is_told_is_not_taken_for_none(machine: Machine) -> None:
    need_logind()
    sign_in(machine, {"c1": {"Name": "kurs"}})
    assert told(machine, "logind_sessions()") == "None"


def test_the_screen_is_closed_and_comes_back(machine: Machine) -> None:
    machine.sh(f"mkdir -p /run/systemd/system; printf %s {shlex.quote(SYSTEMCTL)} > /mnt/systemctl")
    machine.sh("install -m 755 /mnt/systemctl /usr/local/sbin/systemctl")
    told(machine, "machine.close_screen()")
    assert "stop display-manager" in machine.sh("cat /opt/asked")
    told(machine, "machine.open_screen()")
    assert "--no-block start display-manager" in machine.sh("cat /opt/asked")
