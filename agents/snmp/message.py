"""SNMP questions, answers and values, made and read by pysnmp; community messages of v1 and v2c."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any, Protocol

from pyasn1.codec.ber import decoder, encoder  # type: ignore[import-untyped]
from pysnmp.proto import rfc1902, rfc1905
from pysnmp.proto.api import v1, v2c
from pysnmp.proto.errind import ErrorIndication

Oid = tuple[int, ...]
Peer = tuple[str, int]


class Missing(Enum):
    """What stands in the place of a value that does not exist (RFC 3416)."""

    NO_OBJECT = rfc1905.NoSuchObject.tagSet
    NO_INSTANCE = rfc1905.NoSuchInstance.tagSet
    END_OF_VIEW = rfc1905.EndOfMibView.tagSet


class OidText(str):
    """A value that is an OBJECT IDENTIFIER, as dotted text, to tell it from other texts."""

    __slots__ = ()


Value = int | float | bytes | OidText | Missing | None


class Kind(Enum):
    GET = "get"
    GET_NEXT = "get next"
    GET_BULK = "get bulk"
    SET = "set"


@dataclass(frozen=True, slots=True)
class Question:
    """One request. Its number is drawn at random, so that an answer cannot be guessed or kept."""

    number: int
    kind: Kind
    oids: tuple[Oid, ...]
    repeat: int = 0
    """Max-repetitions of GET_BULK."""
    value: int | bytes = 0
    """What SET sets."""


@dataclass(slots=True)
class Answer:
    error: int
    """error-status, 0 is no error."""
    error_index: int
    varbinds: list[tuple[Oid, Value]]


Heard = tuple[int, Answer | ErrorIndication]
"""The number of the question, and its answer or the Report (v3) that came instead."""


class Manner(Protocol):
    """How messages to one device are sealed and opened: `Community` or `Usm`."""

    @property
    def version(self) -> int: ...

    def seal(self, question: Question) -> bytes:
        """One message that asks. May be called again for the same question."""

    def open(self, data: bytes) -> Heard | None:
        """What came, if it is trusted. Hostile bytes may raise anything."""

    def release(self, number: int) -> None:
        """Nobody waits any more for answers to this question."""

    def heed(self, report: ErrorIndication) -> None:
        """Get ready to ask again after this Report. Raises Denied when that is no use."""


@lru_cache(maxsize=65536)
def oid(text: str) -> Oid:
    """The numbers of a dotted OID. Raises ValueError."""
    ids = tuple(int(part) for part in text.strip(".").split("."))
    if len(ids) < 2 or min(ids) < 0 or ids[0] > 2 or (ids[0] < 2 and ids[1] > 39):
        raise ValueError(f"not an OID: {text!r}")
    return ids


def _opaque(raw: Any) -> Value:
    """net-snmp wraps a float into an Opaque: 9f 78 04 and four octets."""
    content = bytes(raw)
    wrapped = len(content) == 7 and content.startswith(b"\x9f\x78\x04")
    return float(struct.unpack(">f", content[3:])[0]) if wrapped else content


_NUMBERS = (rfc1902.Integer32, rfc1902.Counter32, rfc1902.Gauge32, rfc1902.TimeTicks)
_READ: dict[Any, Callable[[Any], Value]] = {
    **{kind.tagSet: int for kind in (*_NUMBERS, rfc1902.Counter64)},
    **{missing.value: lambda raw: Missing(raw.tagSet) for missing in Missing},
    rfc1902.OctetString.tagSet: bytes,
    rfc1902.Null.tagSet: lambda _: None,
    rfc1902.ObjectIdentifier.tagSet: lambda raw: OidText(".".join(map(str, raw))),
    rfc1902.IpAddress.tagSet: lambda raw: raw.prettyPrint().encode(),
    rfc1902.Opaque.tagSet: _opaque,
}


def pdu(question: Question, version: int) -> Any:
    """The request as pysnmp's object; `version` 0 is SNMPv1."""
    api = v1 if version == 0 else v2c
    if question.kind is Kind.GET_BULK:
        made = v2c.GetBulkRequestPDU()
        v2c.apiBulkPDU.set_defaults(made)
        v2c.apiBulkPDU.set_max_repetitions(made, question.repeat)
    elif question.kind is Kind.SET:
        made = api.SetRequestPDU()
        api.apiPDU.set_defaults(made)
    else:
        made = api.GetRequestPDU() if question.kind is Kind.GET else api.GetNextRequestPDU()
        api.apiPDU.set_defaults(made)
    api.apiPDU.set_request_id(made, question.number)
    value = _written(question.value) if question.kind is Kind.SET else api.null
    api.apiPDU.set_varbinds(made, [(ids, value) for ids in question.oids])
    return made


def _written(value: int | bytes) -> Any:
    return rfc1902.Integer32(value) if isinstance(value, int) else rfc1902.OctetString(value)


def answer(response: Any) -> Heard:
    """What pysnmp's object says, in plain values."""
    found = [
        (tuple(name), _READ[raw.tagSet](raw)) for name, raw in v1.apiPDU.get_varbinds(response)
    ]
    return int(response[0]), Answer(int(response[1]), int(response[2]), found)


@dataclass(frozen=True)
class Community:
    """SNMPv1 (version 0) and v2c (version 1): a password in clear text, no proof of the sender."""

    version: int
    community: bytes = field(repr=False)

    def seal(self, question: Question) -> bytes:
        api = v1 if self.version == 0 else v2c
        message = api.Message()
        api.apiMessage.set_defaults(message)
        api.apiMessage.set_community(message, self.community)
        api.apiMessage.set_pdu(message, pdu(question, self.version))
        return bytes(encoder.encode(message))

    def open(self, data: bytes) -> Heard | None:
        api = v1 if self.version == 0 else v2c
        message, _ = decoder.decode(data, asn1Spec=api.Message())
        found = api.apiMessage.get_pdu(message)
        ours = message[0] == self.version and message[1] == self.community
        return answer(found) if ours and found.tagSet == api.GetResponsePDU.tagSet else None

    def release(self, number: int) -> None:
        """Nothing is kept."""

    def heed(self, report: ErrorIndication) -> None:
        """There are no Reports before SNMPv3."""
