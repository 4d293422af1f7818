"""Devices that sleep are seen by their access point; guests' telephones are nobody's business."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agents.credentials import Credentials
from agents.drivers.headwind import Headwind
from agents.drivers.pjlink import Pjlink
from agents.drivers.snmp import Snmp
from agents.messages import Reading, Target
from agents.poller import Poller
from agents.presence import BELIEVED_S, Presence
from agents.simulator.snmp import SnmpDevice
from fleet.health import Expected, judge
from inventory import DeviceKind, DeviceState, Health, Service
from inventory.db import session
from tests.sample import House
from tests.snmp_targets import secret
from tests.virtual_clock import VirtualClock, until

pytest_plugins = ["tests.house"]

TABLET, MANAGED, GUEST = "02:00:00:00:00:0a", "02:00:00:00:00:0c", "02:00:00:00:00:99"
STATIONS = {
    "1.3.6.1.4.1.14988.1": "1.3.6.1.4.1.14988.1.1.1.2.1.1",
    "1.3.6.1.4.1.14823.1.2.111": "1.3.6.1.4.1.14823.2.3.3.1.2.4.1.1",
    "1.3.6.1.4.1.14179.1.1.4.3": "1.3.6.1.4.1.14179.2.1.4.1.1",
}
DESCRIPTIONS = {
    "1.3.6.1.4.1.14988.1": "RouterOS cAP ac",
    "1.3.6.1.4.1.14823.1.2.111": "ArubaOS (MODEL: 305), Version 8.6.0.4",
    "1.3.6.1.4.1.14179.1.1.4.3": "Cisco Controller",
}


def access_point(folder: Path, kind: str, *macs: str) -> SnmpDevice:
    """An access point that has these stations, written down from what its MIB says."""
    rows = [f"1.3.6.1.2.1.1.1.0|4|{DESCRIPTIONS[kind]}", f"1.3.6.1.2.1.1.2.0|6|{kind}"]
    rows += ["1.3.6.1.2.1.1.3.0|67|4711", "1.3.6.1.2.1.1.5.0|4|wlan"]
    for mac in sorted(macs):
        digits = mac.replace(":", "")
        index = ".".join(str(byte) for byte in bytes.fromhex(digits))
        rows.append(f"{STATIONS[kind]}.{index}|4x|{digits}")
    path = folder / "ap.snmprec"
    path.write_text("\n".join(rows) + "\n")
    return SnmpDevice.from_recording(path, community="public")


def target(device: str, **more: object) -> Target:
    fields = {"room": "r", "kind": "tablet", "driver": "pjlink", "address": "127.0.0.1", **more}
    return Target.model_validate({"device": device, **fields})


@pytest.mark.anyio
@pytest.mark.parametrize("kind", STATIONS)
async def test_a_sleeping_tablet_is_seen_at_its_access_point(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret(monkeypatch, "read", community="public")
    secret(monkeypatch, "mdm", user="fleet", password="x")
    device = access_point(tmp_path, kind, TABLET, MANAGED, GUEST)
    port = await device.start()
    snmp = Snmp(Credentials(None), tmp_path)
    time, readings = VirtualClock(), list[Reading]()
    poller = Poller(
        {
            "snmp": snmp,
            "pjlink": Pjlink(Credentials(None), tmp_path),
            "headwind": Headwind(Credentials(None), tmp_path),
        },
        lambda _, reading: readings.append(reading),
        defaultdict(asyncio.Lock),
        time.clock,
    )
    # Nobody listens on port 1: both are silent, and only one of them is on the Wi-Fi.
    silent = {"port": 1}
    poller.follow(
        "north",
        [
            target("ap", driver="snmp", port=port, credential="read", kind="access_point"),
            target("tablet", mac=TABLET, **silent),
            target("gone", mac="02:00:00:00:00:0b", **silent),
            target(
                "managed",
                mac=MANAGED,
                driver="headwind",
                credential="mdm",
                options={"tls": False, "number": "h1"},
                **silent,
            ),
        ],
    )
    running = asyncio.create_task(poller.run())
    try:
        for rounds in range(1, 4):
            await time.advance(60)
            await until(lambda rounds=rounds: len(readings) >= 4 * rounds)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await snmp.close()
        await device.stop()
    last = {reading.device: reading for reading in readings}
    assert last["ap"].reachable
    assert last["tablet"].problem == "asleep_wifi"
    assert last["tablet"].detail.startswith("ap 2026-11-23T08:0")
    assert last["gone"].problem == "unreachable"
    # On the Wi-Fi too, but it is its server that is silent.
    assert last["managed"].problem == "server_silent"
    told = "".join(reading.model_dump_json() for reading in readings)
    assert GUEST not in told
    assert TABLET not in told


def test_only_devices_of_the_site_are_remembered_and_not_for_long() -> None:
    time = VirtualClock()
    presence = Presence(time.clock)
    presence.follow("north", [target("tablet", mac=TABLET.upper()), target("nameless")])
    presence.follow("south", [target("other", mac=GUEST)])
    presence.heard("north", "ap", [TABLET, GUEST, ""])
    sight = presence.of("north", "tablet")
    assert sight is not None
    assert sight.by == "ap"
    assert presence.of("south", "other") is None
    assert GUEST not in str(vars(presence)["_sights"])
    time.seconds = BELIEVED_S + 1
    assert presence.of("north", "tablet") is None
    time.seconds = 0
    presence.follow("north", [])
    presence.follow("north", [target("tablet", mac=TABLET)])
    assert presence.of("north", "tablet") is None


@pytest.mark.parametrize(
    ("expected", "health"),
    [
        (Expected.IDLE, Health.OFF),
        (Expected.NEEDED, Health.WARNING),
        (Expected.IN_USE, Health.WARNING),
    ],
)
def test_asleep_is_said_instead_of_broken(
    expected: Expected, health: Health, now: datetime
) -> None:
    said = judge(
        DeviceKind.TABLET,
        reachable=False,
        problem="asleep_wifi",
        failures=5,
        facts={},
        taken_at=now,
        facts_at=now - timedelta(hours=3),
        expected=expected,
        service=Service.ACTIVE,
        now=now,
        poll_s=60,
    )
    assert (said.health, said.reason) == (health, "asleep_wifi")


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ("ahlendorf-1-wlan-1 2026-11-23T07:58:00+00:00", True),
        ("birkental-1-wlan-1 2026-11-23T07:58:00+00:00", False),
        ("ahlendorf-1-wlan-1 yesterday", False),
        ("ahlendorf-1-wlan-1 2026-11-23T07:58:00", False),
        ("", False),
    ],
)
def test_the_page_says_where_it_was_seen(house: House, detail: str, shown: bool) -> None:
    with session(house.engine) as opened:
        state = opened.get_one(DeviceState, "ahlendorf-1-tablet-1")
        state.reachable, state.problem, state.detail = False, "asleep_wifi", detail
        state.reason, state.taken_at = "asleep_wifi", datetime(2026, 11, 23, 7, 59, tzinfo=UTC)
    page = house.browser("ida").get("/geraet/ahlendorf-1-tablet-1").text
    assert ("Zuletzt im WLAN gesehen bei" in page) is shown
    assert "Schläft, ist aber noch im WLAN zu sehen." in page
