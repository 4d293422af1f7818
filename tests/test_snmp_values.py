"""Values of every type, written by the simulator's own codec and read over a real socket."""

import asyncio
import gc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pysnmp.entity.engine import SnmpEngine

from agents.credentials import Credentials
from agents.driver import Garbled
from agents.drivers.snmp import Snmp
from agents.simulator import snmp_codec as codec
from agents.simulator.snmp import SnmpDevice, V3User
from agents.snmp import usm
from agents.snmp.message import Community, OidText, oid
from agents.snmp.session import Session
from agents.snmp.usm import Engines, User
from agents.snmp.wire import Wire
from tests.snmp_targets import USER, driver, lying, running, secret, target, user_parts
from tests.test_snmp import LONG, go
from tests.test_snmp_hostile import parse, respond

__all__ = ["driver"]

NAME = oid("1.3.6.1.2.1.1.5.0")
VALUES = [
    (codec.signed(-(2**31)), -(2**31)),
    (codec.signed(255), 255),
    (codec.octets(b"\x00\xff\x80"), b"\x00\xff\x80"),
    (codec.oid("1.3.6.1.4.1.41112"), OidText("1.3.6.1.4.1.41112")),
    (codec.wrap(0x40, bytes((192, 0, 2, 1))), b"192.0.2.1"),
    (codec.counter32(2**32 - 1), 2**32 - 1),
    (codec.gauge(2**31), 2**31),
    (codec.ticks(4294967295), 4294967295),
    (codec.counter64(2**64 - 1), 2**64 - 1),
    (codec.wrap(0x44, bytes.fromhex("9f780442f60000")), 123.0),
    (codec.wrap(0x44, b"\x01\x02"), b"\x01\x02"),
]
ABSENT = [codec.NO_SUCH_OBJECT, codec.NO_SUCH_INSTANCE, codec.END_OF_VIEW, b"\x05\x00"]


def read(written: bytes, version: int) -> dict[Any, Any]:
    async def scene() -> dict[Any, Any]:
        wire = Wire()

        def lie(data: bytes) -> Iterable[bytes]:
            _, request = parse(data)
            yield respond(data, [(name, written) for name in request.names])

        async with lying(lie) as (port, _):
            began = asyncio.get_running_loop().time()
            manner = Community(version, b"public")
            session = Session(wire, ("127.0.0.1", port), manner, 1.0, began)
            try:
                return dict(await session.get([NAME]))
            finally:
                wire.close()

    return asyncio.run(scene())


@pytest.mark.parametrize(("written", "expected"), VALUES)
def test_a_value_is_read(written: bytes, expected: Any) -> None:
    found = read(written, 1)[NAME]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("written", "expected"), VALUES)
def test_a_value_of_v1_is_read(written: bytes, expected: Any) -> None:
    if written[0] != 0x46:  # SNMPv1 has no 64-bit counters
        assert read(written, 0)[NAME] == expected


@pytest.mark.parametrize("written", ABSENT)
def test_what_is_absent_is_left_out(written: bytes) -> None:
    assert read(written, 1) == {}


def test_a_counter_without_room_for_its_sign_is_refused_and_never_misread() -> None:
    """Some old agents send 4294967294 in four octets, which BER reads as -2."""
    with pytest.raises(Garbled):
        read(b"\x41\x04\xff\xff\xff\xfe", 1)


@pytest.mark.parametrize("text", ["", "1", "x.y", "1.3.-6", "3.1.1", "1.40.1", "1..3"])
def test_impossible_oids(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        oid(text)


@pytest.mark.parametrize("version", ["1", "2c", "3"])
def test_over_ipv6(driver: Snmp, version: str) -> None:
    async def scene() -> None:
        device = SnmpDevice("ups", v3=USER)

        class Front(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
                if right := device.reply(data):
                    transport.sendto(right, addr)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Front, local_addr=("::1", 0))
        port = transport.get_extra_info("sockname")[1]
        facts = await driver.poll(target(port, version, address="0:0::1"), LONG)
        transport.close()
        assert facts["model"] == "5P 1150"

    go(driver, scene())


def engines_alive() -> int:
    gc.collect()
    return sum(isinstance(one, SnmpEngine) for one in gc.get_objects())


def test_devices_that_come_and_go_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usm, "_DEVICES", 5)
    before, user, engines = engines_alive(), User("raum", "SHA256", "authentisch"), Engines()
    for n in range(40):
        engines.usm(("192.0.2.1", n), user, b"", 0.0)
        engines.forget(("192.0.2.1", n))
    assert engines_alive() - before <= 1
    for n in range(12):
        engines.usm(("192.0.2.1", n), user, b"", 0.0)
    assert engines_alive() - before == 3
    # Nobody asked for them for more than an hour; then one device comes.
    engines.usm(("192.0.2.2", 1), user, b"", 3601.0)
    assert engines_alive() - before == 1
    engines.close()
    assert engines_alive() == before


def test_a_changed_password_is_used_at_once_and_the_old_one_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = engines_alive()

    async def scene() -> None:
        snmp = Snmp(Credentials(None), tmp_path)
        for password in ("first password", "other password"):
            user = V3User("raum", "SHA256", password, "AES128", "verschluesselt")
            secret(monkeypatch, "v3", **user_parts(user))
            async with running(SnmpDevice("ups", v3=user)) as (port,):
                await snmp.poll(target(port, "3"), LONG)
        await snmp.close()

    asyncio.run(scene())
    assert engines_alive() == before
