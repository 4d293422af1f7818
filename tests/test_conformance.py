"""Profiles against recordings of real devices: what they tell must be what is true.

The folder of recordings is named by FLEET_RECORDINGS and is not part of this project.
"""

import asyncio
import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.credentials import Credentials
from agents.drivers.snmp import Snmp
from agents.messages import Facts, Target
from agents.simulator.snmp import SnmpDevice
from agents.snmp.profile import load
from tests.parts import need
from tests.snmp_answers import Answers
from tests.snmpsim import serving

CLAIMED = {
    "airos_airos8": "linux-host",
    "apc_powerchute": "apc-ups",
    "apc_smt750x-nmc2": "apc-ups",
    "apc_sua750i": "apc-ups",
    "aruba-instant": "aruba-instant",
    "beagleboard": "linux-host",
    "brother": "printer-mib",
    "canonprinter_lbp": "printer-mib",
    "ciscosb": "cisco-sb-ap",
    "ciscowap": "cisco-sb-ap",
    "ciscowap_121": "cisco-sb-ap",
    "dell-ups_tower1000w": "ups-mib",
    "deltaups": "ups-mib",
    "eaton-mgeups_5px": "ups-mib",
    "edgeswitch_es-24-250w": "fastpath-switch",
    "edgeswitch_usw-5-flex-v2": "unifi-switch",
    "epson": "printer-mib",
    "epson-projector_eb-4770w": "epson-projector",
    "fortiap_fap231g": "fortiap",
    "freshtomato": "linux-host",
    "generex-ups_cs141": "ups-mib",
    "jetdirect": "printer-mib",
    "jetdirect_m252dw": "printer-mib",
    "jetstream_sg2218p": "tplink-switch",
    "konica": "printer-mib",
    "lcos_oap-321": "lancom-lcos",
    "lcoslx_lw500": "lancom-lx",
    "lcoslx_ow602": "lancom-lx",
    "linux": "linux-host",
    "linux_ntc": "linux-host",
    "linux_raspberrypi": "linux-host",
    "linux_ucd-diskio": "linux-host",
    "netgear": "netgear-switch",
    "netmanplus_204": "ups-mib",
    "openwrt": "openwrt-ap",
    "powerwalker-vfi_500r1u": "ups-mib",
    "ricoh_mpc3002": "printer-mib",
    "routeros": "mikrotik",
    "routeros_rb760igs": "mikrotik",
    "routeros_wifi": "mikrotik",
    "ruckuswireless-hotzone": "ruckus-ap",
    "sharp": "printer-mib",
    "swos": "mikrotik-swos",
    "swos_css326-24g-2s+": "mikrotik-swos",
    "tplink_sg2008": "tplink-switch",
    "unifi": "unifi-ap",
    "unifi_560": "unifi-ap",
    "unifi_achd": "unifi-ap",
    "unifi_nanohd": "unifi-ap",
    "windows": "windows-host",
    "windows_7600c": "windows-host",
    "windows_svr_2019_1809": "windows-host",
    "xerox": "printer-mib",
    "zebra": "printer-mib",
    "zyxelnwa": "zyxel-nwa",
}
TOLERANCE = {"cpu_ratio": 0.01, "memory_ratio": 0.01, "supply_ratio": 0.015, "runtime_s": 30}
COMPARED = (
    *("cpu_ratio", "memory_ratio", "memory_total_bytes", "temperature_c", "battery_ratio"),
    *("runtime_s", "load_ratio", "voltage_v", "power_watts", "poe_watts", "lamp_s", "clients"),
    *("channel_2g", "channel_5g", "noise_dbm", "utilisation_ratio", "supply_ratio"),
    *("serial", "firmware", "model"),
)
OTHER_WORDS = {
    ("apc-ups", "firmware"),  # ours is the UPS's, the key has its network card's
    ("linux-host", "firmware"),  # ours is the kernel, the key has the distribution
    ("windows-host", "firmware"),  # the key has the name that was advertised
    ("fortiap", "model"),  # FP231G and FortiAP 231G
    ("printer-mib", "model"),  # some are sold under another name
}


def recordings() -> Path:
    folder = os.environ.get("FLEET_RECORDINGS")
    if folder:
        return Path(folder)
    reason = "FLEET_RECORDINGS names no folder of recordings"
    if os.environ.get("RAUMWART_ALL_PARTS"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Snmp:
    monkeypatch.setenv("RAUMWART_SECRET_RECORDED", json.dumps({"community": "public"}))
    return Snmp(Credentials(None), tmp_path)


def target(name: str, port: int, credential: str = "recorded", **options: str) -> Target:
    return Target(
        device=name[:63],
        room="r",
        kind="access_point",
        driver="snmp",
        address="127.0.0.1",
        port=port,
        credential=credential,
        options=options,
    )


def agrees(fact: str, value: Any, allowed: list[float | str]) -> bool:
    if isinstance(value, str):
        # One names the model or version more fully than the other.
        plain = value.casefold()
        return any(plain in str(a).casefold() or str(a).casefold() in plain for a in allowed)
    slack = TOLERANCE.get(fact, 0.06)
    return any(abs(value - float(a)) <= max(slack, abs(value) * 1e-3) for a in allowed)


def _other_words(profile: str, fact: str) -> bool:
    unclaimed = profile not in CLAIMED.values()
    return (profile, fact) in OTHER_WORDS or (unclaimed and fact in ("model", "firmware"))


def disagreements(name: str, facts: Facts, answers: Answers) -> tuple[int, list[str]]:
    compared, wrong = 0, []
    for fact in COMPARED:
        allowed = answers.allowed(fact)
        if fact in facts and allowed and not _other_words(facts["profile"], fact):
            compared += 1
            if not agrees(fact, facts[fact], allowed):
                wrong.append(f"{name}: {fact} is {facts[fact]!r}, the key says {allowed}")
    return compared, wrong


async def look_at(driver: Snmp, name: str) -> Facts:
    """Serve a recording from memory on a socket of its own and poll it."""
    device = SnmpDevice.from_recording(recordings() / f"{name}.snmprec")
    port = await device.start()
    try:
        return await driver.poll(target(name, port), timedelta(seconds=5))
    finally:
        await device.stop()


@pytest.mark.parametrize("name", CLAIMED)
def test_claimed_recording(name: str, driver: Snmp) -> None:
    async def run() -> Facts:
        facts = await look_at(driver, name)
        await driver.close()
        return facts

    facts = asyncio.run(run())
    assert facts["profile"] == CLAIMED[name]
    key = recordings() / "expected" / f"{name}.json"
    if key.exists():
        _, wrong = disagreements(name, facts, Answers(key, recordings() / f"{name}.snmprec"))
        assert not wrong


def test_enough_was_compared_and_every_profile_was_seen(driver: Snmp) -> None:
    """Guards the tests above: facts that silently vanish would leave nothing to disagree with."""

    async def run() -> int:
        total = 0
        for name in CLAIMED:
            facts = await look_at(driver, name)
            key = recordings() / "expected" / f"{name}.json"
            if key.exists():
                answers = Answers(key, recordings() / f"{name}.snmprec")
                total += disagreements(name, facts, answers)[0]
        await driver.close()
        return total

    assert asyncio.run(run()) >= 120
    rooted = {name for name, profile in load().items() if profile.match}
    assert rooted - set(CLAIMED.values()) <= {"switch"}


def test_no_recording_at_all_breaks_the_driver(driver: Snmp) -> None:
    """Also devices that no profile knows: some facts, and never a wrong one."""

    async def run() -> list[str]:
        problems = []
        for path in sorted(recordings().glob("*.snmprec")):
            if path.stem in CLAIMED:
                continue
            facts = await look_at(driver, path.stem)
            key = recordings() / "expected" / f"{path.stem}.json"
            if key.exists():
                problems += disagreements(path.stem, facts, Answers(key, path))[1]
        await driver.close()
        return problems

    assert "\n".join(asyncio.run(run())) == ""


def test_snmpsim_tells_the_same(
    driver: Snmp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another implementation of an agent serves the same recordings: v1, v2c, v3."""
    program = need("snmpsim-command-responder")
    names = ["unifi_nanohd", "ricoh_mpc3002", "lcoslx_lw500", "apc_sua750i", "swos", "sharp"]
    folder = tmp_path / "data"
    folder.mkdir()
    for name in names:
        shutil.copy(recordings() / f"{name}.snmprec", folder)
        monkeypatch.setenv(f"RAUMWART_SECRET_{name.upper()}", json.dumps({"community": name}))
    user = {
        "user": "simulator",
        "auth_protocol": "SHA256",
        "auth_password": "auctoritas",
        "priv_protocol": "AES128",
        "priv_password": "privatus1",
    }
    monkeypatch.setenv("RAUMWART_SECRET_USER", json.dumps(user))

    async def run(port: int) -> None:
        for name in names:
            known = await look_at(driver, name)
            looks = [
                target(f"{name}-2c", port, name),
                target(f"{name}-1", port, name, version="1"),
                target(f"{name}-3", port, "user", version="3", context=name),
            ]
            for look in looks:
                facts = await driver.poll(look, timedelta(seconds=15))
                differing = {
                    key
                    for key in known.keys() | facts.keys()
                    if key != "round_trip_s" and known.get(key) != facts.get(key)
                }
                if look.options.get("version") == "1":
                    differing -= {"in_bytes", "out_bytes"}  # no 64-bit counters in v1
                assert not differing, look.device
        await driver.close()

    with serving(program, folder, tmp_path / "cache", user) as port:
        asyncio.run(run(port))
