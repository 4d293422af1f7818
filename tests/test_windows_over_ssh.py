"""The driver speaks to a laptop that answers by way of files, as Windows laptops do: real sshd."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agents.credentials import Credentials
from agents.driver import Refused
from agents.drivers.ssh import Ssh
from agents.messages import Order, Target
from agents.simulator.laptop_folder import LaptopFolder
from tests.sshd import USER, new_key, sshd
from tests.windows_laptop import Service

ROOT = Path(__file__).parents[1]
SECONDS = timedelta(seconds=30)


def order(number: int, **steps: str) -> Order:
    now = datetime.now(UTC)
    return Order(
        id=f"win.{number}",
        site="s",
        device="w1",
        room="r1",
        steps=steps,
        not_before=now - timedelta(minutes=1),
        not_after=now + timedelta(minutes=10),
        max_runtime_s=60,
    )


def test_health_reset_and_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laptop = LaptopFolder(tmp_path / "laptop", 3, "SER-1")
    laptop.plant_traces()
    public = new_key(tmp_path / "key")
    monkeypatch.setenv(
        "RAUMWART_SECRET_LAPTOPS",
        json.dumps({"user": USER, "key_file": str(tmp_path / "key")}),
    )
    command = f"cd {ROOT} && {sys.executable} -m tests.windows_laptop entry {tmp_path}"
    target = Target(
        device="w1",
        room="r1",
        kind="laptop",
        driver="ssh",
        address="127.0.0.1",
        port=1,
        credential="laptops",
        serial="SER-1",
    )

    async def scene(port: int) -> None:
        there = target.model_copy(update={"port": port})
        driver = Ssh(Credentials(None), tmp_path / "state")
        try:
            assert (await driver.poll(there, SECONDS))["serial"] == "SER-1"
            await driver.act(there, order(1, tier="quick", profile="standard"), SECONDS)
            facts = await driver.look(there, order(1, tier="quick"), SECONDS)
            assert facts["reset_id"] == "win.1"
            assert (facts["residue"], facts["home_clean"]) == (0, True)
            with pytest.raises(Refused) as caught:
                await driver.act(there, order(2, profile="nobody"), SECONDS)
            assert caught.value.reason == "unknown_profile"
        finally:
            await driver.close()

    with Service(tmp_path, laptop) as service, sshd(tmp_path, command, public) as server:
        asyncio.run(scene(server.port))
    assert service.requests[0] == "health"
    assert "verify win.1" in service.requests
    assert laptop.victim.read_text() == "not a guest's\n"
