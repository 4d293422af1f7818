"""The role on a whole machine of its own: real accounts, sudo, sshd, processes and traces."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any, Protocol

import paramiko
import pytest

from agents.credentials import Credentials
from agents.driver import Refused, ResetFailed
from agents.drivers.ssh import Ssh
from agents.messages import Facts, Order, Target
from tests.machine import Machine
from tests.parts import need
from tests.sshd import new_key

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]
REPOSITORY = Path(__file__).parents[1]
ROLE = REPOSITORY / "ansible" / "roles" / "room_laptop"
PLAY_S = 250
"""So long a play may take where many tests run side by side."""
AMPLE = timedelta(seconds=60)
PLAYBOOK = """
- hosts: all
  gather_facts: true
  gather_subset: [min, service_mgr]
  roles:
    - role: {role}
      vars:
        room_laptop_packages: []
        room_laptop_keys: ["{key}"]
        room_laptop_from: ["127.0.0.1"]
        room_laptop_profiles:
          standard: "{profile}/standard"
          senioren: "{profile}/senioren"
          large-print: profiles/large-print
          scratch: profiles/scratch
        room_laptop_serial: PF-9
        room_laptop_roots: [/home, /opt]
        room_laptop_restart_after_days: 36500
        room_laptop_connections: ["11111111-2222-3333-4444-555555555555"]
"""


class World(Machine):
    """A machine in which the role was applied, with an sshd that listens on `port`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.public = new_key(folder / "key")
        for profile, file in (("standard", "Willkommen"), ("senioren", "GROSSE-SCHRIFT")):
            (folder / "profile" / profile).mkdir(parents=True)
            (folder / "profile" / profile / file).write_text("")
        # Both runs are of the same role, even when somebody works on it meanwhile.
        role = copytree(ROLE, folder / "room_laptop")
        (folder / "playbook.yml").write_text(
            PLAYBOOK.format(role=role, key=self.public, profile=folder / "profile")
        )
        super().__init__()
        # The kernel keeps keys by the number of their owner, for all machines side by side.
        first = 10_000 + secrets.randbelow(40_000)
        self.sh(f"sed -i 's/^UID_MIN.*/UID_MIN {first}/' /etc/login.defs")
        self.port = 0

    def guest(self, script: str) -> None:
        self.sh(f"su -s /bin/sh kurs -c '{script}'")

    def play(self) -> str:
        return self.sh(
            "ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1"
            f" {sys.executable} -m ansible playbook -i localhost, -c local"
            f" -e ansible_python_interpreter=/usr/bin/python3 {self.folder / 'playbook.yml'}",
            seconds=PLAY_S,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    for part in ("sshd", "sudo", "visudo"):
        need(part)
    with World(tmp_path_factory.mktemp("world")) as world:
        first = world.play()
        assert "failed=0" in first, first
        world.port = world.serve()
        yield world


class Reachable(Protocol):
    """A machine with an sshd on `port`, whose `folder` holds the agent's key."""

    folder: Path
    port: int


class Agent:
    """The site's agent, as far as it matters here."""

    def __init__(self, world: Reachable, folder: Path) -> None:
        credentials = folder / "credentials"
        credentials.mkdir()
        (credentials / "laptop.json").touch(mode=0o600)
        secret = {"user": "raumwart", "key_file": str(world.folder / "key")}
        (credentials / "laptop.json").write_text(json.dumps(secret))
        self.driver = Ssh(Credentials(credentials), folder / "state")
        self.target = Target(
            device="d", room="r", kind="laptop", driver="ssh", address="127.0.0.1",
            port=world.port, credential="laptop", serial="PF-9",
        )  # fmt: skip

    def poll(self) -> Facts:
        return asyncio.run(self.driver.poll(self.target, AMPLE))

    def act(self, order: Order) -> None:
        asyncio.run(self.driver.act(self.target, order, AMPLE))

    def warn(self, minutes: int) -> None:
        asyncio.run(self.driver.warn(self.target, minutes, AMPLE))

    def look(self, order: Order) -> Facts:
        return asyncio.run(self.driver.look(self.target, order, AMPLE))


@pytest.fixture
def agent(world: World, tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(world, tmp_path)
    yield agent
    asyncio.run(agent.driver.close())


def an_order(reset_id: str, **steps: Any) -> Order:
    now = datetime.now(UTC)
    return Order(
        id=reset_id, site="s", device="d", room="r", steps={"tier": "quick"} | steps,
        not_before=now - timedelta(minutes=1), not_after=now + timedelta(minutes=5),
    )  # fmt: skip


def test_health_over_the_real_way_in(agent: Agent) -> None:
    facts = agent.poll()
    assert facts["serial"] == "PF-9"
    assert facts["firmware"]
    assert abs(facts["clock_offset_s"]) < 30
    assert "reset_id" not in facts


def test_a_guest_with_everything_is_gone_afterwards(world: World, agent: Agent) -> None:
    uid = world.sh("id -u kurs").strip()
    world.sh("mkdir /mnt/victims; echo system > /mnt/victims/rc; chmod -R a+rX /mnt/victims")
    world.guest(
        "cd; echo private > letter.odt; rm -f .bashrc; ln -s /mnt/victims/rc .bashrc;"
        "ln -s /mnt/victims Downloads; ln -s / root; mkdir -p .cache/mounted;"
        "echo x > /tmp/scan.pdf; mkdir -p /var/tmp/deep/er; touch /dev/shm/note;"
        "ipcmk -M 4096 -p 666; ipcmk -S 1; ipcmk -Q"
    )
    world.sh("mount -t tmpfs stick /home/kurs/.cache/mounted; touch /home/kurs/.cache/mounted/x")
    world.sh("mkdir -p /var/spool/cron/crontabs; install -o kurs /dev/null /var/mail/kurs")
    world.sh("install -o kurs /dev/null /var/spool/cron/crontabs/kurs")
    stubborn = "sh -c \"trap '' TERM HUP; while :; do sleep 0.05; done\""
    for program in ("sleep 500", stubborn):
        become = f"setpriv --reuid {uid} --regid {uid} --clear-groups"
        world.sh(f"setsid {become} {program} >/dev/null 2>&1 &")
    order = an_order("01J.1")
    before = agent.look(order)
    assert before["home_clean"] is False
    assert before["residue_places"] == "cron,ipc,mail,shm,tmp,var_tmp"
    assert before["residue"] == 8

    agent.act(order)

    after = agent.look(order)
    assert after["reset_id"] == "01J.1"
    assert after["home_clean"] is True
    assert after["residue"] == 0, after
    assert after["sessions"] == 0
    assert after["used_since"] is False
    # The dead wait for ever here: this machine's first process collects nobody.
    assert world.sh(f"ps -o stat= -u {uid} | grep -v Z || true") == ""
    assert world.sh("cat /mnt/victims/rc; stat -c %U:%a /mnt/victims/rc") == "system\nroot:644\n"
    assert "kurs" not in world.sh("cat /proc/mounts; ipcs | grep kurs || true")
    assert world.sh("stat -c %U:%a /home/kurs /home/kurs/.bashrc") == "kurs:700\nkurs:644\n"
    assert world.sh("ls -A /home/.raumwart-trash") == ""
    world.guest("touch ~/.still-works")
    assert agent.look(order)["home_clean"] is False


def test_a_profile_is_what_the_role_laid_out(world: World, agent: Agent) -> None:
    agent.act(an_order("01J.2", profile="senioren"))
    assert {"GROSSE-SCHRIFT", "Willkommen"} <= set(world.sh("ls -A /home/kurs").split())
    assert agent.look(an_order("01J.2"))["home_clean"] is True


def test_a_reset_that_fails_keeps_the_guest_out_until_one_succeeds(
    world: World, agent: Agent
) -> None:
    uid = world.sh("id -u kurs").strip()
    world.sh(f"mkdir /tmp/held; mount -t tmpfs -o uid={uid} held /tmp/held")
    with pytest.raises(ResetFailed, match="residue") as caught:
        agent.act(an_order("01J.3"))
    assert caught.value.step == "residue"
    assert world.sh("su -s /bin/sh kurs -c true; echo $?").strip() != "0"
    assert agent.look(an_order("01J.3"))["reset_id"] != "01J.3"
    world.sh("umount /tmp/held; printf abort > /var/lib/raumwart/runs/01Jback.1.fate")
    with pytest.raises(Refused) as taken_back:
        agent.act(an_order("01Jback.1"))
    assert taken_back.value.reason == "aborted"
    assert world.sh("su -s /bin/sh kurs -c true; echo $?").strip() != "0", "still with traces"
    agent.act(an_order("01J.4"))
    assert world.sh("su -s /bin/sh kurs -c true; echo $?").strip() == "0"


def test_a_login_since_the_reset_is_seen(world: World, agent: Agent) -> None:
    agent.act(an_order("01J.5"))
    assert agent.look(an_order("01J.5"))["used_since"] is False
    world.sh(f"printf '{login_record()}' >> /var/log/wtmp")
    assert agent.look(an_order("01J.5"))["used_since"] is True
    assert agent.poll()["used_since"] is True


def test_somebody_at_the_desk_refuses(world: World, agent: Agent) -> None:
    world.sh(f"printf '{login_record()}' > /run/utmp")
    try:
        assert agent.poll()["sessions"] == 1
        with pytest.raises(Refused) as caught:
            agent.act(an_order("01J.6"))
        assert caught.value.reason == "in_use"
    finally:
        world.sh("rm -f /run/utmp")


def login_record(line: bytes = b"raum") -> str:
    """A sign-in of the guest a moment from now, as `struct utmp` has it, for printf."""
    import struct

    at = int(time.time()) + 1
    record = struct.pack(
        "<hxxi32s4s32s256s hh iii 4i 20x",
        7, 1, line, b"7", b"kurs", b"", 0, 0, 0, at, 0, 0, 0, 0, 0,
    )  # fmt: skip
    assert len(record) == 384
    return "".join(f"\\{byte:03o}" for byte in record)


def _transport(world: World) -> paramiko.Transport:
    transport = paramiko.Transport(("127.0.0.1", world.port))
    transport.connect(
        username="raumwart", pkey=paramiko.Ed25519Key(filename=str(world.folder / "key"))
    )
    return transport


@pytest.mark.parametrize(
    "asked", ["id", "sh", "sudo -l", "health; id", "verify $(id).1", "cat /etc/shadow"]
)
def test_the_key_opens_nothing_else(world: World, asked: str) -> None:
    transport = _transport(world)
    try:
        channel = transport.open_session(timeout=10)
        channel.exec_command(asked)
        answer = channel.makefile().read()
        assert json.loads(answer)["reason"] == "bad_request"
    finally:
        transport.close()


def test_no_terminal_no_tunnel_no_files(world: World) -> None:
    transport = _transport(world)
    try:
        channel = transport.open_session(timeout=10)
        with pytest.raises(paramiko.SSHException):
            channel.get_pty()
        with pytest.raises(paramiko.SSHException):
            transport.open_channel(
                "direct-tcpip", ("127.0.0.1", world.port), ("127.0.0.1", 1), timeout=5
            )
        with pytest.raises((paramiko.SSHException, paramiko.SFTPError, EOFError)):
            paramiko.SFTPClient.from_transport(transport)
    finally:
        transport.close()


def test_the_account_may_run_one_program_without_arguments(world: World) -> None:
    def as_agent(command: str) -> str:
        return world.sh(f"setpriv --reuid raumwart --init-groups {command} 2>&1 </dev/null", False)

    dispatch = "/usr/local/lib/raumwart/dispatch"
    assert "bad_request" in as_agent(f"sudo -n {dispatch}")
    for words in (
        f"{dispatch} --config /tmp/x",
        "/bin/sh",
        f"-u kurs {dispatch}",
        "-e /etc/shadow",
    ):
        answer = as_agent(f"sudo -n {words}")
        assert "password is required" in answer or "not allowed" in answer, answer
    config, keys = "/usr/local/lib/raumwart/laptop.json", "/etc/ssh/raumwart_keys/raumwart"
    for path in (dispatch, config, keys):
        assert "denied" in as_agent(f"sh -c ': >> {path}'").lower()
    assert "denied" in as_agent("ls /var/lib/raumwart").lower()


def test_guests_do_not_sign_in_over_the_network(world: World, tmp_path: Path) -> None:
    public = new_key(tmp_path / "guest")
    world.guest(f"mkdir -p -m 700 ~/.ssh; echo {public} > ~/.ssh/authorized_keys")
    transport = paramiko.Transport(("127.0.0.1", world.port))
    try:
        with pytest.raises(paramiko.AuthenticationException):
            transport.connect(
                username="kurs", pkey=paramiko.Ed25519Key(filename=str(tmp_path / "guest"))
            )
    finally:
        transport.close()


def test_a_visitor_cannot_keep_the_next_ones_out_by_another_password(world: World) -> None:
    world.sh("echo kurs:Sommer26raum | chpasswd")
    before = world.sh("getent shadow kurs")
    words = r"Sommer26raum\nHerbst77neues\nHerbst77neues\n"
    world.sh(f"printf '{words}' | su -s /bin/sh kurs -c passwd", check=False)
    assert world.sh("getent shadow kurs") == before


def test_a_second_run_changes_nothing_and_takes_away_what_nobody_lists(
    world: World, agent: Agent
) -> None:
    world.sh("mkdir /var/lib/raumwart/skeletons/former")
    again = world.play()
    changed = [line for line in again.splitlines() if line.startswith(("TASK", "changed"))]
    assert "changed=1" in again, changed
    with pytest.raises(Refused) as caught:
        agent.act(an_order("01J.7", profile="former"))
    assert caught.value.reason == "unknown_profile"
