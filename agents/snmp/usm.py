"""SNMPv3's user-based security, by pysnmp's engine: who we are, and what each device is to us."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from pyasn1.codec.ber import decoder  # type: ignore[import-untyped]
from pysnmp.carrier.base import AbstractTransportDispatcher
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.proto import errind
from pysnmp.proto.errind import ErrorIndication
from pysnmp.proto.mpmod.rfc3412 import SNMPv3Message
from pysnmp.proto.rfc1902 import OctetString
from pysnmp.proto.secmod.cache import Cache
from pysnmp.proto.secmod.rfc3414.service import UsmSecurityParameters

from agents.credentials import CredentialProblem, Secret
from agents.driver import Denied
from agents.snmp.message import Heard, Peer, Question, answer, pdu

AUTH = {
    "SHA": config.USM_AUTH_HMAC96_SHA,
    "SHA224": config.USM_AUTH_HMAC128_SHA224,
    "SHA256": config.USM_AUTH_HMAC192_SHA256,
    "SHA384": config.USM_AUTH_HMAC256_SHA384,
    "SHA512": config.USM_AUTH_HMAC384_SHA512,
}
PRIV = {
    "AES128": config.USM_PRIV_CFB128_AES,
    # A short digest is stretched into a long key as net-snmp does it (Blumenthal).
    "AES192": config.USM_PRIV_CFB192_AES_BLUMENTHAL,
    "AES256": config.USM_PRIV_CFB256_AES_BLUMENTHAL,
    # … or as Cisco and others do it (Reeder).
    "AES192C": config.USM_PRIV_CFB192_AES,
    "AES256C": config.USM_PRIV_CFB256_AES,
}
_DENIALS = {
    errind.UnsupportedSecurityLevel: "the device does not offer this user our security level",
    errind.UnknownUserName: "the device does not know this user",
    errind.WrongDigest: "the device calls our digest wrong: another password or protocol",
    errind.DecryptionError: "the device cannot decrypt: another privacy password or protocol",
}
_USM, _V3 = 3, 3
_DOMAIN = (1, 3, 6, 1, 6, 1, 1)
_NEVER = 2**40
_DEVICES = 250
"""That one engine may meet: pysnmp keeps their keys for ever and looks through them all."""
_IDLE_S = 3600.0
_WINDOW_S = 150


@dataclass(frozen=True)
class User:
    """A v3 user, always with authentication; without `priv` nothing is encrypted."""

    name: str
    auth: str
    auth_password: str = field(repr=False)
    priv: str = ""
    priv_password: str = field(default="", repr=False)


_Key = tuple[Peer, User, bytes]


class _Outbox(AbstractTransportDispatcher):  # type: ignore[misc]
    """Keeps what pysnmp wants to send; the sockets are ours."""

    def __init__(self) -> None:
        super().__init__()
        self.set_timer_resolution(1)
        self.message = b""

    def send_message(self, message: bytes, domain: object, address: object) -> None:
        self.message = message


class _Engine:
    """pysnmp's SNMP engine for one user."""

    def __init__(self, user: User) -> None:
        self.name, self.level = OctetString(user.name.encode()), 3 if user.priv else 2
        self.met = 0
        self.outbox, self.snmp = _Outbox(), SnmpEngine()
        self.snmp.register_transport_dispatcher(self.outbox)
        for older in (0, 1):  # their messages are never for us
            self.snmp.message_processing_subsystems.pop(older)
        config.add_v3_user(
            self.snmp,
            user.name,
            AUTH[user.auth],
            user.auth_password.encode(),
            PRIV[user.priv] if user.priv else config.USM_PRIV_NONE,
            user.priv_password.encode() or None,
        )

    def send(self, address: object, context: bytes, request: Any, heard: Any) -> tuple[int, bytes]:
        """(handle, message); without knowledge of the device pysnmp makes it a discovery."""
        self.outbox.handle_timer_tick(time.monotonic())
        handle = self.snmp.message_dispatcher.send_pdu(
            *(self.snmp, _DOMAIN, address, _V3, _USM, self.name, self.level, None, context),
            *(1, request, True, _NEVER, heard, int(request[0])),
        )
        return handle, self.outbox.message

    def receive(self, address: object, data: bytes) -> None:
        try:
            self.snmp.message_dispatcher.receive_message(self.snmp, _DOMAIN, address, data)
        finally:
            security = self.snmp.security_models[_USM]
            if not security._cache.is_empty():
                # pysnmp leaves an entry behind for each message that it refuses.
                security._cache = Cache()

    def release(self, handle: int) -> None:
        self.snmp.message_dispatcher.release_state_information(self.snmp, handle, _V3)

    def knows(self, address: object) -> bool:
        models = self.snmp.message_processing_subsystems
        return models[_V3].get_peer_engine_info(_DOMAIN, address)[0] is not None


@dataclass(frozen=True)
class _Sent:
    engine: _Engine
    handle: int
    knew: bool
    """Whether the device's engine id was known, or this message was to discover it."""


@dataclass(frozen=True)
class _Clock:
    """What a device last said of its time, in a message that was signed and read.

    pysnmp sets its own notion of it before it checks the window, and so refuses nothing (RFC 3414,
    3.2.7b). A signed Report may turn the clock back: a device that lost it must be met again.
    """

    boots: int
    seconds: int
    heard_at: float

    def refuses(self, boots: int, seconds: int, now: float) -> bool:
        expected = self.seconds + now - self.heard_at
        return boots < self.boots or (boots == self.boots and seconds < expected - _WINDOW_S)


def _stamp(data: bytes) -> tuple[int, int] | None:
    """Boots and time of a message's sender; None when it is not signed."""
    message, _ = decoder.decode(data, asn1Spec=SNMPv3Message())
    if not bytes(message[1][2])[0] & 1:
        return None
    security, _ = decoder.decode(bytes(message[2]), asn1Spec=UsmSecurityParameters())
    return int(security[1]), int(security[2])


class Usm:
    """One user's talk with one device."""

    version = 3

    def __init__(self, engines: "Engines", user: User, context: bytes) -> None:
        self._engines, self._user, self._context = engines, user, context
        self._sent: dict[int, list[_Sent]] = defaultdict(list)
        self._heard: Heard | None = None
        self._clock: _Clock | None = None
        self.used = 0.0
        self._meet()

    def _meet(self) -> None:
        """Know nothing of the device: the next message discovers it."""
        self._engine, self._clock = self._engines.take(self._user), None
        # pysnmp remembers a device by its address: any object will do, ours means "this one".
        self._address = object()

    def seal(self, question: Question) -> bytes:
        engine, request = self._engine, pdu(question, self.version)
        knew = engine.knows(self._address)
        handle, message = engine.send(self._address, self._context, request, self._hear)
        self._sent[question.number].append(_Sent(engine, handle, knew))
        return message

    def open(self, data: bytes) -> Heard | None:
        self._heard = None
        self._engine.receive(self._address, data)
        if self._heard is None:
            return None
        stamp, now = _stamp(data), time.monotonic()
        report = isinstance(self._heard[1], ErrorIndication)
        if stamp and not report and self._clock and self._clock.refuses(*stamp, now):
            return None
        if stamp:
            self._clock = _Clock(*stamp, now)
        return self._heard

    def _hear(self, *told: Any) -> None:
        """pysnmp's callback: a PDU that passed every check, or what went wrong."""
        response, problem, handle, number = told[8:]
        if not problem:
            self._heard = answer(response)
            return
        report = problem["errorIndication"]
        self._heard = number, report
        replaced = isinstance(report, errind.UnknownEngineID)
        if replaced and _Sent(self._engine, handle, True) in self._sent[number]:
            self._meet()

    def release(self, number: int) -> None:
        for sent in self._sent.pop(number, ()):
            sent.engine.release(sent.handle)

    def heed(self, report: ErrorIndication) -> None:
        if type(report) in _DENIALS:
            raise Denied(_DENIALS[type(report)])


class Engines:
    """What is known of all v3 devices, as long as somebody asks for them."""

    def __init__(self) -> None:
        self._talks: dict[_Key, Usm] = {}
        self._open: WeakValueDictionary[User, _Engine] = WeakValueDictionary()

    def usm(self, peer: Peer, user: User, context: bytes, now: float) -> Usm:
        """`now`: seconds since whenever."""
        key = peer, user, context
        if key not in self._talks:
            self._keep(lambda _, talk: talk.used > now - _IDLE_S)
            self._talks[key] = Usm(self, user, context)
        self._talks[key].used = now
        return self._talks[key]

    def take(self, user: User) -> _Engine:
        """An engine that can meet one device more."""
        engine = self._open.get(user)
        if engine is None or engine.met >= _DEVICES:
            engine = self._open[user] = _Engine(user)
        engine.met += 1
        return engine

    def forget(self, peer: Peer) -> None:
        self._keep(lambda key, _: key[0] != peer)

    def close(self) -> None:
        self._talks.clear()

    def _keep(self, fits: Callable[[_Key, Usm], bool]) -> None:
        self._talks = {key: talk for key, talk in self._talks.items() if fits(key, talk)}


def user_of(secret: Secret) -> User:
    """Raises CredentialProblem for a credential that no SNMPv3 user can have."""
    auth, priv = secret["auth_protocol"].upper(), secret.get("priv_protocol").upper()
    if auth.replace("-", "") not in AUTH or (priv and priv.replace("-", "") not in PRIV):
        raise CredentialProblem(
            f"auth_protocol is one of {', '.join(AUTH)}, priv_protocol one of {', '.join(PRIV)}"
        )
    if len(secret["auth_password"]) < 8 or (priv and len(secret["priv_password"]) < 8):
        raise CredentialProblem("SNMPv3 passwords have at least 8 characters")
    return User(
        secret["user"],
        auth.replace("-", ""),
        secret["auth_password"],
        priv.replace("-", ""),
        secret["priv_password"] if priv else "",
    )
