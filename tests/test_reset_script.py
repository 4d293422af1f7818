"""The laptop's scripts as they are installed: what they remove, what they leave alone, and when."""

import ast
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.parts import need

FILES = Path(__file__).parents[1] / "ansible" / "roles" / "room_laptop" / "files"
ROOT = os.geteuid() == 0
GUEST = 54321 if ROOT else os.getuid()
"""As root the guest is really somebody else, so that root's special powers are in play."""
STEPS = ["prepare", "lock", "sessions", "unmount", "home", "residue", "unlock", "trash"]


class Machine:
    """A laptop in a folder, and the scripts run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.tmp = folder / "home", folder / "tmp"
        self.victims = folder / "victims"
        for one in ("skeletons/standard/Desktop", "skeletons/senioren", "state", "tmp", "victims"):
            (folder / one).mkdir(parents=True)
        (folder / "skeletons/standard/.bashrc").write_text("# prepared\n")
        (folder / "skeletons/standard/Desktop/open.sh").write_text("echo\n")
        (folder / "skeletons/standard/Desktop/open.sh").chmod(0o755)
        (folder / "skeletons/standard/link").symlink_to("Desktop/open.sh")
        (folder / "skeletons/senioren/GROSS").write_text("")
        (self.victims / "rc").write_text("system\n")
        self.home.mkdir()
        self.give(self.home)
        self.configure()

    def configure(self, **changes: Any) -> None:
        config = {
            "guest": "kurs", "uid": GUEST, "gid": GUEST if ROOT else os.getgid(),
            "home": str(self.home), "skeletons": str(self.folder / "skeletons"),
            "trash": str(self.folder / "trash"), "state": str(self.folder / "state"),
            "places": {"tmp": [str(self.tmp)], "none": [str(self.folder / "nowhere")]},
            "sessions": str(self.folder / "sessions.json"), "serial": "PF-1",
        }  # fmt: skip
        (self.folder / "laptop.json").write_text(json.dumps(config | changes))

    def give(self, *paths: Path) -> None:
        for path in paths:
            os.chown(path, GUEST, GUEST if ROOT else os.getgid(), follow_symlinks=False)

    def give_all(self) -> None:
        """All in home and tmp is the guest's, deep down, without following links."""
        for top in (self.home, self.tmp):
            for folder, folders, files in os.walk(top):
                self.give(*(Path(folder, name) for name in folders + files))

    def command(self, *words: str) -> list[str]:
        config = str(self.folder / "laptop.json")
        return [sys.executable, "-Es", str(FILES / "room_command.py"), "--config", config, *words]

    def run(self, *words: str, job: str = "") -> list[dict[str, Any]]:
        done = subprocess.run(
            self.command(*words), input=job, capture_output=True, text=True, timeout=60, check=False
        )
        assert not done.stderr, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def start(self, number: int = 1, **changes: Any) -> dict[str, Any]:
        return self.run("start", job=a_job(number, **changes))[-1]

    def verify(self, number: int = 1) -> dict[str, Any]:
        return self.run("verify", f"01JRUN.{number}")[-1]

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / "state" / "state.json").read_text())
        return state


def a_job(number: int = 1, **changes: Any) -> str:
    now = datetime.now(UTC)
    job = {
        "v": 1, "reset_id": f"01JRUN.{number}", "sent_at": now.isoformat(),
        "not_before": (now - timedelta(minutes=1)).isoformat(),
        "not_after": (now + timedelta(minutes=1)).isoformat(),
        "next_start": None, "max_runtime_s": 60, "tier": "quick", "serial": "PF-1",
    }  # fmt: skip
    return json.dumps({key: value for key, value in (job | changes).items() if value != ...})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_scripts_run_on_old_pythons() -> None:
    for path in [*FILES.glob("*.py"), FILES / "entry", FILES / "dispatch"]:
        ast.parse(path.read_text(), feature_version=(3, 8))
    need("python3")
    assert (FILES / "entry").read_text().startswith("#!/usr/bin/python3 -Es\n")


def test_a_used_home_becomes_the_prepared_one(machine: Machine) -> None:
    (machine.home / "letter.odt").write_text("private")
    (machine.home / ".bashrc").write_text("alias ls='rm -rf /'")
    machine.give_all()
    events = machine.run("start", job=a_job())
    assert [event["step"] for event in events[:-1]] == STEPS
    assert [(event["n"], event["of"], event["status"]) for event in events[:-1]] == [
        (n, 8, "ok") for n in range(1, 9)
    ]
    assert events[-1]["result"] == "ok"
    assert sorted(path.name for path in machine.home.iterdir()) == [".bashrc", "Desktop", "link"]
    assert (machine.home / ".bashrc").read_text() == "# prepared\n"
    assert (machine.home / "link").readlink() == Path("Desktop/open.sh")
    assert (machine.home / "Desktop" / "open.sh").stat().st_mode & 0o777 == 0o755
    for path in [machine.home, *machine.home.rglob("*")]:
        assert path.lstat().st_uid == GUEST
    seen = machine.verify()
    assert seen["home_clean"] is True
    assert seen["residue"] == 0
    assert seen["reset_id"] == "01JRUN.1"
    assert seen["used_since"] is False
    assert list((machine.folder / "trash").iterdir()) == []


def test_a_profile_is_another_prepared_home(machine: Machine) -> None:
    assert machine.start(profile="senioren")["result"] == "ok"
    assert [path.name for path in machine.home.iterdir()] == ["GROSS"]
    assert machine.verify()["home_clean"] is True


def test_links_out_of_the_home_harm_nobody(machine: Machine) -> None:
    """The three ways in which a careless root deletes, overwrites or gives away what links name."""
    (machine.home / "Downloads").symlink_to("../victims")
    (machine.home / ".bashrc").symlink_to(machine.victims / "rc")
    (machine.home / "Desktop").symlink_to(machine.victims)
    (machine.home / "root").symlink_to("/")
    (machine.tmp / "victims").symlink_to(machine.victims)
    machine.give_all()
    before = [(path, path.lstat()) for path in [machine.victims, machine.victims / "rc"]]
    assert machine.start()["result"] == "ok"
    for path, about in before:
        now = path.lstat()
        assert (now.st_uid, now.st_mode, now.st_mtime_ns) == (
            about.st_uid, about.st_mode, about.st_mtime_ns,
        )  # fmt: skip
    assert (machine.victims / "rc").read_text() == "system\n"
    assert not (machine.tmp / "victims").is_symlink()
    assert machine.verify()["home_clean"] is True


def test_a_link_in_place_of_the_home_or_the_trash(machine: Machine) -> None:
    machine.home.rmdir()
    machine.home.symlink_to(machine.victims)
    assert machine.start()["result"] == "ok"
    assert machine.home.is_dir()
    assert not machine.home.is_symlink()
    assert (machine.victims / "rc").exists()
    (machine.folder / "trash").rmdir()
    (machine.folder / "trash").symlink_to(machine.victims)
    end = machine.start(2)
    assert (end["result"], end["step"]) == ("failed", "prepare")
    assert (machine.victims / "rc").exists()


def test_a_trash_that_others_can_reach_is_refused(machine: Machine) -> None:
    (machine.folder / "trash").mkdir(mode=0o777)
    (machine.folder / "trash").chmod(0o777)
    end = machine.start()
    assert (end["result"], end["step"]) == ("failed", "prepare")


def test_nests_pipes_odd_names_and_closed_folders_go_too(machine: Machine) -> None:
    where = Path.cwd()
    os.chdir(machine.home)
    for _ in range(1200):
        os.mkdir("d")  # noqa: PTH102 the path would be too long
        os.chdir("d")
    os.chdir(where)
    os.mkfifo(machine.home / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(machine.tmp / "socket"))
    for name in (b"new\nline", b"\xff\xfe", b" ", b"-rf", b"*", b"a" * 255):
        Path(os.fsdecode(os.fsencode(machine.tmp) + b"/" + name)).write_bytes(b"x")
    (machine.tmp / "closed").mkdir()
    (machine.tmp / "closed" / "inner").mkdir(mode=0o000)
    (machine.tmp / "closed").chmod(0o500)
    os.truncate(os.open(machine.home / "sparse", os.O_CREAT | os.O_RDWR), 1 << 40)
    machine.give(machine.tmp / "closed", machine.home / "pipe", *machine.tmp.iterdir())
    before = machine.verify()
    assert before["home_clean"] is False
    assert before["residue"] == 8
    assert machine.start()["result"] == "ok"
    assert list(machine.tmp.iterdir()) == []
    assert list((machine.folder / "trash").iterdir()) == []
    assert machine.verify()["home_clean"] is True


@pytest.mark.skipif(not ROOT, reason="needs root to own files as two people")
def test_only_what_the_guest_owns_goes(machine: Machine) -> None:
    (machine.tmp / "system").mkdir()
    (machine.tmp / "system" / "guests").write_text("x")
    (machine.tmp / "system" / "ours").write_text("x")
    (machine.tmp / "guests").mkdir()
    (machine.tmp / "guests" / "made-by-root").write_text("x")
    machine.give(machine.tmp / "system" / "guests", machine.tmp / "guests")
    assert machine.verify()["residue"] == 2
    assert machine.start()["result"] == "ok"
    assert sorted(path.name for path in machine.tmp.rglob("*")) == ["ours", "system"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda m: (m.home / "extra").write_text("x"), "an extra file"),
        (lambda m: (m.home / ".bashrc").write_text("# prepares\n"), "another content"),
        (lambda m: (m.home / ".bashrc").unlink(), "a missing file"),
        (lambda m: (m.home / "Desktop/open.sh").chmod(0o777), "another mode"),
        (lambda m: m.home.chmod(0o777), "another mode of the home"),
        (lambda m: [(m.home / "link").unlink(), (m.home / "link").symlink_to("/")], "a link"),
        (lambda m: os.mkfifo(m.home / "pipe"), "a pipe"),
        (lambda m: [m.home.rename(m.folder / "h"), m.home.symlink_to("h")], "a linked home"),
    ],
)
def test_the_look_sees_every_change(machine: Machine, change: Any, what: str) -> None:
    machine.start()
    assert machine.verify()["home_clean"] is True
    change(machine)
    machine.give_all()
    assert machine.verify()["home_clean"] is False, what


def test_the_look_changes_nothing(machine: Machine) -> None:
    machine.start()
    (machine.tmp / "x").write_text("")
    machine.give_all()

    def all_of_it() -> list[tuple[str, int]]:
        return sorted((str(p), p.lstat().st_mtime_ns) for p in machine.folder.rglob("*"))

    before = all_of_it()
    for _ in range(2):
        assert machine.verify()["residue"] == 1
    assert all_of_it() == before


def test_evidence_holds_no_names(machine: Machine) -> None:
    (machine.home / "my-secret-diagnosis.pdf").write_text("x")
    (machine.tmp / "my-secret-bank.pdf").write_text("x")
    machine.give_all()
    said = json.dumps([machine.verify(), machine.run("start", job=a_job()), machine.verify()])
    assert "secret" not in said
    assert "secret" not in (machine.folder / "state" / "state.json").read_text()


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
        ({"tier": "full"}, "unsupported_tier"),
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
    assert again == first | {"repeated": True}
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


def test_the_watchdog_ends_a_reset_that_takes_too_long(machine: Machine) -> None:
    """Its listener takes nothing off a full pipe, so it stands still for longer than promised."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = os.write(writer, b" " * (1 << 20))
    os.set_blocking(writer, True)
    running = subprocess.Popen(machine.command("start"), stdin=subprocess.PIPE, stdout=writer)
    os.close(writer)
    assert running.stdin
    with running.stdin as given:
        given.write(a_job(max_runtime_s=1).encode())
    journal = machine.folder / "state" / "state.json"
    for _ in range(500):
        if journal.exists() and machine.state()["runs"]["01JRUN.1"]["phase"] != "running":
            break
        time.sleep(0.02)
    with os.fdopen(reader, "rb") as said:
        end = json.loads(said.read()[filled:].splitlines()[-1])
    running.wait(10)
    assert (end["result"], end["reason"]) == ("failed", "too_long")
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
