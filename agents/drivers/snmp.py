"""Looks at devices by SNMP v1, v2c and v3: recognise the model once, then read what it knows."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agents.credentials import CredentialProblem, Credentials
from agents.driver import (
    Garbled,
    Misconfigured,
    MissingCredential,
    NoEnd,
    TimedOut,
    Unreachable,
    WrongDevice,
)
from agents.messages import Facts, Order, Target
from agents.snmp.acting import Acting, Steps
from agents.snmp.behind import UNKNOWN, listed, narrowed
from agents.snmp.facts import Readings, fact, text, truth
from agents.snmp.message import Community, Manner, Oid, Peer, oid
from agents.snmp.profile import (
    FALLBACK,
    FOLDER,
    Probe,
    Profile,
    ProfileError,
    Profiles,
    Source,
    candidates,
    load,
)
from agents.snmp.session import Session
from agents.snmp.survey import Survey, walk
from agents.snmp.usm import Engines, user_of
from agents.snmp.wire import Wire, resolve

log = logging.getLogger(__name__)
SYS_DESCR, SYS_OBJECT_ID = oid("1.3.6.1.2.1.1.1.0"), oid("1.3.6.1.2.1.1.2.0")
SYS_NAME = oid("1.3.6.1.2.1.1.5.0")
_PORT = 161
_ASK_FIRST = timedelta(seconds=10)
_LEARN_AGAIN = 60
"""Polls after which sources that yielded nothing are tried once more."""
_MARGIN = 0.9
"""Of the time allowed; the rest is for ending with what was read and the right error."""


class Options(BaseModel):
    """`Target.options` of this driver."""

    model_config = ConfigDict(extra="forbid")

    version: Literal["1", "2c", "3"] = "2c"
    context: str = Field(default="", max_length=255)
    access_point: str = Field(default="", pattern=r"^([0-9a-f]{2}(:[0-9a-f]{2}){5})?$")
    """Address of the access point that is meant, when a controller speaks for it."""

    poe_port: str = Field(default="", pattern=r"^(\d{1,4}\.\d{1,6})?$")
    """An access point's port on the switch that is its uplink: group and number, such as 1.5."""

    @field_validator("access_point", mode="before")
    @classmethod
    def _one_spelling(cls, address: object) -> object:
        return address.casefold().replace("-", ":") if isinstance(address, str) else address


@dataclass
class _Known:
    """What the driver remembers of a target between polls."""

    peer: Peer
    identity: tuple[str, str]
    """sysObjectID and sysDescr, whose change means another device or firmware."""
    profile: str
    model: Profile
    """That profile, or the part of it that is the access point's."""
    access_point: str = ""
    chosen: dict[str, int | None] = field(default_factory=dict)
    """Fact → the source that yielded it; None when none did; missing while still learning."""
    rows: dict[Oid, int] = field(default_factory=dict)
    absent: set[Oid] = field(default_factory=set)
    polls: int = 0


@cache
def _profiles(own: Path) -> Profiles:
    """The shipped profiles and those of this agent's own folder, which may replace some."""
    try:
        return load(FOLDER, own)
    except ProfileError as error:
        log.error("the profiles in %s are left out: %s", own, error)
        return load()


class Snmp:
    """One object, one pair of sockets, all SNMP targets of an agent."""

    def __init__(
        self, credentials: Credentials, state: Path, profiles: Profiles | None = None
    ) -> None:
        self._credentials = credentials
        self._profiles = profiles if profiles is not None else _profiles(state / "profiles")
        self._wire = Wire()
        self._known: dict[str, _Known] = {}
        self._engines = Engines()
        self._acting = Acting(credentials, state / "switched-off")
        self._stations: dict[str, frozenset[str]] = {}

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        async with self._session(target, timeout) as (options, session):
            return await self._look_at(target, options, session)

    async def access_points(self, target: Target, timeout: timedelta) -> list[tuple[str, str]]:
        """(address, name) of what stands behind a controller; empty when it is none."""
        async with self._session(target, timeout) as (_, session):
            known = await self._recognise(target, Options(), session)
            behind = known.model.access_points
            return await listed(session, behind) if behind else []

    async def survey(self, target: Target, timeout: timedelta) -> Survey:
        """Everything that a device tells, within limits, to write a profile for it."""
        async with self._session(target, timeout) as (_, session):
            known = await self._recognise(target, Options(), session)
            return await walk(session, *known.identity, known.profile)

    @asynccontextmanager
    async def _session(
        self, target: Target, timeout: timedelta
    ) -> AsyncIterator[tuple[Options, Session]]:
        """A talk with a device that ends in time and fails with DriverErrors only."""
        seconds = timeout.total_seconds()
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                peer = await resolve(target.address, target.port or _PORT)
                options = _options(target)
                manner = self._manner(target, options, peer)
                try:
                    yield options, Session(self._wire, peer, manner, seconds * _MARGIN, began)
                except (Garbled, Unreachable):
                    self._engines.forget(peer)
                    raise
        except TimeoutError:
            raise TimedOut from None
        except OSError as error:
            raise Unreachable(f"cannot send: {error.strerror}") from None

    def stations(self, device: str) -> frozenset[str]:
        return self._stations.get(device, frozenset())

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        """Kick, restart or power-cycle, as `agents.snmp.acting.Steps` say; usually nothing."""
        do = Steps.of(order).do
        if not do:
            return
        if _options(target).access_point and do != "power_cycle":
            # What the profile names would be done to the controller, and so to all of them.
            raise Misconfigured(f"{do}: its controller speaks for it, and cannot be told to")
        known = await self.poll(target, min(timeout, _ASK_FIRST))  # is it the right one?
        actions = self._profiles[known["profile"]].actions
        port = str(target.options.get("poe_port", ""))
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await self._acting.act(target, order, actions, poe_port=port)
        except TimeoutError:
            raise NoEnd("no end in time") from None

    async def tidy(self) -> None:
        await self._acting.tidy()

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        return await self.poll(target, timeout)

    async def close(self) -> None:
        self._acting.close()
        self._wire.close()
        self._engines.close()

    def _manner(self, target: Target, options: Options, peer: Peer) -> Manner:
        try:
            secret = self._credentials.find(target.credential)
            if options.version != "3":
                return Community(int(options.version != "1"), secret["community"].encode())
            user = user_of(secret)
        except CredentialProblem as error:
            raise MissingCredential(str(error)) from None
        now = asyncio.get_running_loop().time()
        return self._engines.usm(peer, user, options.context.encode(), now)

    async def _look_at(self, target: Target, options: Options, session: Session) -> Facts:
        known = self._known.get(target.device)
        if known is not None and (
            (known.peer, known.access_point) != (session.peer, options.access_point)
            or target.profile not in ("", known.profile)
        ):
            known = None
        for _ in range(2):
            if known is None:
                known = await self._recognise(target, options, session)
            readings = Readings()
            session.absent = known.absent
            facts = await self._read(known, session, readings)
            if _identity(readings) == known.identity:
                self._stations[target.device] = await _stations(known, session)
                return self._finish(target, known, session, facts)
            known = None
        raise Garbled("the device says something else of itself each time it is asked")

    async def _recognise(self, target: Target, options: Options, session: Session) -> _Known:
        """The profile of a device, by one question and at most one more."""
        if target.profile and target.profile not in self._profiles:
            raise Misconfigured(f"there is no SNMP profile '{target.profile}'")
        first = Readings(await session.get([SYS_OBJECT_ID, SYS_DESCR]))
        identity = _identity(first)
        name = target.profile or await self._best(session, *identity)
        model = self._profiles[name]
        if options.access_point:
            model = await narrowed(session, name, model, options.access_point)
        known = _Known(session.peer, identity, name, model, options.access_point)
        self._known[target.device] = known
        known.absent = session.absent
        return known

    async def _best(self, session: Session, sys_object_id: str, sys_descr: str) -> str:
        fits = candidates(self._profiles, sys_object_id, sys_descr)
        probes = [oid(probe.oid) for _, probe in fits if probe]
        answers = await session.get(probes) if probes else {}
        for name, probe in fits:
            if probe is None or _holds(probe, answers.get(oid(probe.oid))):
                return name
        return FALLBACK

    async def _read(self, known: _Known, session: Session, readings: Readings) -> Facts:
        """All facts of the profile; later sources are asked only where earlier ones are silent."""
        profile = known.model
        behind = [profile.access_points.up] if known.access_point and profile.access_points else []
        if known.polls % _LEARN_AGAIN == 0:
            known.chosen = {name: at for name, at in known.chosen.items() if at is not None}
        known.polls += 1
        facts: Facts = {}
        asking = {
            name: at for name in profile.facts if (at := known.chosen.get(name, 0)) is not None
        }
        while True:  # once at least: also a device that tells nothing else says who it is
            sources = {name: profile.facts[name][at] for name, at in asking.items()}
            try:
                await _fetch([*behind, *sources.values()], known, session, readings)
            except (Garbled, Unreachable):
                if not readings.scalars:
                    raise
                break  # half a look is a look; what was not read is left out
            found = {name: fact(name, source, readings) for name, source in sources.items()}
            facts |= {name: value for name, value in found.items() if value is not None}
            asking = {} if session.silent else _learn(known, profile, asking, facts)
            if not asking:
                break
        for up in behind:
            _must_be_up(truth(up, readings))
        return facts

    def _finish(self, target: Target, known: _Known, session: Session, facts: Facts) -> Facts:
        serial = str(facts.get("serial", ""))
        if target.serial and serial and _bare(serial) != _bare(target.serial):
            self._known.pop(target.device, None)
            raise WrongDevice(f"serial number {serial!r} instead of {target.serial!r}")
        vendor = self._profiles[known.profile].vendor
        if vendor:
            facts.setdefault("vendor", vendor)
        facts["profile"] = known.profile
        if known.profile == FALLBACK:
            seen = zip(("object_id", "description"), known.identity, strict=True)
            facts |= {name: said for name, said in seen if said}
        if session.first_round_trip is not None:
            facts["round_trip_s"] = round(session.first_round_trip, 6)
        return facts


def _options(target: Target) -> Options:
    try:
        return Options.model_validate(target.options)
    except ValidationError as error:
        first = error.errors()[0]
        raise Misconfigured(f"option {first['loc'][0]}: {first['msg']}") from None


def _must_be_up(up: bool | None) -> None:
    if up is None:
        raise Unreachable(UNKNOWN)
    if not up:
        raise Unreachable("its controller says that it is not connected")


def _learn(known: _Known, profile: Profile, asked: dict[str, int], facts: Facts) -> dict[str, int]:
    """Remember which source told each fact; the sources to ask next for those still missing."""
    following: dict[str, int] = {}
    for name, at in asked.items():
        if name in facts:
            known.chosen[name] = at
        elif name not in known.chosen:
            if at + 1 < len(profile.facts[name]):
                following[name] = at + 1
            else:
                known.chosen[name] = None
    return following


async def _fetch(
    sources: Iterable[Source], known: _Known, session: Session, readings: Readings
) -> None:
    scalars: set[Oid] = set() if readings.scalars else {SYS_OBJECT_ID, SYS_DESCR}
    columns: set[Oid] = set()
    for source in sources:
        more_scalars, more_columns = source.needs
        scalars |= more_scalars
        columns |= more_columns
    new_scalars = sorted(scalars - readings.scalars.keys())
    new_columns = sorted(columns - readings.columns.keys())
    values = await session.get(new_scalars)
    tables = await session.tables(new_columns, known.rows) if new_columns else {}
    known.rows.update({name: len(column.rows) for name, column in tables.items()})
    readings.add(values, tables)


async def _stations(known: _Known, session: Session) -> frozenset[str]:
    """Who is on the Wi-Fi; empty when the profile names no table for it, or it stays silent."""
    if known.model.stations is None or known.access_point or session.silent:
        return frozenset()
    column = oid(known.model.stations)
    try:
        rows = (await session.tables([column], known.rows))[column].rows.values()
    except (Garbled, Unreachable):
        return frozenset()
    return frozenset(
        value.hex(":") for value in rows if isinstance(value, bytes) and len(value) == 6
    )


def _identity(readings: Readings) -> tuple[str, str]:
    return (
        text(readings.scalars.get(SYS_OBJECT_ID)).lstrip("."),
        text(readings.scalars.get(SYS_DESCR)),
    )


def _holds(probe: Probe, value: object) -> bool:
    return value is not None and bool(re.search(probe.matches, text(value)))  # type: ignore[arg-type]


def _bare(serial: str) -> str:
    """A serial number without case and separators."""
    return re.sub(r"[^0-9a-z]", "", serial.casefold())
