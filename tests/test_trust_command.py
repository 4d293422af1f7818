"""`fleet trust`: what a replaced laptop or tablet showed first is forgotten, and nothing else."""

from pathlib import Path

import pytest

from agents.ssh.host_keys import HostKeys
from tests.test_snmp_commands import fleet, region


@pytest.mark.parametrize(
    ("driver", "file", "kind"),
    [
        ("ssh", "host_keys", "ssh-ed25519"),
        ("kiosk", "certificates", "x509"),
        ("freekiosk", "certificates", "x509"),
        ("headwind", "certificates", "x509"),
    ],
)
def test_the_old_key_is_forgotten(tmp_path: Path, driver: str, file: str, kind: str) -> None:
    region(tmp_path, 4711, driver)
    pinned = HostKeys(tmp_path / "home" / "agents" / "s" / file)
    pinned.check("127.0.0.1", 4711, kind, "b2xk")
    pinned.check("127.0.0.2", 4711, kind, "b2xk")
    told = fleet(tmp_path, "trust", "thing")
    assert told.exit_code == 0, told.output
    assert "thing is forgotten" in told.output
    assert pinned.find("127.0.0.1", 4711) is None
    assert pinned.find("127.0.0.2", 4711) == (kind, "b2xk")
    again = fleet(tmp_path, "trust", "thing")
    assert again.exit_code != 0
    assert "no certificate" in again.output
