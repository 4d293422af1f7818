"""A reset that counts down before whoever is signed in: they see it, can save, and it can end."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reset_machine import FILES, PYTHON, STEPS, Machine, a_job
from tests.test_reset_detached import begin, workers

NEVER_S = 50
"""A countdown whose end no test waits for."""


class Desk(Machine):
    """A laptop at which somebody sits, with a letter that is not saved elsewhere."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.letter = self.home / "letter"
        self.letter.write_text("private")
        self.copy_scripts(folder / "scripts")
        self.sit("kurs")

    def sit(self, *people: str) -> None:
        new = self.folder / "sessions.new"
        new.write_text(json.dumps({"active": people, "logins": []}))
        new.replace(self.folder / "sessions.json")

    @property
    def sitting(self) -> list[str]:
        people: list[str] = json.loads((self.folder / "sessions.json").read_text())["active"]
        return people

    @property
    def warning(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads((self.folder / "run/warning.json").read_text())
        return said

    def change(self, script: str, old: str, new: str) -> None:
        path = self.scripts / script
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def counting(desk: Desk, seconds: int = NEVER_S) -> subprocess.Popen[bytes]:
    """Begun, and the countdown is on the screen."""
    listener = begin(desk, on_active_session="countdown", countdown_s=seconds)
    until(lambda: (desk.folder / "run/warning.json").exists() and desk.warning["ends_at"] > 0)
    return listener


def until(seen: Callable[[], bool]) -> None:
    for _ in range(500):
        if seen():
            return
        time.sleep(0.02)
    raise AssertionError


def heard(desk: Desk, listener: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    listener.communicate(timeout=30)
    return desk.run("follow", "01JRUN.1", "0")


def kill(desk: Desk, listener: subprocess.Popen[bytes]) -> None:
    for worker in workers(desk):
        if worker != listener.pid:
            os.kill(worker, signal.SIGKILL)
    listener.communicate(timeout=30)


def test_whoever_is_signed_in_has_time_to_save(desk: Desk) -> None:
    began = time.time()
    listener = counting(desk, 2)
    assert 0 < desk.warning["ends_at"] - began <= 2 + (time.time() - began)
    assert desk.warning["countdown"] is True
    assert (desk.sitting, desk.letter.exists()) == (["kurs"], True)
    told = heard(desk, listener)
    assert time.time() - began >= 2
    steps = [event["step"] for event in told if event["event"] == "step"]
    assert steps == ["prepare", "countdown", *STEPS[1:]]
    assert told[1] == told[1] | {"event": "countdown", "seconds": 2}
    assert (told[-1]["result"], told[-1]["evidence"]["counted_down_s"]) == ("ok", 2)
    assert (desk.sitting, desk.letter.exists(), desk.warning["ends_at"]) == ([], False, 0)


def test_nobody_there_nobody_waits(desk: Desk) -> None:
    desk.sit()
    told = desk.run("start", job=a_job(on_active_session="countdown", countdown_s=NEVER_S))
    assert [event["event"] for event in told] == ["step"] * (len(STEPS) + 1) + ["end"]
    assert told[-1]["evidence"]["counted_down_s"] == 0
    assert not (desk.folder / "run").exists(), "nothing is shown either"


def test_who_signs_out_ends_the_waiting(desk: Desk) -> None:
    listener = counting(desk)
    desk.sit()
    assert heard(desk, listener)[-1]["result"] == "ok"


def test_a_countdown_can_be_taken_back(desk: Desk) -> None:
    listener = counting(desk)
    assert desk.run("abort", "01JRUN.1")[-1]["aborted"] is True
    end = heard(desk, listener)[-1]
    assert (end["result"], end["reason"], end["step"]) == ("refused", "aborted", "countdown")
    assert (desk.sitting, desk.letter.exists(), desk.warning["ends_at"]) == (["kurs"], True, 0)


def test_killed_while_counting_the_same_order_counts_anew(desk: Desk) -> None:
    kill(desk, counting(desk))
    assert desk.letter.exists()
    told = desk.run("start", job=a_job(on_active_session="countdown", countdown_s=2))
    assert [event["seconds"] for event in told if event["event"] == "countdown"] == [NEVER_S, 2]
    assert (told[-1]["result"], told[-1]["evidence"]["counted_down_s"]) == ("ok", 2)


def test_killed_while_counting_and_too_late_it_was_a_refusal(desk: Desk) -> None:
    kill(desk, counting(desk))
    end = desk.start(on_active_session="countdown", countdown_s=2, not_after="2020-01-01T00:00:00Z")
    assert (end["result"], end["reason"]) == ("refused", "expired"), "nothing was touched"
    assert desk.letter.exists()


def test_killed_after_counting_the_same_order_goes_on_at_once(desk: Desk) -> None:
    desk.spoil("room_residue.py", "def sweep(", "import time; time.sleep(1.5)")
    listener = counting(desk, 1)
    until((desk.folder / "state/runs/01JRUN.1.fate").exists)
    kill(desk, listener)
    desk.sit("kurs")
    told = desk.run("start", job=a_job(on_active_session="countdown", countdown_s=NEVER_S))
    assert [event["seconds"] for event in told if event["event"] == "countdown"] == [1]
    assert (told[-1]["result"], told[-1]["evidence"]["counted_down_s"]) == ("ok", 0)


def test_a_laptop_that_slept_meanwhile_does_not_go_on(desk: Desk) -> None:
    """Whoever opens the lid again may be the next course."""
    desk.change("room_run.py", "SLEPT_S = 30.0", "SLEPT_S = -9.0")
    end = desk.start(on_active_session="countdown", countdown_s=1)
    assert (end["result"], end["reason"]) == ("refused", "expired")
    assert (desk.sitting, desk.letter.exists()) == (["kurs"], True)


def test_without_a_banner_nobody_is_sent_away(desk: Desk) -> None:
    banner = "def has_banner(self) -> bool:\n        return "
    desk.change("room_machine.py", f"{banner}True", f"{banner}False")
    told = {"on_active_session": "countdown", "countdown_s": 1}
    assert desk.start(**told)["reason"] == "no_banner"
    assert desk.letter.exists()
    desk.sit()
    assert desk.start(2, **told)["result"] == "ok"


@pytest.mark.parametrize("more", [{}, {"countdown_s": 60}])
def test_the_countdown_is_part_of_the_time_limit(desk: Desk, more: dict[str, Any]) -> None:
    desk.sit()
    told = {"on_active_session": "countdown", **more}
    assert desk.start(**told, max_runtime_s=60)["reason"] == "bad_job", "nothing is left"
    assert desk.start(**told, max_runtime_s=3661)["reason"] == "bad_job"
    assert desk.start(**told, max_runtime_s=3660)["result"] == "ok"


@pytest.mark.parametrize("wrong", [0, -1, 601, "5", True, 2.5])
def test_countdowns_that_are_none(desk: Desk, wrong: object) -> None:
    end = desk.start(on_active_session="countdown", countdown_s=wrong)
    assert (end["reason"], desk.letter.exists()) == ("bad_job", True)


@pytest.mark.parametrize("said", ["Countdown", "count", "", None, 1, ["end"]])
def test_what_no_laptop_knows_sends_nobody_away(desk: Desk, said: object) -> None:
    assert desk.start(on_active_session=said, countdown_s=1)["reason"] == "in_use"


# --- what the visitor sees ---


class Screen:
    """The banner, with programs that write down what they were asked to show."""

    def __init__(self, folder: Path, **programs: str) -> None:
        self.said, self.file = folder / "said", folder / "warning.json"
        self.said.touch()
        (folder / "bin").mkdir()
        for name, script in programs.items():
            program = folder / "bin" / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{script}\n".replace("SAID", str(self.said)))
            program.chmod(0o755)
        self.banner = subprocess.Popen(
            [PYTHON, str(FILES / "banner"), str(self.file), "0.05"],
            env={"PATH": f"{folder}/bin:/usr/bin:/bin"},
        )

    def announce(self, seconds: float, **more: Any) -> None:
        ends_at = time.time() + seconds if seconds else 0.0
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"ends_at": ends_at, "countdown": True, **more}))
        new.replace(self.file)

    def lines(self, number: int) -> list[str]:
        until(lambda: len(self.said.read_text().splitlines()) >= number)
        return self.said.read_text().splitlines()

    def close(self) -> None:
        assert self.banner.poll() is None, "it goes on watching"
        self.banner.kill()
        self.banner.wait()


WINDOW = 'echo "$*" >> SAID; while read -r line; do echo "$line" >> SAID; done; echo closed >> SAID'


def test_a_window_counts_and_closes_when_it_is_taken_back(tmp_path: Path) -> None:
    screen = Screen(tmp_path, zenity=WINDOW.replace("echo closed", "exec true"))
    screen.announce(60)
    shown = screen.lines(5)
    assert "--progress --no-cancel" in shown[0]
    assert "# In 60 Sekunden wird dieser Laptop zurückgesetzt. Bitte jetzt speichern" in shown[2]
    screen.announce(0)
    count = len(screen.lines(5))
    time.sleep(0.3)
    assert len(screen.lines(5)) <= count + 1, "nothing counts any more"
    screen.announce(2)
    until(lambda: "# In einer Sekunde wird" in screen.said.read_text())
    screen.close()


def test_without_a_window_it_is_said_at_once_and_again(tmp_path: Path) -> None:
    screen = Screen(tmp_path, zenity="exit 1", notify_send='echo "$*" >> SAID')
    screen.announce(33)
    first, second = screen.lines(2)
    assert re.search("In 3[123] Sekunden wird dieser Laptop zurückgesetzt.", first)
    assert "In 30 Sekunden" in second
    screen.announce(0)
    screen.announce(3600, countdown=False)
    assert "werden alle Daten auf diesem Gerät gelöscht" in screen.lines(3)[2]
    screen.close()
