"""A laptop's reset goes on without its listener, is followed from anywhere, and can be taken back
until it ends somebody's session."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reset_machine import FILES, STEPS, Machine, a_job

SLOW = "import time; time.sleep(1.5)"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    machine.copy_scripts(tmp_path / "scripts")
    yield machine
    for worker in workers(machine):
        os.kill(worker, signal.SIGKILL)


def workers(machine: Machine) -> list[int]:
    """Processes that hold the machine's lock open: the reset and its watchdog."""
    lock, found = str(machine.folder / "state" / "lock"), []
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(fd) == lock:  # noqa: PTH115 what it says, not what is there
                found.append(int(fd.parts[2]))
        except OSError:
            continue
    return sorted(set(found))


def begin(machine: Machine, number: int = 1, **changes: Any) -> subprocess.Popen[bytes]:
    """Start and return when the reset has said its first word."""
    listener = subprocess.Popen(
        machine.command("start"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert listener.stdin
    assert listener.stdout
    with listener.stdin as given:
        given.write(a_job(number, **changes).encode())
    listener.stdout.readline()
    listener.stdin = None  # communicate() would close it again
    return listener


def test_a_killed_listener_does_not_end_the_reset(machine: Machine) -> None:
    machine.spoil("room_residue.py", "def sweep(", SLOW)
    listener = begin(machine)
    os.kill(listener.pid, signal.SIGKILL)
    listener.communicate()
    heard = machine.run("follow", "01JRUN.1", "0")
    assert [event["step"] for event in heard[:-1]] == STEPS
    assert [event["seq"] for event in heard] == list(range(1, len(heard) + 1))
    assert heard[-1]["result"] == "ok"
    assert machine.verify()["home_clean"] is True


def test_following_goes_on_where_one_left_off(machine: Machine) -> None:
    machine.start()
    heard = machine.run("follow", "01JRUN.1", "9")
    assert [event["seq"] for event in heard] == list(range(10, len(STEPS) + 2))
    assert {event["reset_id"] for event in heard} == {"01JRUN.1"}


def test_following_what_nobody_began(machine: Machine) -> None:
    assert machine.run("follow", "01JRUN.7", "0") == [
        {"event": "unknown_reset", "reset_id": "01JRUN.7"}
    ]


def test_the_same_order_twice_at_once_is_one_reset(machine: Machine) -> None:
    machine.spoil("room_residue.py", "def sweep(", SLOW)
    listener = begin(machine)
    second = machine.run("start", job=a_job())
    assert second[-1]["result"] == "ok"
    assert [event["step"] for event in second[:-1]] == STEPS, "each step was done once"
    assert machine.start(2)["result"] == "ok"
    listener.communicate()


def test_another_order_meanwhile_is_refused(machine: Machine) -> None:
    machine.spoil("room_residue.py", "def sweep(", SLOW)
    listener = begin(machine)
    assert machine.start(2)["reason"] == "busy"
    assert b'"result":"ok"' in listener.communicate()[0]


def test_a_killed_reset_is_told_and_the_same_order_carries_it_on(machine: Machine) -> None:
    machine.spoil("room_residue.py", "def sweep(", SLOW)
    listener = begin(machine)
    for worker in workers(machine):
        if worker != listener.pid:
            os.kill(worker, signal.SIGKILL)
    said = listener.communicate()[0].splitlines()
    assert json.loads(said[-1])["event"] == "interrupted"
    assert machine.run("status")[-1]["open"] == ["01JRUN.1"]
    assert machine.start()["result"] == "ok"
    assert machine.run("status")[-1]["open"] == []


def test_a_killed_reset_that_may_no_longer_go_on_has_failed(machine: Machine) -> None:
    """It is no longer untouched, so it must not be called a refusal."""
    machine.spoil("room_residue.py", "def sweep(", SLOW)
    listener = begin(machine)
    _until((machine.folder / "state/runs/01JRUN.1.fate").exists)
    for worker in workers(machine):
        if worker != listener.pid:
            os.kill(worker, signal.SIGKILL)
    listener.communicate()
    end = machine.start(not_after="2020-01-01T00:00:00Z")
    assert (end["result"], end["reason"], end["step"]) == ("failed", "expired", "resume")


def test_at_boot_what_was_interrupted_is_finished(machine: Machine) -> None:
    machine.spoil("room_residue.py", "def sweep(", SLOW)
    (machine.home / "letter").write_text("private")
    listener = begin(machine)
    _until((machine.folder / "state/runs/01JRUN.1.fate").exists)
    for worker in workers(machine):
        if worker != listener.pid:
            os.kill(worker, signal.SIGKILL)
    listener.communicate()
    machine.scripts = FILES
    assert machine.run("resume") == []
    assert machine.state()["runs"]["01JRUN.1"]["phase"] == "done"
    seen = machine.verify()
    assert (seen["home_clean"], seen["residue"]) == (True, 0)
    assert machine.run("follow", "01JRUN.1", "0")[-1]["result"] == "ok"


def test_at_boot_an_untouched_order_that_is_too_late_is_dropped(machine: Machine) -> None:
    begun = machine.folder / "begun"
    wait = f"    import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(3)"
    machine.spoil("room_run.py", "    def _prepare(self", wait)
    (machine.home / "letter").write_text("private")
    listener = subprocess.Popen(
        machine.command("start"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert listener.stdin
    listener.stdin.write(a_job().encode())
    listener.stdin.close()
    job = machine.folder / "state/runs/01JRUN.1.job"
    _until(begun.exists)
    for worker in workers(machine):
        if worker != listener.pid:
            os.kill(worker, signal.SIGKILL)
    listener.wait(30)
    job.write_text(a_job(not_after="2020-01-01T00:00:00Z"))
    machine.run("resume")
    end = machine.run("follow", "01JRUN.1", "0")[-1]
    assert (end["result"], end["reason"]) == ("refused", "expired")
    assert (machine.home / "letter").exists()


@pytest.mark.parametrize(("step", "aborted"), [("prepare", True), ("unmount", False)])
def test_an_order_is_taken_back_only_before_it_ends_sessions(
    machine: Machine, step: str, aborted: bool
) -> None:
    machine.spoil("room_run.py", f"    def _{step}(self", "    import time; time.sleep(1.5)")
    (machine.home / "letter").write_text("private")
    ends: list[dict[str, Any]] = []
    running = threading.Thread(target=lambda: ends.append(machine.start()))
    running.start()
    fate = machine.folder / "state/runs/01JRUN.1.fate"
    state = machine.folder / "state/state.json"
    _until(fate.exists if step == "unmount" else state.exists)
    assert machine.run("abort", "01JRUN.1")[-1]["aborted"] is aborted
    running.join()
    assert ends[0]["result"] == ("refused" if aborted else "ok")
    assert ends[0].get("reason") == ("aborted" if aborted else None)
    assert (machine.home / "letter").exists() is aborted
    assert machine.run("abort", "01JRUN.1")[-1]["aborted"] is aborted
    assert machine.run("abort", "01JRUN.9")[-1]["aborted"] is False


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0), ({"not_after": "2020-01-01T00:00:00Z"}, 11), ({"v": 2}, 64),
        ({"sent_at": "2020-01-01T00:00:00Z"}, 15), ({"serial": "x"}, 10),
    ],
)  # fmt: skip
def test_the_exit_code_is_a_hint(machine: Machine, changes: dict[str, Any], code: int) -> None:
    done = subprocess.run(
        machine.command("start"), input=a_job(**changes).encode(), capture_output=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == code


@pytest.mark.parametrize("tier", ["standard", "full"])
def test_after_a_restart_the_look_sees_another_boot(machine: Machine, tier: str) -> None:
    before = machine.verify()["boot_id"]
    path = machine.scripts / "room_machine.py"
    path.write_text(path.read_text().replace('return ""', 'return "updates"'))
    heard = machine.run("start", job=a_job(tier=tier))
    assert heard[-1]["result"] == "ok", heard
    assert [one["event"] for one in heard if one["event"] == "restart"] == ["restart"]
    seen = machine.verify()
    assert seen["boot_fresh"] is True
    assert seen["boot_id"] != before
    assert seen["tier"] == tier
    assert (seen["home_clean"], seen["residue"]) == (True, 0)


def test_a_broken_line_of_events_is_skipped(machine: Machine) -> None:
    machine.start()
    events = machine.folder / "state/runs/01JRUN.1.events"
    whole = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(whole[:3]) + whole[3][:20] + b"\n" + b"".join(whole[4:]))
    assert len(machine.run("follow", "01JRUN.1", "0")) == len(whole) - 1


def _until(settled: Any) -> None:
    for _ in range(500):
        if settled():
            return
        time.sleep(0.02)
    raise AssertionError("it never came")


@pytest.mark.thorough
@pytest.mark.parametrize("when", ["begins", "ends"])
def test_a_reset_that_is_killed_at_every_step_is_carried_on_to_a_clean_end(
    machine: Machine, when: str
) -> None:
    """The process itself dies, once at each step; the same order comes again after each death."""
    path = machine.scripts / "room_run.py"
    step = "        self._evidence = evidence\n"
    done = "            found = step()\n"
    assert step in path.read_text()
    assert done in path.read_text()
    where, indent = (step, " " * 8) if when == "begins" else (done, " " * 12)
    path.write_text(path.read_text().replace(where, where + indent + "_die_once(name)\n") + DIE)
    (machine.home / "letter").write_text("private")
    (machine.tmp / "scan").mkdir()
    (machine.tmp / "scan" / "page").write_text("private")
    machine.give_all()
    deaths = 0
    # It takes a while, and an order that was sent long ago would be doubted.
    while (last := machine.run("start", job=a_job(tier="full"))[-1])["event"] == "interrupted":
        deaths += 1
    assert last["result"] == "ok", last
    died = [path.name[5:] for path in machine.scripts.glob("died-*")]
    assert deaths == len(died)
    assert {*STEPS, "everywhere", "updates", "restart", "again"} == set(died)
    seen = machine.verify()
    assert (seen["home_clean"], seen["residue"], seen["trash"]) == (True, 0, 0), seen
    assert machine.run("status")[-1]["open"] == []
    assert [event["seq"] for event in machine.run("follow", "01JRUN.1", "0")] == list(
        range(1, len(machine.run("follow", "01JRUN.1", "0")) + 1)
    )


DIE = """

def _die_once(name):
    mark = os.path.join(os.path.dirname(os.path.realpath(__file__)), "died-" + name)
    if not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_takes_long_to_delete_holds_nobody_up(machine: Machine) -> None:
    path = machine.scripts / "room_run.py"
    path.write_text(path.read_text().replace("TRASH_S = 20.0", "TRASH_S = 0.05"))
    slow = "    import time; time.sleep(0.2)"
    machine.spoil("room_tree.py", "def _empty_upwards(", slow.strip())
    for number in range(10):
        (machine.home / f"folder{number}" / "inner").mkdir(parents=True)
        (machine.home / f"folder{number}" / "inner" / "letter").write_text("private")
    machine.give_all()
    end = machine.start()
    assert (end["result"], end["evidence"]["trash"]) == ("ok", 1)
    seen = machine.verify()
    assert (seen["home_clean"], seen["residue"], seen["trash"]) == (True, 0, 1)
    assert machine.start(2)["result"] == "ok", "the next order does not wait for it"
    _until(lambda: not list((machine.folder / "trash").iterdir()))
    assert machine.verify(2)["trash"] == 0
