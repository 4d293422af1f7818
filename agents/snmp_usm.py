"""SNMPv3's user-based security (RFC 3414, 3826, 7860): nothing is believed that is not signed.

Key localisation comes from pysnmp, ciphers from cryptography, HMAC from the standard library.
An answer counts only with our engine, our user, the level we asked for, a right digest and a
time inside the window; of unsigned messages only a Report is heard, and only as an error.
"""

import hashlib
import hmac
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import pysnmp.proto.secmod.rfc3414.service  # noqa: F401  (first, or its imports go in circles)
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from pyasn1.type.univ import OctetString  # type: ignore[import-untyped]
from pysnmp.proto.secmod.eso.priv import aes192, aes256
from pysnmp.proto.secmod.rfc3414 import localkey
from pysnmp.proto.secmod.rfc3414.auth.hmacsha import HmacSha
from pysnmp.proto.secmod.rfc3826.priv.aes import Aes
from pysnmp.proto.secmod.rfc7860.auth.hmacsha2 import HmacSha2

from agents.driver import Denied
from agents.snmp_ber import (
    OCTETS,
    SEQUENCE,
    BerError,
    Kind,
    Pdu,
    decode_pdu,
    encode_oid,
    expect,
    integer,
    read_integer,
    read_octets,
    tlv,
)


@dataclass(frozen=True)
class Digest:
    name: str
    """As hashlib calls it."""
    size: int
    """Octets of the HMAC that travel."""
    service: tuple[int, ...]
    """pysnmp's name of it."""


AUTH = {
    "SHA": Digest("sha1", 12, HmacSha.SERVICE_ID),
    "SHA224": Digest("sha224", 16, HmacSha2.SHA224_SERVICE_ID),
    "SHA256": Digest("sha256", 24, HmacSha2.SHA256_SERVICE_ID),
    "SHA384": Digest("sha384", 32, HmacSha2.SAH384_SERVICE_ID),
    "SHA512": Digest("sha512", 48, HmacSha2.SHA512_SERVICE_ID),
}
PRIV = {
    "AES128": Aes,
    "AES192": aes192.AesBlumenthal192,
    "AES256": aes256.AesBlumenthal256,
    # Cisco's and others' way to stretch a short digest into a long key.
    "AES192C": aes192.Aes192,
    "AES256C": aes256.Aes256,
}

_WINDOW_S = 150
_REPORTS = "1.3.6.1.6.3.15.1.1."
NOT_IN_TIME, UNKNOWN_ENGINE = encode_oid(_REPORTS + "2.0"), encode_oid(_REPORTS + "4.0")
_DENIALS = {
    encode_oid(_REPORTS + "1.0"): "the device does not offer this user our security level",
    encode_oid(_REPORTS + "3.0"): "the device does not know this user",
    encode_oid(_REPORTS + "5.0"): "the device calls our digest wrong: another password or protocol",
    encode_oid(_REPORTS + "6.0"): "the device cannot decrypt: another privacy password or protocol",
}
_AUTH_FLAG, _PRIV_FLAG, _REPORTABLE = 1, 2, 4


@dataclass(frozen=True)
class User:
    """A v3 user, always with authentication; without `priv` nothing is encrypted."""

    name: bytes
    auth: str
    auth_password: str = field(repr=False)
    priv: str = ""
    priv_password: str = field(default="", repr=False)


@lru_cache(maxsize=256)
def _master(password: str, digest: str) -> OctetString:
    """The million-octet hash of a password, the slow part: once per password, not per device."""
    return localkey.hash_passphrase(password.encode(), lambda data=b"": hashlib.new(digest, data))


@lru_cache(maxsize=32768)
def _keys(user: User, engine: bytes) -> tuple[bytes, bytes]:
    """The user's (authentication, privacy) keys at one engine."""
    digest = AUTH[user.auth]
    new: Callable[..., object] = lambda data=b"": hashlib.new(digest.name, data)  # noqa: E731
    engine_id = OctetString(engine)
    auth = localkey.localize_key(_master(user.auth_password, digest.name), engine_id, new)
    priv = b""
    if user.priv:
        master = _master(user.priv_password, digest.name)
        priv = bytes(PRIV[user.priv]().localize_key(digest.service, master, engine_id))
    return bytes(auth), priv


@dataclass
class Engine:
    """What is known of one device's SNMP engine; kept between polls."""

    id: bytes = b""
    boots: int = 0
    time: int = 0
    read_at: float = 0.0
    trusted: bool = False
    """The clock came in a signed message; before that it is a guess."""

    def now(self) -> int:
        return self.time + int(time.monotonic() - self.read_at)

    def learn(self, boots: int, seconds: int, *, trusted: bool) -> None:
        self.boots, self.time, self.trusted = boots, seconds, trusted
        self.read_at = time.monotonic()

    def inside_window(self, boots: int, seconds: int) -> bool:
        if not self.trusted:
            return True
        return boots > self.boots or (boots == self.boots and seconds > self.now() - _WINDOW_S)


@dataclass
class _Header:
    flags: int
    engine: bytes
    boots: int
    time: int
    user: bytes
    digest_at: tuple[int, int]
    salt: bytes
    data_at: int
    end: int


def _read_header(data: bytes) -> _Header:
    at, end = expect(data, 0, len(data), SEQUENCE)
    version, at = read_integer(data, at, end)
    glob, at = expect(data, at, end, SEQUENCE)
    _, inner = read_integer(data, glob, at)
    _, inner = read_integer(data, inner, at)
    flags, inner = read_octets(data, inner, at)
    model, _ = read_integer(data, inner, at)
    if version != 3 or model != 3 or len(flags) != 1:
        raise BerError("not an SNMPv3 message under the user-based model")
    start, data_at = expect(data, at, end, OCTETS)
    pos, stop = expect(data, start, data_at, SEQUENCE)
    engine, pos = read_octets(data, pos, stop)
    boots, pos = read_integer(data, pos, stop)
    seconds, pos = read_integer(data, pos, stop)
    user, pos = read_octets(data, pos, stop)
    digest_at = expect(data, pos, stop, OCTETS)
    salt, _ = read_octets(data, digest_at[1], stop)
    return _Header(flags[0], engine, boots, seconds, user, digest_at, salt, data_at, end)


class Usm:
    """Seals and opens the messages between one user and one engine."""

    version = 3

    def __init__(self, user: User, engine: Engine, context: bytes = b"") -> None:
        self._user, self._engine, self._context = user, engine, context
        self._level = _AUTH_FLAG | (_PRIV_FLAG if user.priv else 0)

    def prologue(self, message_id: int) -> bytes | None:
        """Asks for the engine's id, which is answered by a Report; nothing once it is known."""
        if self._engine.id:
            return None
        pdu = tlv(Kind.GET, integer(message_id) + integer(0) + integer(0) + tlv(SEQUENCE, b""))
        return self._message(
            message_id, _REPORTABLE, b"", 0, 0, b"", 0, b"", self._scoped(b"", pdu)
        )

    def seal(self, message_id: int, pdu: bytes) -> bytes:
        engine, digest = self._engine, AUTH[self._user.auth]
        auth_key, priv_key = _keys(self._user, engine.id)
        boots, seconds = engine.boots, engine.now()
        payload, salt = self._scoped(engine.id, pdu), b""
        if priv_key:
            salt = os.urandom(8)
            cipher = _cipher(priv_key, boots, seconds, salt).encryptor()
            payload = tlv(OCTETS, cipher.update(payload))
        message = self._message(
            message_id,
            self._level | _REPORTABLE,
            engine.id,
            boots,
            seconds,
            self._user.name,
            digest.size,
            salt,
            payload,
        )
        start, stop = _read_header(message).digest_at
        signature = hmac.digest(auth_key, message, digest.name)[: digest.size]
        return message[:start] + signature + message[stop:]

    def open(self, data: bytes) -> Pdu:
        """The PDU of an answer that passed every check, or of a Report. Raises BerError."""
        head = _read_header(data)
        level = head.flags & (_AUTH_FLAG | _PRIV_FLAG)
        if not level & _AUTH_FLAG:
            return self._unsigned(data, head)
        if head.engine != self._engine.id or head.user != self._user.name:
            raise BerError("a signed message of another engine or user")
        self._check_digest(data, head)
        if not self._engine.inside_window(head.boots, head.time):
            raise BerError("a message from outside the time window")
        self._engine.learn(head.boots, head.time, trusted=True)
        pdu = self._open_scoped(data, head, encrypted=bool(level & _PRIV_FLAG))
        if pdu.kind == Kind.RESPONSE and level != self._level:
            raise BerError("an answer below the security level of the request")
        if pdu.kind not in (Kind.RESPONSE, Kind.REPORT):
            raise BerError("something else than an answer")
        return pdu

    def heed(self, report: Pdu) -> None:
        """Act on a Report so that the request can be sent again. Raises Denied when it cannot."""
        name = report.varbinds[0][0] if report.varbinds else b""
        if name in _DENIALS:
            raise Denied(_DENIALS[name])

    def _unsigned(self, data: bytes, head: _Header) -> Pdu:
        """Only Reports; and never does one change a clock that a signed message has set."""
        at, stop = expect(data, head.data_at, head.end, SEQUENCE)
        pdu = self._open_plain(data, at, stop)
        name = pdu.varbinds[0][0] if pdu.varbinds else b""
        if pdu.kind != Kind.REPORT or not (name in _DENIALS or name == UNKNOWN_ENGINE):
            raise BerError("an unsigned answer")
        if name == UNKNOWN_ENGINE:
            if not 5 <= len(head.engine) <= 32:
                raise BerError("an impossible engine id")
            if head.engine != self._engine.id:
                self._engine.id = head.engine
                self._engine.learn(head.boots, head.time, trusted=False)
        return pdu

    def _check_digest(self, data: bytes, head: _Header) -> None:
        digest = AUTH[self._user.auth]
        start, stop = head.digest_at
        if stop - start != digest.size:
            raise BerError("a digest of another size")
        blank = data[:start] + bytes(digest.size) + data[stop:]
        right = hmac.digest(_keys(self._user, self._engine.id)[0], blank, digest.name)
        if not hmac.compare_digest(right[: digest.size], data[start:stop]):
            raise BerError("a wrong digest")

    def _open_scoped(self, data: bytes, head: _Header, *, encrypted: bool) -> Pdu:
        if not encrypted:
            return self._open_plain(data, *expect(data, head.data_at, head.end, SEQUENCE))
        sealed, _ = read_octets(data, head.data_at, head.end)
        if len(head.salt) != 8:
            raise BerError("a salt of another size")
        key = _keys(self._user, self._engine.id)[1]
        plain = _cipher(key, head.boots, head.time, head.salt).decryptor().update(sealed)
        return self._open_plain(plain, *expect(plain, 0, len(plain), SEQUENCE))

    def _open_plain(self, data: bytes, at: int, stop: int) -> Pdu:
        _, at = read_octets(data, at, stop)
        context, at = read_octets(data, at, stop)
        pdu = decode_pdu(data, at, stop)
        if pdu.kind != Kind.REPORT and context != self._context:
            raise BerError("an answer from another context")
        return pdu

    def _scoped(self, engine: bytes, pdu: bytes) -> bytes:
        return tlv(SEQUENCE, tlv(OCTETS, engine) + tlv(OCTETS, self._context) + pdu)

    def _message(
        self,
        message_id: int,
        flags: int,
        engine: bytes,
        boots: int,
        seconds: int,
        user: bytes,
        digest_size: int,
        salt: bytes,
        payload: bytes,
    ) -> bytes:
        head = integer(message_id) + integer(65507) + tlv(OCTETS, bytes((flags,))) + integer(3)
        security = (
            tlv(OCTETS, engine)
            + integer(boots)
            + integer(seconds)
            + tlv(OCTETS, user)
            + tlv(OCTETS, bytes(digest_size))
            + tlv(OCTETS, salt)
        )
        wrapped = tlv(OCTETS, tlv(SEQUENCE, security))
        return tlv(SEQUENCE, integer(3) + tlv(SEQUENCE, head) + wrapped + payload)


def _cipher(key: bytes, boots: int, seconds: int, salt: bytes) -> Cipher[CFB]:
    if not (0 <= boots < 2**31 and 0 <= seconds < 2**31) or not key:
        raise BerError("an impossible engine clock")
    iv = boots.to_bytes(4, "big") + seconds.to_bytes(4, "big") + salt
    return Cipher(algorithms.AES(key), CFB(iv))
