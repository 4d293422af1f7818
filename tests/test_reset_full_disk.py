"""A disk that a guest filled: the reset that would empty it must not be refused for it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import need
from tests.reset_machine import ROOT, Machine

pytestmark = pytest.mark.skipif(not ROOT, reason="needs root to mount a disk of its own")
MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small one, of which ext4 keeps a part for root."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    image.touch()
    os.truncate(image, 64 * MIB)
    folder.mkdir()
    subprocess.run([need("mkfs.ext4"), "-q", "-m", "25", image], check=True)
    made = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this machine mounts no image")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def machine(disk: Path) -> Machine:
    machine = Machine(disk)
    machine.configure(space_bytes=4 * MIB)
    return machine


def fill(path: Path, uid: int) -> None:
    """As far as this user gets."""
    script = f"import os\nos.setuid({uid})\nwith open(0, 'wb') as file:\n"
    script += f"    while True: file.write(bytes({MIB}))"
    with path.open("wb") as file:
        os.chown(path, uid, uid)
        subprocess.run(
            ["python3", "-c", script], stdin=file, stderr=subprocess.DEVNULL, check=False
        )


def test_a_guest_who_fills_the_disk_is_reset(machine: Machine) -> None:
    fill(machine.home / "films", 54321)
    assert os.statvfs(machine.folder).f_bavail * 1024 < MIB
    assert machine.start()["result"] == "ok"
    assert os.statvfs(machine.folder).f_bavail * 1024 > 20 * MIB


def test_trash_that_fills_the_disk_is_emptied_first(machine: Machine) -> None:
    trash = machine.folder / "trash"
    trash.mkdir(mode=0o700)
    (trash / "heap").mkdir()
    fill(trash / "heap" / "used home", 0)
    assert machine.start()["result"] == "ok"
    assert list(trash.iterdir()) == []


def test_without_either_there_is_no_space(machine: Machine) -> None:
    fill(machine.victims / "log", 0)
    assert machine.start()["reason"] == "no_space"
