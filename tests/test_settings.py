"""Settings from the environment: a wrong or unknown one refuses to start, in one sentence."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet.cli import main
from fleet.settings import Settings


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))


def test_what_is_set_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLEET_PORT", "9090")
    monkeypatch.setenv("FLEET_CALENDAR_NETWORKS", "10.0.0.0/8, fd00::/8")
    settings = Settings()
    assert settings.public_url == "http://127.0.0.1:9090"
    assert settings.database_url == f"sqlite:///{tmp_path}/fleet.db"
    assert settings.calendar_networks == ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FLEET_PORT", "abc", "FLEET_PORT: Input should be a valid integer"),
        ("FLEET_PORT", "99999", "FLEET_PORT: Input should be less than or equal to 65535"),
        ("FLEET_POLL_S", "0", "FLEET_POLL_S: "),
        ("FLEET_PROT", "8080", "there is no setting FLEET_PROT; did you mean FLEET_PORT?"),
        ("FLEET_CALENDAR_NETWORKS", "10.0.0.0/8, home", "FLEET_CALENDAR_NETWORKS: "),
    ],
)
def test_a_wrong_one_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    done = CliRunner().invoke(main, ["migrate"])
    assert done.exit_code == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
