"""The simulator's SNMPv3 side (RFC 3414): an engine with one user who signs and encrypts."""

import hashlib
import hmac
import os
import time
from dataclasses import dataclass, field

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from agents.simulator.snmp_codec import Malformed, octets, report, signed, take, whole, wrap

_HASHES = {
    "SHA": ("sha1", 12),
    "SHA224": ("sha224", 16),
    "SHA256": ("sha256", 24),
    "SHA384": ("sha384", 32),
    "SHA512": ("sha512", 48),
}
_KEY_SIZES = {"AES128": 16, "AES192": 24, "AES256": 32}
_STATS = "1.3.6.1.6.3.15.1.1."


@dataclass(frozen=True)
class V3User:
    """Protocols are named as in the agents' credentials: SHA256, AES128, …"""

    name: str
    auth_protocol: str
    auth_password: str = field(repr=False)
    priv_protocol: str
    priv_password: str = field(repr=False)


class Refusal(Exception):
    """Answered by a Report: `args[0]` is the whole message."""


class V3Engine:
    """Opens requests and seals responses. `skew` lets a test turn the engine's clock."""

    def __init__(self, user: V3User, engine_id: bytes, boots: int = 1) -> None:
        self.user, self.id, self.boots, self.skew = user, engine_id, boots, 0
        self._born = time.monotonic()
        self._hash, self._cut = _HASHES[user.auth_protocol]
        self._auth = self._key(user.auth_password)
        self._priv = self._stretch(self._key(user.priv_password), _KEY_SIZES[user.priv_protocol])

    @property
    def time(self) -> int:
        return int(time.monotonic() - self._born) + self.skew

    def _key(self, password: str) -> bytes:
        raw = password.encode()
        endless = raw * (2**20 // len(raw) + 1)
        master = hashlib.new(self._hash, endless[: 2**20]).digest()
        return hashlib.new(self._hash, master + self.id + master).digest()

    def _stretch(self, key: bytes, size: int) -> bytes:
        while len(key) < size:
            key += hashlib.new(self._hash, key).digest()
        return key[:size]

    def open(self, data: bytes) -> tuple[int, bytes, bytes]:
        """(message id, context name, PDU). Raises Refusal with the Report to send back."""
        _, message, _ = take(data, 0)
        _, at = whole(message, 0)
        _, head, at = take(message, at)
        number, after = whole(head, 0)
        _, after = whole(head, after)
        flags = take(head, after)[1][0]
        _, security, at = take(message, at)
        _, security, _ = take(security, 0)
        _, engine, pos = take(security, 0)
        boots, pos = whole(security, pos)
        seconds, pos = whole(security, pos)
        _, user, pos = take(security, pos)
        _, digest, pos = take(security, pos)
        _, salt, _ = take(security, pos)
        if engine != self.id:
            raise Refusal(self._report(number, "4.0"))
        if user != self.user.name.encode():
            raise Refusal(self._report(number, "3.0"))
        if flags & 3 != 3:
            raise Refusal(self._report(number, "1.0"))
        blank = data.replace(digest, bytes(len(digest)), 1)
        if len(digest) != self._cut or not hmac.compare_digest(self._sign(blank), digest):
            raise Refusal(self._report(number, "5.0"))
        if boots != self.boots or abs(seconds - self.time) > 150:
            raise Refusal(self._report(number, "2.0", signed_too=True))
        return number, *self._plain(take(message, at)[1], boots, seconds, salt, number)

    def _plain(
        self, sealed: bytes, boots: int, seconds: int, salt: bytes, number: int
    ) -> tuple[bytes, bytes]:
        plain = self._cipher(boots, seconds, salt).decryptor().update(sealed)
        try:
            tag, scoped, _ = take(plain, 0)
            if tag != 0x30:
                raise Malformed
            _, _, at = take(scoped, 0)
            _, context, at = take(scoped, at)
        except Malformed:
            raise Refusal(self._report(number, "6.0")) from None
        return context, scoped[at:]

    def seal(self, number: int, context: bytes, pdu: bytes) -> bytes:
        return self._message(number, 3, context, pdu)

    def denial(self, data: bytes) -> bytes:
        """'Wrong digest', whatever was sent; discovery still gets its answer."""
        try:
            number, _, _ = self.open(data)
        except Refusal as refusal:
            return bytes(refusal.args[0])
        return self._report(number, "5.0")

    def _report(self, number: int, counter: str, *, signed_too: bool = False) -> bytes:
        return self._message(number, int(signed_too), b"", report(number, _STATS + counter, 1))

    def _message(self, number: int, flags: int, context: bytes, pdu: bytes) -> bytes:
        boots, seconds = self.boots, self.time
        payload, salt = wrap(0x30, octets(self.id) + octets(context) + pdu), b""
        if flags & 2:
            salt = os.urandom(8)
            payload = octets(self._cipher(boots, seconds, salt).encryptor().update(payload))
        mark = os.urandom(self._cut) if flags & 1 else b""
        security = wrap(
            0x30,
            octets(self.id)
            + signed(boots)
            + signed(seconds)
            + octets(self.user.name if flags & 1 else "")
            + octets(mark)
            + octets(salt),
        )
        head = wrap(0x30, signed(number) + signed(65507) + octets(bytes([flags])) + signed(3))
        message = wrap(0x30, signed(3) + head + octets(security) + payload)
        if not flags & 1:
            return message
        return message.replace(mark, self._sign(message.replace(mark, bytes(self._cut))), 1)

    def _sign(self, message: bytes) -> bytes:
        return hmac.digest(self._auth, message, self._hash)[: self._cut]

    def _cipher(self, boots: int, seconds: int, salt: bytes) -> Cipher[CFB]:
        iv = boots.to_bytes(4, "big") + seconds.to_bytes(4, "big") + salt
        return Cipher(AES(self._priv), CFB(iv))
