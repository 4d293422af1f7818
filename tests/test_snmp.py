"""The SNMP driver against simulated devices: every version, every mood."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.driver import (
    Denied,
    DriverError,
    Garbled,
    Misconfigured,
    MissingCredential,
    Unreachable,
    WrongDevice,
)
from agents.drivers.snmp import Snmp
from agents.facts import FACTS
from agents.messages import Order
from agents.simulator import Mood
from agents.simulator.snmp import MODELS, SnmpDevice, V3User
from tests.snmp_targets import USER, driver, running, secret, target, user_parts

__all__ = ["driver"]

LONG, SHORT = timedelta(seconds=5), timedelta(seconds=0.8)


def go(snmp: Snmp, scene: Coroutine[Any, Any, None]) -> None:
    async def play() -> None:
        try:
            await scene
        finally:
            await snmp.close()

    asyncio.run(play())


@pytest.mark.parametrize("version", ["1", "2c", "3"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_recognised_in_every_version(driver: Snmp, model: str, version: str) -> None:
    async def scene() -> None:
        device = SnmpDevice(model, seed=3, v3=USER)
        async with running(device) as (port,):
            facts = await driver.poll(target(port, version), LONG)
        assert facts["profile"] == MODELS[model].profile
        assert facts.keys() <= FACTS.keys()
        assert facts["uptime_s"] > 0
        assert facts["name"].endswith("-0003")
        kind = MODELS[model].kind
        if kind == "access_point":
            assert {"clients", "memory_ratio", "cpu_ratio"} <= facts.keys()
        if kind == "switch":
            assert (facts["ports"], facts["ports_up"]) == (26, 15)
            assert 40 <= facts["poe_watts"] <= 70
        if kind == "printer":
            assert facts["supply_low"] is False
            assert 0.2 <= facts["supply_ratio"] <= 0.95
        if kind == "ups":
            assert facts["on_battery"] is False
            assert 38 * 60 <= facts["runtime_s"] <= 46 * 60

    go(driver, scene())


def test_the_second_poll_knows_what_to_ask(driver: Snmp) -> None:
    async def scene() -> None:
        device = SnmpDevice("unifi-ap", v3=USER)
        async with running(device) as (port,):
            first = await driver.poll(target(port), LONG)
            learned = device.requests
            second = await driver.poll(target(port), LONG)
        assert first.keys() == second.keys()
        assert device.requests - learned <= 2  # one GET, one GETBULK

    go(driver, scene())


def test_counters_grow_and_clients_move(driver: Snmp) -> None:
    async def scene() -> None:
        device = SnmpDevice("switch-poe")
        async with running(device) as (port,):
            first = await driver.poll(target(port), LONG)
            await asyncio.sleep(0.05)
            second = await driver.poll(target(port), LONG)
        assert second["in_bytes"] > first["in_bytes"]
        assert second["uptime_s"] >= first["uptime_s"]

    go(driver, scene())


@pytest.mark.parametrize("auth", ["SHA", "SHA224", "SHA256", "SHA384", "SHA512"])
@pytest.mark.parametrize("priv", ["AES128", "AES192", "AES256"])
def test_every_pair_of_protocols(
    driver: Snmp, monkeypatch: pytest.MonkeyPatch, auth: str, priv: str
) -> None:
    async def scene() -> None:
        user = V3User("u", auth, "authpassword", priv, "privpassword")
        secret(monkeypatch, "v3", **user_parts(user))
        async with running(SnmpDevice("ups", v3=user)) as (port,):
            assert (await driver.poll(target(port, "3"), LONG))["model"] == "5P 1150"

    go(driver, scene())


@pytest.mark.parametrize(
    "changed",
    [
        {"user": "someone"},
        {"auth_password": "not the password"},
        {"auth_protocol": "SHA512"},
        {"priv_password": "not the password"},
        {"priv_protocol": "", "priv_password": ""},
    ],
)
def test_wrong_v3_credentials_are_denied(
    driver: Snmp, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    async def scene() -> None:
        secret(monkeypatch, "v3", **user_parts(USER, **changed))
        async with running(SnmpDevice("ups", v3=USER)) as (port,):
            with pytest.raises(Denied):
                await driver.poll(target(port, "3"), LONG)

    go(driver, scene())


def test_wrong_community_is_silence(driver: Snmp) -> None:
    async def scene() -> None:
        async with running(SnmpDevice("ups", community="private")) as (port,):
            with pytest.raises(Unreachable):
                await driver.poll(target(port), SHORT)

    go(driver, scene())


@pytest.mark.parametrize(
    ("mood", "version", "expected"),
    [
        (Mood.OFF, "2c", Unreachable),
        (Mood.HANG, "2c", Unreachable),
        (Mood.HANG, "3", Unreachable),
        (Mood.SLOW, "2c", Unreachable),
        (Mood.GARBAGE, "2c", Garbled),
        (Mood.GARBAGE, "3", Garbled),
        (Mood.HALF, "2c", Garbled),
        (Mood.HALF, "3", Garbled),
        (Mood.DENIED, "2c", Unreachable),
        (Mood.DENIED, "3", Denied),
        (Mood.WRONG_DEVICE, "2c", WrongDevice),
        (Mood.WRONG_DEVICE, "3", WrongDevice),
    ],
)
def test_moods(driver: Snmp, mood: Mood, version: str, expected: type[DriverError]) -> None:
    async def scene() -> None:
        device = SnmpDevice("printer", seed=5, v3=USER)
        async with running(device) as (port,):
            looking = target(port, version, serial=device.serial)
            good = await driver.poll(looking, LONG)
            device.mood = mood
            with pytest.raises(DriverError) as caught:
                await driver.poll(looking, LONG if expected is WrongDevice else SHORT)
            assert type(caught.value) is expected
            device.mood = Mood.OK
            await asyncio.sleep(0.01)
            again = await driver.poll(looking, LONG)
        assert again["serial"] == good["serial"] == device.serial

    go(driver, scene())


def test_a_mood_before_the_first_contact(driver: Snmp) -> None:
    async def scene() -> None:
        device = SnmpDevice("ups")
        device.mood = Mood.OFF
        async with running(device) as (port,):
            with pytest.raises(Unreachable):
                await driver.poll(target(port), SHORT)

    go(driver, scene())


def test_a_slow_answer_in_time_is_good(driver: Snmp) -> None:
    async def scene() -> None:
        device = SnmpDevice("ups", delay_s=0.3)
        device.mood = Mood.SLOW
        async with running(device) as (port,):
            assert (await driver.poll(target(port), LONG))["model"] == "5P 1150"

    go(driver, scene())


def test_a_mac_is_the_same_serial_however_it_is_written(driver: Snmp) -> None:
    async def scene() -> None:
        async with running(SnmpDevice("unifi-ap", serial="F09FC2AABBCC")) as (port,):
            looking = target(port, serial="F0-9F-C2-AA-BB-CC")
            assert (await driver.poll(looking, LONG))["serial"] == "f0:9f:c2:aa:bb:cc"
            with pytest.raises(WrongDevice):
                await driver.poll(target(port, serial="F09FC2AABBCD"), LONG)

    go(driver, scene())


def test_another_model_at_the_same_address_is_recognised_anew(driver: Snmp) -> None:
    async def scene() -> None:
        first = SnmpDevice("unifi-ap", v3=USER)
        port = await first.start()
        assert (await driver.poll(target(port), LONG))["profile"] == "unifi-ap"
        await first.stop()
        second = SnmpDevice("printer", v3=USER)
        await second.start(port)
        facts = await driver.poll(target(port), LONG)
        await second.stop()
        assert facts["profile"] == "hp-printer"
        assert "clients" not in facts

    go(driver, scene())


def test_a_replaced_v3_device_has_another_engine(driver: Snmp) -> None:
    async def scene() -> None:
        first = SnmpDevice("ups", seed=1, v3=USER)
        port = await first.start()
        await driver.poll(target(port, "3"), LONG)
        await first.stop()
        second = SnmpDevice("ups", seed=2, v3=USER)
        await second.start(port)
        assert (await driver.poll(target(port, "3"), LONG))["name"] == "usv-0002"
        await second.stop()

    go(driver, scene())


@pytest.mark.parametrize(("boots", "skew"), [(2, 0), (1, 400), (7, -5)])
def test_a_restarted_v3_engine_is_followed(driver: Snmp, boots: int, skew: int) -> None:
    async def scene() -> None:
        device = SnmpDevice("ups", v3=USER)
        assert device.engine
        async with running(device) as (port,):
            await driver.poll(target(port, "3"), LONG)
            device.engine.boots, device.engine.skew = boots, max(skew, 0)
            assert (await driver.poll(target(port, "3"), LONG))["model"] == "5P 1150"

    go(driver, scene())


def test_an_engine_that_forgot_its_clock_is_followed(driver: Snmp) -> None:
    async def scene() -> None:
        device = SnmpDevice("ups", v3=USER)
        assert device.engine
        device.engine.boots, device.engine.skew = 9, 1000
        async with running(device) as (port,):
            await driver.poll(target(port, "3"), LONG)
            device.engine.boots, device.engine.skew = 1, 0  # a factory reset
            assert (await driver.poll(target(port, "3"), LONG))["model"] == "5P 1150"

    go(driver, scene())


def test_two_users_of_one_name_do_not_mix(driver: Snmp, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        other = V3User(USER.name, "SHA512", "another password", "AES128", "another secret")
        secret(monkeypatch, "other", **user_parts(other))
        async with running(SnmpDevice("ups", v3=USER), SnmpDevice("ups", v3=other)) as ports:
            await driver.poll(target(ports[0], "3"), LONG)
            await driver.poll(target(ports[1], "3", device="d-2", credential="other"), LONG)
            await driver.poll(target(ports[0], "3"), LONG)

    go(driver, scene())


def test_what_the_inventory_says_wrongly(driver: Snmp, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with running(SnmpDevice("ups", v3=USER)) as (port,):
            for wrong in (
                {"options": {"version": "4"}},
                {"options": {"verison": "3"}},
                {"profile": "no-such-profile"},
            ):
                with pytest.raises(Misconfigured):
                    await driver.poll(target(port, **wrong), LONG)
            secret(monkeypatch, "weak", **user_parts(USER, auth_password="short"))
            secret(monkeypatch, "old", **user_parts(USER, auth_protocol="MD5"))
            for name in ("unknown", "weak", "old", "public"):
                with pytest.raises(MissingCredential) as caught:
                    await driver.poll(target(port, "3", credential=name), LONG)
                assert "short" not in str(caught.value)

    go(driver, scene())


def test_a_named_profile_is_used_without_recognising(driver: Snmp) -> None:
    async def scene() -> None:
        async with running(SnmpDevice("switch-poe")) as (port,):
            facts = await driver.poll(target(port, profile="switch"), LONG)
        assert facts["profile"] == "switch"
        assert facts["ports"] == 26
        assert "cpu_ratio" not in facts

    go(driver, scene())


def test_an_unknown_name_is_unreachable(driver: Snmp) -> None:
    async def scene() -> None:
        with pytest.raises(Unreachable):
            await driver.poll(target(161, address="no-such-device.invalid"), LONG)

    go(driver, scene())


def test_act_does_nothing_or_refuses(driver: Snmp) -> None:
    async def scene() -> None:
        moment = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
        order = Order(
            id="1.1", site="s", device="d-1", room="r-1", not_before=moment, not_after=moment
        )
        device = SnmpDevice("ups")
        async with running(device) as (port,):
            await driver.act(target(port), order, LONG)
            assert device.requests == 0
            steps = order.model_copy(update={"steps": {"power": "cycle"}})
            with pytest.raises(Misconfigured):
                await driver.act(target(port), steps, LONG)
            assert "model" in await driver.look(target(port), order, LONG)

    go(driver, scene())


def test_two_hundred_devices_at_once_lose_nothing(driver: Snmp) -> None:
    async def scene() -> None:
        models = list(MODELS)
        devices = [SnmpDevice(models[n % len(models)], seed=n) for n in range(200)]
        async with running(*devices) as ports:
            looks = [
                driver.poll(target(port, device=f"d-{n}"), timedelta(seconds=30))
                for n, port in enumerate(ports)
            ]
            facts = await asyncio.gather(*looks)
        assert [found["name"].rsplit("-")[-1] for found in facts] == [
            f"{n:04d}" for n in range(200)
        ]

    go(driver, scene())
