"""Restart and kick on a simulated access point: done once, undone always, and never by readers."""

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.credentials import Credentials
from agents.driver import Denied, DriverError, Misconfigured, ResetFailed, Unreachable
from agents.drivers.snmp import Snmp
from agents.messages import Order, Target
from agents.simulator import Mood
from agents.simulator.snmp import SnmpDevice
from fleet.resets.proof import verify
from inventory.recipes import BUILT_IN
from tests.parts import need
from tests.snmp_targets import USER, running, secret, user_parts
from tests.snmp_written import Short, Told, written
from tests.virtual_clock import until

pytestmark = pytest.mark.anyio
TEN = timedelta(seconds=10)
RESTART = BUILT_IN["access-point-restart"]
REBOOT = "1.3.6.1.4.1.14988.1.1.7.1.0"
STATUS = "1.3.6.1.2.1.2.2.1.7"
KICK = f"""inherits = ["mikrotik"]
[[match]]
sys_object_id = ["1.3.6.1.4.1.14988.1"]
sys_descr = "RouterOS cAP"

[actions.kick]
column = "{STATUS}"
where = [{{ column = "1.3.6.1.2.1.2.2.1.3", one_of = ["71"] }}]
value = 2
undo = 1
pause_s = 0.3
"""


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    secret(monkeypatch, "write", community="public", write_community="schreiben")
    secret(monkeypatch, "read", community="public", write_community="public")
    secret(monkeypatch, "v3", **user_parts(USER))


def access_point(folder: Path) -> SnmpDevice:
    """A RouterOS access point: a cable port and two radios, all of them on."""
    objects: dict[str, Told] = {REBOOT: "0"}
    for index, kind in ((1, 6), (2, 71), (3, 71)):
        objects |= {
            f"1.3.6.1.2.1.2.2.1.3.{index}": kind,
            f"{STATUS}.{index}": 1,
            f"1.3.6.1.2.1.2.2.1.8.{index}": 1,
            f"1.3.6.1.2.1.2.2.1.10.{index}": Short(5000),
        }
    device = written(folder, "RouterOS cAP ac", "1.3.6.1.4.1.14988.1", objects, v3=USER)
    device.take_writes("schreiben", STATUS, restart=REBOOT)
    return device


def target(port: int, credential: str = "write", version: str = "2c") -> Target:
    return Target(
        device="ap",
        room="r1",
        kind="access_point",
        driver="snmp",
        address="127.0.0.1",
        port=port,
        credential=credential,
        options={"version": version},
    )


def order(**steps: Any) -> Order:
    at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    return Order(
        id="x.1", site="s", device="ap", room="r1", steps=steps, not_before=at, not_after=at
    )


def driver(folder: Path) -> Snmp:
    own = folder / "state" / "profiles"
    own.mkdir(parents=True, exist_ok=True)
    (own / "own-ap.toml").write_text(KICK)
    return Snmp(Credentials(None), folder / "state")


@pytest.mark.parametrize(("credential", "version"), [("write", "2c"), ("write", "1"), ("v3", "3")])
async def test_a_restart_is_sent_once_and_the_look_proves_it(
    tmp_path: Path, credential: str, version: str
) -> None:
    device = access_point(tmp_path)
    one = driver(tmp_path)
    async with running(device) as (port,):
        at = target(port, credential, version)
        asked = order(**RESTART.steps)
        before = await one.look(at, asked, TEN)
        assert [wrong.fact for wrong in verify(RESTART.expects, before, "x.1")] == ["uptime_s"]
        await one.act(at, asked, TEN)
        assert device.writes.history == [(REBOOT, b"1")]
        with pytest.raises(Unreachable):
            await one.poll(at, timedelta(seconds=0.2))
        await asyncio.sleep(device.boot_s)
        facts = await one.look(at, asked, TEN)
    await one.close()
    assert verify(RESTART.expects, facts, "x.1") == []


@pytest.mark.parametrize("version", ["1", "2c"])
async def test_a_kick_takes_the_radios_away_for_a_moment_and_nothing_else(
    tmp_path: Path, version: str
) -> None:
    device = access_point(tmp_path)
    one = driver(tmp_path)
    async with running(device) as (port,):
        await one.act(target(port, "write", version), order(do="kick"), TEN)
    await one.close()
    off, on = b"\x02", b"\x01"
    assert device.writes.history == [
        (f"{STATUS}.2", off),
        (f"{STATUS}.3", off),
        (f"{STATUS}.2", on),
        (f"{STATUS}.3", on),
    ]
    assert not list((tmp_path / "state" / "switched-off").glob("*"))


async def test_an_access_point_that_falls_silent_is_made_good_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.snmp.acting.TALK_S", 1.5)
    monkeypatch.setattr("agents.snmp.acting.TIDY_S", 0.1)
    device = access_point(tmp_path)
    one = driver(tmp_path)
    async with running(device) as (port,):
        act = asyncio.create_task(one.act(target(port), order(do="kick"), TEN))
        await until(lambda: (f"{STATUS}.3", b"\x02") in device.writes.history)
        device.mood = Mood.HANG
        with pytest.raises(DriverError):
            await act
        assert (f"{STATUS}.2", b"\x01") not in device.writes.history
        tidying = asyncio.create_task(one.tidy())
        device.mood = Mood.OK
        await until(lambda: (f"{STATUS}.3", b"\x01") in device.writes.history)
        await until(lambda: not list((tmp_path / "state" / "switched-off").glob("*")))
        tidying.cancel()
    await one.close()


@pytest.mark.parametrize("version", ["1", "2c"])
async def test_who_may_only_read_changes_nothing(tmp_path: Path, version: str) -> None:
    device = access_point(tmp_path)
    one = driver(tmp_path)
    async with running(device) as (port,):
        for do in ("kick", "restart"):
            with pytest.raises(Denied, match="write"):
                await one.act(target(port, "read", version), order(do=do), TEN)
    await one.close()
    assert device.writes.history == []


async def test_what_the_access_point_does_not_let_be_written(tmp_path: Path) -> None:
    device = access_point(tmp_path)
    device.take_writes("schreiben")
    one = driver(tmp_path)
    async with running(device) as (port,):
        with pytest.raises(Denied, match="write"):
            await one.act(target(port), order(do="restart"), TEN)
    await one.close()
    assert device.writes.history == []


async def test_a_radio_that_somebody_switched_off_stays_off(tmp_path: Path) -> None:
    device = access_point(tmp_path)
    one = driver(tmp_path)
    async with running(device) as (port,):
        at = target(port)
        await told(port, "schreiben", f"{STATUS}.3", "i", "2")
        with pytest.raises(ResetFailed, match="off already") as caught:
            await one.act(at, order(do="kick"), TEN)
        assert caught.value.step == "power_off"
        with pytest.raises(Misconfigured):
            await one.act(at, order(do="power_cycle"), TEN)
    await one.close()
    assert device.writes.history == [(f"{STATUS}.3", b"\x02")]


async def told(port: int, community: str, *what: str, version: str = "2c") -> str:
    """What net-snmp's own program makes of the simulator's answer to a SET."""
    program = await asyncio.create_subprocess_exec(
        *(str(need("snmpset")), f"-v{version}", "-c", community, "-On", "-t1", "-r0"),
        *(f"127.0.0.1:{port}", *what),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", "MIBS": ""},
    )
    said, _ = await program.communicate()
    return said.decode()


async def test_an_independent_client_agrees_with_the_simulator(tmp_path: Path) -> None:
    device = access_point(tmp_path)
    radio, cable = f"{STATUS}.2", "1.3.6.1.2.1.2.2.1.8.1"
    async with running(device) as (port,):
        assert f".{radio} = INTEGER: 2" in await told(port, "schreiben", radio, "i", "2")
        for version, words in (
            ("2c", ("noAccess", "wrongType", "notWritable", "notWritable")),
            ("1", ("noSuchName", "badValue", "noSuchName", "noSuchName")),
        ):
            tries = (
                ("public", radio, "i", "1"),
                ("schreiben", radio, "s", "on"),
                ("schreiben", cable, "i", "2"),
                ("schreiben", f"{STATUS}.9", "i", "2"),
            )
            for (community, *what), word in zip(tries, words, strict=True):
                assert word in await told(port, community, *what, version=version), (version, word)
        both = (radio, "i", "1", cable, "i", "2")
        assert "notWritable" in await told(port, "schreiben", *both)
        assert "Timeout" in await told(port, "falsch", radio, "i", "1")
    assert device.writes.history == [(radio, b"\x02")]
