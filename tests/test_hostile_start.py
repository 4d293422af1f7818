"""The command started with settings that cannot work: one clear sentence, and nothing done."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fleet.cli import main
from inventory.db import open_engine


def fleet(tmp_path: Path, *arguments: str, **settings: str) -> Result:
    environment: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("FLEET_")
    }
    environment |= {"FLEET_HOME": str(tmp_path / "home")} | settings
    return CliRunner().invoke(main, arguments, env=environment)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FLEET_DB", "nonsense", "FLEET_DB is no address"),
        ("FLEET_DB", "mysql://u:hidden@x/y", "sqlite:///… or postgresql://…"),
        ("FLEET_DB", "postgresql://u:hidden@127.0.0.1:port/x", "FLEET_DB is no address"),
        ("FLEET_DB", "postgresql://u:hidden@127.0.0.1:1/x", "cannot be used"),
        ("FLEET_DB", "sqlite:////dev/null/fleet.db", "cannot be made"),
        ("FLEET_DB", "sqlite:////dev/full", "cannot be used"),
        ("FLEET_HOME", "/dev/null", "cannot be made"),
        ("FLEET_BUS", "redis://x", "FLEET_BUS"),
        ("FLEET_BUS", "nats://", "FLEET_BUS"),
        ("FLEET_URL", "raumwart.example", "FLEET_URL"),
        ("FLEET_CREDENTIALS", "/nowhere/at/all", "FLEET_CREDENTIALS"),
        ("FLEET_HOST", "300.1.1.1", "cannot be listened on"),
    ],
)
def test_a_setting_that_cannot_work_is_one_sentence(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    ended = fleet(tmp_path, "serve", FLEET_PORT="0", **{name: value})
    shown = ended.output
    assert ended.exit_code == 1, shown
    assert said in shown
    assert "Traceback" not in shown
    assert "hidden" not in shown
    assert len(shown.strip().splitlines()) == 1, shown


def test_a_port_in_use_leaves_everything_as_it_was(tmp_path: Path) -> None:
    first = fleet(tmp_path, "account", "eva")
    assert re.search(r"/einladung/\S+", first.stdout), first.stderr
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        before = _links(tmp_path)
        ended = fleet(tmp_path, "serve", FLEET_PORT=port)
        assert ended.exit_code == 1
        assert ended.stderr.strip() == (
            f"127.0.0.1, port {port}, cannot be listened on: Address already in use."
        )
        assert _links(tmp_path) == before


@pytest.mark.parametrize("path", ["/dev/null/region.yaml", "/dev/null"])
def test_an_export_that_cannot_be_written_is_one_sentence(tmp_path: Path, path: str) -> None:
    ended = fleet(tmp_path, "export", path)
    assert ended.exit_code == 1
    assert ended.stderr.startswith(f"{path} cannot be written: ")
    assert len(ended.stderr.strip().splitlines()) == 1


def _links(tmp_path: Path) -> list[str]:
    engine = open_engine(f"sqlite:///{tmp_path / 'home' / 'fleet.db'}")
    try:
        with engine.connect() as opened:
            return list(opened.exec_driver_sql("SELECT token_hash FROM one_time_link").scalars())
    finally:
        engine.dispose()


def test_an_agent_does_not_write_a_line_for_each_poll() -> None:
    program = (
        "import logging; from agents.__main__ import main; "
        "main(['--site', 'x', '--bus', 'no:', '--credentials', '.', '--state', '.']); "
        "print(*(logging.getLogger(n).isEnabledFor(logging.INFO) for n in ('agents', 'httpx')))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.stdout.split() == ["True", "False"]
