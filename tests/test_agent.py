"""A whole agent: from roster to reading, from an order to its outcome, and through every outage."""

import asyncio
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from agents.agent import StateTaken
from agents.bus import BusAway, decode, encode
from agents.bus_local import LocalBus
from agents.messages import Heartbeat, Outcome, Reading, Step
from agents.outbox import Outbox
from agents.rosters import Rosters
from tests.agent_bench import Centre, a_roster, an_agent, an_order, now, running
from tests.line_device import LineDevice
from tests.virtual_clock import VirtualClock, until


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
