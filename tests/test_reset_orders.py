"""The laptop's scripts and their orders: refused, repeated, at once, killed, unheard, too slow."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.parts import need
from tests.reset_machine import FILES, PYTHON, Machine, a_job


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"v": 2}, "bad_job"),
        ({"reset_id": "../x.1"}, "bad_job"),
        ({"reset_id": "x.1\n"}, "bad_job"),
        ({"reset_id": ...}, "bad_job"),
        ({"sent_at": "2026-11-23T08:00:00"}, "bad_job"),
        ({"sent_at": "yesterday"}, "bad_job"),
        ({"sent_at": 5}, "bad_job"),
        ({"max_runtime_s": "60"}, "bad_job"),
        ({"max_runtime_s": True}, "bad_job"),
        ({"max_runtime_s": 10**9}, "bad_job"),
        ({"profile": "../standard"}, "bad_job"),
        ({"profile": 7}, "bad_job"),
        ({"tier": "gold"}, "unsupported_tier"),
        ({"profile": "nobody"}, "unknown_profile"),
        ({"serial": "PF-2"}, "wrong_device"),
        ({"sent_at": "2020-01-01T00:00:00Z"}, "clock_in_doubt"),
        ({"not_after": "2020-01-01T00:00:00Z"}, "expired"),
        ({"not_before": "2120-01-01T00:00:00+01:00"}, "too_early"),
        ({"next_start": "2020-01-01T00:00:00Z"}, "too_late"),
    ],
)
def test_reasons_to_refuse(machine: Machine, changes: dict[str, Any], reason: str) -> None:
    (machine.home / "x").write_text("")
    end = machine.start(**changes)
    assert (end["result"], end["reason"]) == ("refused", reason)
    assert (machine.home / "x").exists()
    assert not (machine.folder / "state" / "state.json").exists()


@pytest.mark.parametrize("job", ["", "[]", "{", "null", "[" * 5000, "\udcff", "9" * 5000])
def test_jobs_that_are_none(machine: Machine, job: str) -> None:
    done = subprocess.run(
        machine.command("start"), input=job.encode("utf-8", "surrogateescape"),
        capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["reason"] == "bad_job"
    assert not done.stderr


def test_a_job_that_is_too_long_is_not_read_to_the_end(machine: Machine) -> None:
    assert machine.run("start", job=" " * 20_000)[-1]["detail"] == "too long"


def test_a_session_refuses_or_is_ended(machine: Machine) -> None:
    sessions = machine.folder / "sessions.json"
    sessions.write_text(json.dumps({"active": ["kurs"], "logins": []}))
    assert machine.start()["reason"] == "in_use"
    assert machine.run("preflight")[-1]["in_use"] is True
    assert machine.start(on_active_session="end")["result"] == "ok"
    assert json.loads(sessions.read_text())["active"] == []


def test_the_same_order_is_answered_from_memory(machine: Machine) -> None:
    first = machine.start()
    (machine.home / "new").write_text("")
    again = machine.start(not_after="2020-01-01T00:00:00Z")
    assert again["repeated"] is True
    assert again["evidence"] == first["evidence"]
    assert (machine.home / "new").exists()


def test_one_reset_at_a_time(machine: Machine) -> None:
    holder = subprocess.Popen(
        ["flock", machine.folder / "state" / "lock", "sleep", "20"], start_new_session=True
    )
    try:
        for _ in range(100):
            if machine.run("preflight")[-1]["busy"]:
                break
        assert machine.start()["reason"] == "busy"
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
    assert machine.start()["result"] == "ok"


@pytest.mark.parametrize("after", range(1, 8))
def test_a_reset_that_was_killed_resumes(machine: Machine, after: int) -> None:
    for number in range(300):
        (machine.home / f"file{number}").write_text("x")
    (machine.tmp / "x").write_text("")
    machine.give_all()
    job = a_job()
    running = subprocess.Popen(
        machine.command("start"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert running.stdin
    assert running.stdout
    with running.stdin as given:
        given.write(job.encode())
    for _ in range(after):
        running.stdout.readline()
    running.kill()
    running.stdout.close()
    running.wait()
    assert machine.home.is_dir(), "there is no moment without a home"
    end = machine.run("start", job=job)[-1]
    assert end["result"] == "ok"
    seen = machine.verify()
    assert seen["home_clean"] is True
    assert seen["residue"] == 0


def test_a_lost_listener_does_not_stop_what_was_begun(machine: Machine) -> None:
    (machine.home / "x").write_text("")
    running = subprocess.Popen(
        machine.command("start"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert running.stdin
    assert running.stdout
    running.stdout.close()
    running.stdin.write(a_job().encode())
    running.stdin.close()
    running.wait(30)
    assert machine.state()["runs"]["01JRUN.1"]["phase"] == "done"
    assert machine.verify()["home_clean"] is True


@pytest.mark.parametrize("deaf", [False, True], ids=["hears", "deaf"])
def test_the_watchdog_ends_a_reset_that_takes_too_long(machine: Machine, deaf: bool) -> None:
    """One that hears the clock tells its own end; one that is stuck is killed and told about."""
    machine.copy_scripts(machine.folder / "scripts")
    block = (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 60)); " if deaf else ""
    )
    machine.spoil("room_residue.py", "def sweep(", f"{block}import time; time.sleep(60)")
    machine.spoil("room_launch.py", "def _watch(", "global GRACE_S; GRACE_S = 1")
    end = machine.start(max_runtime_s=1)
    assert (end["result"], end["reason"]) == ("failed", "too_long")
    assert end["step"] == ("" if deaf else "residue")
    machine.scripts = FILES
    assert machine.start(2)["result"] == "ok", "the next order is not held up"


def test_a_broken_journal_proves_nothing_and_is_kept(machine: Machine) -> None:
    machine.start()
    state = machine.folder / "state" / "state.json"
    state.write_text(state.read_text()[:40])
    seen = machine.verify()
    assert seen["reset_id"] is None
    assert seen["home_clean"] is False
    assert machine.start(2)["result"] == "ok"
    assert (machine.folder / "state" / "state.broken").exists()


def test_the_journal_keeps_the_last_runs_only(machine: Machine) -> None:
    machine.start()
    state = machine.state()
    run = state["runs"]["01JRUN.1"]
    state["runs"] = {f"old.{n}": run | {"started_at": f"2020-01-01T{n:02}"} for n in range(24)}
    (machine.folder / "state" / "state.json").write_text(json.dumps(state))
    machine.start(2)
    assert len(machine.state()["runs"]) == 20
    assert machine.verify()["reset_id"] == "01JRUN.2"


@pytest.mark.parametrize(
    "change",
    [{"home": "/"}, {"home": "home"}, {"trash": "//"}, {"uid": "0"}, {"sessions": "", "uid": 0},
     {"places": {"tmp": "/tmp"}}, {"places": {"tmp": ["tmp"]}}, {"more": 1}],
)  # fmt: skip
def test_a_configuration_that_could_do_harm_is_refused(machine: Machine, change: Any) -> None:
    machine.configure(**change)
    assert machine.start()["reason"] == "bad_config"
    assert machine.verify()["reason"] == "bad_config"


def test_health_is_read_from_this_machine(machine: Machine) -> None:
    assert machine.run("health")[-1]["updates"] is None, "not counted while somebody waits"
    facts = machine.run("health")[-1]
    if need("apt-get") and Path("/var/lib/apt/lists").exists():
        assert facts["updates"] >= facts["security_updates"] >= 0
    assert abs(facts["now"] - time.time()) < 30
    assert facts["serial"] == "PF-1"
    assert facts["uptime_s"] > 0
    assert 0 < facts["memory_ratio"] < 1
    assert 0 <= facts["disk_ratio"] <= 1
    assert facts["reset_id"] is None


@pytest.mark.parametrize(
    "asked",
    [None, "", "bash", "health; id", "health\nid", "health ", "start --config /tmp/x", "verify",
     "verify ../x.1", "verify a.1 b.2", "verify $(id).1", "verify -x.1", "HEALTH", "status\n",
     "verify a.12345", "scp -f /etc/shadow", "internal-sftp"],
)  # fmt: skip
def test_the_forced_command_takes_its_verbs_and_nothing_else(asked: str | None) -> None:
    env = {"PATH": "/usr/bin:/bin"} | ({} if asked is None else {"SSH_ORIGINAL_COMMAND": asked})
    done = subprocess.run(
        [FILES / "entry"], input=b"", capture_output=True, env=env, timeout=30, check=False
    )
    assert json.loads(done.stdout)["reason"] == "bad_request"
    assert done.returncode == 64


@pytest.mark.parametrize("first", [b"", b"bash\n", b"health", b"health --config /x\n", b"\n"])
def test_dispatch_checks_once_more(first: bytes) -> None:
    done = subprocess.run(
        [FILES / "dispatch"], input=first, capture_output=True, timeout=30, check=False
    )
    assert json.loads(done.stdout)["reason"] == "bad_request"
    assert done.returncode == 64


UNDECIDED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from room_run import fate
from room_state import Config
config = Config(guest="kurs", uid=1, gid=1, home="/h", skeletons="/s", trash="/t",
                state=sys.argv[2])
reader, writer = os.pipe()
child = os.fork()
wish = "commit" if child else "abort"
mine = "".join(fate(config, f"01J.{n}", wish)[0] for n in range(500))
if not child:
    os.write(writer, mine.encode())
    os._exit(0)
os.waitpid(child, 0)
print(mine == os.read(reader, 10_000).decode())
"""


def test_an_order_taken_back_at_the_last_moment_has_one_fate(tmp_path: Path) -> None:
    """Who takes it back, and the reset that goes on, must be told the same."""
    (tmp_path / "runs").mkdir()
    words = [PYTHON, "-Bc", UNDECIDED, str(FILES), str(tmp_path)]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b"True\n"
