"""What a reset puts right on the hardware, and the means without which it does not begin; with
stand-ins for the programs and the kernel's files."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.reset_machine import Machine, a_job

STAND_IN = '#!/bin/sh\necho "$(basename "$0") $*" >> {folder}/asked\n'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Finds its programs in `bin` and its power supplies in `power`."""
    machine = Machine(tmp_path)
    machine.copy_scripts(tmp_path / "scripts")
    for script, old, new in (
        ("room_programs.py", 'PATH = "', f'PATH = "{tmp_path}/bin:'),
        ("room_health.py", '"/sys/class/power_supply"', f'"{tmp_path}/power"'),
    ):
        path = machine.scripts / script
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    (tmp_path / "bin").mkdir()
    return machine


def add_program(machine: Machine, name: str, text: str = STAND_IN) -> None:
    (machine.folder / "bin" / name).write_text(text.format(folder=machine.folder))
    (machine.folder / "bin" / name).chmod(0o755)


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_volume_brightness_and_printer_are_put_back(machine: Machine) -> None:
    for name in ("amixer", "alsactl", "lpadmin"):
        add_program(machine, name)
    lamps = machine.folder / "backlight"
    for lamp, most in (("intel", 937), ("tiny", 1)):
        write(lamps / lamp / "max_brightness", most)
        write(lamps / lamp / "brightness", 0)
    machine.configure(volume=40, brightness=80, printer="Flur", backlight=str(lamps))
    end = machine.start()
    asked = (machine.folder / "asked").read_text().splitlines()
    assert asked == [
        "amixer -q sset Master unmute", "amixer -q sset Master 40%", "alsactl store",
        "lpadmin -d Flur",
    ]  # fmt: skip
    assert (lamps / "intel" / "brightness").read_text() == "749"
    assert (lamps / "tiny" / "brightness").read_text() == "1", "never dark"
    told = {name: value for name, value in end["evidence"].items() if name.endswith("_set")}
    assert told == {"volume_set": True, "brightness_set": True, "printer_set": True}


def test_what_cannot_be_put_back_is_told_and_no_failure(machine: Machine) -> None:
    for name in ("amixer", "lpadmin"):
        add_program(machine, name, "#!/bin/sh\nexit 1\n")
    write(machine.folder / "backlight" / "odd" / "max_brightness", "a lot")
    lamps = str(machine.folder / "backlight")
    machine.configure(volume=40, brightness=80, printer="Flur", backlight=lamps)
    end = machine.start()
    assert end["result"] == "ok"
    told = {name: value for name, value in end["evidence"].items() if name.endswith("_set")}
    assert told == {"volume_set": False, "brightness_set": False, "printer_set": False}


def test_what_the_room_leaves_to_its_visitors_is_not_touched(machine: Machine) -> None:
    for name in ("amixer", "alsactl", "lpadmin"):
        add_program(machine, name)
    machine.configure(volume=-1, brightness=-1, printer="")
    assert machine.start()["result"] == "ok"
    assert not (machine.folder / "asked").exists()


@pytest.mark.parametrize(
    ("percent", "plugged", "tier", "reason"),
    [
        (29, 0, "quick", "no_power"), (29, 1, "quick", None), (30, 0, "quick", None),
        (95, 0, "full", "no_power"), (95, 1, "full", None), (95, 0, "standard", None),
        (29, None, "quick", "no_power"), (None, None, "full", None),
    ],
)  # fmt: skip
def test_a_reset_begins_only_with_power_to_its_end(
    machine: Machine, percent: int | None, plugged: int | None, tier: str, reason: str | None
) -> None:
    power = machine.folder / "power"
    if percent is not None:
        write(power / "BAT0" / "type", "Battery")
        write(power / "BAT0" / "capacity", percent)
        write(power / "mouse" / "type", "Battery")
        write(power / "mouse" / "scope", "Device")
        write(power / "mouse" / "capacity", 2)
    if plugged is not None:
        write(power / "AC" / "type", "Mains")
        write(power / "AC" / "online", plugged)
    _refused_or_done(machine, reason, tier=tier)


@pytest.mark.parametrize(
    ("share", "tier", "reason"),
    [(2.0, "quick", "no_space"), (0.5, "quick", None), (0.5, "standard", "no_space")],
)
def test_a_reset_begins_only_with_room_on_the_disk(
    machine: Machine, share: float, tier: str, reason: str | None
) -> None:
    """Others write to this disk meanwhile: the shares are far from the borders."""

    disk = os.statvfs(machine.folder)
    machine.configure(space_bytes=int(disk.f_bfree * disk.f_frsize * share))
    _refused_or_done(machine, reason, tier=tier)


def _refused_or_done(machine: Machine, reason: str | None, **changes: Any) -> None:
    (machine.home / "letter").write_text("private")
    end = machine.run("start", job=a_job(**changes))[-1]
    assert end["result"] == ("refused" if reason else "ok"), end
    assert end.get("reason") == reason
    assert (machine.home / "letter").exists() is bool(reason)
