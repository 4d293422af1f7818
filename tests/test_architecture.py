"""The design holds: arrows point one way, files stay small, functions do one thing, time is
passed in."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("inventory", "agents", "fleet", "dashboards")
PLACES = {*PACKAGES, "ansible", "tests"}
MAX_FILE = 400
MAX_FUNCTION = 80
FILES = sorted(
    path
    for place in PLACES
    for path in (ROOT / place).rglob("*.py")
    if "node_modules" not in path.parts
)
CODE = [path for path in FILES if path.relative_to(ROOT).parts[0] in PACKAGES]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FILE


@pytest.mark.parametrize("path", CODE, ids=name)
def test_no_function_is_long(path: Path) -> None:
    long = {
        function.name: length
        for function in functions(path)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION
        and "migrations" not in path.parts
    }
    assert not long


@pytest.mark.parametrize("path", CODE, ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert not path.read_text().strip() or ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", CODE, ids=name)
def test_no_module_has_a_name_that_says_nothing(path: Path) -> None:
    assert path.stem not in {"utils", "util", "common", "helpers", "misc", "services", "crud"}


CLOCKS = {
    "fleet/cli.py",
    "fleet/reset_cli.py",
    "fleet/discovery/command.py",  # the shell's command
    "fleet/app.py",
    "fleet/jobs.py",  # APScheduler ticks by the real clock
    "agents/agent.py",
    "agents/drivers/ssh.py",  # tells how far a laptop's clock is off
    "agents/drivers/pjlink.py",  # how soon the next course begins
}
"""Where the real clock is read; everything else is told the time."""


@pytest.mark.parametrize("path", CODE, ids=name)
def test_time_is_passed_in(path: Path) -> None:
    if name(path) in CLOCKS or "simulator" in path.parts:
        return
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"now", "utcnow", "today"}
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"datetime", "date"}
    ]
    assert not calls


def test_broad_except_stands_only_around_one_poll_and_one_bus_message() -> None:
    broad = [
        name(path)
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
        )
    ]
    assert sorted(broad) == ["agents/poller.py", "fleet/intake.py"]


def test_nothing_is_swept_under_a_broad_suppress() -> None:
    assert not [name(path) for path in CODE if "suppress(Exception" in path.read_text()]


def test_imports_point_one_way() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_folder_outside_the_design() -> None:
    tracked = subprocess.run(
        ["git", "ls-tree", "-d", "--name-only", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {folder for folder in tracked if not folder.startswith(".")} <= PLACES
