"""The laptop's test of its own reset: traces planted as a guest, seen, and gone afterwards."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reset_machine import GUEST, ROOT, Machine, open_folder


@pytest.fixture
def machine() -> Iterator[Machine]:
    with open_folder() as folder:
        yield a_machine(folder)


def a_machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    for folder in ("connections", "bluetooth/AA:BB:CC:DD:EE:FF", "accounts", "var_tmp"):
        (tmp_path / folder).mkdir(parents=True)
    machine.give(tmp_path / "var_tmp")
    (tmp_path / "tmp").chmod(0o1777)
    machine.configure(
        places={"tmp": [str(machine.tmp)], "var_tmp": [str(tmp_path / "var_tmp")]},
        named={"greeter": [str(tmp_path / "accounts/{guest}")]},
        connections=str(tmp_path / "connections"),
        bluetooth=str(tmp_path / "bluetooth"),
    )
    return machine


def canary(machine: Machine) -> dict[str, Any]:
    events = machine.run("start", job=machine.job(canary=True))
    assert events[-1]["result"] == "ok", events
    assert events[0]["step"] == "canary"
    planted: dict[str, Any] = events[0]["d"]
    return planted


def test_every_marker_is_seen_and_then_gone(machine: Machine) -> None:
    planted = canary(machine)
    assert planted == {"canary_planted": 6, "canary_unseen": 0, "unseen_places": ""}
    seen = machine.verify()
    assert (seen["home_clean"], seen["residue"]) == (True, 0), seen
    assert (seen["canary_planted"], seen["canary_unseen"]) == (6, 0)
    assert list((machine.folder / "connections").iterdir()) == []
    assert list((machine.folder / "bluetooth/AA:BB:CC:DD:EE:FF").iterdir()) == []
    assert list((machine.folder / "accounts").iterdir()) == []
    assert (machine.folder / "state/victim/keep").read_bytes() == b"a guest's words\n"


def test_an_ordinary_reset_plants_nothing(machine: Machine) -> None:
    assert machine.start()["result"] == "ok"
    seen = machine.verify()
    assert seen["canary_planted"] is None
    assert seen["canary_unseen"] is None


def test_a_guest_with_more_than_can_be_compared_is_no_failure(machine: Machine) -> None:
    film = machine.home / "film"
    film.touch()
    os.truncate(film, 2**30 + 1)
    machine.give(film)
    assert canary(machine)["unseen_places"] == ""
    assert machine.verify()["home_clean"] is True


@pytest.mark.skipif(not ROOT, reason="needs root to own files as two people")
def test_a_probe_that_looks_for_the_wrong_person_sees_nothing(machine: Machine) -> None:
    """A guest's account that was made anew has another number than the laptop believes."""
    (machine.folder / "var_tmp").chmod(0o777)
    (machine.folder / "var_tmp/raumwart-canary").write_text("already there, of somebody else")
    planted = canary(machine)
    assert planted["unseen_places"] == "var_tmp"
    assert machine.verify()["canary_unseen"] == 1


def test_a_reset_that_follows_a_link_is_caught(machine: Machine) -> None:
    """What the links aim at is touched by somebody while the reset runs."""
    machine.start()
    script = machine.folder / "scripts"
    machine.copy_scripts(script)
    careless = (script / "room_residue.py").read_text().replace(
        "    removed = machine.remove_system_traces()\n",
        "    removed = machine.remove_system_traces()\n"
        "    open(os.path.join(config.state, 'victim', 'keep'), 'w').close()\n",
    )  # fmt: skip
    (script / "room_residue.py").write_text(careless)
    end = machine.run("start", job=machine.job(2, canary=True))[-1]
    assert (end["result"], end["step"]) == ("failed", "residue")
    assert "links" in end["detail"]


def test_what_is_planted_belongs_to_the_guest(machine: Machine) -> None:
    """Planted and not yet swept: a reset that is refused its home in the middle."""
    machine.configure(
        places={"tmp": [str(machine.tmp)]},
        trash="/proc/nowhere",
    )
    end = machine.run("start", job=machine.job(canary=True))[-1]
    assert (end["result"], end["step"]) == ("failed", "prepare")
    for path in (machine.tmp / "raumwart-canary", machine.home / ".mozilla/cookies.sqlite"):
        assert path.lstat().st_uid == GUEST
    assert (machine.home / ".bashrc").is_symlink()
    assert machine.verify()["residue"] == 1
