"""Each way of being dirty is found by the look, one by one, on a real account of a real machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.laptops import Prepared
from tests.test_room_laptop import Agent, an_order

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]
GUEST = "su -s /bin/sh kurs -c "
WAYS = {
    "tmp": f"{GUEST}'echo x > /tmp/scan.pdf'",
    "var_tmp": f"{GUEST}'mkdir -p /var/tmp/a/b'",
    "shm": f"{GUEST}'touch /dev/shm/note'",
    "run_user": "install -d -o kurs /run/user/$(id -u kurs)/x",
    "run_lock": "mkdir -p /run/lock; install -o kurs /dev/null /run/lock/x",
    "cron": "mkdir -p /var/spool/cron/crontabs;"
    " install -o kurs /dev/null /var/spool/cron/crontabs/kurs",
    "mail": "mkdir -p /var/mail; install -o kurs /dev/null /var/mail/kurs",
    "crash": "mkdir -p /var/crash; install -o kurs /dev/null /var/crash/x.crash",
    "media": "install -d -o kurs /media/kurs 2>/dev/null || install -d -o kurs /run/media/kurs",
    "ipc": f"{GUEST}'ipcmk -M 4096 -p 666'",
    "keys": f"{GUEST}'python3 {{key}}'",
    "wifi": "mkdir -p /etc/NetworkManager/system-connections;"
    " printf '[connection]\\nuuid=99999999-2222-3333-4444-555555555555\\n'"
    " > /etc/NetworkManager/system-connections/Hotspot.nmconnection",
    "bluetooth": "mkdir -p /var/lib/bluetooth/AA:BB:CC:DD:EE:FF/11:22:33:44:55:66",
    "linger": "mkdir -p /var/lib/systemd/linger; touch /var/lib/systemd/linger/kurs",
    "greeter": "mkdir -p /var/lib/AccountsService/users; touch /var/lib/AccountsService/users/kurs",
    "fingerprints": "mkdir -p /var/lib/fprint/kurs/device; touch /var/lib/fprint/kurs/device/7",
    "coredump": "mkdir -p /var/lib/systemd/coredump;"
    " touch /var/lib/systemd/coredump/core.vi.$(id -u kurs).boot.1.zst",
    "journal": "mkdir -p /var/log/journal/m; touch /var/log/journal/m/user-$(id -u kurs).journal",
    "print": "mkdir -p /var/spool/cups; touch /var/spool/cups/d00001-001",
}  # fmt: skip
"""Place → what leaves a trace there."""
KEY = (
    "import ctypes; ctypes.CDLL(None).syscall(248, b'user', b'ticket', b'secret', 6, -4);"
    "print('kept')\n"
)


@pytest.fixture(scope="module")
def world() -> Iterator[Prepared]:
    with Prepared() as world:
        world.sh("mkdir -p /opt/t")
        world.sh(f"cat > /opt/t/key.py <<'K'\n{KEY}K\nchmod -R a+rX /opt/t")
        yield world


@pytest.fixture
def agent(world: Prepared, tmp_path: Path) -> Agent:
    return Agent(world, tmp_path)


def test_every_way_is_found_and_goes(world: Prepared, agent: Agent) -> None:
    agent.act(an_order("01J.0"))
    clean = agent.look(an_order("01J.0"))
    assert (clean["residue"], clean["home_clean"]) == (0, True), clean
    for place, script in WAYS.items():
        world.sh(script.replace("{key}", "/opt/t/key.py"))
        dirty = agent.look(an_order("01J.0"))
        assert dirty["residue_places"] == place, (place, dirty)
        agent.act(an_order(f"01J{place.replace('_', '')}.1"))
        again = agent.look(an_order(f"01J{place.replace('_', '')}.1"))
        assert (again["residue"], again["residue_places"]) == (0, ""), (place, again)
        assert again["home_clean"] is True


def test_the_rooms_own_network_stays(world: Prepared, agent: Agent) -> None:
    folder = "/etc/NetworkManager/system-connections"
    kept = "11111111-2222-3333-4444-555555555555"
    world.sh(f"mkdir -p {folder}; printf '[connection]\\nuuid={kept}\\n' > {folder}/Haus")
    world.sh(f"ln -s /etc/passwd {folder}/link; mkdir {folder}/folder")
    assert agent.look(an_order("01J.2"))["foreign_networks"] == 2
    agent.act(an_order("01J.2"))
    assert world.sh(f"ls {folder}") == "Haus\n"
    assert world.sh("head -c4 /etc/passwd") == "root"


def test_networks_that_netplan_keeps_go_too(world: Prepared, agent: Agent) -> None:
    own = "90-NM-11111111-2222-3333-4444-555555555555.yaml"
    guests = "90-NM-99999999-2222-3333-4444-555555555555-Caf%C3%A9.yaml"
    world.sh(f"mkdir -p /etc/netplan; cd /etc/netplan; touch 01-network.yaml {own} {guests}")
    assert agent.look(an_order("01J.19"))["residue_places"] == "wifi"
    agent.act(an_order("01J.20"))
    assert world.sh("ls /etc/netplan") == f"01-network.yaml\n{own}\n"
    assert agent.look(an_order("01J.20"))["foreign_networks"] == 0


def test_a_process_and_a_stick_are_told(world: Prepared, agent: Agent) -> None:
    uid = world.sh("id -u kurs").strip()
    world.sh(f"setsid setpriv --reuid {uid} --clear-groups sleep 300 >/dev/null 2>&1 &")
    world.sh("mkdir -p /run/media/kurs/STICK; mount -t tmpfs stick /run/media/kurs/STICK")
    dirty = agent.look(an_order("01J.3"))
    assert (dirty["processes"], dirty["mounts"]) == (1, 1)
    agent.act(an_order("01J.3"))
    clean = agent.look(an_order("01J.3"))
    assert (clean["processes"], clean["mounts"], clean["residue"]) == (0, 0, 0), clean


def test_files_in_odd_places_go_with_the_longer_tiers(world: Prepared, agent: Agent) -> None:
    world.sh("install -d -o kurs /opt/odd; touch /opt/odd/x; install -o kurs /dev/null /opt/t/y")
    agent.act(an_order("01J.4"))
    assert world.sh("ls -d /opt/odd; ls /opt/t") == "/opt/odd\nkey.py\ny\n"
    agent.act(an_order("01J.5", tier="standard"))
    assert world.sh("ls -d /opt/odd || true; ls /opt/t") == "key.py\n"
    assert agent.look(an_order("01J.5"))["tier"] == "standard"


def test_the_alarm_and_a_full_canary(world: Prepared, agent: Agent) -> None:
    config = "/usr/local/lib/raumwart/laptop.json"
    world.sh(f'touch /opt/t/wakealarm; sed -i \'s#^{{#{{"alarm": "/opt/t/wakealarm",#\' {config}')
    agent.act(an_order("01J.6", canary=True, wake_at="2999-01-01T06:00:00+00:00"))
    seen = agent.look(an_order("01J.6"))
    assert seen["alarm_set"] is True
    assert world.sh("cat /opt/t/wakealarm") == "32472165600\n"
    assert seen["canary_planted"] >= 12, seen
    assert seen["canary_unseen"] == 0, seen
    assert (seen["residue"], seen["home_clean"], seen["processes"]) == (0, True, 0)
