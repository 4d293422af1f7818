"""One contract for every bus: the local one, the same in a bad mood, and a real NATS server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from agents.bus import BadMessage, Bus, BusAway, Delivery, decode, encode, open_bus
from agents.bus_local import Chaos, LocalBus
from agents.bus_nats import NatsBus
from agents.messages import Heartbeat, Roster, Target
from tests.nats import NatsServer
from tests.virtual_clock import until

ACK_WAIT = 0.6
BEAT = 0.3
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@asynccontextmanager
async def a_bus(kind: str) -> AsyncIterator[Bus]:
    if kind == "nats":
        server = NatsServer().start()
        bus: Bus = await NatsBus.connect(server.url, ack_wait=ACK_WAIT, beat=BEAT)
        try:
            yield bus
        finally:
            await bus.close()
            server.remove()
        return
    chaos = Chaos(Random(7), double=0.3, shuffle=0.5) if kind == "chaos" else None
    bus = LocalBus(ack_wait=ACK_WAIT, chaos=chaos)
    yield bus
    await bus.close()


def on_every_bus(
    check: Callable[[Bus], Awaitable[None]],
) -> Callable[[str], None]:
    @pytest.mark.parametrize("kind", ["local", "chaos", "nats"])
    def test(kind: str) -> None:
        async def run() -> None:
            async with asyncio.timeout(30), a_bus(kind) as bus:
                await check(bus)

        asyncio.run(run())

    test.__name__ = check.__name__
    return test


async def take(
    bus: Bus, subject: str, enough: Callable[[set[bytes]], bool], ack: bool = True
) -> list[Delivery]:
    """What arrives until it is enough."""
    got: list[Delivery] = []
    stream = bus.receive(subject)
    async for delivery in stream:
        got.append(delivery)
        if ack:
            await delivery.ack()
        if enough({one.data for one in got}):
            break
    await stream.aclose()
    return got


async def quiet(bus: Bus, subject: str, seconds: float) -> list[bytes]:
    """What arrives within the time; all of it acknowledged."""
    got: list[bytes] = []
    stream = bus.receive(subject)
    try:
        async with asyncio.timeout(seconds):
            async for delivery in stream:
                got.append(delivery.data)
                await delivery.ack()
    except TimeoutError:
        pass
    await stream.aclose()
    return got


@on_every_bus
async def test_what_is_published_arrives_under_its_subject(bus: Bus) -> None:
    await bus.publish("report.north", b"one")
    [first, *_] = await take(bus, "report.*", lambda got: b"one" in got)
    assert (first.subject, first.data) == ("report.north", b"one")


@on_every_bus
async def test_a_receiver_that_waits_gets_a_message_at_once(bus: Bus) -> None:
    waiting = asyncio.create_task(take(bus, "order.north", bool))
    await asyncio.sleep(0.5)
    began = asyncio.get_running_loop().time()
    await bus.publish("order.north", b"go")
    await waiting
    assert asyncio.get_running_loop().time() - began < 0.25


@on_every_bus
async def test_many_messages_of_many_sites_all_arrive(bus: Bus) -> None:
    sent = {f"{site} {number}".encode() for site in ("a", "b", "c") for number in range(300)}
    await asyncio.gather(
        *(bus.publish(f"report.{data.decode().split()[0]}", data) for data in sent)
    )
    got = await take(bus, "report.*", lambda seen: seen >= sent)
    assert {delivery.data for delivery in got} == sent
    assert all(one.subject == f"report.{one.data.decode()[0]}" for one in got)


@on_every_bus
async def test_an_order_reaches_its_own_site_only(bus: Bus) -> None:
    await bus.publish("order.north", b"for north")
    await bus.publish("order.south", b"for south")
    await take(bus, "order.south", lambda got: b"for south" in got)
    assert b"for north" not in await quiet(bus, "order.south", 0.3)
    await take(bus, "order.north", lambda got: b"for north" in got)


@on_every_bus
async def test_acknowledged_messages_do_not_come_again(bus: Bus) -> None:
    for number in range(20):
        await bus.publish("report.north", b"%d" % number)
    await take(bus, "report.*", lambda got: len(got) == 20)
    await quiet(bus, "report.*", 0.2)  # the second copies of a bus that doubles
    assert await quiet(bus, "report.*", ACK_WAIT * 2) == []


@on_every_bus
async def test_without_acknowledgement_a_message_comes_again(bus: Bus) -> None:
    await bus.publish("order.north", b"reset")
    await take(bus, "order.north", bool, ack=False)
    again = await take(bus, "order.north", bool)
    assert again[0].data == b"reset"


@on_every_bus
async def test_a_late_subscriber_gets_the_last_roster(bus: Bus) -> None:
    for number in range(5):
        await bus.publish("roster.north", b"%d" % number)
    await bus.publish("roster.south", b"other")
    for _ in range(2):  # every subscriber, not only the first
        got = await take(bus, "roster.north", bool)
        assert got[0].data == b"4"


@on_every_bus
async def test_every_roster_subscriber_gets_every_new_one(bus: Bus) -> None:
    waiting = [
        asyncio.create_task(take(bus, "roster.north", lambda got: b"new" in got)) for _ in range(2)
    ]
    await asyncio.sleep(0.3)
    await bus.publish("roster.north", b"new")
    await asyncio.gather(*waiting)


@on_every_bus
async def test_receivers_of_reports_share_the_work(bus: Bus) -> None:
    sent = {b"%d" % number for number in range(200)}
    handled: list[tuple[int, bytes]] = []

    async def receiver(name: int) -> None:
        async for delivery in bus.receive("report.*"):
            handled.append((name, delivery.data))
            await delivery.ack()
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(receiver(name)) for name in range(2)]
    await asyncio.sleep(0.3)
    for data in sent:
        await bus.publish("report.north", data)
    await until(lambda: {data for _, data in handled} == sent)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(handled) < 2 * len(sent)


@on_every_bus
async def test_foreign_bytes_are_bad_messages_and_stop_nothing(bus: Bus) -> None:
    good = Heartbeat(site="north", at=NOW)
    for data in (b"\x00\xff garbage", b"", b'{"type":"heartbeat"}', b"\x78\x9c bomb", encode(good)):
        await bus.publish("report.north", data)
    got = await take(bus, "report.*", lambda seen: len(seen) == 5)
    bad = 0
    for data in {delivery.data for delivery in got}:
        try:
            assert decode(data) == good
        except BadMessage:
            bad += 1
    assert bad == 4


@on_every_bus
async def test_a_roster_of_ten_thousand_devices_travels(bus: Bus) -> None:
    targets = [
        Target(
            device=f"laptop-{number}",
            room=f"room-{number // 30}",
            kind="laptop",
            driver="ssh",
            address=f"10.{number // 65536}.{number // 256 % 256}.{number % 256}",
            serial=f"{Random(number).getrandbits(64):x}",
            options={"note": f"{Random(number).getrandbits(256):x}"},
        )
        for number in range(10_000)
    ]
    roster = Roster(site="north", revision=1, sent_at=NOW, targets=targets, busy=[])
    assert len(roster.model_dump_json()) > 2**20
    await bus.publish("roster.north", encode(roster))
    [first, *_] = await take(bus, "roster.north", bool)
    assert decode(first.data) == roster


@on_every_bus
async def test_a_subject_that_does_not_exist_is_refused(bus: Bus) -> None:
    for subject in ("report.*", "report.a.b", "reprot.a", "report.", "order.a b", "report.>"):
        with pytest.raises(ValueError, match="subject"):
            await bus.publish(subject, b"x")


def test_a_bus_that_loses_messages_invents_none() -> None:
    async def run() -> None:
        bus = LocalBus(chaos=Chaos(Random(3), drop=0.5, double=0.5, shuffle=0.5))
        stream = bus.receive("report.*")
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        sent = [b"%d" % number for number in range(200)]
        for data in sent:
            await bus.publish("report.north", data)
        got = [(await first).data, *await quiet(bus, "report.*", 0.1)]
        assert set(got) < set(sent)
        assert len(got) > len(set(got))
        assert got != sorted(got, key=int)
        await stream.aclose()
        await bus.close()

    asyncio.run(run())


def test_a_server_killed_in_the_middle_loses_nothing_acknowledged() -> None:
    async def run() -> None:
        server = NatsServer().start()
        bus = await NatsBus.connect(server.url, ack_wait=ACK_WAIT, beat=BEAT)
        accepted: set[bytes] = set()
        got: set[bytes] = set()

        async def receive() -> None:
            async for delivery in bus.receive("report.*"):
                got.add(delivery.data)
                await delivery.ack()

        async def publish(data: bytes) -> None:
            while True:
                try:
                    await bus.publish("report.north", data)
                except BusAway:
                    await asyncio.sleep(0.02)
                else:
                    accepted.add(data)
                    return

        receiving = asyncio.create_task(receive())
        roster = asyncio.create_task(take(bus, "roster.north", lambda seen: b"after" in seen))
        await publish(b"before")
        sending = asyncio.create_task(
            asyncio.wait_for(_each(publish, [b"%d" % n for n in range(600)]), 30)
        )
        for _ in range(2):
            await asyncio.sleep(0.15)
            server.kill()
            await asyncio.sleep(0.1)
            server.start()
            await asyncio.sleep(1.2)
        await sending
        await bus.publish("roster.north", b"after")
        await asyncio.wait_for(roster, 10)
        await until(lambda: got >= accepted, 15)
        assert len(accepted) == 601
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await bus.close()
        server.remove()

    asyncio.run(run())


async def _each(do: Callable[[bytes], Awaitable[None]], items: list[bytes]) -> None:
    for item in items:
        await do(item)
        await asyncio.sleep(0.001)


def test_a_bus_may_be_opened_before_its_server_is_there() -> None:
    async def run() -> None:
        server = NatsServer()
        opening = asyncio.create_task(NatsBus.connect(server.url, beat=BEAT))
        await asyncio.sleep(0.3)
        server.start()
        bus = await opening
        await bus.publish("report.north", b"x")
        await bus.close()
        server.remove()

    asyncio.run(run())


def test_a_login_from_a_file_only_its_owner_can_read(tmp_path: Path) -> None:
    async def run() -> None:
        server = NatsServer(
            'authorization { users = [ { user: "north", password: "s3cret" } ] }'
        ).start()
        login = tmp_path / "bus.json"
        login.write_text(json.dumps({"user": "north", "password": "s3cret"}))
        login.chmod(0o644)
        with pytest.raises(ValueError, match="can be read by others"):
            await open_bus(f"{server.url}?credentials={login}")
        login.chmod(0o600)
        bus = await open_bus(f"{server.url}?credentials={login}")
        await bus.publish("report.north", b"x")
        await bus.close()
        server.remove()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("nats://u:p@127.0.0.1:4222", "no password"),
        ("nats://127.0.0.1:4222?credential=x", "unknown option: credential"),
        ("nats://127.0.0.1?credentials=/nowhere/x.json", "not known here"),
        ("nats://127.0.0.1?ca=/nowhere/ca.pem", "cannot be read"),
        ("nats://", "no host"),
        ("redis://127.0.0.1", "FLEET_BUS"),
    ],
)
def test_an_address_that_makes_no_sense_is_said_so(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        asyncio.run(open_bus(url))
