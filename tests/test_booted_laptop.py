"""A laptop that really boots: its reset under systemd, with real sign-ins, NetworkManager and CUPS,
through a restart and a power cut."""

import asyncio
import json
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from agents.driver import Refused
from tests.booted import Booted, until
from tests.parts import need
from tests.reset_machine import a_job
from tests.sshd import new_key
from tests.test_room_laptop import PLAY_S, ROLE, Agent, an_order

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]
KEPT = "11111111-2222-3333-4444-555555555555"
CABLE = "22222222-2222-3333-4444-555555555555"
GUESTS = "99999999-2222-3333-4444-555555555555"
PLAYBOOK = """
- hosts: all
  gather_facts: true
  gather_subset: [min, service_mgr]
  roles:
    - role: {role}
      vars:
        room_laptop_packages: []
        room_laptop_keys: ["{key}"]
        room_laptop_profiles: {{standard: "{profile}"}}
        room_laptop_serial: PF-9
        room_laptop_roots: [/home, /opt]
        room_laptop_restart_after_days: 36500
        room_laptop_connections: ["{kept}", "{cable}"]
        room_laptop_resets_update: true
"""
SWEEP = "    removed = machine.remove_system_traces()\n"
LIB = "/usr/local/lib/raumwart"
NETWORK = """
nmcli -t connection add save yes type wifi con-name {name} connection.uuid {uuid} ssid {name} \
    ifname wlan0 autoconnect no wifi-sec.key-mgmt wpa-psk wifi-sec.psk a-secret-word
"""
SCREEN = """
cat > /etc/systemd/system/display-manager.service <<END
[Service]
ExecStart=sleep infinity
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload; systemctl -q enable --now display-manager
"""
"""A screen is not what this is about: when it is closed and when it comes back is."""


class Laptop(Booted):
    """One with the role applied; `folder` holds the agent's key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        profile = folder / "profile"
        profile.mkdir()
        (profile / "Willkommen").write_text("")
        public = new_key(folder / "key")
        (folder / "playbook.yml").write_text(
            PLAYBOOK.format(
                role=copytree(ROLE, folder / "room_laptop"),
                key=public,
                profile=profile,
                kept=KEPT,
                cable=CABLE,
            )
        )
        super().__init__(folder)

    def play(self, *words: str) -> str:
        return self.sh(
            "ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1"
            f" {sys.executable} -m ansible playbook -i localhost, -c local"
            f" -e ansible_python_interpreter=/usr/bin/python3 {self.folder / 'playbook.yml'} "
            + shlex.join(words),
            seconds=PLAY_S,
        )

    def sign_in(self, typed: str = "") -> "subprocess.Popen[str]":
        """As at a console: a terminal, PAM's own `login`, a session of logind, a shell."""
        desk = self.popen("exec script -qfc 'login -f kurs' /dev/null")
        # What is typed before the shell is there, `login` throws away.
        until(lambda: self.sh("pgrep -u kurs -x bash", check=False))
        until(lambda: "kurs" in self.sh("loginctl list-sessions --no-legend", check=False))
        assert desk.stdin
        desk.stdin.write(f"{typed}\n")
        desk.stdin.flush()
        return desk

    @contextmanager
    def changed(self, script: str, old: str, new: str) -> Iterator[None]:
        """Meanwhile one of its scripts says something else."""
        path = f"{LIB}/{script}"
        text = self.sh(f"cat {path}")
        assert old in text
        self.sh(f"printf %s {shlex.quote(text.replace(old, new))} > {path}")
        yield
        self.sh(f"printf %s {shlex.quote(text)} > {path}")

    def told(self, reset_id: str) -> str:
        return self.sh(f"cat /var/lib/raumwart/runs/{reset_id}.events", check=False)

    def start(self, job: str) -> "subprocess.Popen[str]":
        """Begin an order without the agent, and hear it."""
        command = f"python3 -Es {LIB}/room_command.py --config {LIB}/laptop.json start"
        listener = self.popen(f"exec {command}")
        assert listener.stdin
        with listener.stdin as given:
            given.write(job)
        listener.stdin = None  # communicate() would close it again
        return listener

    def unit(self, name: str, what: str) -> str:
        return self.sh(f"systemctl show --value -p {what} {name}").strip()


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    for part in ("sshd", "sudo", "visudo", "script"):
        need(part)
    with Laptop(tmp_path_factory.mktemp("laptop")) as laptop:
        laptop.boot()
        # The kernel keeps keys by the number of their owner, for all machines side by side.
        first = 10_000 + secrets.randbelow(40_000)
        laptop.sh(f"sed -i 's/^UID_MIN.*/UID_MIN {first}/' /etc/login.defs")
        played = laptop.play()
        assert "failed=0" in played, played
        laptop.sh("lpadmin -p office -v ipp://127.0.0.1/none -m raw; cupsaccept office")
        laptop.sh(NETWORK.format(name="room", uuid=KEPT))
        laptop.sh(SCREEN)
        yield laptop


@pytest.fixture
def agent(laptop: Laptop, tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(laptop, tmp_path)
    yield agent
    asyncio.run(agent.driver.close())


def test_the_role_changes_nothing_the_second_time(laptop: Laptop, agent: Agent) -> None:
    """From what it does with systemd on; `test_room_laptop` sees to the rest."""
    again = laptop.play("--start-at-task", "Allow the account exactly one program*")
    assert "changed=0" in again, again
    assert laptop.unit("raumwart-resume", "UnitFileState") == "enabled"
    assert laptop.unit("apt-daily.timer", "UnitFileState") == "disabled"
    facts = agent.poll()
    assert (facts["failed_units"], facts["sessions"]) == (0, 0)


def test_a_logind_that_cannot_be_understood_refuses(laptop: Laptop, agent: Agent) -> None:
    dumb = '#!/bin/sh\n[ "$1" = show-session ] || exec /usr/bin/loginctl "$@"\n'
    laptop.sh(f"printf %s {shlex.quote(dumb)} > /usr/local/sbin/loginctl")
    laptop.sh("chmod 755 /usr/local/sbin/loginctl")
    with pytest.raises(Refused) as caught:
        agent.act(an_order("01J.0"))
    assert caught.value.reason == "sessions_unknown"
    laptop.sh("rm /usr/local/sbin/loginctl")


LEAVINGS = """
loginctl enable-linger
systemd-run --user -q --unit=mine sh -c 'trap "" TERM; while :; do sleep 1; done'
setsid sh -c 'trap "" TERM HUP; while :; do sleep 1; done' &
echo private > letter; echo private > /tmp/scan; echo private > $XDG_RUNTIME_DIR/note
lp -d office -t private letter; lp -d office -H hold letter
touch /tmp/ready
"""


def test_a_real_visitor_with_everything_is_refused_then_gone(laptop: Laptop, agent: Agent) -> None:
    desk = laptop.sign_in(LEAVINGS)
    laptop.sh(NETWORK.format(name="at-home", uuid=GUESTS))
    until(lambda: laptop.sh("ls /tmp/ready", check=False))
    uid = laptop.sh("id -u kurs").strip()
    assert laptop.unit(f"user@{uid}", "ActiveState") == "active"
    assert len(laptop.sh("lpstat -o").splitlines()) == 2
    assert agent.poll()["sessions"] == 1
    with pytest.raises(Refused) as caught:
        agent.act(an_order("01J.21"))
    assert caught.value.reason == "in_use"

    order = an_order("01J.22", on_active_session="end")
    agent.act(order)

    desk.communicate(timeout=20)
    seen = agent.look(order)
    assert (seen["home_clean"], seen["residue"], seen["processes"]) == (True, 0, 0), seen
    assert (seen["sessions"], seen["used_since"], seen["logins"]) == (0, False, 0), seen
    assert (seen["foreign_networks"], seen["print_jobs"]) == (0, 0)
    until(lambda: uid not in laptop.sh("ls /run/systemd/users").split())
    assert laptop.sh(f"ls -d /run/user/{uid} /var/lib/systemd/linger/kurs 2>/dev/null", False) == ""
    assert laptop.unit(f"user@{uid}", "ActiveState") == "inactive"
    assert (
        laptop.sh("nmcli -t -f UUID,TYPE connection | grep wireless") == f"{KEPT}:802-11-wireless\n"
    )
    assert laptop.sh("lpstat -W all -o; find /var/spool/cups -type f") == ""
    assert laptop.unit("display-manager", "ActiveState") == "active"
    assert laptop.unit("raumwart-reset-01J-22", "LoadState") == "not-found"
    with laptop.sign_in():
        assert agent.look(order)["used_since"] is True
        laptop.sh("loginctl terminate-user kurs")
    assert agent.look(order)["used_since"] is True


def last(listener: "subprocess.Popen[str]") -> dict[str, Any]:
    event: dict[str, Any] = json.loads(listener.communicate(timeout=60)[0].splitlines()[-1])
    return event


def test_the_same_order_three_times_at_once_is_one_unit(laptop: Laptop) -> None:
    job = a_job(3, serial="PF-9")
    listeners = [laptop.start(job) for _ in range(3)]
    assert [last(one)["result"] for one in listeners] == ["ok", "ok", "ok"]
    assert laptop.told("01JRUN.3").count('"step":"prepare"') == 1


def test_the_end_of_the_agents_session_is_not_the_end_of_the_reset(
    laptop: Laptop, agent: Agent
) -> None:
    with (
        laptop.changed("room_residue.py", SWEEP, f"{SWEEP}    __import__('time').sleep(3)\n"),
        ThreadPoolExecutor(1) as background,
    ):
        hearing = background.submit(agent.act, an_order("01J.4"))
        until(lambda: '"step":"home"' in laptop.told("01J.4"))
        assert laptop.unit("raumwart-reset-01J-4", "ActiveState") == "active"
        laptop.sh("loginctl terminate-user raumwart")
        hearing.result()
    assert laptop.told("01J.4").count('"step":"prepare"') == 1
    assert agent.look(an_order("01J.4"))["home_clean"] is True


def test_systemd_ends_a_reset_that_does_not_end_itself(laptop: Laptop) -> None:
    deaf = "__import__('signal').pthread_sigmask(0, [14, 15]); __import__('time').sleep(60)"
    job, bound = a_job(5, serial="PF-9"), 'f"RuntimeMaxSec={seconds + GRACE_S}"'
    with (
        laptop.changed("room_launch.py", bound, '"RuntimeMaxSec=2"'),
        laptop.changed("room_launch.py", "GRACE_S = 10", "GRACE_S = 1"),
        laptop.changed("room_residue.py", SWEEP, f"{SWEEP}    {deaf}\n"),
    ):
        assert last(laptop.start(job))["event"] == "interrupted"
    told = laptop.sh("journalctl -q -o cat -u raumwart-reset-01JRUN-5")
    assert "Service reached runtime time limit" in told
    assert "Killing process" in told
    assert laptop.sh("su kurs -c true; echo $?").strip() != "0", "nobody meets the traces"
    assert last(laptop.start(a_job(5, serial="PF-9")))["result"] == "ok"
    assert laptop.sh("su kurs -c true; echo $?").strip() == "0"


def test_a_power_cut_in_the_middle_is_made_good_before_anybody_signs_in(
    laptop: Laptop, agent: Agent
) -> None:
    laptop.sh("su kurs -c 'echo private > /home/kurs/letter; echo private > /tmp/scan'")
    order = an_order("01J.6")
    with (
        laptop.changed("room_residue.py", SWEEP, f"{SWEEP}    __import__('time').sleep(3)\n"),
        ThreadPoolExecutor(1) as background,
    ):
        hearing = background.submit(agent.act, order)
        until(lambda: '"step":"network"' in laptop.told("01J.6"))
        laptop.cut()
        laptop.boot(wait=False)
        until(lambda: laptop.unit("raumwart-resume", "ActiveState") == "activating")
        laptop.sh("test -e /run/nologin")
        assert laptop.sh("su kurs -c true; echo $?").strip() != "0"
        for later in ("systemd-user-sessions", "display-manager", "ssh"):
            assert laptop.unit(later, "ActiveState") == "inactive", later
        hearing.result()
        laptop.sh("systemctl is-system-running --wait")
    seen = agent.look(order)
    assert (seen["reset_id"], seen["home_clean"], seen["residue"]) == ("01J.6", True, 0)
    done = int(laptop.unit("raumwart-resume", "ExecMainExitTimestampMonotonic"))
    for later in ("systemd-user-sessions", "display-manager", "ssh"):
        assert done < int(laptop.unit(later, "ExecMainStartTimestampMonotonic")), later
    assert laptop.unit("raumwart-resume", "Result") == "success"
    laptop.sign_in().kill()


def test_a_reset_goes_on_after_the_restart_that_it_orders(laptop: Laptop, agent: Agent) -> None:
    """Also when the command that asks for it hears no answer before its unit is ended."""
    laptop.sh("loginctl terminate-user kurs", check=False)
    slow = '#!/bin/sh\n/usr/bin/systemctl "$@" || exit\n[ "$1" != reboot ] || sleep 1\n'
    laptop.sh(f"printf %s {shlex.quote(slow)} > /usr/local/sbin/systemctl")
    laptop.sh("chmod 755 /usr/local/sbin/systemctl")
    order = an_order("01J.7", tier="full", on_active_session="end")
    before = agent.look(order)["boot_id"]
    with ThreadPoolExecutor(1) as background:
        hearing = background.submit(agent.act, order)
        laptop.went_down()
        laptop.boot(wait=False)
        hearing.result()
    seen = agent.look(order)
    assert seen["boot_id"] != before
    assert (seen["boot_fresh"], seen["tier"]) == (True, "full")
    assert (seen["home_clean"], seen["residue"], seen["processes"]) == (True, 0, 0), seen
    assert agent.poll()["failed_units"] == 0


WIRED = """
nmcli -t connection add save yes type ethernet con-name {name} connection.uuid {uuid} ifname cable \
    autoconnect no ip4 {address}/24
nmcli -t --wait 10 connection up {name}
"""


def test_a_laptop_comes_back_however_a_visitor_cut_it_off(laptop: Laptop) -> None:
    def reach() -> bool:
        laptop.sh("systemctl reset-failed; systemctl start raumwart-reach.service")
        return CABLE in used()

    def used() -> set[str]:
        return set(laptop.sh("nmcli -t -f UUID connection show --active").split())

    assert laptop.sh("systemctl is-active raumwart-reach.timer") == "active\n"
    laptop.sh("ip link add cable type veth peer name far; ip link set far up")
    laptop.sh("nmcli device set cable managed yes")
    laptop.sh(WIRED.format(name="cable", uuid=CABLE, address="10.9.9.1"))

    # On a busy machine its answer may come too late for nmcli; what counts is what becomes of it.
    laptop.sh("nmcli radio wifi off; nmcli networking off", check=False)
    until(lambda: laptop.sh("nmcli networking; nmcli radio wifi") == "disabled\ndisabled\n", 90)
    until(reach, 90)
    assert laptop.sh("nmcli networking; nmcli radio wifi") == "enabled\nenabled\n"
    laptop.sh("nmcli device disconnect cable", check=False)
    until(lambda: CABLE not in used(), 90)
    until(reach, 90)

    laptop.sh(WIRED.format(name="phone", uuid=GUESTS, address="10.9.8.1"))
    desk = laptop.sign_in()
    reach()
    assert GUESTS in used(), "whoever works there keeps it"
    desk.communicate(timeout=20)
    until(lambda: "kurs" not in laptop.sh("loginctl list-sessions --no-legend", check=False))
    until(reach, 90)
    known = laptop.sh("nmcli -t -f UUID connection").split()
    assert (GUESTS in known, KEPT in known) == (False, True)
