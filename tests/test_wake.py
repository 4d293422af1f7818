"""Waking: real packets to a laptop that sleeps, and what becomes of an order it does not hear."""

import asyncio
import json
import os
import resource
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Interface
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agents.driver import DriverError, Misconfigured, Unreachable
from agents.networks import broadcasts
from agents.wake import STAGGER_S, Waker, magic_packet
from tests.parts import need
from tests.virtual_clock import until
from tests.worker_bench import Bench, a_roster, an_order, busy, minutes, on_bench

MAC = "02:00:00:aa:bb:07"


def over_the_cable(scenario: str) -> list[dict[str, Any]]:
    """What became of an order for a laptop in another network namespace."""
    unshare = need("unshare")
    need("ip")
    if os.geteuid():
        pytest.skip("only root makes network namespaces")
    done = subprocess.run(
        [unshare, "-n", sys.executable, "-m", "tests.wake_lan", scenario],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_a_laptop_that_sleeps_is_woken_and_reset() -> None:
    accepted, acted, looked = over_the_cable("wakes")
    assert [accepted["wake"], looked["wake"]] == [None, None]
    assert (acted["step"], looked["step"]) == ("acted", "looked")
    wake = acted["wake"]
    assert (wake["method"], wake["result"]) == ("magic_packet", "woken")
    assert wake["seconds"] >= 1
    assert looked["facts"]["reset_id"] == "7.1"


@pytest.mark.parametrize("scenario", ["never", "wrong_mac"])
def test_a_laptop_that_does_not_wake_was_not_touched(scenario: str) -> None:
    answers = over_the_cable(scenario)
    assert [one["step"] for one in answers] == ["accepted", "refused"]
    assert answers[-1]["reason"] == "asleep"
    assert answers[-1]["wake"] == {
        "v": 1,
        "method": "magic_packet",
        "result": "asleep",
        "seconds": None,
    }


@on_bench
async def test_what_cannot_be_woken_is_for_the_caretaker(bench: Bench) -> None:
    bench.seen = False
    await bench.device.stop()
    await bench.send(an_order())
    assert bench.steps == [("accepted", ""), ("refused", "switched_off")]
    assert bench.answers[-1].wake
    assert bench.answers[-1].wake.method == "none"


def sleepy(bench: Bench, mac: str = MAC, **changes: Any) -> None:
    """The bench's devices are asleep, and can be woken under this address."""
    bench.seen = False
    roster = a_roster(bench.device.port, devices=5, **changes)
    targets = [one.model_copy(update={"mac": mac}) for one in roster.targets]
    bench.roster = roster.model_copy(update={"targets": targets})


@on_bench
async def test_an_address_that_is_none_is_said_so(bench: Bench) -> None:
    sleepy(bench, "AA:BB")
    await bench.device.stop()
    await bench.send(an_order())
    assert bench.steps[-1] == ("failed", "misconfigured")
    assert bench.answers[-1].permanent


@on_bench
async def test_a_device_that_is_awake_is_not_called(bench: Bench) -> None:
    sleepy(bench, "not even an address")
    await bench.send(an_order())
    assert bench.steps[-1] == ("looked", "")
    assert all(answer.wake is None for answer in bench.answers)


@on_bench
async def test_a_device_that_refuses_us_is_awake(bench: Bench) -> None:
    sleepy(bench)
    bench.device.mood = "denied"
    await bench.send(an_order())
    assert bench.steps[-1] == ("failed", "denied")
    assert bench.answers[-1].wake is None


@on_bench
async def test_while_it_starts_up_it_may_refuse_everybody(bench: Bench) -> None:
    sleepy(bench)
    await bench.device.stop()
    sent = bench.send(an_order())
    await asyncio.sleep(0.05)
    bench.device.mood = "denied"
    await bench.device.start()
    await asyncio.sleep(0.05)
    await bench.time.advance(3)
    await asyncio.sleep(0.05)
    assert bench.steps == [("accepted", "")]
    bench.device.mood = "ok"
    await bench.time.advance(3)
    await until(sent.done)
    assert bench.steps[-1] == ("looked", "")
    assert bench.answers[1].wake
    assert bench.answers[1].wake.result == "woken"


@on_bench
async def test_waking_ends_with_its_order(bench: Bench) -> None:
    sleepy(bench)
    await bench.device.stop()
    sent = bench.send(an_order(not_after=minutes(0.5)))
    for _ in range(11):
        await asyncio.sleep(0.02)
        await bench.time.advance(3)
    await until(sent.done)
    assert bench.steps[-1] == ("refused", "asleep")
    assert bench.time.seconds < 60


@on_bench
async def test_an_agent_that_stops_as_the_device_wakes_begins_nothing(bench: Bench) -> None:
    waker, asked = Waker(bench.time.clock, [IPv4Address("127.255.255.255")]), 0

    async def complaint() -> DriverError | None:
        nonlocal asked
        asked += 1
        if asked == 1:
            return Unreachable()
        asyncio.get_running_loop().call_soon(waking.cancel)
        return None

    sleepy(bench)
    target = bench.roster.targets[0] if bench.roster else None
    assert target
    waking = asyncio.create_task(waker.rouse("north", target, complaint, minutes(5)))
    await until(waking.done)
    assert waking.cancelled()


@on_bench
async def test_packets_that_cannot_be_sent_end_no_order(bench: Bench) -> None:
    sleepy(bench)
    await bench.device.stop()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (held - 1, files[1]))
    try:
        sent = bench.send(an_order(not_after=minutes(0.5)))
        for _ in range(11):
            await asyncio.sleep(0.02)
            await bench.time.advance(3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
    await until(sent.done)
    assert bench.steps[-1][0] in ("refused", "unknown", "failed")


@on_bench
async def test_a_course_that_came_in_while_it_woke_stops_the_reset(bench: Bench) -> None:
    sleepy(bench)
    await bench.device.stop()
    sent = bench.send(an_order())
    await asyncio.sleep(0.05)
    sleepy(bench, busy=[busy(0, 60)])
    await bench.device.start()
    await bench.time.advance(3)
    await until(sent.done)
    assert bench.steps[-1] == ("refused", "course_running")
    assert bench.device.resets == []
    assert bench.answers[-1].wake


@on_bench
async def test_devices_of_a_site_are_woken_one_after_the_other(bench: Bench) -> None:
    calls: list[tuple[str, float]] = []

    class Counted(Waker):
        async def _call(self, target: Any, packet: bytes) -> None:
            calls.append((target.device, bench.time.seconds))

    bench.start(waker=Counted(bench.time.clock))
    sleepy(bench)
    await bench.device.stop()
    sent = [
        bench.send(an_order(id=f"{n}.1", device=f"d{n}", not_after=minutes(0.2)))
        for n in range(1, 6)
    ]
    while not all(task.done() for task in sent):
        await asyncio.sleep(0.02)
        await bench.time.advance(0.5)
    moments = [moment for _, moment in calls]
    assert len(moments) == 5
    assert all(b - a >= STAGGER_S for a, b in pairwise(moments))


def test_the_packet_is_the_one_that_network_cards_know() -> None:
    packet = magic_packet(" 3C-52-82-AA-BB-07 ")
    assert packet == b"\xff" * 6 + bytes.fromhex("3c5282aabb07") * 16
    assert magic_packet("3c5282aabb07") == packet
    for none in ("", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "3c:52:82:aa:bb", "x" * 12):
        with pytest.raises(Misconfigured):
            magic_packet(none)


def test_our_own_networks_are_what_the_system_says() -> None:
    listing = subprocess.run(
        [need("ip"), "-j", "-4", "address"], capture_output=True, text=True, check=True
    )
    told = {
        IPv4Interface(f"{one['local']}/{one['prefixlen']}"): IPv4Address(one["broadcast"])
        for link in json.loads(listing.stdout)
        for one in link["addr_info"]
        if "broadcast" in one and "UP" in link["flags"]
    }
    found = broadcasts()
    assert told.items() <= found.items()
    assert not any(own.ip.is_loopback for own in found)
