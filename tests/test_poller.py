"""The poller: every device in its turn, none disturbs another, and a failure is a result."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agents.credentials import Credentials
from agents.driver import Driver, Unreachable
from agents.messages import Facts, Order, Reading, Target
from agents.poller import Poller
from tests.line_device import LineDevice, LineDriver
from tests.virtual_clock import VirtualClock, settle


class Counting:
    """A driver that answers after a while of virtual time and remembers what was asked when."""

    def __init__(self, time: VirtualClock) -> None:
        self.time = time
        self.calls: list[tuple[str, float]] = []
        self.takes = 0.0
        self.fails: set[str] = set()
        self.now = 0
        self.most = 0

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        self.calls.append((target.device, self.time.seconds))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.takes:
                await self.time.sleep(self.takes)
            if target.device in self.fails:
                raise Unreachable("no answer")
        finally:
            self.now -= 1
        return {"uptime_s": 5}

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        raise NotImplementedError

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        raise NotImplementedError

    async def close(self) -> None: ...

    def times(self, device: str) -> list[float]:
        return [at for name, at in self.calls if name == device]


class Bench:
    """A poller on virtual time."""

    def __init__(self, **options: Any) -> None:
        self.time = VirtualClock()
        self.driver = Counting(self.time)
        self.readings: list[tuple[str, Reading]] = []
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.poller = Poller(
            {"count": self.driver},
            lambda site, reading: self.readings.append((site, reading)),
            self.locks,
            self.time.clock,
            **options,
        )


def on_bench(**options: Any) -> Callable[[Callable[[Bench], Awaitable[None]]], Callable[[], None]]:
    def wrap(check: Callable[[Bench], Awaitable[None]]) -> Callable[[], None]:
        def test() -> None:
            async def run() -> None:
                bench = Bench(**options)
                running = asyncio.create_task(bench.poller.run())
                await settle()
                await check(bench)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

            asyncio.run(run())

        test.__name__ = check.__name__
        return test

    return wrap


def target(device: str, **changes: Any) -> Target:
    fields = {"room": "r1", "kind": "laptop", "driver": "count", "address": "127.0.0.1"}
    return Target(device=device, **{**fields, **changes})


@on_bench()
async def test_each_device_is_polled_once_per_interval(bench: Bench) -> None:
    bench.poller.follow("north", [target(f"d{n}") for n in range(20)])
    await bench.time.advance(120)
    begun = len(bench.driver.calls)
    await bench.time.advance(600)
    assert len(bench.driver.calls) - begun == 200
    for number in range(20):
        times = bench.driver.times(f"d{number}")
        gaps = [b - a for a, b in pairwise(times[1:])]
        assert all(abs(gap - 60) < 0.3 for gap in gaps)
        assert times[1] - times[0] >= 29.9
    assert bench.poller.polls == {"north": len(bench.driver.calls)}
    assert bench.poller.late["north"] == 0


@on_bench()
async def test_a_thousand_devices_do_not_fire_at_once(bench: Bench) -> None:
    bench.poller.follow("north", [target(f"laptop-{n:04}") for n in range(1000)])
    await bench.time.advance(180)
    per_second: defaultdict[int, int] = defaultdict(int)
    for _, at in bench.driver.calls:
        per_second[int(at)] += 1
    assert max(n for second, n in per_second.items() if second < 60) < 100
    steady = [per_second[second] for second in range(100, 160)]
    assert sum(steady) == 1000
    assert max(steady) < 40


@on_bench()
async def test_a_new_device_is_seen_within_a_second_and_others_go_on(bench: Bench) -> None:
    old = [target(f"d{n}") for n in range(5)]
    bench.poller.follow("north", old)
    await bench.time.advance(200)
    before = {t.device: bench.driver.times(t.device)[-1] for t in old}
    bench.poller.follow("north", [*old, target("new")])
    await bench.time.advance(1.2)
    assert len(bench.driver.times("new")) == 1
    await bench.time.advance(60)
    for device, last in before.items():
        after = [at for at in bench.driver.times(device) if at > last]
        assert after[0] - last == pytest.approx(60, abs=0.3)


@on_bench()
async def test_the_same_roster_again_changes_nothing(bench: Bench) -> None:
    devices = [target(f"d{n}") for n in range(5)]
    bench.poller.follow("north", devices)
    for _ in range(300):
        await bench.time.advance(1)
        bench.poller.follow("north", list(devices))
    for device in devices:
        assert 5 <= len(bench.driver.times(device.device)) <= 6


@on_bench()
async def test_a_removed_device_is_left_alone_even_in_mid_poll(bench: Bench) -> None:
    bench.driver.takes = 5
    bench.poller.follow("north", [target("gone"), target("stays")])
    bench.poller.follow("south", [target("other")])
    await bench.time.advance(2)
    bench.poller.follow("north", [target("stays")])
    await bench.time.advance(300)
    assert len(bench.driver.times("gone")) == 1
    assert "gone" not in {reading.device for _, reading in bench.readings}
    assert len(bench.driver.times("stays")) >= 4
    assert {site for site, reading in bench.readings if reading.device == "other"} == {"south"}


@on_bench()
async def test_a_changed_device_is_polled_anew_at_its_new_address(bench: Bench) -> None:
    bench.driver.takes = 5
    bench.poller.follow("north", [target("d")])
    await bench.time.advance(2)
    bench.poller.follow("north", [target("d", address="127.0.0.2")])
    await bench.time.advance(20)
    assert len(bench.driver.times("d")) == 2
    assert len(bench.readings) == 1
    assert bench.driver.most == 1


@on_bench()
async def test_never_two_polls_of_one_device_and_slow_ones_do_not_pile_up(bench: Bench) -> None:
    bench.driver.takes = 9
    bench.poller.follow("north", [target("slow", every_s=2)])
    await bench.time.advance(100)
    assert bench.driver.most == 1
    assert 8 <= len(bench.driver.calls) <= 11


@on_bench(at_once=4)
async def test_the_limit_per_site_holds_and_lateness_is_counted(bench: Bench) -> None:
    bench.driver.takes = 9
    bench.poller.follow("north", [target(f"d{n}", every_s=10) for n in range(20)])
    bench.poller.follow("south", [target("alone", every_s=10)])
    await bench.time.advance(100)
    assert bench.driver.most == 5
    assert bench.poller.late["north"] > 10
    assert bench.poller.late["south"] == 0
    assert len(bench.driver.times("alone")) >= 9


@on_bench()
async def test_a_failing_device_is_asked_less_and_less_until_it_answers(bench: Bench) -> None:
    bench.driver.fails = {"d"}
    bench.poller.follow("north", [target("d", every_s=20)])
    await bench.time.advance(2000)
    times = bench.driver.times("d")
    gaps = [round(b - a) for a, b in pairwise(times[1:])]
    assert gaps[:5] == [40, 80, 160, 300, 300]
    assert set(gaps[5:]) == {300}
    bench.driver.fails = set()
    await bench.time.advance(300)
    bench.driver.calls.clear()
    await bench.time.advance(100)
    assert len(bench.driver.calls) == 5


@on_bench()
async def test_one_lost_packet_changes_no_interval(bench: Bench) -> None:
    bench.driver.fails = {"d"}
    bench.poller.follow("north", [target("d")])
    await bench.time.advance(1)
    bench.driver.fails = set()
    await bench.time.advance(299)
    assert len(bench.driver.times("d")) >= 5


@on_bench()
async def test_a_device_under_reset_is_not_polled_and_holds_no_slot(bench: Bench) -> None:
    bench.poller.follow("north", [target("d")])
    async with bench.locks["d"]:
        await bench.time.advance(200)
        assert bench.driver.calls == []
    await bench.time.advance(1)
    assert len(bench.driver.calls) == 1
    assert bench.poller.late["north"] == 0


@on_bench()
async def test_intervals_out_of_all_sense_are_held(bench: Bench) -> None:
    bench.poller.follow(
        "north",
        [target("zero", every_s=0), target("minus", every_s=-5), target("nan", every_s="nan")],
    )
    await bench.time.advance(10)
    assert all(8 <= len(bench.driver.times(name)) <= 12 for name in ("zero", "minus", "nan"))


async def _over_sockets(
    tmp_path: Path, mood: str, expected: int = 1, **changes: Any
) -> list[Reading]:
    """Readings of one real device in that mood, polled every second of real time."""
    device = await LineDevice().start()
    device.mood = mood
    time = VirtualClock()
    got: list[Reading] = []
    drivers: dict[str, Driver] = {"line": LineDriver(Credentials(None), tmp_path)}
    poller = Poller(
        drivers,
        lambda _site, reading: got.append(reading),
        defaultdict(asyncio.Lock),
        time.clock,
        timeout=timedelta(seconds=-0.7),  # plus the second of grace
    )
    port = 1 if mood == "off" else device.port
    fields = {"driver": "line", "port": port, "every_s": 1, **changes}
    poller.follow("north", [target("d", **fields)])
    running = asyncio.create_task(poller.run())
    async with asyncio.timeout(10):
        while len(got) < expected:
            await time.advance(1)
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await device.stop()
    return got


@pytest.mark.parametrize(
    ("mood", "changes", "problem"),
    [
        ("off", {}, "unreachable"),
        ("hang", {}, "timed_out"),
        ("denied", {}, "denied"),
        ("garbage", {}, "garbled"),
        ("ok", {"serial": "S2"}, "wrong_device"),
        ("ok", {"driver": "smoke-signals"}, "misconfigured"),
        ("ok", {"options": {"bug": True}}, "bug"),
    ],
)
def test_whatever_a_device_does_is_a_reading(
    tmp_path: Path, mood: str, changes: dict[str, Any], problem: str
) -> None:
    [reading, *_] = asyncio.run(_over_sockets(tmp_path, mood, **changes))
    assert not reading.reachable
    assert reading.problem == problem
    assert reading.detail
    assert "s3cret" not in reading.detail
    assert reading.facts == {}


def test_a_good_reading_has_facts_and_a_latency(tmp_path: Path) -> None:
    [reading, *_] = asyncio.run(_over_sockets(tmp_path, "ok", serial=" s1 "))
    assert reading.reachable
    assert reading.problem == ""
    assert reading.facts == {"serial": "S1", "power": "on"}
    assert reading.latency_ms is not None


def test_it_logs_changes_and_not_every_poll(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agents.poller")
    asyncio.run(_over_sockets(tmp_path, "off", expected=4))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_bug_is_logged_once_with_its_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(_over_sockets(tmp_path, "ok", expected=3, options={"bug": True}))
    assert len(caplog.records) == 1
    assert "Traceback" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@on_bench()
async def test_facts_of_a_wrong_type_are_garbled(bench: Bench) -> None:
    async def nonsense(target: Target, timeout: timedelta) -> Facts:
        return {"uptime_s": "for ever"}

    bench.driver.poll = nonsense  # type: ignore[method-assign]
    bench.poller.follow("north", [target("d")])
    await bench.time.advance(1)
    assert bench.readings[0][1].problem == "garbled"
    assert "uptime_s" in bench.readings[0][1].detail
