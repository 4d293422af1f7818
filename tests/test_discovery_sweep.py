"""A sweep finds what stands in the site's own networks, and touches nothing else."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agents.agent import CLOCK
from agents.credentials import Credentials
from agents.discovery.hosts import Places
from agents.discovery.neighbours import macs
from agents.discovery.pace import Pace
from agents.discovery.ranges import BadRange, Ranges
from agents.discovery.sweep import Manner, Sweeper
from agents.driver import Driver
from agents.drivers import DRIVERS
from agents.messages import Found, FoundHost, Sweep
from agents.simulator.freekiosk import FreeTablet
from agents.simulator.kiosk import Tablet
from agents.simulator.pjlink import Projector
from agents.simulator.snmp import SnmpDevice
from tests.projectors import PASSWORD
from tests.snmp_targets import USER, secret, user_parts
from tests.twonets import end, line, two_networks
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

RANGE = "127.77.0.0/28"


class TestRanges:
    @pytest.mark.parametrize(
        "text", ["8.8.8.0/24", "0.0.0.0/0", "10.0.0.0/16", "fd00::/64", "x", "10.0.0.1/24", ""]
    )
    def test_what_nobody_may_sweep(self, text: str) -> None:
        with pytest.raises(BadRange):
            Ranges([text])

    def test_too_much_together(self) -> None:
        with pytest.raises(BadRange, match="more than"):
            Ranges([f"10.{n}.0.0/20" for n in range(5)])

    def test_each_address_once_without_network_and_broadcast(self) -> None:
        found = list(Ranges(["10.0.0.0/30", "10.0.0.0/29"]).hosts())
        assert sorted(found) == [f"10.0.0.{n}" for n in range(1, 7)]

    def test_what_is_inside(self) -> None:
        ranges = Ranges(["10.0.0.0/29", "192.168.1.4/32"])
        assert "10.0.0.7" in ranges
        assert "192.168.1.4" in ranges
        for outside in ("10.0.0.8", "192.168.1.5", "8.8.8.8", "host", "::1", ""):
            assert outside not in ranges

    def test_a_broadcast_only_where_it_reaches_nobody_else(self) -> None:
        assert Ranges(["127.0.0.0/24"]).on_link() == []  # loopback is a /8

    def test_the_kernels_neighbours(self, tmp_path: Path) -> None:
        table = tmp_path / "arp"
        table.write_text(
            "IP address HW type Flags HW address Mask Device\n"
            "10.0.0.2   0x1     0x2   02:FC:00:00:00:05 * eth0\n"
            "10.0.0.3   0x1     0x0   00:00:00:00:00:00 * eth0\nnonsense\n"
        )
        assert macs(table) == {"10.0.0.2": "02:fc:00:00:00:05"}
        assert macs(tmp_path / "none") == {}


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("", 0))
    ports = [int(each.getsockname()[1]) for each in held]
    for each in held:
        each.close()
    return ports


def order(*ranges: str, seconds: float = 60, **by: str) -> Sweep:
    return Sweep(
        id="s1",
        site="north",
        ranges=[{"range": each, **by} for each in ranges],  # type: ignore[list-item]
        not_after=datetime.now(UTC) + timedelta(seconds=seconds),
    )


async def swept(
    sweep: Sweep, places: Places, busy: tuple[str, ...] = (), per_second: float = 2000
) -> list[Found]:
    said: list[Found] = []
    manner = Manner(per_second=per_second, listen_s=0.1, places=places, answer_s=0.5)

    def make(name: str) -> Driver:
        return DRIVERS[name](Credentials(None), Path())

    sweeper = Sweeper(make, lambda _, found: said.append(found), lambda _: busy, CLOCK, manner)
    await sweeper.handle(sweep)
    return said


def hosts(said: list[Found]) -> dict[str, FoundHost]:
    assert said[-1].done
    assert [found.part for found in said] == list(range(len(said)))
    return {host.address: host for found in said for host in found.hosts}


@pytest.fixture
def places() -> Places:
    return Places(*free_ports(5))


@asynccontextmanager
async def talker(
    host: str, port: int, say: bytes, *, flood: bool = False
) -> AsyncIterator[list[bytes]]:
    """Somebody who says this to everybody who connects, and writes down what he hears."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(say)
            while flood:
                await writer.drain()
                writer.write(say)
            await writer.drain()
            heard.append(await reader.read(4096))
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, host, port)
    async with server:
        yield heard


class TestSweep:
    async def test_everything_that_stands_there(
        self, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret(monkeypatch, "read", community="public")
        printer = SnmpDevice("printer", serial="PRN-1")
        open_one = Projector("Aula", serial="X9", pjlink_class=2)
        locked = Projector("Geheim", password=PASSWORD)
        tablet = Tablet(password="geheim")
        devices = (
            (printer, "127.77.0.2", places.snmp),
            (open_one, "127.77.0.3", places.pjlink),
            (locked, "127.77.0.4", places.pjlink),
            (tablet, "127.77.0.5", places.fully),
            (FreeTablet(key="geheim"), "127.77.0.7", places.freekiosk),
        )
        async with AsyncExitStack() as stack:
            for device, host, port in devices:
                device.host = host
                await device.start(port)
                stack.push_async_callback(device.stop)
            banner = b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"
            heard = await stack.enter_async_context(talker("127.77.0.6", places.ssh, banner))
            outside = await stack.enter_async_context(talker("127.77.0.17", places.ssh, banner))
            said = await swept(order(RANGE, credential="read"), places)
        found = hosts(said)
        assert sorted(found) == [f"127.77.0.{n}" for n in range(2, 8)]
        assert (found["127.77.0.2"].serial, found["127.77.0.2"].kind) == ("PRN-1", "printer")
        assert not found["127.77.0.2"].proved
        projector = found["127.77.0.3"]
        assert (projector.serial, projector.name, projector.kind) == ("X9", "Aula", "projector")
        assert (found["127.77.0.4"].driver, found["127.77.0.4"].name) == ("pjlink", "")
        assert found["127.77.0.4"].port == places.pjlink
        assert (found["127.77.0.5"].kind, found["127.77.0.5"].model) == ("tablet", "Fully Kiosk")
        free = found["127.77.0.7"]
        assert (free.kind, free.model, free.driver) == ("tablet", "FreeKiosk", "freekiosk")
        assert found["127.77.0.6"].ways == ["ssh"]
        assert heard == [b""]
        assert outside == []
        assert locked.received == []
        assert not any("password" in command.lower() for command in tablet.received)
        assert said[-1].asked == 14

    async def test_snmp_v3_proves_the_serial_number(
        self, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret(monkeypatch, "v3", **user_parts(USER))
        device = SnmpDevice("printer", serial="PRN-3", v3=USER)
        device.host = "127.77.0.9"
        await device.start(places.snmp)
        try:
            said = await swept(order(RANGE, credential="v3", version="3"), places)
        finally:
            await device.stop()
        host = hosts(said)["127.77.0.9"]
        assert (host.serial, host.proved) == ("PRN-3", True)

    async def test_no_snmp_without_a_named_credential(self, places: Places) -> None:
        device = SnmpDevice("printer")
        device.host = "127.77.0.2"
        await device.start(places.snmp)
        try:
            assert hosts(await swept(order(RANGE), places)) == {}
        finally:
            await device.stop()
        assert device.requests == 0

    async def test_what_answers_its_own_polls_is_left_in_peace(self, places: Places) -> None:
        projector = Projector()
        projector.host = "127.77.0.3"
        await projector.start(places.pjlink)
        try:
            assert hosts(await swept(order(RANGE), places, busy=("127.77.0.3",))) == {}
        finally:
            await projector.stop()
        assert projector.connections == 0

    @pytest.mark.parametrize(
        ("say", "flood"),
        [
            (b"", False),
            (b"A" * 65536, True),
            (b"SSH-2.0-" + b"x" * 65536, True),
            (b"PJLINK 0\r" + b"%1POWR=\xff" * 500, False),
            (b"HTTP/1.0 200 OK\r\n\r\n" + bytes(range(256)) * 40, True),
            (b'HTTP/1.0 200 OK\r\n\r\n{"success": ' + b"[" * 100_000, False),
        ],
    )
    async def test_hostile_hosts_end_no_sweep(
        self, say: bytes, flood: bool, places: Places
    ) -> None:
        async with AsyncExitStack() as stack:
            for port in (places.ssh, places.pjlink, places.fully, places.freekiosk):
                await stack.enter_async_context(talker("127.77.0.5", port, say, flood=flood))
            good = Projector("Gut")
            good.host = "127.77.0.6"
            await good.start(places.pjlink)
            stack.push_async_callback(good.stop)
            found = hosts(await swept(order(RANGE), places))
        assert found["127.77.0.6"].name == "Gut"
        for host in found.values():
            assert max(len(host.model), len(host.name)) <= 200

    @pytest.mark.parametrize(
        ("ranges", "told", "problem"),
        [
            (RANGE, {"seconds": -5}, "expired"),
            ("8.8.8.0/24", {}, "bad_range"),
            (RANGE, {"credential": "nobody"}, "missing_credential"),
        ],
    )
    async def test_what_is_not_done_is_said(
        self, ranges: str, told: dict[str, Any], problem: str, places: Places
    ) -> None:
        # Made here and not above: an order made when the tests were collected is old by now.
        said = await swept(order(ranges, **told), places)
        assert [(found.done, found.problem) for found in said] == [(True, problem)]

    async def test_the_same_order_twice_is_one_sweep(self, places: Places) -> None:
        said: list[Found] = []
        manner = Manner(2000, 0.1, places, 0.2)
        make: Callable[[str], Driver] = lambda name: DRIVERS[name](Credentials(None), Path())  # noqa: E731
        sweeper = Sweeper(make, lambda _, f: said.append(f), lambda _: (), CLOCK, manner)
        await asyncio.gather(*(sweeper.handle(order("127.77.0.0/30")) for _ in range(3)))
        assert len([found for found in said if found.done]) == 1


async def test_the_rate_holds_however_many_ask() -> None:
    time = VirtualClock()
    pace = Pace(10, time.clock)
    times: list[float] = []

    async def ask() -> None:
        await pace.turn()
        times.append(time.seconds)

    asking = [asyncio.create_task(ask()) for _ in range(50)]
    await time.advance(10)
    await asyncio.gather(*asking)
    gaps = [b - a for a, b in pairwise(times)]
    assert min(gaps) > 0.0999
    assert times[-1] == pytest.approx(4.9)


DEVICES = """
import asyncio, json, socket, struct, sys
from agents.simulator.pjlink import Projector
from agents.simulator.pjlink_udp import Announcer
async def main():
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
    wire.setblocking(False)
    projector = Projector("Aula"); projector.host = "10.77.0.5"; await projector.start(4352)
    announcer = Announcer("02:00:00:00:00:05"); await announcer.start("", 4352)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    seen = set()
    while True:
        try: frame = wire.recv(65535)
        except BlockingIOError: break
        kind = struct.unpack("!H", frame[12:14])[0]
        if kind == 0x0800:
            source, to = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
            if source == "10.77.0.1": seen.add(to)
        elif kind == 0x0806 and frame[20:22] == b"\\0\\1" and frame[28:32] == bytes([10, 77, 0, 1]):
            seen.add(socket.inet_ntoa(frame[38:42]))
    print(json.dumps(sorted(seen)), flush=True)
asyncio.run(main())
"""
AGENT = """
import asyncio, json, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from agents.agent import CLOCK
from agents.credentials import Credentials
from agents.drivers import DRIVERS
from agents.discovery.sweep import Manner, Sweeper
from agents.messages import Sweep
said = []
make = lambda name: DRIVERS[name](Credentials(None), Path())
sweeper = Sweeper(make, lambda _, f: said.append(f), lambda _: (), CLOCK,
    Manner(per_second=2000, listen_s=1, answer_s=0.5))
asyncio.run(sweeper.handle(Sweep(id="x", site="n", ranges=[{"range": sys.argv[1]}],
    not_after=datetime.now(UTC) + timedelta(minutes=1))))
print(json.dumps([h.model_dump() for f in said for h in f.hosts]))
"""


@pytest.mark.parametrize(
    ("range_", "everybody"),
    [("10.77.0.0/24", True), ("10.77.0.0/28", False)],
    ids=["the whole network", "a part of it"],
)
def test_nothing_outside_the_ranges_gets_a_packet(range_: str, everybody: bool) -> None:
    """Seen from the other end of the cable, which also leads to other networks."""
    with two_networks("10.77.0.1/24", ["10.77.0.5/24", "10.77.0.200/24"]) as (here, there):
        here.run("route", "add", "default", "via", "10.77.0.200")
        devices = there.start(DEVICES)
        try:
            assert line(devices.stdout) == "ready"
            agent = here.start(AGENT, range_)
            output, _ = agent.communicate(timeout=60)
            assert devices.stdin
            devices.stdin.write("\n")
            devices.stdin.flush()
            seen = set(json.loads(line(devices.stdout)))
        finally:
            end(devices)
    found = {host["address"]: host for host in json.loads(output)}
    assert found["10.77.0.5"]["name"] == "Aula"
    assert found["10.77.0.5"]["mac"]
    ranges = Ranges([range_])
    outside = {address for address in seen if address not in ranges}
    assert "10.77.0.5" in seen
    # The groups of mDNS and of joining it: only asked where the whole network is the site's own.
    assert outside <= ({"224.0.0.251", "224.0.0.22"} if everybody else set())
    assert ("10.77.0.255" in seen) is everybody
