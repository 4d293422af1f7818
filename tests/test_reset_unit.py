"""Where systemd runs, a reset is a unit with a limited time, here by a stand-in of `systemd-run`.

What we ask of it, and that the unit's command works; systemd itself is in `test_booted_laptop`.
"""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.reset_machine import Machine, a_job

STAND_IN = """#!/bin/sh
echo "$@" >> {folder}/asked
while [ "$1" != -- ]; do shift; done
shift
setsid "$@" </dev/null >/dev/null 2>&1 &
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.copy_scripts(tmp_path / "scripts")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "systemd-run"
    program.write_text(STAND_IN.format(folder=tmp_path))
    program.chmod(0o755)
    for script, old, new in (
        ("room_launch.py", '"/run/systemd/system"', f'"{tmp_path}"'),
        ("room_programs.py", 'PATH = "', f'PATH = "{tmp_path}/bin:'),
    ):
        path = machine.scripts / script
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    return machine


def test_the_unit_is_bounded_and_does_the_reset(machine: Machine) -> None:
    (machine.home / "letter").write_text("private")
    assert machine.start(max_runtime_s=45)["result"] == "ok"
    asked = (machine.folder / "asked").read_text()
    assert "--unit=raumwart-reset-01JRUN-1 " in asked
    assert "RuntimeMaxSec=55" in asked
    assert "KillMode=control-group" in asked
    assert asked.rstrip().endswith(f"--config {machine.folder}/laptop.json run 01JRUN.1")
    seen = machine.verify()
    assert (seen["home_clean"], seen["residue"]) == (True, 0)
    assert machine.start()["repeated"] is True
    assert (machine.folder / "asked").read_text() == asked


def test_a_unit_that_is_stopped_tells_its_end(machine: Machine) -> None:
    machine.spoil("room_residue.py", "def sweep(", "import time; time.sleep(30)")
    with subprocess.Popen(
        machine.command("start"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as listener:
        assert listener.stdin
        assert listener.stdout
        listener.stdin.write(a_job().encode())
        listener.stdin.close()
        listener.stdout.readline()
        found = subprocess.run(
            ["pgrep", "-f", f"{machine.folder}/laptop.json run"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        os.kill(int(found.stdout.split()[0]), signal.SIGTERM)
        last = listener.stdout.read().splitlines()[-1]
    assert b'"reason":"too_long"' in last


def test_a_system_that_starts_no_unit_refuses_and_touches_nothing(machine: Machine) -> None:
    (machine.home / "letter").write_text("private")
    (machine.folder / "bin" / "systemd-run").write_text("#!/bin/sh\nexit 1\n")
    end = machine.start()
    assert (end["result"], end["reason"]) == ("refused", "no_unit")
    assert (machine.home / "letter").exists()
