"""What a Mac answers, with stand-ins for the programs that only macOS has: their output is written
here after Apple's manuals. No Mac was at hand, so this shows our half of it."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from agents.messages import Target
from agents.ssh.answers import health_facts
from tests.parts import need

FILES = Path(__file__).parents[1] / "ansible" / "roles" / "room_mac" / "files"
TARGET = Target(
    device="mac-1", room="r", kind="laptop", driver="ssh", address="127.0.0.1",
    serial="C02XK1ZZJG5J",
)  # fmt: skip
BATTERY = """+-o AppleSmartBattery  <class AppleSmartBattery, id 0x100000291, registered>
    {
      "DesignCapacity" = 5103
      "AppleRawMaxCapacity" = 4439
      "CycleCount" = 212
    }"""
PLATFORM = """+-o Root  <class IORegistryEntry>
    {
      "IOPlatformUUID" = "564D0000-0000-0000-0000-000000000000"
      "IOPlatformSerialNumber" = "C02XK1ZZJG5J"
      "model" = <"MacBookAir10,1">
    }"""
MEMORY = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               40000.
Pages active:                            180000.
Pages inactive:                          160000.
Pages speculative:                         2000.
Pages wired down:                         90000.
Pages purgeable:                           2144.
"""
SYSCTL = """case "$2" in
  kern.boottime) echo "{ sec = $(($(date +%s) - 7200)), usec = 0 } Mon Nov 23 07:00:00 2026" ;;
  hw.ncpu) echo 8 ;;
  hw.memsize) echo 8589934592 ;;
  hw.model) echo MacBookAir10,1 ;;
  vm.loadavg) echo "{ 1.60 1.40 1.20 }" ;;
esac"""
DF = """case "$2" in
  /System/Volumes/Data)
    echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
    echo "/dev/disk3s5 239362496 180000000 40000000 82% /System/Volumes/Data" ;;
esac"""
PROGRAMS = {
    "sysctl": SYSCTL,
    "ioreg": f"case \"$*\" in *Battery) cat <<'X'\n{BATTERY}\nX\n;; *) cat <<'X'\n{PLATFORM}\nX\n;;"
    " esac",
    "pmset": "echo \"Now drawing from 'AC Power'\";"
    " echo ' -InternalBattery-0 (id=1)\t87%; charging; 0:42 remaining present: true'",
    "scutil": "echo Lernraum-Mac-1",
    "sw_vers": "echo 15.1.1",
    "vm_stat": f"cat <<'X'\n{MEMORY}\nX",
    "df": DF,
    "diskutil": "echo '   SMART Status:              Verified'",
    "who": "echo 'kurs     console      Nov 23 08:01'; echo 'raumwart ttys000      Nov 23 08:30'",
    "launchctl": "printf 'PID\\tStatus\\tLabel\\n-\\t0\\tcom.apple.a\\n312\\t0\\tcom.apple.b\\n"
    "-\\t78\\torg.broken\\n-\\t-9\\tcom.apple.killed\\n'",
    "defaults": "echo 3",
    "wdutil": "printf '    SSID : Lernraum\\n    RSSI       : -61 dBm\\n    Noise : -95 dBm\\n'",
}  # fmt: skip


def ask(folder: Path, **programs: str | None) -> dict[str, Any]:
    """Run the script with these programs instead of the usual ones; None: it is not there."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name, script in {**PROGRAMS, **programs}.items():
        (tools / name).write_text(f"#!/bin/sh\n{'exit 1' if script is None else script}\n")
        (tools / name).chmod(0o755)
    done = subprocess.run(
        [FILES / "entry.sh"],
        env={
            "RAUMWART_PATH": f"{tools}:{os.defpath}",
            "SSH_ORIGINAL_COMMAND": "health",
            "TMPDIR": str(folder),
            "PATH": os.defpath,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not done.stderr
    assert not list(folder.glob("raumwart.*"))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_macbook(tmp_path: Path) -> None:
    answer = ask(tmp_path)
    facts = health_facts(answer, TARGET)
    assert abs(answer["now"] - time.time()) < 30
    assert 7190 < facts.pop("uptime_s") < 7260
    assert abs(facts.pop("clock_offset_s")) < 30
    assert facts == {
        "vendor": "Apple",
        "model": "MacBookAir10,1",
        "serial": "C02XK1ZZJG5J",
        "name": "Lernraum-Mac-1",
        "firmware": "macOS 15.1.1",
        "load_1m": 0.2,
        "memory_total_bytes": 8 * 2**30,
        "memory_ratio": round(1 - (40000 + 160000 + 2000 + 2144) * 16384 / 2**33, 4),
        "disk_free_bytes": 40_000_000 * 1024,
        "disk_ratio": 0.8182,
        "disk_healthy": True,
        "battery_ratio": 0.87,
        "battery_wear_ratio": 0.13,
        "plugged": True,
        "sessions": 1,
        "failed_units": 1,
        "updates": 3,
        "wifi_dbm": -61,
    }


def test_what_is_not_there_is_null_never_zero(tmp_path: Path) -> None:
    none = dict.fromkeys(PROGRAMS, None) | {"who": PROGRAMS["who"]}
    answer = ask(tmp_path, **none)
    told = {name: value for name, value in answer.items() if value is not None}
    assert set(told) == {"v", "vendor", "firmware", "sessions", "now"}
    health_facts(answer, TARGET)


@pytest.mark.parametrize(
    ("program", "output", "fact", "expected"),
    [
        ("pmset", "Now drawing from 'AC Power'", "battery_ratio", None),
        ("pmset", "Now drawing from 'Battery Power'", "plugged", False),
        ("ioreg", "", "battery_wear_ratio", None),
        ("diskutil", "   SMART Status:   Failing", "disk_healthy", False),
        ("diskutil", "   SMART Status:   Not Supported", "disk_healthy", None),
        ("vm_stat", "garbage", "memory_ratio", None),
        ("defaults", "no such thing", "updates", None),
        ("wdutil", "usage: sudo wdutil", "wifi_dbm", None),
        ("scutil", '"Mac" \\ $(reboot) `x`\nzwei', "name", '"Mac" \\ $(reboot) `x`zwei'),
        ("launchctl", "", "failed_units", None),
    ],
)  # fmt: skip
def test_each_program_may_say_something_else(
    tmp_path: Path, program: str, output: str, fact: str, expected: Any
) -> None:
    answer = ask(tmp_path, **{program: f"cat <<'END'\n{output}\nEND"})
    assert answer[fact] == expected
    health_facts(answer, TARGET)


def test_a_program_that_hangs_costs_only_its_own_fact(tmp_path: Path) -> None:
    answer = ask(tmp_path, scutil="sleep 50")
    assert answer["name"] is None
    assert answer["battery_ratio"] == 0.87


@pytest.mark.parametrize("asked", ["", "start", "health; id", "health x", "verify a.1", "-c id"])
def test_nothing_else_can_be_asked(asked: str) -> None:
    done = subprocess.run(
        [FILES / "entry.sh"], env={"SSH_ORIGINAL_COMMAND": asked}, capture_output=True, check=False
    )
    assert done.returncode == 64
    assert json.loads(done.stdout)["reason"] == "bad_request"


def test_the_scripts_are_clean_shell() -> None:
    scripts = sorted(FILES.glob("*.sh"))
    subprocess.run([need("shellcheck"), *scripts], check=True)
