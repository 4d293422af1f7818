"""The driver's messages against pysnmp and pyasn1, and against arbitrary bytes."""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.ber import decoder, encoder  # type: ignore[import-untyped]
from pysnmp.hlapi.v3arch.asyncio import (
    CommunityData,
    ContextData,
    ObjectIdentity,
    ObjectType,
    SnmpEngine,
    UdpTransportTarget,
    UsmUserData,
    get_cmd,
    usmAesBlumenthalCfb192Protocol,
    usmAesBlumenthalCfb256Protocol,
    usmAesCfb128Protocol,
    usmHMAC128SHA224AuthProtocol,
    usmHMAC192SHA256AuthProtocol,
    usmHMAC256SHA384AuthProtocol,
    usmHMAC384SHA512AuthProtocol,
    usmHMACSHAAuthProtocol,
)
from pysnmp.proto import rfc1902
from pysnmp.proto.api import v2c

from agents.driver import Denied
from agents.simulator.snmp import SnmpDevice, V3User
from agents.snmp_ber import (
    BerError,
    Community,
    Kind,
    Missing,
    decode_ids,
    decode_oid,
    encode_oid,
    encode_pdu,
    message_id,
)
from agents.snmp_usm import Engine, User, Usm
from tests.snmp_targets import USER, running

NAME = encode_oid("1.3.6.1.2.1.1.5.0")
AUTH = {
    "SHA": usmHMACSHAAuthProtocol,
    "SHA224": usmHMAC128SHA224AuthProtocol,
    "SHA256": usmHMAC192SHA256AuthProtocol,
    "SHA384": usmHMAC256SHA384AuthProtocol,
    "SHA512": usmHMAC384SHA512AuthProtocol,
}
PRIV = {
    "AES128": usmAesCfb128Protocol,
    "AES192": usmAesBlumenthalCfb192Protocol,
    "AES256": usmAesBlumenthalCfb256Protocol,
}
sub_ids = st.integers(0, 2**32 - 1)
oids = st.tuples(st.integers(0, 1), st.integers(0, 39), st.lists(sub_ids, max_size=20)).map(
    lambda parts: ".".join(map(str, (parts[0], parts[1], *parts[2])))
)


@given(oids)
@settings(deadline=None)
def test_oids_are_written_as_pyasn1_writes_them(text: str) -> None:
    assert encoder.encode(rfc1902.ObjectIdentifier(text))[-len(encode_oid(text)) :] == encode_oid(
        text
    )
    assert decode_oid(encode_oid(text)) == text


@pytest.mark.parametrize("text", ["", "1", "x.y", "1.3.-6", "3.1.1", "1.40.1", "1..3"])
def test_impossible_oids(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        encode_oid(text)


@given(st.integers(0, 2**31 - 1), st.lists(oids, min_size=1, max_size=30), st.binary(max_size=40))
@settings(deadline=None)
def test_requests_are_read_by_pysnmp(number: int, names: list[str], community: bytes) -> None:
    pdu = encode_pdu(Kind.GET, number, 0, 0, map(encode_oid, names))
    data = Community(1, community).seal(number, pdu)
    message, rest = decoder.decode(data, asn1Spec=v2c.Message())
    assert not rest
    assert bytes(v2c.apiMessage.get_community(message)) == community
    found = v2c.apiMessage.get_pdu(message)
    assert int(v2c.apiPDU.get_request_id(found)) == number == message_id(data)
    assert [str(name) for name, _ in v2c.apiPDU.get_varbinds(found)] == names


VALUES = [
    (rfc1902.Integer32(-(2**31)), -(2**31)),
    (rfc1902.Integer32(255), 255),
    (rfc1902.OctetString(hexValue="00ff80"), b"\x00\xff\x80"),
    (rfc1902.ObjectIdentifier("1.3.6.1.4.1.41112"), "1.3.6.1.4.1.41112"),
    (rfc1902.IpAddress("192.0.2.1"), b"192.0.2.1"),
    (rfc1902.Counter32(2**32 - 1), 2**32 - 1),
    (rfc1902.Gauge32(2**31), 2**31),
    (rfc1902.TimeTicks(4294967295), 4294967295),
    (rfc1902.Counter64(2**64 - 1), 2**64 - 1),
    (rfc1902.Opaque(hexValue="9f780442f60000"), 123.0),
    (v2c.NoSuchObject(), Missing.NO_OBJECT),
    (v2c.NoSuchInstance(), Missing.NO_INSTANCE),
    (v2c.EndOfMibView(), Missing.END_OF_VIEW),
]


def answer(varbinds: list[Any], number: int = 7) -> bytes:
    pdu = v2c.GetResponsePDU()
    v2c.apiPDU.set_defaults(pdu)
    v2c.apiPDU.set_request_id(pdu, number)
    v2c.apiPDU.set_varbinds(pdu, varbinds)
    message = v2c.Message()
    v2c.apiMessage.set_defaults(message)
    v2c.apiMessage.set_community(message, "public")
    v2c.apiMessage.set_pdu(message, pdu)
    return bytes(encoder.encode(message))


@pytest.mark.parametrize(("written", "read"), VALUES)
def test_values_of_pysnmp_are_read(written: Any, read: Any) -> None:
    data = answer([("1.3.6.1.2.1.1.5.0", written)])
    assert Community(1, b"public").open(data).varbinds == [(NAME, read)]


def test_a_counter_above_two_billion_in_four_octets() -> None:
    data = answer([("1.3.6.1.2.1.1.5.0", rfc1902.Counter32(1))])
    grown = _lengthen(data, 3, b"\x41\x04\xff\xff\xff\xfe")
    assert Community(1, b"public").open(grown).varbinds == [(NAME, 0xFFFFFFFE)]


def _lengthen(data: bytes, tail: int, value: bytes) -> bytes:
    """Replace the last `tail` octets and correct every length on the way down."""
    grown, extra, at = bytearray(data[:-tail] + value), len(value) - tail, 0
    while at < len(data) - tail:
        tag, size = data[at], data[at + 1]
        if at + 2 + size == len(data) and tag in (0x30, 0xA2):
            grown[at + 1] = size + extra
            at += 2
        else:
            at += 2 + size
    return bytes(grown)


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    usm = Usm(User(b"raum", "SHA256", "authentisch"), Engine(b"\x80\x00\xff\xff\x05x", 1, 1))
    for read in (message_id, Community(1, b"public").open, usm.open, decode_ids):
        with contextlib.suppress(BerError):
            read(data)


RIGHT = answer([(f"1.3.6.1.2.1.1.{n}.0", value) for n, (value, _) in enumerate(VALUES)])


@given(st.integers(0, len(RIGHT) - 1), st.binary(max_size=4), st.integers(0, 4))
@settings(max_examples=500, deadline=None)
def test_damaged_answers_are_read_or_refused(at: int, put: bytes, cut: int) -> None:
    with contextlib.suppress(BerError):
        Community(1, b"public").open(RIGHT[:at] + put + RIGHT[at + cut :])


@pytest.mark.parametrize("cut", range(0, len(RIGHT), 7))
def test_half_an_answer_is_no_answer(cut: int) -> None:
    with pytest.raises(BerError):
        Community(1, b"public").open(RIGHT[:cut])


def test_reports_that_deny() -> None:
    usm = Usm(User(b"raum", "SHA256", "authentisch"), Engine())
    device = SnmpDevice("ups", v3=USER)
    assert device.engine
    usm.heed(usm.open(device.reply(usm.prologue(1) or b"") or b""))
    assert usm.prologue(2) is None
    pdu = encode_pdu(Kind.GET, 2, 0, 0, [NAME])
    with pytest.raises(Denied, match="security level"):
        usm.heed(usm.open(device.reply(usm.seal(2, pdu)) or b""))


@pytest.mark.parametrize(
    ("auth", "priv"),
    [
        *(("SHA", "AES128"), ("SHA", "AES256"), ("SHA224", "AES192")),
        *(("SHA256", "AES256"), ("SHA384", "AES256"), ("SHA512", "AES128")),
    ],
)
def test_pysnmp_understands_the_simulated_agent(auth: str, priv: str) -> None:
    """The simulator is what the driver is tested with, so somebody else must test the simulator."""
    user = V3User("raum", auth, "authpassword", priv, "privpassword")

    async def scene() -> None:
        async with running(SnmpDevice("ups", seed=4, v3=user)) as (port,):
            engine = SnmpEngine()
            who = UsmUserData(
                user.name,
                authKey=user.auth_password,
                privKey=user.priv_password,
                authProtocol=AUTH[auth],
                privProtocol=PRIV[priv],
            )
            for data in (who, CommunityData("public"), CommunityData("public", mpModel=0)):
                error, status, _, varbinds = await get_cmd(
                    engine,
                    data,
                    await UdpTransportTarget.create(("127.0.0.1", port), timeout=2, retries=0),
                    ContextData(),
                    ObjectType(ObjectIdentity("1.3.6.1.2.1.1.5.0")),
                    lookupMib=False,
                )
                assert not error
                assert not status
                assert str(varbinds[0][1]) == "usv-0004"
            engine.close_dispatcher()

    asyncio.run(scene())
