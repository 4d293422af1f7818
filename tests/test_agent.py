"""A whole agent: from roster to reading, from an order to its outcome, and through every outage."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.agent import Agent, StateTaken
from agents.bus import Bus, BusAway, decode, encode
from agents.bus_local import LocalBus
from agents.bus_nats import NatsBus
from agents.credentials import Credentials
from agents.journal import Journal
from agents.messages import Heartbeat, Order, Outcome, Reading, Roster, Step, Target
from agents.outbox import Outbox
from agents.rosters import Rosters
from tests.line_device import LineDevice, LineDriver
from tests.nats import NatsServer
from tests.virtual_clock import VirtualClock, until

ROOT = Path(__file__).parents[1]


def now() -> datetime:
    return datetime.now(UTC)


def a_roster(port: int, **changes: Any) -> Roster:
    target = Target(
        device="d1",
        room="r1",
        kind="laptop",
        driver="line",
        address="127.0.0.1",
        port=port,
        every_s=1,
    )
    fields: dict[str, Any] = {
        "site": "north",
        "revision": 1,
        "sent_at": now(),
        "targets": [target],
        "busy": [],
        "trusted_until": {"r1": now() + timedelta(minutes=20)},
    }
    return Roster(**{**fields, **changes})


def an_order(order_id: str = "7.1", site: str = "north") -> Order:
    return Order(
        id=order_id,
        site=site,
        device="d1",
        room="r1",
        not_before=now() - timedelta(seconds=1),
        not_after=now() + timedelta(minutes=5),
    )


class Centre:
    """The other end of the bus: what the agents report."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.readings: list[Reading] = []
        self.outcomes: list[Outcome] = []
        self.beats: list[Heartbeat] = []
        self.subjects: set[str] = set()

    async def run(self) -> None:
        async for delivery in self.bus.receive("report.*"):
            self.subjects.add(delivery.subject)
            message = decode(delivery.data)
            if isinstance(message, Reading):
                self.readings.append(message)
            elif isinstance(message, Outcome):
                self.outcomes.append(message)
            elif isinstance(message, Heartbeat):
                self.beats.append(message)
            await delivery.ack()

    @property
    def steps(self) -> list[str]:
        return [outcome.step.value for outcome in self.outcomes]


@asynccontextmanager
async def running(*work: Any) -> AsyncIterator[None]:
    """These coroutines run meanwhile; one that fails fails the test."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def an_agent(bus: Bus, state: Path, *sites: str) -> Agent:
    return Agent(sites or ["north"], bus, Credentials(None), state, drivers={"line": LineDriver})


def test_readings_heartbeats_and_a_reset_over_the_local_bus(tmp_path: Path) -> None:
    async def run() -> None:
        device, bus = await LineDevice().start(), LocalBus()
        centre = Centre(bus)
        await bus.publish("roster.north", encode(a_roster(device.port)))
        async with running(centre.run(), an_agent(bus, tmp_path).run()):
            await until(lambda: bool(centre.readings))
            assert centre.readings[0].reachable
            await bus.publish("order.north", encode(an_order()))
            await until(lambda: centre.steps == ["accepted", "acted", "looked"])
            assert centre.outcomes[-1].facts["reset_id"] == "7.1"
        assert centre.beats[0].site == "north"
        assert centre.beats[0].version
        assert device.most_connected == 1
        await device.stop()

    asyncio.run(run())


def test_one_agent_serves_several_sites(tmp_path: Path) -> None:
    async def run() -> None:
        device, bus = await LineDevice().start(), LocalBus()
        centre = Centre(bus)
        for site in ("north", "south"):
            roster = a_roster(device.port, site=site)
            target = roster.targets[0].model_copy(update={"device": f"{site}-1"})
            roster = roster.model_copy(update={"targets": [target]})
            await bus.publish(f"roster.{site}", encode(roster))
        async with running(centre.run(), an_agent(bus, tmp_path, "north", "south").run()):
            await until(lambda: len({one.device for one in centre.readings}) == 2)
            await until(lambda: {beat.site for beat in centre.beats} == {"north", "south"})
            # An order that came under another site's subject is not carried out.
            await bus.publish("order.north", encode(an_order(site="south")))
            await asyncio.sleep(0.1)
        assert centre.outcomes == []
        assert device.resets == []
        await device.stop()

    asyncio.run(run())


def test_foreign_bytes_do_not_stop_an_agent(tmp_path: Path) -> None:
    async def run() -> None:
        device, bus = await LineDevice().start(), LocalBus()
        centre = Centre(bus)
        async with running(centre.run(), an_agent(bus, tmp_path).run()):
            for data in (b"", b"\xff", b"{}", encode(an_order())):
                await bus.publish("roster.north", data)
            for data in (b"", b"\xff", b"{}", encode(a_roster(1))):
                await bus.publish("order.north", data)
            await bus.publish("roster.north", encode(a_roster(device.port)))
            await until(lambda: bool(centre.readings))
            await bus.publish("order.north", encode(an_order()))
            await until(lambda: centre.steps[-1:] == ["looked"])
        await device.stop()

    asyncio.run(run())


class Cut:
    """A bus whose uplink can be cut."""

    def __init__(self) -> None:
        self.bus = LocalBus()
        self.cut = False
        self.receive = self.bus.receive
        self.close = self.bus.close

    async def publish(self, subject: str, data: bytes) -> None:
        if self.cut:
            raise BusAway
        await self.bus.publish(subject, data)


def test_while_the_bus_is_away_the_last_reading_and_every_outcome_are_kept(tmp_path: Path) -> None:
    async def run() -> None:
        device, bus = await LineDevice().start(), Cut()
        centre = Centre(bus)
        await bus.publish("roster.north", encode(a_roster(device.port)))
        async with running(centre.run(), an_agent(bus, tmp_path).run()):
            await until(lambda: bool(centre.readings))
            bus.cut = True
            before = len(centre.readings)
            await bus.bus.publish("order.north", encode(an_order()))
            await until(lambda: device.looks >= 4)
            assert len(centre.readings) == before
            bus.cut = False
            await until(lambda: centre.steps == ["accepted", "acted", "looked"])
            await until(lambda: len(centre.readings) > before)
            late = [r for r in centre.readings if r.taken_at < now() - timedelta(seconds=2.5)]
            assert len(late) <= before
        await device.stop()

    asyncio.run(run())


def test_a_newer_reading_replaces_one_that_waits_and_outcomes_stay() -> None:
    async def run() -> None:
        bus, sent = Cut(), list[Outcome]()
        bus.cut = True
        outbox = Outbox(bus, VirtualClock().clock, sent.append)
        for number in range(50):
            outbox.put(
                "north", Reading(device="d", taken_at=now(), reachable=True, latency_ms=number)
            )
            outbox.put("north", Heartbeat(site="north", at=now(), polls=number))
            outbox.put("north", Outcome(order=f"{number}", device="d", step=Step.FAILED, at=now()))
        assert not await outbox.send()
        assert len(outbox) == 52
        bus.cut = False
        assert await outbox.send()
        assert len(outbox) == 0
        got = []
        async for delivery in bus.receive("report.*"):
            got.append(decode(delivery.data))
            if len(got) == 52:
                break
        assert [one.latency_ms for one in got if isinstance(one, Reading)] == [49]
        assert len(sent) == 50
        await bus.close()

    asyncio.run(run())


def test_after_a_restart_without_uplink_it_works_from_the_kept_roster(tmp_path: Path) -> None:
    async def run() -> None:
        device, bus = await LineDevice().start(), LocalBus()
        await bus.publish("roster.north", encode(a_roster(device.port, revision=4)))
        async with running(an_agent(bus, tmp_path).run()):
            await until(lambda: device.looks > 0)
        device.looks = 0
        lonely = LocalBus()  # no roster ever comes
        centre = Centre(lonely)
        async with running(centre.run(), an_agent(lonely, tmp_path).run()):
            await until(lambda: device.looks > 0)
            await until(lambda: bool(centre.beats))
        assert centre.beats[0].revision == 4
        kept = tmp_path / "roster-north.json"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        await device.stop()

    asyncio.run(run())


def test_older_rosters_are_ignored_and_broken_files_do_no_harm(tmp_path: Path) -> None:
    rosters = Rosters(tmp_path)
    assert rosters.load("north") is None
    first = a_roster(1, revision=5)
    assert rosters.take(first)
    assert not rosters.take(first)
    assert not rosters.take(a_roster(1, revision=4))
    renewed = first.model_copy(update={"sent_at": first.sent_at + timedelta(seconds=1)})
    assert rosters.take(renewed)
    # A centre set up anew counts from one again; its roster is much younger.
    anew = a_roster(1, revision=1, sent_at=first.sent_at + timedelta(minutes=11))
    assert rosters.take(anew)
    assert Rosters(tmp_path).load("north") == anew
    (tmp_path / "roster-north.json").write_bytes(b'{"half": ')
    assert Rosters(tmp_path).load("north") is None


def test_two_agents_cannot_share_a_state_folder(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(an_agent(LocalBus(), tmp_path).run()):
            await asyncio.sleep(0.05)
            with pytest.raises(StateTaken):
                await an_agent(LocalBus(), tmp_path).run()

    asyncio.run(run())


def test_a_broken_journal_stops_resets_but_not_polls(tmp_path: Path) -> None:
    async def run() -> None:
        (tmp_path / "orders.db").write_bytes(b"this is no database, but long enough" * 100)
        device, bus = await LineDevice().start(), LocalBus()
        centre = Centre(bus)
        await bus.publish("roster.north", encode(a_roster(device.port)))
        await bus.publish("order.north", encode(an_order()))
        async with running(centre.run(), an_agent(bus, tmp_path).run()):
            await until(lambda: bool(centre.readings) and bool(centre.outcomes))
        assert centre.outcomes[0].reason == "no_journal"
        assert device.resets == []
        await device.stop()

    asyncio.run(run())


class Process:
    """A real agent process at a real broker."""

    def __init__(self, url: str, folder: Path) -> None:
        (folder / "credentials").mkdir(exist_ok=True)
        self.command = [
            *(sys.executable, "-m", "tests.agent_process", "--site", "north", "--bus", url),
            *("--credentials", str(folder / "credentials"), "--state", str(folder / "state")),
        ]
        self.log = folder / "log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=log, stderr=log)

    def end(self, how: signal.Signals) -> int:
        os.kill(self.process.pid, how)
        return self.process.wait(10)


@asynccontextmanager
async def at_a_broker(folder: Path) -> AsyncIterator[tuple[Centre, Process, LineDevice]]:
    server = NatsServer().start()
    bus = await NatsBus.connect(server.url, beat=0.3)
    centre, device = Centre(bus), await LineDevice().start()
    await bus.publish("roster.north", encode(a_roster(device.port)))
    process = Process(server.url, folder)
    process.start()
    try:
        async with asyncio.timeout(30), running(centre.run()):
            yield centre, process, device
    finally:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)
        await bus.close()
        await device.stop()
        server.remove()


def test_a_process_killed_in_the_middle_of_a_reset(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_a_broker(tmp_path) as (centre, process, device):
            device.gate.clear()
            await centre.bus.publish("order.north", encode(an_order()))
            await device.began.wait()
            await until(lambda: centre.steps == ["accepted"])
            process.end(signal.SIGKILL)
            process.start()
            await until(lambda: centre.steps[-1] == "unknown")
            assert centre.outcomes[-1].reason == "interrupted"
            await centre.bus.publish("order.north", encode(an_order()))
            await until(lambda: centre.steps.count("unknown") == 2)
            device.gate.set()
            await centre.bus.publish("order.north", encode(an_order("7.2")))
            await until(lambda: centre.steps[-1] == "looked")
            assert device.resets == ["7.1", "7.2"]
            assert process.end(signal.SIGTERM) == 0

    asyncio.run(run())


def test_sigterm_ends_it_cleanly_and_everything_is_sent(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_a_broker(tmp_path) as (centre, process, _device):
            await until(lambda: bool(centre.readings))
            assert process.end(signal.SIGTERM) == 0
            assert "Traceback" not in process.log.read_text()
            assert centre.subjects == {"report.north"}
            journal = Journal(tmp_path / "state" / "orders.db")
            assert journal.unsent() == []
            journal.close()

    asyncio.run(run())


def _asked(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.agent_process", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda a: a.update({"--credentials": "/nowhere"}), "there is no folder /nowhere"),
        (lambda a: a.update({"--bus": "local:"}), "'local:' ends with this process"),
        (lambda a: a.update({"--bus": "http://x"}), "FLEET_BUS must be"),
        (lambda a: a.update({"--bus": "nats://x?credentials=/no.json"}), "not known here"),
        (lambda a: a.update({"--site": "no.rth"}), "not a subject"),
        (lambda a: a.pop("--site"), "--site"),
    ],
)
def test_a_wrong_setting_is_said_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, str]], None], complaint: str
) -> None:
    arguments = {
        "--site": "north",
        "--bus": "nats://127.0.0.1:1",
        "--credentials": str(tmp_path),
        "--state": str(tmp_path / "state"),
    }
    change(arguments)
    done = _asked(*(part for pair in arguments.items() for part in pair))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_no_secret_of_the_bus_is_ever_shown(tmp_path: Path) -> None:
    login = tmp_path / "bus.json"
    login.write_text(json.dumps({"user": "north", "password": "s3cret"}))
    login.chmod(0o600)

    async def run() -> None:
        bus = await NatsBus.connect(f"nats://127.0.0.1:1?credentials={login}", patience=0.1)
        assert "s3cret" not in repr(vars(bus))
        with pytest.raises(BusAway):
            await bus.publish("report.north", b"x")
        await bus.close()

    asyncio.run(run())
