"""SNMP agents that lie, loop, flood and forge. None may break the driver or be believed."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any

import pytest

from agents.driver import DriverError, Garbled, Unreachable
from agents.drivers.snmp import Snmp
from agents.simulator import snmp_codec as codec
from agents.simulator.snmp import SnmpDevice, V3User
from agents.simulator.snmp_usm import V3Engine
from tests.snmp_fuzz import fuzz
from tests.snmp_targets import USER, driver, lying, target

__all__ = ["driver"]

LONG, SHORT = timedelta(seconds=5), timedelta(seconds=0.8)
AMPLE = timedelta(seconds=30)
IF_TYPE, OPER = "1.3.6.1.2.1.2.2.1.3", "1.3.6.1.2.1.2.2.1.8"
Binds = list[tuple[bytes, bytes]]


def go(snmp: Snmp, scene: Coroutine[Any, Any, None]) -> None:
    async def play() -> None:
        try:
            await scene
        finally:
            await snmp.close()

    asyncio.run(play())


def parse(data: bytes) -> tuple[bytes, codec.Request]:
    """(version and community as they came, request)."""
    _, message, _ = codec.take(data, 0)
    _, at = codec.whole(message, 0)
    _, _, at = codec.take(message, at)
    return message[:at], codec.read_request(message[at:])


def respond(
    data: bytes, binds: Binds, *, number: int | None = None, error: int = 0, index: int = 0
) -> bytes:
    head, request = parse(data)
    body = b"".join(codec.wrap(0x30, codec.wrap(6, name) + value) for name, value in binds)
    number = request.number if number is None else number
    pdu = codec.signed(number) + codec.signed(error) + codec.signed(index)
    return codec.wrap(0x30, head + codec.wrap(codec.RESPONSE, pdu + codec.wrap(0x30, body)))


def switch_scalars(request: codec.Request) -> Binds:
    known = {
        codec.pack(codec.dotted("1.3.6.1.2.1.1.1.0")): codec.octets("a switch"),
        codec.pack(codec.dotted("1.3.6.1.2.1.1.2.0")): codec.oid("1.3.6.1.4.1.99999"),
        codec.pack(codec.dotted("1.3.6.1.2.1.1.5.0")): codec.octets("liar"),
    }
    return [(name, known.get(name, codec.NO_SUCH_OBJECT)) for name in request.names]


def walker(
    rows: Callable[[tuple[int, ...]], Iterable[tuple[int, ...]]],
) -> Callable[[bytes], Iterable[bytes]]:
    """Honest about scalars; a table's next rows are what `rows` says."""

    def lie(data: bytes) -> Iterable[bytes]:
        _, request = parse(data)
        if request.kind == codec.GET:
            yield respond(data, switch_scalars(request))
            return
        columns = [rows(codec.unpack(name)) for name in request.names]
        woven = [ids for row in zip(*columns, strict=True) for ids in row]
        yield respond(data, [(codec.pack(ids), codec.signed(6)) for ids in woven])

    return lie


def test_another_request_id_is_not_an_answer(driver: Snmp) -> None:
    def lie(data: bytes) -> Iterable[bytes]:
        _, request = parse(data)
        yield respond(data, switch_scalars(request), number=request.number + 1)

    async def scene() -> None:
        async with lying(lie) as (port, _):
            with pytest.raises(Garbled, match="read or trusted"):
                await driver.poll(target(port), SHORT)

    go(driver, scene())


def test_forgeries_before_the_answer_do_no_harm(driver: Snmp) -> None:
    def lie(data: bytes) -> Iterable[bytes]:
        _, request = parse(data)
        yield random.Random(1).randbytes(60)
        yield b""
        yield data[: len(data) // 2]
        yield data  # our own request, sent back
        yield respond(data, switch_scalars(request), number=request.number - 1)
        yield respond(data, switch_scalars(request))

    async def scene() -> None:
        async with lying(lie) as (port, _):
            assert (await driver.poll(target(port), LONG))["name"] == "liar"

    go(driver, scene())


def test_an_answer_from_another_address_does_not_count(driver: Snmp) -> None:
    async def scene() -> None:
        device = SnmpDevice("ups")
        async with lying(lambda _: ()) as (_, elsewhere):

            class Mirror(asyncio.DatagramProtocol):
                def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                    if right := device.reply(data):
                        elsewhere.transport.sendto(right, addr)

            front, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                Mirror, local_addr=("127.0.0.1", 0)
            )
            with pytest.raises(Unreachable):
                await driver.poll(target(front.get_extra_info("sockname")[1]), SHORT)
            front.close()
        assert device.requests == 3

    go(driver, scene())


@pytest.mark.parametrize(
    "rows",
    [
        lambda ids: [ids] * 3,  # the same row for ever
        lambda ids: [(*ids[:10], 5), (*ids[:10], 4), (*ids[:10], 6)],  # a step back
        lambda ids: [(*ids[:10], 1), (*ids[:10], 1)],
        lambda ids: [(1, 3, 6, 1, 2, 1, 1, 1, 0)],  # back to the beginning
        lambda ids: [(*ids[:10], (ids[10] if len(ids) > 10 else 0) + n) for n in range(1, 20)],
        lambda ids: [(*ids[:10], 2**31 + n) for n in range(3)],  # huge indexes
        lambda ids: [],
    ],
    ids=["stuck", "backwards", "twice", "around", "endless", "huge", "empty"],
)
def test_walks_end(driver: Snmp, rows: Callable[[tuple[int, ...]], Any]) -> None:
    async def scene() -> None:
        async with lying(walker(rows)) as (port, liar):
            facts = await driver.poll(target(port, profile="switch"), LONG)
        assert facts["name"] == "liar"
        assert liar.heard < 160

    go(driver, scene())


def test_an_endless_table_yields_no_sum(driver: Snmp) -> None:
    def endless(ids: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [(*ids[:10], (ids[10] if len(ids) > 10 else 0) + n) for n in range(1, 50)]

    async def scene() -> None:
        async with lying(walker(endless)) as (port, _):
            facts = await driver.poll(target(port, profile="switch"), LONG)
        assert not facts.keys() & {"in_bytes", "ports", "errors"}

    go(driver, scene())


def test_silence_after_the_scalars_keeps_the_scalars(driver: Snmp) -> None:
    def lie(data: bytes) -> Iterable[bytes]:
        _, request = parse(data)
        if request.kind == codec.GET:
            yield respond(data, switch_scalars(request))

    async def scene() -> None:
        async with lying(lie) as (port, _):
            facts = await driver.poll(target(port, profile="switch"), timedelta(seconds=1))
        assert facts["name"] == "liar"
        assert "ports" not in facts

    go(driver, scene())


@pytest.mark.parametrize(
    ("error", "index"),
    [(1, 0), (2, 1), (2, 0), (2, 99), (2, -1), (5, 1), (5, 0), (13, 0), (77, 3)],
)
def test_errors_without_end(driver: Snmp, error: int, index: int) -> None:
    async def scene() -> None:
        lie = lambda data: [respond(data, [], error=error, index=index)]  # noqa: E731
        async with lying(lie) as (port, liar):
            facts = await driver.poll(target(port, "1", profile="switch"), LONG)
        assert facts.keys() <= {"profile", "round_trip_s"}
        assert liar.heard < 160

    go(driver, scene())


def test_a_huge_answer(driver: Snmp) -> None:
    def lie(data: bytes) -> Iterable[bytes]:
        _, request = parse(data)
        name = codec.pack(codec.dotted("1.3.6.1.2.1.1.5.0"))
        binds = switch_scalars(request) if request.kind == codec.GET else []
        binds += [(name, codec.octets("x" * 60_000))]
        yield respond(data, binds)

    async def scene() -> None:
        async with lying(lie) as (port, _):
            facts = await driver.poll(target(port), LONG)
        assert len(facts["name"]) <= 200

    go(driver, scene())


@pytest.mark.parametrize("version", ["2c", "3"])
def test_garbage_neither_ends_the_socket_nor_fills_the_log(
    driver: Snmp, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A flood before each answer, from the device that is asked and from a stranger."""
    caplog.set_level(logging.DEBUG)
    chance, device, unhandled = random.Random(7), SnmpDevice("ups", v3=USER), []

    def lie(data: bytes) -> Iterable[bytes]:
        yield from (chance.randbytes(chance.randint(0, 200)) for _ in range(100))
        yield from (data[:at] for at in range(0, len(data), 3))
        yield b"\x30\x80" * 20_000  # nested without end
        right = device.reply(data)
        assert right
        yield from (right[:at] for at in range(0, len(right), 5))
        yield right

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, said: unhandled.append(said))
        async with lying(lie) as (port, _), lying(lambda _: ()) as (_, stranger):
            for _ in range(3):
                assert (await driver.poll(target(port, version), AMPLE))["model"] == "5P 1150"
            (_, sock), *_ = driver._wire._open.values()
            for _ in range(100):
                stranger.transport.sendto(
                    chance.randbytes(60), ("127.0.0.1", sock.getsockname()[1])
                )
            assert (await driver.poll(target(port, version), AMPLE))["model"] == "5P 1150"

    go(driver, scene())
    assert not unhandled
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_spoilt_answers_never_break_the_driver(driver: Snmp) -> None:
    """Ten thousand here, a hundred thousand in `make bench`."""

    async def scene() -> None:
        tally = await fuzz(driver, 10_000, 20261127)
        assert not tally.complaints
        assert not tally.unhandled
        assert 0 < tally.failed < tally.polls

    go(driver, scene())


class TestForgedV3:
    """Between the driver and a real engine sits somebody who changes what he likes."""

    @staticmethod
    async def meet(driver: Snmp, change: Callable[[bytes, SnmpDevice], Iterable[bytes]]) -> None:
        device = SnmpDevice("ups", v3=USER)

        def lie(data: bytes) -> Iterable[bytes]:
            right = device.reply(data)
            assert right is not None
            # Discovery and clock reports pass; only true answers are tampered with.
            return (
                change(right, device)
                if len(right) > 140 and USER.name.encode() in right
                else [right]
            )

        async with lying(lie) as (port, _):
            await driver.poll(target(port, "3"), timedelta(seconds=3))

    @pytest.mark.parametrize("at", [-1, -40, 60])
    def test_a_changed_octet(self, driver: Snmp, at: int) -> None:
        def change(right: bytes, _: SnmpDevice) -> Iterable[bytes]:
            spoilt = bytearray(right)
            spoilt[at] ^= 1
            yield bytes(spoilt)

        async def scene() -> None:
            with pytest.raises(Garbled):
                await self.meet(driver, change)

        go(driver, scene())

    def test_plaintext_instead_of_the_sealed_answer(self, driver: Snmp) -> None:
        def change(right: bytes, device: SnmpDevice) -> Iterable[bytes]:
            engine = device.engine
            assert engine
            number = int.from_bytes(codec.take(codec.take(codec.take(right, 0)[1], 3)[1], 0)[1])
            pdu = codec.wrap(
                codec.RESPONSE,
                codec.signed(number) + codec.signed(0) + codec.signed(0) + codec.wrap(0x30, b""),
            )
            yield engine._message(number, 0, b"", pdu)  # nothing
            yield engine._message(number, 1, b"", pdu)  # signed, but not encrypted

        async def scene() -> None:
            with pytest.raises(Garbled, match="read or trusted"):
                await self.meet(driver, change)

        go(driver, scene())

    def test_a_forged_answer_with_a_digest_of_its_own(self, driver: Snmp) -> None:
        """Everything right but the password that the digest is made with."""
        forger = V3User(USER.name, USER.auth_protocol, "a guess", USER.priv_protocol, "a guess")

        def change(right: bytes, device: SnmpDevice) -> Iterable[bytes]:
            assert device.engine
            number = int.from_bytes(codec.take(codec.take(codec.take(right, 0)[1], 3)[1], 0)[1])
            pdu = codec.signed(1) + codec.signed(0) + codec.signed(0) + codec.wrap(0x30, b"")
            forged = V3Engine(forger, device.engine.id)
            yield forged.seal(number, b"", codec.wrap(codec.RESPONSE, pdu))

        async def scene() -> None:
            with pytest.raises(Garbled):
                await self.meet(driver, change)

        go(driver, scene())

    def test_an_old_answer_played_again(self, driver: Snmp) -> None:
        kept: list[bytes] = []

        def change(right: bytes, _: SnmpDevice) -> Iterable[bytes]:
            kept.append(right)
            yield kept[0]

        async def scene() -> None:
            with pytest.raises(DriverError):
                await self.meet(driver, change)

        go(driver, scene())

    def test_a_right_answer_from_outside_the_time_window(self, driver: Snmp) -> None:
        """Sealed with the right keys, but ten minutes before what the device last said."""

        late = False

        class Late(V3Engine):
            def seal(self, number: int, context: bytes, pdu: bytes) -> bytes:
                self.skew -= 600 * late
                try:
                    return super().seal(number, context, pdu)
                finally:
                    self.skew += 600 * late

        async def scene() -> None:
            nonlocal late
            device = SnmpDevice("ups", v3=USER)
            assert device.engine
            device.engine = Late(USER, device.engine.id)
            device.engine.skew = 5000

            def lie(data: bytes) -> Iterable[bytes]:
                right = device.reply(data)
                return [right] if right else []

            async with lying(lie) as (port, _):
                await driver.poll(target(port, "3"), LONG)
                late = True
                with pytest.raises(Garbled, match="read or trusted"):
                    await driver.poll(target(port, "3"), timedelta(seconds=2))
                late = False
                await driver.poll(target(port, "3"), LONG)  # it is met anew

        go(driver, scene())

    def test_reports_without_end(self, driver: Snmp) -> None:
        device = SnmpDevice("ups", v3=USER)
        engines = iter(range(1000))

        def lie(data: bytes) -> Iterable[bytes]:
            assert device.engine
            device.engine.id = b"\x80\x00\xff\xff\x05" + next(engines).to_bytes(8, "big")
            right = device.reply(data)
            return [right] if right else []

        async def scene() -> None:
            async with lying(lie) as (port, liar):
                with pytest.raises(Garbled, match="reports without end"):
                    await driver.poll(target(port, "3"), LONG)
                assert liar.heard < 12

        go(driver, scene())
