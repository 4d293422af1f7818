"""What the tests of Headwind share: a server with tablets, and the driver that asks it."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.credentials import Credentials
from agents.drivers.headwind import Headwind
from agents.messages import Target
from agents.simulator.headwind import Managed, MdmServer
from tests.tablets import SECOND

PASSWORD = "geheim-%&=ü-mdm"
FAR = 3 * SECOND


def set_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials `mdm` (right), `wrong` and `half`."""
    parts = {"user": "fleet", "password": PASSWORD}
    monkeypatch.setenv("RAUMWART_SECRET_MDM", json.dumps(parts))
    monkeypatch.setenv("RAUMWART_SECRET_WRONG", json.dumps(parts | {"password": "wrong"}))
    monkeypatch.setenv("RAUMWART_SECRET_HALF", json.dumps({"password": PASSWORD}))


def driver(state: Path = Path()) -> Headwind:
    return Headwind(Credentials(None), state)


def target(port: int, number: str = "h1", **fields: Any) -> Target:
    options = {"tls": False, "number": number} | fields.pop("options", {})
    given: dict[str, Any] = {"credential": "mdm", "address": "127.0.0.1", "kind": "tablet"}
    about = given | {"device": f"t-{number}", "room": "r1", "driver": "headwind"} | fields
    return Target(port=port, options=options, **about)


def server(*tablets: Managed, **options: Any) -> MdmServer:
    return MdmServer("fleet", PASSWORD, list(tablets) or [Managed("h1", "R52-1")], **options)
