"""The role of a site's agent, applied over a real sshd to a machine of its own, and at work."""

import asyncio
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.bus import decode, encode
from agents.bus_nats import NatsBus
from agents.messages import Heartbeat, Reading, Roster, Target
from tests.agent_box import COMMUNITY, PASSWORD, ROOT, UNIT, Box, build_wheel
from tests.nats import NatsServer
from tests.parts import find, need

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]
SITE_PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))
ACCOUNTS = f"""
authorization {{ users: [
  {{ user: "centre", password: "centre" }}
  {{ user: "erlental", password: "{PASSWORD}" }}
] }}
"""
AS_THE_AGENT = (
    "setpriv --reuid raumwart-agent --regid raumwart-agent --init-groups --no-new-privs"
    " --bounding-set -all,+net_raw --inh-caps -all,+net_raw --ambient-caps -all,+net_raw"
)
PYTHON = "/opt/raumwart/venv/bin/python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def broker() -> Iterator[NatsServer]:
    server = NatsServer(ACCOUNTS)
    yield server.start()
    server.remove()


@pytest.fixture(scope="module")
def first(
    tmp_path_factory: pytest.TempPathFactory, wheel: Path, broker: NatsServer
) -> Iterator[tuple[Box, str]]:
    """The machine after the first run, and what Ansible said."""
    need("sshd")
    with Box(tmp_path_factory.mktemp("box"), wheel, broker.url) as box:
        done = box.play()
        assert done.returncode == 0, done.stdout + done.stderr
        # What the agent needs of others is not downloaded here: it is lent by this environment.
        box.sh(
            f"echo {SITE_PACKAGES} > $(echo /opt/raumwart/venv/lib/python3.*/site-packages)/x.pth"
        )
        yield box, done.stdout + done.stderr


@pytest.fixture
def box(first: tuple[Box, str]) -> Box:
    return first[0]


def test_everything_lints() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ansiblelint", "--offline", "--profile", "production", "ansible"],
        cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_has_everything(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        shipped = set(opened.namelist())
    shown = ("templates/*.html", "locale/*/*/*.po", "static/*.*", "grafana/**/*.*", "prometheus/*")
    wanted = {
        str(path.relative_to(ROOT))
        for package, patterns in {
            "agents": ("**/*.py", "profiles/*.toml"),
            "inventory": ("**/*.py", "migrations/*.mako"),
            "fleet": ("**/*.py",),
            "dashboards": ("*.py", *shown),
        }.items()
        for pattern in patterns
        for path in (ROOT / package).glob(pattern)
    }
    assert len(wanted) > 100
    assert wanted - shipped == set()
    assert "dashboards/static/vendor/x.woff2" in shipped
    assert [name for name in shipped if "node_modules" in name] == []
    assert {name.split("/")[0] for name in shipped if ".dist-info/" not in name} == {
        "agents", "dashboards", "fleet", "inventory",
    }  # fmt: skip


def test_ansible_shows_no_secret(first: tuple[Box, str]) -> None:
    _, said = first
    assert "failed=0" in said
    assert "TASK [agent : The bus credentials are written]" in said
    assert COMMUNITY not in said
    assert PASSWORD not in said


def test_the_account_can_only_serve(box: Box) -> None:
    name, _, uid, _, _, home, shell = box.sh("getent passwd raumwart-agent").strip().split(":")
    assert (name, home) == ("raumwart-agent", "/var/lib/raumwart-agent")
    assert shell == "/usr/sbin/nologin"
    assert 0 < int(uid) < 1000
    assert box.sh("getent shadow raumwart-agent").split(":")[1] in {"!", "*", "!*", "!!"}


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/opt/raumwart", "root:raumwart-agent 755"),
        ("/opt/raumwart/venv", "root:root 755"),
        ("/etc/raumwart", "root:raumwart-agent 750"),
        ("/etc/raumwart/credentials", "raumwart-agent:raumwart-agent 700"),
        ("/etc/raumwart/credentials/switches.json", "raumwart-agent:raumwart-agent 600"),
        ("/etc/raumwart/bus.json", "raumwart-agent:raumwart-agent 600"),
        ("/var/lib/raumwart-agent", "raumwart-agent:raumwart-agent 700"),
        (UNIT, "root:root 644"),
    ],
)
def test_whose_it_is(box: Box, path: str, owner: str) -> None:
    assert box.sh(f"stat -c '%U:%G %a' {path}").strip() == owner


def test_the_credentials_are_the_agents_alone(box: Box) -> None:
    script = (
        "import sys, pathlib, agents.credentials as it;"
        "print(it.Credentials(pathlib.Path('/etc/raumwart/credentials')).find('switches').parts)"
    )
    assert COMMUNITY in box.sh(f'cd /; {AS_THE_AGENT} {PYTHON} -c "{script}"')
    nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups"
    for path in ("credentials/switches.json", "bus.json"):
        assert box.sh(f"{nobody} cat /etc/raumwart/{path}; true") == ""
    assert box.sh(
        f"{AS_THE_AGENT} touch /opt/raumwart/venv/x /etc/raumwart/x; ls /etc/raumwart"
    ) == ("bus.json\ncredentials\n")


def test_the_unit_is_one(box: Box) -> None:
    if find("systemd-analyze"):
        assert box.sh(f"systemd-analyze verify --man=no {UNIT} 2>&1") == ""
    unit = box.unit()
    assert unit["Service"]["User"] == "raumwart-agent"
    assert unit["Service"]["NoNewPrivileges"] == "yes"
    assert unit["Service"]["ReadWritePaths"] == "/var/lib/raumwart-agent"
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    assert PASSWORD not in box.sh(f"cat {UNIT}")


async def _hear(broker: NatsServer, folder: Path) -> tuple[Heartbeat, Reading]:
    """A roster of one device is published; a heartbeat and a reading after that."""
    login = folder / "centre.json"
    login.touch(mode=0o600)
    login.write_text(json.dumps({"user": "centre", "password": "centre"}))
    bus = await NatsBus.connect(f"{broker.url}?credentials={login}", beat=0.3)
    target = Target(
        device="desk", room="r", kind="laptop", driver="ping", address="127.0.0.1", every_s=0.5
    )
    roster = Roster(
        site="erlental", revision=1, sent_at=datetime.now(UTC), targets=[target], busy=[]
    )
    await bus.publish("roster.erlental", encode(roster))
    beat = reading = None
    try:
        async with asyncio.timeout(60):
            async for delivery in bus.receive("report.erlental"):
                message = decode(delivery.data)
                await delivery.ack()
                if isinstance(message, Heartbeat):
                    beat = message
                elif isinstance(message, Reading):
                    reading = message
                if beat and reading:
                    return beat, reading
        raise AssertionError("a receiver ended")
    finally:
        await bus.close()


def test_the_installed_agent_works(
    box: Box, broker: NatsServer, wheel: Path, tmp_path: Path
) -> None:
    """Exactly what the unit starts, as its account and with its capabilities alone."""
    command = box.unit()["Service"]["ExecStart"]
    folders = "--credentials /etc/raumwart/credentials --state /var/lib/raumwart-agent"
    assert command == (
        f"{PYTHON} -m agents --site erlental"
        f' --bus "{broker.url}?credentials=/etc/raumwart/bus.json" {folders}'
    )
    agent = box.popen(f"cd /; echo $$; exec env -i {AS_THE_AGENT} {command}")
    assert agent.stdout
    pid = agent.stdout.readline().strip()
    try:
        beat, reading = asyncio.run(_hear(broker, tmp_path))
    finally:
        box.sh(f"kill {pid}; true")
        said, _ = agent.communicate(timeout=20)
    assert agent.returncode == 0, said
    assert PASSWORD not in said
    assert (beat.site, beat.version) == ("erlental", wheel.name.split("-")[1])
    assert abs(datetime.now(UTC) - beat.at).total_seconds() < 60
    assert (reading.device, reading.reachable) == ("desk", True), reading
    assert box.sh("stat -c %U /var/lib/raumwart-agent/orders.db").strip() == "raumwart-agent"


def test_it_is_the_wheel_that_works(box: Box) -> None:
    where = box.sh(f"cd /; {PYTHON} -c 'import agents; print(agents.__file__)'")
    assert where.startswith("/opt/raumwart/venv/lib/")
    profiles = box.sh("ls /opt/raumwart/venv/lib/python3.*/site-packages/agents/profiles").split()
    assert {path.name for path in (ROOT / "agents/profiles").glob("*.toml")} <= set(profiles)


def test_a_second_run_changes_nothing(box: Box) -> None:
    again = box.play()
    changed = [line for line in again.stdout.splitlines() if line.startswith("changed")]
    assert "changed=0" in again.stdout, changed
    assert "failed=0" in again.stdout


def test_another_build_of_the_same_version_is_installed(
    box: Box, wheel: Path, tmp_path: Path
) -> None:
    newer = shutil.copy(wheel, tmp_path)
    with zipfile.ZipFile(newer, "a") as opened:
        opened.writestr("agents/newer.py", "")
    done = box.play(agent_package=str(newer))
    assert done.returncode == 0, done.stdout
    assert box.sh(f"cd /; {PYTHON} -c 'import agents.newer; print(1)'") == "1\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"agent_site": "Erlental "}, "Set agent_site (a site's id)"),
        ({"agent_site": ""}, "Set agent_site (a site's id)"),
        ({"agent_bus": "http://hub:4222"}, "and agent_bus (nats://, tls://, ws:// or wss://"),
        ({"agent_bus": f"nats://erlental:{PASSWORD}@hub"}, "neither name nor password"),
        ({"agent_bus": 'nats://hub" --log debug "'}, "and agent_bus"),
        ({"agent_credentials": {"pin": {"password": 1234}}}, "every part is a text"),
        ({"agent_credentials": {"../x": {"password": "1"}}}, "a name and its parts"),
        ({"agent_credentials": {"pin": "1234"}}, "a name and its parts"),
        ({"agent_bus_credentials": {"nkey": "x"}}, "user and password, or token"),
    ],
)
def test_a_setting_that_makes_no_sense(box: Box, change: dict[str, Any], said: str) -> None:
    done = box.play(**change)
    assert done.returncode == 2
    assert said in done.stdout
    assert PASSWORD not in done.stdout + done.stderr
    assert "changed=0" in done.stdout
    assert "failed=1" in done.stdout
