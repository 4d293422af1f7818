"""A laptop whose Wi-Fi a visitor switched off is found again; with a real NetworkManager see
`test_booted_laptop.py`."""

import fcntl
from pathlib import Path

import pytest

from tests.reset_machine import FILES, Machine


@pytest.fixture
def radios(tmp_path: Path) -> Path:
    for number, kind in enumerate(("bluetooth", "wlan", "wlan")):
        radio = tmp_path / "rfkill" / f"rfkill{number}"
        radio.mkdir(parents=True)
        (radio / "type").write_text(f"{kind}\n")
        (radio / "soft").write_text("1\n")
    (tmp_path / "rfkill" / "rfkill2" / "soft").write_text("0\n")
    (tmp_path / "rfkill" / "broken").mkdir()
    (tmp_path / "rfkill" / "broken" / "type").write_bytes(b"\xff")
    return tmp_path / "rfkill"


@pytest.fixture
def laptop(tmp_path: Path, radios: Path) -> Machine:
    laptop = Machine(tmp_path / "laptop")
    laptop.configure(radios=str(radios))
    return laptop


def switched_off(radios: Path) -> list[str]:
    return [soft.parent.name for soft in radios.glob("*/soft") if soft.read_text().strip() == "1"]


def test_wifi_goes_on_again_and_nothing_else(laptop: Machine, radios: Path) -> None:
    assert sorted(switched_off(radios)) == ["rfkill0", "rfkill1"]
    assert laptop.run("reach")[0]["radios"] == 1
    assert switched_off(radios) == ["rfkill0"]
    assert laptop.run("reach")[0]["radios"] == 0


def test_a_reset_at_work_is_left_alone(laptop: Machine, radios: Path) -> None:
    with (laptop.folder / "state" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert laptop.run("reach") == [{"v": 1}]
    assert len(switched_off(radios)) == 2
    assert laptop.run("reach")[0]["radios"] == 1


def test_a_laptop_without_radios_is_fine(laptop: Machine, tmp_path: Path) -> None:
    laptop.configure(radios=str(tmp_path / "none"))
    assert laptop.run("reach")[0]["radios"] == 0


def test_no_agent_can_order_it() -> None:
    for gate in ("entry", "dispatch"):
        assert "reach" not in (FILES / gate).read_text()
