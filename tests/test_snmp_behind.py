"""Access points behind a controller: one address, many devices."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import Session

from agents.credentials import Credentials
from agents.driver import Misconfigured, Unreachable, WrongDevice
from agents.drivers.snmp import Snmp
from agents.messages import Order
from agents.simulator.snmp import SnmpDevice
from agents.snmp.profile import load
from fleet.behind import proposed
from inventory import Device
from inventory.db import migrate, open_engine, session
from inventory.importer import apply, read_region
from tests.snmp_targets import driver, running, secret, target
from tests.snmp_written import Ticks, Told, written

__all__ = ["driver"]

LONG = timedelta(seconds=5)
FIRST, SECOND, AWAY = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:ff"
AP, RADIO = "14823.2.3.3.1.2.1.1.", "14823.2.3.3.1.2.2.1."


def index(mac: str) -> str:
    return ".".join(str(octet) for octet in bytes.fromhex(mac.replace(":", "")))


def cluster(folder: Path) -> SnmpDevice:
    """An Aruba Instant cluster of three, the last of them down."""
    objects: dict[str, Told] = {}
    for at, mac in enumerate((FIRST, SECOND, AWAY)):
        row = index(mac)
        objects |= {
            f"{AP}2.{row}": f"ap-{at}",
            f"{AP}4.{row}": f"PHRC{at}",
            f"{AP}6.{row}": "505",
            f"{AP}7.{row}": 10 * at,
            f"{AP}8.{row}": 250,
            f"{AP}9.{row}": Ticks(360_000),
            f"{AP}10.{row}": 1000,
            f"{AP}11.{row}": 2 if mac == AWAY else 1,
        }
        for radio, channel in enumerate(("36E", "6")):
            objects |= {
                f"{RADIO}4.{row}.{radio}": channel,
                f"{RADIO}6.{row}.{radio}": 95 - at,
                f"{RADIO}8.{row}.{radio}": 5 * at + radio,
                f"{RADIO}21.{row}.{radio}": 3 * at + radio,
            }
    return written(
        folder, "ArubaOS (MODEL: 505), Version 8.10", "1.3.6.1.4.1.14823.1.2.131", objects
    )


def test_each_access_point_tells_its_own(driver: Snmp, tmp_path: Path) -> None:
    async def scene() -> None:
        device = cluster(tmp_path)
        async with running(device) as (port,):
            whole = await driver.poll(target(port), LONG)
            assert (whole["access_points"], whole["access_points_up"]) == (3, 2)
            assert "serial" not in whole
            looks = [
                target(port, device=f"d-{at}", options={"access_point": mac})
                for at, mac in enumerate((FIRST, "02-00-00-00-00-02"))
            ]
            first, second = [await driver.poll(look, LONG) for look in looks]
            before = device.requests
            again = await driver.poll(looks[1], LONG)
            assert device.requests - before == 2  # a GET and a GETBULK
        for name in ("clients", "serial", "channel_5g", "noise_dbm"):
            assert again[name] == second[name]
        assert (first["serial"], second["serial"]) == ("PHRC0", "PHRC1")
        assert (first["clients"], second["clients"]) == (1, 7)
        assert (second["clients_2g"], second["clients_5g"]) == (4, 3)
        assert (second["cpu_ratio"], second["memory_ratio"], second["uptime_s"]) == (
            0.1,
            0.75,
            3600,
        )
        assert (second["utilisation_ratio"], second["noise_dbm"]) == (0.06, -94)
        assert first["profile"] == "aruba-instant"
        await driver.close()

    asyncio.run(scene())


@pytest.mark.parametrize("mac", [AWAY, "02:00:00:00:00:99"])
def test_one_that_is_down_or_unknown_is_unreachable(driver: Snmp, tmp_path: Path, mac: str) -> None:
    async def scene() -> None:
        async with running(cluster(tmp_path)) as (port,):
            with pytest.raises(Unreachable, match="its controller"):
                await driver.poll(target(port, options={"access_point": mac}), LONG)
        await driver.close()

    asyncio.run(scene())


def test_another_serial_number_is_another_access_point(driver: Snmp, tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(cluster(tmp_path)) as (port,):
            look = target(port, options={"access_point": FIRST}, serial="PHRC1")
            with pytest.raises(WrongDevice):
                await driver.poll(look, LONG)
        await driver.close()

    asyncio.run(scene())


def test_a_target_that_changes_its_access_point_is_met_anew(driver: Snmp, tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(cluster(tmp_path)) as (port,):
            for mac, serial in ((FIRST, "PHRC0"), (SECOND, "PHRC1")):
                look = target(port, options={"access_point": mac})
                assert (await driver.poll(look, LONG))["serial"] == serial
            assert "access_points" in await driver.poll(target(port), LONG)
        await driver.close()

    asyncio.run(scene())


@pytest.mark.parametrize("mac", ["02:00", "nonsense", "02:00:00:00:00:0g", 5])
def test_an_address_that_is_none_is_said(driver: Snmp, mac: object) -> None:
    async def scene() -> None:
        with pytest.raises(Misconfigured, match="access_point"):
            await driver.poll(target(161, options={"access_point": mac}), LONG)

    asyncio.run(scene())


def test_a_device_that_is_no_controller(driver: Snmp) -> None:
    async def scene() -> None:
        async with running(SnmpDevice("ups")) as (port,):
            with pytest.raises(Misconfigured, match="ups-mib"):
                await driver.poll(target(port, options={"access_point": FIRST}), LONG)
            assert await driver.access_points(target(port), LONG) == []
        await driver.close()

    asyncio.run(scene())


def test_cisco_says_up_the_other_way_round(driver: Snmp, tmp_path: Path) -> None:
    """bsnAPIfOperStatus: 1 is down, 2 is up."""
    radio = "14179.2.2.2.1."
    objects: dict[str, Told] = {"14179.1.1.5.1.0": 3}
    for mac, state in ((FIRST, 2), (AWAY, 1)):
        for slot, channel in ((0, 6), (1, 44)):
            row = f"{index(mac)}.{slot}"
            objects |= {
                f"{radio}4.{row}": channel,
                f"{radio}12.{row}": state,
                f"{radio}15.{row}": 4 + slot,
            }

    async def scene() -> None:
        device = written(tmp_path, "Cisco Controller", "1.3.6.1.4.1.9.1.1279", objects)
        async with running(device) as (port,):
            facts = await driver.poll(target(port, options={"access_point": FIRST}), LONG)
            assert (facts["clients"], facts["channel_5g"]) == (9, 44)
            look = target(port, device="d-2", options={"access_point": AWAY})
            with pytest.raises(Unreachable, match="not connected"):
                await driver.poll(look, LONG)
        await driver.close()

    asyncio.run(scene())


def test_an_index_that_is_no_address_is_found_by_a_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state" / "profiles"
    folder.mkdir(parents=True)
    (folder / "numbered.toml").write_text(
        """
inherits = ["generic"]
[[match]]
sys_object_id = ["1.3.6.1.4.1.99999.7"]
[access_points]
name = "1.3.6.1.4.1.99999.7.1.2"
mac = "1.3.6.1.4.1.99999.7.1.3"
up = { oid = "1.3.6.1.4.1.99999.7.1.4", map = { "1" = true } }
[access_points.facts]
clients = { oid = "1.3.6.1.4.1.99999.7.1.5" }
"""
    )
    objects: dict[str, Told] = {}
    for row, mac in ((3, bytes.fromhex("020000000001")), (8, "02-00-00-00-00-02")):
        objects |= {f"99999.7.1.2.{row}": f"ap {row}", f"99999.7.1.3.{row}": mac}
        objects |= {f"99999.7.1.4.{row}": 1, f"99999.7.1.5.{row}": row}
    secret(monkeypatch, "public", community="public")

    async def scene() -> None:
        own = Snmp(Credentials(None), tmp_path / "state")
        device = written(tmp_path, "numbered", "1.3.6.1.4.1.99999.7", objects)
        async with running(device) as (port,):
            listed = await own.access_points(target(port), LONG)
            assert listed == [(FIRST, "ap 3"), (SECOND, "ap 8")]
            for mac, clients in ((FIRST, 3), (SECOND, 8)):
                look = target(port, device=mac[-2:], options={"access_point": mac})
                assert (await own.poll(look, LONG))["clients"] == clients
            with pytest.raises(Unreachable, match="does not know"):
                await own.poll(target(port, options={"access_point": AWAY}), LONG)
        await own.close()

    asyncio.run(scene())


@pytest.mark.parametrize("do", ["restart", "kick"])
def test_what_is_meant_for_one_is_not_done_to_its_controller(
    driver: Snmp, tmp_path: Path, do: str
) -> None:
    moment = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    order = Order(
        id="1.1",
        site="s",
        device="d-1",
        room="r-1",
        not_before=moment,
        not_after=moment,
        steps={"do": do},
    )

    async def scene() -> None:
        device = cluster(tmp_path)
        async with running(device) as (port,):
            look = target(port, options={"access_point": FIRST})
            with pytest.raises(Misconfigured, match="controller"):
                await driver.act(look, order, LONG)
            assert device.requests == 0
        await driver.close()

    asyncio.run(scene())


REGION = """
sites: [{id: s, name: S, municipality: M}]
rooms: [{id: r, site: s, name: R}]
devices:
- {id: controller, room: r, name: Controller, kind: access_point, driver: snmp, address: 192.0.2.1,
   credential: wlan, options: {version: "3"}, recipe: none}
- {id: ap-0, room: r, name: Elsewhere, kind: laptop, driver: ssh, address: 192.0.2.2}
- {id: known, room: r, name: Known, kind: access_point, driver: snmp, address: 192.0.2.1,
   options: {access_point: "02:00:00:00:00:02"}, recipe: none}
"""


def region(opened: Session, folder: Path, text: str) -> None:
    (folder / "region.yaml").write_text(text)
    apply(opened, read_region(folder / "region.yaml", drivers=("snmp", "ssh"), session=opened))


def test_those_that_are_missing_are_proposed_as_rows_to_import(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    migrate(engine)
    found = [(FIRST, "AP 0"), (SECOND, "ap-1"), (AWAY, "Küche/Süd: #1")]
    with session(engine) as opened:
        region(opened, tmp_path, REGION)
        text = proposed(opened, opened.get_one(Device, "controller"), found)
        region(opened, tmp_path, text)
        first, away = opened.get_one(Device, "ap-0-2"), opened.get_one(Device, "kueche-sued-1")
        assert (first.mac, first.credential, first.recipe_id) == (FIRST, "wlan", None)
        assert away.options == {"version": "3", "access_point": AWAY}
        assert away.name == "Küche/Süd: #1"
        assert proposed(opened, opened.get_one(Device, "controller"), found) == ""


def test_every_profile_with_access_points_says_how_to_find_them() -> None:
    having = {name for name, profile in load().items() if profile.access_points}
    assert having == {"aruba-instant", "aruba-controller", "cisco-wlc", "ruckus-zonedirector"}
