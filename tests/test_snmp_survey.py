"""A device that no profile knows: what is seen, and the profile that is proposed for it."""

import asyncio
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from agents.credentials import Credentials
from agents.drivers.snmp import Snmp
from agents.messages import Facts
from agents.simulator.snmp import MODELS, SnmpDevice
from agents.snmp.profile import FOLDER, load
from agents.snmp.survey import proposal
from tests.snmp_targets import driver, running, secret, target
from tests.snmp_written import Long, Told, written

__all__ = ["driver"]

LONG = timedelta(seconds=20)
IF, HOST = "1.3.6.1.2.1.2.2.1.", "1.3.6.1.2.1.25."
BOX: dict[str, Told] = {
    f"{IF}2.1": "eth0",
    f"{IF}3.1": 6,
    f"{IF}14.1": 0,
    "1.3.6.1.2.1.31.1.1.1.6.1": Long(123),
    f"{HOST}3.3.1.2.1": 40,
    "99999.1.5.0": 42,
    "99999.1.9.1.2.1": "radio",
    "99999.1.9.1.2.2": "radio",
}


async def surveyed(driver: Snmp, device: SnmpDevice) -> str:
    async with running(device) as (port,):
        survey = await driver.survey(target(port), LONG)
    await driver.close()
    return proposal(survey, load())


async def polled(folder: Path, device: SnmpDevice) -> Facts:
    """By an agent that has its own profiles in its state folder."""
    own = Snmp(Credentials(None), folder)
    async with running(device) as (port,):
        facts = await own.poll(target(port), LONG)
    await own.close()
    return facts


def test_a_proposal_is_a_profile_that_works_as_it_is(driver: Snmp, tmp_path: Path) -> None:
    device = written(tmp_path, "Example AP 3", "1.3.6.1.4.1.99999.1.77", BOX)

    async def scene() -> None:
        text = await surveyed(driver, device)
        for part in ('"1.3.6.1.4.1.99999.1.77"', "cpu_ratio = 0.4", "99999.1.5.0 = 42", "2 rows"):
            assert part in text
        state = tmp_path / "state"
        (state / "profiles").mkdir(parents=True)
        (state / "profiles" / "example-ap.toml").write_text(text)
        facts = await polled(state, device)
        assert (facts["profile"], facts["cpu_ratio"], facts["in_bytes"]) == ("example-ap", 0.4, 123)

    asyncio.run(scene())


def test_net_snmp_needs_more_than_its_number(driver: Snmp, tmp_path: Path) -> None:
    text = asyncio.run(
        surveyed(driver, written(tmp_path, "Linux (x) 5.4", "1.3.6.1.4.1.8072.3.2.10", BOX))
    )
    (rule,) = tomllib.loads(text)["match"]
    assert rule["sys_descr"] == "^Linux"
    assert rule["probe"] == {"oid": "1.3.6.1.4.1.99999.1.5.0"}


@pytest.mark.parametrize("model", MODELS)
def test_every_simulated_model_yields_a_profile(driver: Snmp, tmp_path: Path, model: str) -> None:
    text = asyncio.run(surveyed(driver, SnmpDevice(model)))
    (tmp_path / "proposed.toml").write_text(text)
    load(FOLDER, tmp_path)
    standard = {"printer": "printer-mib", "ups": "ups-mib", "switch-poe": "switch"}.get(model)
    assert standard is None or standard in tomllib.loads(text)["inherits"]


@pytest.mark.parametrize(
    ("descr", "number"),
    [
        ('evil" \nvendor = "x', "1.3.6.1.4.1.99999"),
        ("]]\x00\x1b[2J\u2028'''", "1.3"),
        ("", "0.0"),
        ("(((", "1.3.6.1.4.1.8072.3.2.10"),
    ],
)
def test_nothing_that_a_device_says_leaves_its_comment(
    driver: Snmp, tmp_path: Path, descr: str, number: str
) -> None:
    objects: dict[str, Told] = {
        "99999.1.0": b'x"\n[facts.model]\noid = "1.3"',
        "99999.2.0": b"\x00\xff\r\n= 7",
        "1.3.6.1.2.1.1.1.0": descr.encode(),
    }
    text = asyncio.run(surveyed(driver, written(tmp_path, "", number, objects)))
    made = tomllib.loads(text)
    assert made.keys() == {"inherits", "vendor", "match"}
    assert made["vendor"] == ""
    (tmp_path / "proposed.toml").write_text(text)
    load(FOLDER, tmp_path)


def test_own_profiles_replace_and_a_broken_one_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret(monkeypatch, "public", community="public")
    for name, text in (("good", 'vendor = "Ours"\n[[match]]\nsys_descr = "^UPS"'), ("bad", "= x")):
        folder = tmp_path / name / "profiles"
        folder.mkdir(parents=True)
        (folder / "ours.toml").write_text('inherits = ["ups-mib"]\n' + text)
    good = asyncio.run(polled(tmp_path / "good", SnmpDevice("ups")))
    assert (good["profile"], good["model"]) == ("ours", "5P 1150")
    bad = asyncio.run(polled(tmp_path / "bad", SnmpDevice("ups")))
    assert bad["profile"] == "ups-mib"
    assert "ours.toml" in caplog.text
