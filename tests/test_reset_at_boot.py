"""What the laptop does at its next start with a reset that was interrupted, and what it leaves."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.reset_machine import FILES, Machine
from tests.test_reset_detached import begin, workers


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    machine.copy_scripts(tmp_path / "scripts")
    yield machine
    for worker in workers(machine):
        os.kill(worker, signal.SIGKILL)


def killed_in(machine: Machine, script: str, step: str, **changes: Any) -> None:
    """A reset that is killed at the beginning of this function."""
    reached = machine.folder / "reached"
    wait = f"import pathlib, time; pathlib.Path({str(reached)!r}).touch(); time.sleep(60)"
    machine.spoil(script, f"def {step}(", ("    " if step.startswith("_") else "") + wait)
    listener = begin(machine, **changes)
    while not reached.exists():
        time.sleep(0.02)
    for worker in workers(machine):
        if worker != listener.pid:
            os.kill(worker, signal.SIGKILL)
    listener.communicate()
    machine.scripts = FILES


def run_of(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = machine.state()["runs"]["01JRUN.1"]
    return found


def test_what_a_guest_left_since_is_not_emptied_again(machine: Machine) -> None:
    """Killed after people were let in again: the reset is done, only the trash is not empty."""
    killed_in(machine, "room_residue.py", "empty_trash")
    letter = machine.home / "letter of the next course"
    letter.write_text("mine")
    machine.give(letter)
    signed_in = datetime.now(UTC)
    machine.run("resume")
    assert letter.exists()
    assert run_of(machine)["phase"] == "done"
    assert run_of(machine)["end"]["evidence"]["home_entries"] > 0
    assert datetime.fromisoformat(run_of(machine)["finished_at"]) < signed_in
    assert machine.verify()["home_clean"] is False


def test_updates_begin_only_if_they_can_end_before_the_start_is_given_up(machine: Machine) -> None:
    killed_in(machine, "room_machine.py", "_count_kept", tier="full", max_runtime_s=3600)
    machine.copy_scripts(machine.folder / "others")
    machine.scripts = machine.folder / "others"
    path = machine.scripts / "room_machine.py"
    told = path.read_text().replace('"updates_installed": False', '"left_s": left_s')
    path.write_text(told)
    machine.run("resume")
    assert run_of(machine)["end"]["result"] == "ok"
    assert run_of(machine)["end"]["evidence"]["left_s"] < 900


@pytest.mark.parametrize("job", ["", "{}", None], ids=["empty", "another", "missing"])
def test_an_order_that_cannot_be_read_any_more_has_failed(machine: Machine, job: Any) -> None:
    """A power cut may take the last thing written; what comes after it must not wait for it."""
    killed_in(machine, "room_residue.py", "sweep")
    kept = machine.folder / "state/runs/01JRUN.1.job"
    kept.unlink()
    if job is not None:
        kept.write_text(job)
    machine.run("resume")
    assert run_of(machine)["phase"] == "failed"
    assert machine.run("follow", "01JRUN.1", "0")[-1]["reason"] == "bad_job"
    assert machine.start(2)["result"] == "ok"
