"""A poll is as few packets as the tables of a device allow."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from agents.drivers.snmp import Snmp
from agents.simulator.snmp import SnmpDevice
from tests.snmp_targets import driver, running, target
from tests.snmp_written import Long, Told, written

__all__ = ["driver"]

LONG = timedelta(seconds=5)
IF, IFX = "1.3.6.1.2.1.2.2.1.", "1.3.6.1.2.1.31.1.1.1."
PER_PACKET = 60


def packets(driver: Snmp, device: SnmpDevice, polls: int = 3) -> list[int]:
    async def scene() -> list[int]:
        counts = []
        async with running(device) as (port,):
            for _ in range(polls):
                before = device.requests
                await driver.poll(target(port), LONG)
                counts.append(device.requests - before)
        await driver.close()
        return counts

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("model", "most"),
    [("unifi-ap", 4), ("aruba-ap", 4), ("openwrt-ap", 4), ("printer", 3), ("ups", 2)],
)
def test_once_known_a_device_is_a_handful_of_packets(driver: Snmp, model: str, most: int) -> None:
    first, second, third = packets(driver, SnmpDevice(model))
    assert second == third <= most
    assert first <= 3 * most


def test_a_device_without_tables_is_one_packet(driver: Snmp, tmp_path: Path) -> None:
    objects: dict[str, Told] = {"17713.21.1.2.10.0": 3, "17713.21.2.1.64.0": 100}
    device = written(tmp_path, "box", "1.3.6.1.4.1.17713.21", objects)
    assert packets(driver, device)[1:] == [1, 1]


def test_a_device_that_tells_nothing_is_not_met_anew_each_time(
    driver: Snmp, tmp_path: Path
) -> None:
    device = written(tmp_path, "box", "1.3.6.1.4.1.99999", {}, uptime=False)
    assert packets(driver, device)[1:] == [1, 1]


@pytest.mark.parametrize("ports", [8, 28, 52, 200])
def test_a_switch_fills_its_answers(driver: Snmp, tmp_path: Path, ports: int) -> None:
    """Six columns side by side: not one packet a column, and no packet for a tail of each."""
    objects: dict[str, Told] = {"1.3.6.1.2.1.17.1.2.0": ports}
    for at in range(1, ports + 1):
        objects |= {f"{IF}3.{at}": 6, f"{IF}8.{at}": 1, f"{IF}14.{at}": 0}
        objects |= {f"{IFX}6.{at}": Long(at), f"{IFX}10.{at}": Long(at), f"{IFX}17.{at}": 1}
    device = written(tmp_path, "thing", "1.3.6.1.4.1.99999", objects)
    values = 6 * (ports + 1)
    assert packets(driver, device)[-1] <= 1 + -(-values // PER_PACKET) + 1


def test_a_model_is_recognised_by_two_questions_at_most(driver: Snmp) -> None:
    """sysObjectID and sysDescr, and then all further candidates in one more."""

    async def scene() -> None:
        device = SnmpDevice("ups")
        async with running(device) as (port,):
            async with driver._session(target(port), LONG) as (options, session):
                await driver._recognise(target(port), options, session)
            assert device.requests == 2
        await driver.close()

    asyncio.run(scene())
