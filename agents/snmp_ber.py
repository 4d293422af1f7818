"""The few pieces of BER (X.690) and of SNMP messages (RFC 1157, 3416) that a manager needs.

An OID travels through the poller in its encoded form: being below another is then a plain prefix
test, and only the short index of a table row is ever decoded.
"""

import ipaddress
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from functools import lru_cache, partial

from agents.driver import Garbled


class BerError(ValueError):
    """Bytes that are not what they should be."""


class Missing(Enum):
    """What stands in the place of a value that does not exist (RFC 3416)."""

    NO_OBJECT = 0x80
    NO_INSTANCE = 0x81
    END_OF_VIEW = 0x82


class Oid(str):
    """An OBJECT IDENTIFIER as dotted text, to tell it from other texts."""

    __slots__ = ()


Value = int | float | bytes | Oid | Missing | None
Index = tuple[int, ...]


class Kind(IntEnum):
    """PDU tags."""

    GET = 0xA0
    GET_NEXT = 0xA1
    RESPONSE = 0xA2
    GET_BULK = 0xA5
    REPORT = 0xA8


@dataclass(slots=True)
class Pdu:
    kind: int
    request_id: int
    error: int
    """error-status, 0 is no error."""
    error_index: int
    varbinds: list[tuple[bytes, Value]] = field(default_factory=list)


INTEGER, OCTETS, NULL, OBJECT_ID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
_MISSING = {item.value: item for item in Missing}


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    head = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(head))) + head + content


def integer(value: int) -> bytes:
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


@lru_cache(maxsize=65536)
def encode_oid(text: str) -> bytes:
    """The content octets of a dotted OID. Raises ValueError."""
    ids = [int(part) for part in text.strip(".").split(".")]
    if len(ids) < 2 or min(ids) < 0 or ids[0] > 2 or (ids[0] < 2 and ids[1] > 39):
        raise ValueError(f"not an OID: {text!r}")
    return encode_ids((ids[0] * 40 + ids[1], *ids[2:]))


def encode_ids(ids: Iterable[int]) -> bytes:
    out = bytearray()
    for number in ids:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | (number & 0x7F))
        out += bytes(reversed(groups))
    return bytes(out)


def decode_ids(content: bytes) -> Index:
    """Sub-identifiers of (the rest of) an OID."""
    ids, number = [], 0
    for octet in content:
        number = number << 7 | (octet & 0x7F)
        if octet < 0x80:
            ids.append(number)
            number = 0
        elif number >> 32:
            raise BerError("a sub-identifier above 32 bits")
    if content and content[-1] >= 0x80:
        raise BerError("an OID that ends half-way")
    return tuple(ids)


def decode_oid(content: bytes) -> Oid:
    if not content:
        return Oid("0.0")
    first, *rest = decode_ids(content)
    root = min(first // 40, 2)
    return Oid(".".join(map(str, (root, first - 40 * root, *rest))))


def read(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """(tag, start, stop) of the element at `at`; its content is data[start:stop]."""
    if at + 2 > end:
        raise BerError("truncated")
    tag, size = data[at], data[at + 1]
    at += 2
    if size >= 0x80:
        octets = size & 0x7F
        if not 1 <= octets <= 4 or at + octets > end:
            raise BerError("impossible length")
        size = int.from_bytes(data[at : at + octets], "big")
        at += octets
    if at + size > end:
        raise BerError("truncated")
    return tag, at, at + size


def expect(data: bytes, at: int, end: int, wanted: int) -> tuple[int, int]:
    tag, start, stop = read(data, at, end)
    if tag != wanted:
        raise BerError(f"tag {tag:#x} where {wanted:#x} belongs")
    return start, stop


def read_integer(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, where the next element begins)."""
    start, stop = expect(data, at, end, INTEGER)
    if not 1 <= stop - start <= 9:
        raise BerError("an integer of impossible size")
    return int.from_bytes(data[start:stop], "big", signed=True), stop


def read_octets(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    start, stop = expect(data, at, end, OCTETS)
    return data[start:stop], stop


def _value(tag: int, content: bytes) -> Value:
    if tag in _DECODERS:
        return _DECODERS[tag](content)
    if tag in _MISSING:
        return _MISSING[tag]
    raise BerError(f"unknown type {tag:#x}")


def _number(content: bytes, *, signed: bool) -> int:
    if not 1 <= len(content) <= 9:
        raise BerError("an integer of impossible size")
    return int.from_bytes(content, "big", signed=signed)


def _address(content: bytes) -> bytes:
    if len(content) != 4:
        raise BerError("an address of impossible size")
    return str(ipaddress.IPv4Address(content)).encode()


def _opaque(content: bytes) -> Value:
    """net-snmp wraps a float into an Opaque: 9f 78 04 and four octets."""
    wrapped = len(content) == 7 and content.startswith(b"\x9f\x78\x04")
    return float(struct.unpack(">f", content[3:])[0]) if wrapped else content


# Some agents send a Counter32 above 2^31 in four octets: unsigned types have no sign.
_DECODERS: dict[int, Callable[[bytes], Value]] = {
    INTEGER: partial(_number, signed=True),
    OCTETS: bytes,
    NULL: lambda _: None,
    OBJECT_ID: decode_oid,
    0x40: _address,
    0x44: _opaque,
    **dict.fromkeys((0x41, 0x42, 0x43, 0x46, 0x47), partial(_number, signed=False)),
}


def encode_pdu(
    kind: Kind, request_id: int, first: int, second: int, oids: Iterable[bytes]
) -> bytes:
    """A request. For GET_BULK `first`, `second` are non-repeaters and max-repetitions, else 0."""
    varbinds = b"".join(tlv(SEQUENCE, tlv(OBJECT_ID, oid) + b"\x05\x00") for oid in oids)
    head = integer(request_id) + integer(first) + integer(second)
    return tlv(kind, head + tlv(SEQUENCE, varbinds))


def decode_pdu(data: bytes, at: int, end: int) -> Pdu:
    kind, at, end = read(data, at, end)
    request_id, at = read_integer(data, at, end)
    error, at = read_integer(data, at, end)
    error_index, at = read_integer(data, at, end)
    at, end = expect(data, at, end, SEQUENCE)
    pdu = Pdu(kind, request_id, error, error_index)
    while at < end:
        start, stop = expect(data, at, end, SEQUENCE)
        name_at, name_end = expect(data, start, stop, OBJECT_ID)
        tag, value_at, value_end = read(data, name_end, stop)
        pdu.varbinds.append((data[name_at:name_end], _value(tag, data[value_at:value_end])))
        at = stop
    return pdu


def message_id(data: bytes) -> int:
    """The number that ties an answer to its request: request-id, or msgID in v3."""
    at, end = expect(data, 0, len(data), SEQUENCE)
    version, at = read_integer(data, at, end)
    if version == 3:
        at, end = expect(data, at, end, SEQUENCE)
        return read_integer(data, at, end)[0]
    _, at = read_octets(data, at, end)
    _, at, end = read(data, at, end)
    return read_integer(data, at, end)[0]


@dataclass(frozen=True)
class Community:
    """SNMPv1 (version 0) and v2c (version 1): a password in clear text, no proof of the sender."""

    version: int
    community: bytes = field(repr=False)

    def seal(self, _message_id: int, pdu: bytes) -> bytes:
        return tlv(SEQUENCE, integer(self.version) + tlv(OCTETS, self.community) + pdu)

    def open(self, data: bytes) -> Pdu:
        at, end = expect(data, 0, len(data), SEQUENCE)
        version, at = read_integer(data, at, end)
        community, at = read_octets(data, at, end)
        if version != self.version or community != self.community:
            raise BerError("an answer in another version or community")
        pdu = decode_pdu(data, at, end)
        if pdu.kind != Kind.RESPONSE:
            raise BerError("something else than an answer")
        return pdu

    def prologue(self, _message_id: int) -> bytes | None:
        return None

    def heed(self, report: Pdu) -> None:
        raise Garbled("a report outside of SNMPv3")
