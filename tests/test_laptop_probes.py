"""What a laptop's hardware tells: signal, temperature, disk; read as the kernel writes it."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[1] / "ansible" / "roles" / "room_laptop" / "files"


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(FILES))
    yield import_module("room_probes")
    for name in [name for name in sys.modules if name.startswith("room_")]:
        del sys.modules[name]


HEAD = """Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
"""


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (" wlp3s0: 0000   52.  -58.  -256        0      0      0      0      7        0\n", -58),
        ("wlan0: 0000 30. -80. -256 0\nwlan1: 0000 60. -50. -256 0\n", -50),
        ("wlan0: 0000 0 0 0 0\n", None),
        ("wlan0: 0000 70. 58. 0 0\n", None),
        ("", None),
        ("\0\n::\n", None),
    ],
)
def test_wifi(probes: Any, tmp_path: Path, lines: str, expected: float | None) -> None:
    file = tmp_path / "wireless"
    file.write_text(HEAD + lines)
    assert probes.wifi_dbm(str(file)) == expected
    assert probes.wifi_dbm(str(tmp_path / "gone")) is None


def test_temperature(probes: Any, tmp_path: Path) -> None:
    for chip, name, temperatures in (
        ("hwmon0", "acpitz", ["27800"]),
        ("hwmon1", "coretemp", ["51000", "63000", "0", "x", "255000"]),
        ("hwmon2", "nvme", ["99000"]),
        ("hwmon3", "", []),
    ):
        (tmp_path / chip).mkdir()
        (tmp_path / chip / "name").write_text(name + "\n")
        for number, value in enumerate(temperatures, 1):
            (tmp_path / chip / f"temp{number}_input").write_text(value + "\n")
    (tmp_path / "hwmon4").mkdir()
    assert probes.temperature_c(str(tmp_path)) == 63
    assert probes.temperature_c(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"smart_status": {"passed": true, "nvme": {"value": 0}}}', True),
        ('{"smart_status": {"passed": false}}', False),
        ('{"smartctl": {"exit_status": 2}}', None),
        ('{"smart_status": {"passed": "yes"}}', None),
        ("[]", None),
        ("smartctl: not found", None),
        (None, None),
    ],
)
def test_disk(probes: Any, answer: str | None, expected: bool | None) -> None:
    assert probes.healthy(answer) is expected


def test_this_machine_answers_without_failing(probes: Any) -> None:
    assert set(probes.probes()) == {"wifi_dbm", "temperature_c", "disk_healthy"}
