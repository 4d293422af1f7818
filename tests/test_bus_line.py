"""The line to the broker: cut, answered by somebody else, and what was said while it was gone."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from agents.bus import encode
from agents.bus_nats import NatsBus
from agents.messages import Hold
from tests.agent_bench import Centre, a_roster, an_agent, an_order, now, running
from tests.line_device import LineDevice
from tests.nats import NatsServer
from tests.test_bus_nats import BEAT, reach
from tests.virtual_clock import until


class Cable:
    """A line to the broker that can be cut; `stranger`: what answers there instead of it."""

    def __init__(self, broker: int) -> None:
        self._broker = broker
        self._ends: list[asyncio.StreamWriter] = []
        self.stranger: bytes | None = None

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    def stop(self) -> None:
        self._server.close()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.append(writer)
        if self.stranger is not None:
            writer.write(self.stranger)
            return
        inward, outward = await asyncio.open_connection("127.0.0.1", self._broker)
        self._ends.append(outward)
        await asyncio.gather(self._carry(reader, outward), self._carry(inward, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


@pytest.fixture
def server() -> Iterator[NatsServer]:
    one = NatsServer().start()
    yield one
    one.remove()


@pytest.mark.parametrize("met", ["at the start", "again"])
@pytest.mark.parametrize("says", [b"x" * 100_000, b"INFO\r\n", b"INFO []\r\n"])
def test_whatever_else_answers_there_the_broker_is_found_again(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch, says: bytes, met: str
) -> None:
    """A captive portal, or a proxy before a broker that is just starting."""
    monkeypatch.setattr("agents.bus_nats.AWAY_S", 2.0)

    async def run() -> None:
        cable = Cable(server.port)
        url = await cable.start()
        if met == "at the start":
            cable.stranger = says
        bus = await NatsBus.connect(url, patience=1.5)
        cable.stranger = says
        cable.cut()
        await asyncio.sleep(1.5)
        cable.stranger = None
        cable.cut()
        await asyncio.wait_for(reach(bus), 15)
        await bus.close()
        cable.stop()

    asyncio.run(run())


def test_a_line_that_is_often_cut_leaves_nothing_behind(server: NatsServer) -> None:
    async def run() -> None:
        cable = Cable(server.port)
        bus = await NatsBus.connect(await cable.start(), beat=0.1)
        listening = asyncio.create_task(anext(bus.receive("order.north")))
        held = []
        for _ in range(4):
            await asyncio.wait_for(reach(bus), 15)
            await asyncio.sleep(1.5)  # the receiver asks anew, too
            held.append(len(asyncio.all_tasks()))
            cable.stranger = b"busy\r\n"
            cable.cut()
            await asyncio.sleep(1)
            cable.stranger = None
        assert held[-1] <= held[0]
        listening.cancel()
        await bus.close()
        cable.stop()

    asyncio.run(run())


def test_after_each_gap_the_roster_comes_before_the_orders(server: NatsServer) -> None:
    async def run() -> None:
        cable = Cable(server.port)
        centre = await NatsBus.connect(server.url)
        agent = await NatsBus.connect(await cable.start(), beat=BEAT)
        received = agent.receive("order.north")
        for number in (b"1", b"2"):
            await centre.publish("order.north", b"order " + number)
            await centre.publish("roster.north", b"roster " + number)
            if number == b"2":
                cable.stranger = None
            told = []
            while len(told) < 2:
                async with asyncio.timeout(15):
                    delivery = await anext(received)
                await delivery.ack()
                if delivery.data.endswith(number):  # an acknowledgement may have been cut off
                    told.append(delivery.data)
            assert told == [b"roster " + number, b"order " + number]
            cable.stranger = b"busy\r\n"
            cable.cut()
            await asyncio.sleep(0.5)  # the broker notices
        await received.aclose()
        await agent.close()
        await centre.close()
        cable.stop()

    asyncio.run(run())


def test_a_pause_of_the_time_without_an_uplink_stops_the_orders_of_that_time(
    server: NatsServer, tmp_path: Path
) -> None:
    async def run() -> None:
        cable, device = Cable(server.port), await LineDevice().start()
        bus = await NatsBus.connect(server.url, beat=BEAT)
        centre = Centre(bus)
        far = await NatsBus.connect(await cable.start(), beat=BEAT)
        async with running(centre.run(), an_agent(far, tmp_path).run()):
            await bus.publish("roster.north", encode(a_roster(device.port)))
            await until(lambda: centre.readings)
            cable.stranger = b"busy\r\n"
            cable.cut()
            await asyncio.sleep(0.5)  # the broker notices
            await bus.publish("order.north", encode(an_order()))
            pause = Hold(start=now() - timedelta(minutes=1))
            await bus.publish(
                "roster.north", encode(a_roster(device.port, revision=2, holds=[pause]))
            )
            cable.stranger = None
            await until(lambda: centre.outcomes, 20)
        assert [(one.step.value, one.reason) for one in centre.outcomes] == [("refused", "paused")]
        assert device.resets == []
        for one in (bus, far):
            await one.close()
        cable.stop()
        await device.stop()

    asyncio.run(run())
