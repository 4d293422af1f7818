"""The laptop's scripts as they are installed: what they remove, and what they leave alone."""

import ast
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.parts import need
from tests.reset_machine import FILES, GUEST, ROOT, STEPS, Machine, a_job


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
        (n, len(STEPS), "ok") for n in range(1, len(STEPS) + 1)
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
