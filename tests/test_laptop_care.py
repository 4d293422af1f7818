"""A whole laptop is cared for: its visitor is warned, idle is told from away, updates go in, half
ones are repaired, and it restarts in the middle of its reset; with real accounts, apt and sshd."""

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.driver import Refused
from tests.laptops import Prepared
from tests.parts import need
from tests.test_room_laptop import Agent, an_order, login_record

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]
CONFIG = "/usr/local/lib/raumwart/laptop.json"
PACKAGES = r"""
set -e
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/quick
mkdir -p /opt/repo /opt/build; cd /opt/build
pack() {  # name, version, further control lines, script in which the first installation dies
  rm -rf t; mkdir -p t/DEBIAN t/opt/installed t/etc
  printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: x <x@y.z>\nDescription: x\n%b' \
    "$1" "$2" "$3" > t/DEBIAN/control
  echo "$2" > t/opt/installed/$1; echo "as shipped in $2" > t/etc/$1.conf
  echo /etc/$1.conf > t/DEBIAN/conffiles
  if [ -n "$4" ]; then
    printf '#!/bin/sh\n[ -e /opt/%s ] || { touch /opt/%s; kill -9 $PPID; sleep 5; }\n' $1 $1 \
      > t/DEBIAN/$4
    chmod 755 t/DEBIAN/$4
  fi
  dpkg-deb --root-owner-group -b t $1_$2.deb
}
pack probe 1; dpkg -i probe_1.deb; echo "the caretaker's" > /etc/probe.conf
pack late 1 "" postinst; ! dpkg -i late_1.deb
pack torn 1 "" preinst; ! dpkg -i torn_1.deb
pack probe 2 "Depends: fresh\n"; pack fresh 1
mv late_1.deb torn_1.deb probe_2.deb fresh_1.deb /opt/repo; cd /opt/repo
for deb in *.deb; do
  dpkg-deb -f $deb; echo "Filename: ./$deb"; echo "Size: $(stat -c %s $deb)"
  echo "SHA256: $(sha256sum $deb | cut -d' ' -f1)"; echo
done > Packages
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*
echo "deb [trusted=yes] file:/opt/repo ./" > /etc/apt/sources.list
chmod -R a+rX /opt
"""
"""A repository of our own is the only one from here on; one package is older than there, one is
installed by half, and of one only a part lies there."""
REBOOT = """#!/bin/sh
# What a restart does: all processes end, the boot has another number, the units start.
sleep 0.3
for pid in $(ls /proc | grep -E '^[0-9]+$'); do [ $pid = 1 ] || [ $pid = $$ ] || kill -9 $pid; done
cat /proc/sys/kernel/random/uuid > /mnt/boot_id
mount --bind /mnt/boot_id /proc/sys/kernel/random/boot_id
sh -c "$(sed -n s/^ExecStart=//p /etc/systemd/system/raumwart-resume.service)"
{sshd} -p {port} -o ListenAddress=127.0.0.1 -E /mnt/sshd.log
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >> /mnt/systemctl
[ "$1" != reboot ] || setsid /mnt/reboot </dev/null >/dev/null 2>&1 &
"""
MOVES = """
import struct, time
with open("/opt/inputs/event0", "wb", buffering=0) as device:
    while True:
        device.write(struct.pack("@llHHi", 0, 0, KIND, CODE, 1))
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def world() -> Iterator[Prepared]:
    for part in ("apt-get", "dpkg-deb"):
        need(part)
    with Prepared() as world:
        yield world


@pytest.fixture
def agent(world: Prepared, tmp_path: Path) -> Agent:
    return Agent(world, tmp_path)


def install(world: Prepared, path: str, text: str) -> None:
    world.sh(f"printf %s {shlex.quote(text)} > {path}; chmod 755 {path}")


def configure(world: Prepared, **values: Any) -> None:
    config = json.loads(world.sh(f"cat {CONFIG}")) | values
    world.sh(f"printf %s {shlex.quote(json.dumps(config))} > {CONFIG}")


def lines(world: Prepared, path: str, number: int) -> list[str]:
    """What lies there as soon as it has so many lines."""
    for _ in range(200):
        found = world.sh(f"cat {path} 2>/dev/null || true").splitlines()
        if len(found) >= number:
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_the_visitor_is_warned_and_it_is_taken_back(world: Prepared, agent: Agent) -> None:
    say = '#!/bin/sh\necho "$*" >> /mnt/shown\n'
    install(world, "/usr/local/sbin/notify-send", "#!/bin/sh\nexit 1\n")  # nobody shows it
    install(world, "/usr/local/sbin/zenity", say)
    world.sh("touch /mnt/shown; chmod 666 /mnt/shown; chmod 755 /mnt")
    started = world.sh("sed -n s/^Exec=//p /etc/xdg/autostart/raumwart-banner.desktop").strip()
    watch = f"{started} /run/raumwart/warning.json 0.05"
    banner = world.popen(f"exec su -s /bin/sh kurs -c '{watch}'")
    agent.warn(0)
    agent.warn(10)
    shown = lines(world, "/mnt/shown", 1)
    until = time.strftime("%H:%M", time.localtime(json.loads(_warning(world))["ends_at"]))
    assert f"Um {until} Uhr werden alle Daten auf diesem Gerät gelöscht" in shown[0]
    agent.warn(5)
    assert len(lines(world, "/mnt/shown", 2)) == 2
    agent.warn(0)
    assert json.loads(_warning(world))["ends_at"] == 0
    assert world.sh("su -s /bin/sh kurs -c ': > /run/raumwart/warning.json' 2>&1; true")
    assert json.loads(_warning(world))["ends_at"] == 0, "a visitor cannot warn others"
    assert banner.poll() is None, "it goes on watching"
    agent.act(an_order("01J.2"))
    banner.communicate(timeout=20)
    assert len(world.sh("cat /mnt/shown").splitlines()) == 2


def test_the_visitor_sees_a_countdown_and_is_then_sent_away(world: Prepared, agent: Agent) -> None:
    install(world, "/usr/local/sbin/zenity", "#!/bin/sh\nexec cat >> /mnt/counted\n")
    world.sh("touch /mnt/counted /dev/shm/desk; chmod 666 /mnt/counted; chmod 755 /mnt")
    started = world.sh("sed -n s/^Exec=//p /etc/xdg/autostart/raumwart-banner.desktop").strip()
    watch = f"{started} /run/raumwart/warning.json 0.05"
    banner = world.popen(f"exec su -s /bin/sh kurs -c '{watch}'")
    world.guest("echo private > ~/letter")
    world.sh(f"printf '{login_record(b'shm/desk')}' > /run/utmp")
    try:
        with pytest.raises(Refused, match="in_use"):
            agent.act(an_order("01Jcounted.1"))
        agent.act(an_order("01Jcounted.2", on_active_session="countdown", countdown_s=3))
    finally:
        world.sh("rm -f /run/utmp /dev/shm/desk")
    banner.communicate(timeout=20)
    counted = world.sh("grep -oE 'In (2 Sekunden|einer Sekunde)' /mnt/counted | uniq").splitlines()
    assert counted == ["In 2 Sekunden", "In einer Sekunde"]
    assert json.loads(_warning(world))["ends_at"] == 0
    assert world.sh("ls /home/kurs/letter 2>&1 || true").count("No such file")


def _warning(world: Prepared) -> str:
    return world.sh("su -s /bin/sh kurs -c 'cat /run/raumwart/warning.json'")


@pytest.mark.parametrize(
    ("kind", "code", "at_the_desk"),
    [
        ("1", "30", True),
        ("2", "0", True),
        ("3", "0x35", True),
        ("3", "0", False),
        ("5", "0", False),
    ],
    ids=["key", "mouse", "touchpad", "shaken", "lid"],
)
def test_an_idle_session_is_ended_only_while_no_hand_moves(
    world: Prepared, agent: Agent, kind: str, code: str, at_the_desk: bool
) -> None:
    configure(world, inputs="/opt/inputs")
    world.sh("mkdir -p /opt/inputs; rm -f /opt/inputs/*; mkfifo /opt/inputs/event0")
    world.sh("touch -a -d '2 days ago' /dev/shm/desk")
    world.sh(f"printf '{login_record(b'shm/desk')}' > /run/utmp")
    moving = world.popen(
        "exec python3 -c " + shlex.quote(MOVES.replace("KIND", kind).replace("CODE", code))
    )
    order = an_order(f"01Jidle{kind}{int(code, 0)}.1")
    try:
        if not at_the_desk:
            agent.act(order)
            return
        with pytest.raises(Refused) as caught:
            agent.act(order)
        assert caught.value.reason == "in_use"
    finally:
        moving.kill()
        moving.communicate()
        world.sh("rm -f /run/utmp /dev/shm/desk")


@pytest.fixture(scope="module")
def packages(world: Prepared) -> None:
    if world.sh("dpkg --audit"):
        pytest.skip("this machine's own packages are half installed")
    world.sh(PACKAGES)


@pytest.mark.usefixtures("packages")
def test_updates_repairs_and_a_restart_in_the_middle(world: Prepared, agent: Agent) -> None:
    assert "torn" in world.sh("dpkg --audit")
    install(world, "/mnt/reboot", REBOOT.format(sshd=need("sshd"), port=world.port))
    install(world, "/usr/local/sbin/systemctl", SYSTEMCTL)
    configure(world, updates_s=60)
    world.guest("echo private > ~/letter; setsid sleep 500 >/dev/null 2>&1 &")
    before = agent.look(an_order("01J.3"))

    agent.act(an_order("01J.3", tier="full"))

    after = agent.look(an_order("01J.3"))
    assert "reboot" in lines(world, "/mnt/systemctl", 1)
    assert after["boot_id"] != before["boot_id"]
    assert (after["boot_fresh"], after["tier"]) == (True, "full")
    assert (after["home_clean"], after["residue"], after["processes"]) == (True, 0, 0), after
    assert world.sh("dpkg --audit") == ""
    installed = world.sh("cd /opt/installed; grep . *").split()
    assert installed == ["fresh:1", "late:1", "probe:2", "torn:1"]
    assert world.sh("cat /etc/probe.conf") == "the caretaker's\n"
    evidence = _evidence(world, "01J.3")
    assert (evidence["packages_repaired"], evidence["updates_installed"]) == (True, True)
    assert "updates_skipped" not in evidence


@pytest.mark.usefixtures("packages")
def test_what_is_half_done_is_repaired_also_when_updates_would_take_too_long(
    world: Prepared,
) -> None:
    world.sh("rm -f /opt/late; ! dpkg -i /opt/repo/late_1.deb")
    assert "late" in world.sh("dpkg --audit")
    script = (
        "import room_system, room_state;"
        f"print(room_system.install_updates(room_state.load_config('{CONFIG}'), 10.0))"
    )
    told = world.sh(f"cd /usr/local/lib/raumwart; python3 -c {shlex.quote(script)}")
    assert "'packages_repaired': True, 'updates_installed': False" in told
    assert world.sh("dpkg --audit") == ""


def _evidence(world: Prepared, reset_id: str) -> dict[str, Any]:
    runs = json.loads(world.sh("cat /var/lib/raumwart/state.json"))["runs"]
    found: dict[str, Any] = runs[reset_id]["end"]["evidence"]
    return found
