"""Projectors and displays over PJLink: look, and bring to a wished state."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from agents.credentials import CredentialProblem, Credentials
from agents.driver import (
    Misconfigured,
    MissingCredential,
    NoEnd,
    Refused,
    TimedOut,
    Unreachable,
)
from agents.messages import Facts, Order, Target
from agents.pjlink import protocol
from agents.pjlink.ensure import Ensure, Steps
from agents.pjlink.lamp import Lamps
from agents.pjlink.look import Memory, check_serial, look
from agents.pjlink.session import Lost, NoLevel2, Session, connected

Result = TypeVar("Result")

KEEP_LIT = timedelta(minutes=30)
"""When the next course begins sooner, a projector is muted instead of switched off."""
IDENTITY_S = 900.0
"""How long names, models and versions are remembered; any failure forgets them."""
SECURITY = ("md5", "sha256", "auto")
"""`options.security`: the usual digest, only security level 2, or that where it is known."""


class Pjlink:
    """Looks at projectors and makes them ready.

    One connection at a time per projector, closed after use: many units serve a single session.
    `burn_s`: a lamp that was lit shall burn at least this long, since short burning wears it;
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
        burn_s: float = 600.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._credentials = credentials
        self._settle_s = settle_s
        self._answer_s = answer_s
        self._locks: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()
        self._memories: dict[tuple[str, int], Memory] = {}
        self._lamps, self._now = Lamps(burn_s), now
        self._only_md5: set[tuple[str, int]] = set()

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        """Power, input, picture, faults, lamp; in standby without what only the lit one tells."""
        place = _place(target)
        memory = self._memories.pop(place, None)
        now = asyncio.get_running_loop().time()
        if memory is None or now >= memory.until:
            memory = Memory(now + IDENTITY_S)
            self._only_md5.discard(place)
        facts = await self._talk(
            target, timeout.total_seconds(), lambda session: look(session, target, memory)
        )
        self._memories[place] = memory
        self._lamps.saw(place, str(facts.get("power", "")), now)
        return facts

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        """Everything asked anew, nothing from memory."""
        self._memories.pop(_place(target), None)
        return await self.poll(target, timeout)

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        """Ensure `Steps`: each state is asked for first and sent at most once.

        While the projector warms or cools it is asked every few seconds until `timeout`.
        """
        steps = Steps.of(order)

        async def talk(say: Callable[[Session], Awaitable[Result]], /) -> Result:
            return await self._talk(target, self._answer_s, say)

        place, loop = _place(target), asyncio.get_running_loop()

        async def power(session: Session) -> str:
            told = await _power(session, target)
            self._lamps.saw(place, told, loop.time())
            return told

        ensure = Ensure(talk, power, self._settle_s)
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await ensure.run(
                    steps,
                    keep_lit=self._course_soon(order),
                    young=lambda: self._lamps.young(place, loop.time()),
                )
        except TimeoutError:
            if ensure.touched:
                raise NoEnd(ensure.last, ensure.step) from None
            if ensure.heard:
                raise Refused("busy", ensure.last) from None
            raise Unreachable("no answer in time") from None

    async def close(self) -> None:
        """Nothing stays open between two calls."""

    def _course_soon(self, order: Order) -> bool:
        return order.next_start is not None and order.next_start - self._now() < KEEP_LIT

    async def _talk(
        self, target: Target, seconds: float, say: Callable[[Session], Awaitable[Result]]
    ) -> Result:
        """One greeted connection, within its time.

        A projector that closes on us (busy with another, or just after pushing news) is tried
        once more, unless something was sent that changes it.
        """
        session: Session | None = None
        password, place = self._password(target), _place(target)
        security = _security(target)
        try:
            async with asyncio.timeout(seconds), self._lock(target):
                for last in (False, True):
                    strong = security != "md5" and place not in self._only_md5
                    try:
                        async with connected(*place, password) as session:
                            await session.greet(strong=strong)
                            return await say(session)
                    except NoLevel2:
                        if last or security == "sha256":
                            raise
                        self._only_md5.add(place)
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


def _security(target: Target) -> str:
    wanted = target.options.get("security", "md5")
    if wanted not in SECURITY:
        raise Misconfigured(f"options: security must be one of {', '.join(SECURITY)}")
    return str(wanted)


async def _power(session: Session, target: Target) -> str:
    """The power state of the right projector; empty when it does not tell just now."""
    facts = await session.facts("POWR")
    if target.serial and await session.send("CLSS") == "2":
        check_serial(await session.facts("SNUM", "2"), target)
    return str(facts.get("power", ""))
