"""Projectors and displays over PJLink: look, and bring to a wished state."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from agents.credentials import CredentialProblem, Credentials
from agents.driver import (
    Garbled,
    MissingCredential,
    NoEnd,
    Refused,
    TimedOut,
    Unreachable,
    WrongDevice,
)
from agents.messages import Facts, Order, Target
from agents.pjlink import protocol
from agents.pjlink.ensure import Ensure, Steps
from agents.pjlink.session import Lost, Session, connected

Result = TypeVar("Result")

IDENTITY_S = 900.0
"""How long names, models and versions are remembered; any failure forgets them."""


class Pjlink:
    """Looks at projectors and makes them ready.

    One connection at a time per projector, closed after use: many units serve a single session.
    `settle_s` is the pause between two looks at a projector that is warming or cooling, and
    `answer_s` the patience for one connection within an act.
    """

    def __init__(
        self,
        credentials: Credentials,
        state: Path,
        *,
        settle_s: float = 5.0,
        answer_s: float = 10.0,
    ) -> None:
        self._credentials = credentials
        self._settle_s = settle_s
        self._answer_s = answer_s
        self._locks: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()
        self._identities: dict[tuple[str, int], tuple[float, Facts]] = {}

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        """Power, input, mute, faults and lamp; in standby without input and mute."""
        place = _place(target)
        until, identity = self._identities.pop(place, (0.0, {}))
        now = asyncio.get_running_loop().time()
        if now >= until:
            until, identity = now + IDENTITY_S, {}
        facts = await self._talk(
            target, timeout.total_seconds(), lambda session: _look(session, target, identity)
        )
        self._identities[place] = (until, identity)
        return facts

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        """Everything asked anew, nothing from memory."""
        self._identities.pop(_place(target), None)
        return await self.poll(target, timeout)

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        """Ensure `Steps`: each state is asked for first and sent at most once.

        While the projector warms or cools it is asked every few seconds until `timeout`.
        """
        steps = Steps.of(order)

        async def talk(say: Callable[[Session], Awaitable[Result]], /) -> Result:
            return await self._talk(target, self._answer_s, say)

        ensure = Ensure(talk, lambda session: _power(session, target), self._settle_s)
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await ensure.run(steps)
        except TimeoutError:
            if ensure.touched:
                raise NoEnd(ensure.last) from None
            if ensure.heard:
                raise Refused("busy", ensure.last) from None
            raise Unreachable("no answer in time") from None

    async def close(self) -> None:
        """Nothing stays open between two calls."""

    async def _talk(
        self, target: Target, seconds: float, say: Callable[[Session], Awaitable[Result]]
    ) -> Result:
        """One greeted connection, within its time.

        A projector that closes on us (busy with another, or just after pushing news) is tried
        once more, unless something was sent that changes it.
        """
        session: Session | None = None
        password = self._password(target)
        try:
            async with asyncio.timeout(seconds), self._lock(target):
                for last in (False, True):
                    try:
                        async with connected(*_place(target), password) as session:
                            await session.greet()
                            return await say(session)
                    except Lost:
                        if last or (session and session.said):
                            raise
                raise AssertionError("the second try returns or raises")
        except TimeoutError:
            if session and session.heard:
                raise TimedOut(f"no end within {seconds:g} s") from None
            raise Unreachable(f"no answer within {seconds:g} s") from None

    def _lock(self, target: Target) -> asyncio.Lock:
        return self._locks.setdefault(_place(target), asyncio.Lock())

    def _password(self, target: Target) -> str | None:
        if not target.credential:
            return None
        try:
            return self._credentials.find(target.credential)["password"]
        except CredentialProblem as problem:
            raise MissingCredential(str(problem)) from None


def _place(target: Target) -> tuple[str, int]:
    port = protocol.PORT if target.port is None else target.port
    return target.address, port


async def _power(session: Session, target: Target) -> str:
    """The power state of the right projector; empty when it does not tell just now."""
    facts = await session.facts("POWR")
    if target.serial and await session.send("CLSS") == "2":
        _check_serial(await session.facts("SNUM", "2"), target)
    return str(facts.get("power", ""))


async def _look(session: Session, target: Target, identity: Facts) -> Facts:
    """All facts. `identity` is filled when empty, and believed when not."""
    facts = await session.facts("POWR")
    if facts.get("power") == "on":
        facts |= await session.facts("INPT")
        facts |= await session.facts("AVMT")
    facts |= await session.facts("ERST")
    facts |= await session.facts("LAMP")
    if not identity:
        identity |= await _identify(session)
    elif target.serial and "serial" in identity:
        identity |= await session.facts("SNUM", "2")
    _check_serial(identity, target)
    facts |= identity
    if not facts:
        raise Garbled("it answers no question")
    if session.failing and facts.get("other_state", "ok") == "ok":
        facts["other_state"] = "warning"
    return facts


async def _identify(session: Session) -> Facts:
    facts: Facts = {}
    for command in ("NAME", "INF1", "INF2"):
        facts |= await session.facts(command)
    if await session.send("CLSS") == "2":
        for command in ("SNUM", "SVER", "FILT"):
            facts |= await session.facts(command, "2")
    return facts


def _check_serial(facts: Facts, target: Target) -> None:
    serial = facts.get("serial", "")
    if target.serial and serial and serial.casefold() != target.serial.strip().casefold():
        raise WrongDevice(f"serial number {serial} instead of {target.serial}")
