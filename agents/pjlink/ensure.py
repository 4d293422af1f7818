"""Bring a projector to a wished state: ask first, set at most once, wait while it changes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.driver import DriverError, Garbled, Misconfigured, Refused, ResetFailed, Unreachable
from agents.messages import Order
from agents.pjlink import protocol
from agents.pjlink.session import Session

Result = TypeVar("Result")

Setting = tuple[str, str, str]
"""Command, value and class of something that can be set only while the projector is on."""


STEP_OF = {"POWR": "power", "INPT": "input", "AVMT": "mute", "FREZ": "freeze"}
"""Command → the step of `agents.steps` that it is."""


class Steps(BaseModel):
    """`order.steps`: what shall be true; a setting that is missing is left as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    power: Literal["on", "standby"] | None = None
    input: str | None = Field(default=None, pattern="^[1-6][1-9A-Z]$")
    mute: bool | None = None
    freeze: bool | None = None
    """Class 2; one that cannot freeze its picture is not frozen."""

    @classmethod
    def of(cls, order: Order) -> "Steps":
        """The order's steps. Raises Misconfigured for steps that make no sense."""
        try:
            steps = cls.model_validate(order.steps)
        except ValidationError as error:
            wrong = sorted({str(fault["loc"][0])[:40] for fault in error.errors()})
            raise Misconfigured(f"steps: {', '.join(wrong)}") from None
        if steps.power == "standby" and steps.settings():
            raise Misconfigured("steps: a projector in standby has neither input nor picture")
        return steps

    def settings(self) -> list[Setting]:
        wanted = []
        if self.input is not None:
            extended = self.input[0] == "6" or self.input[1].isalpha()
            wanted.append(("INPT", self.input, "2" if extended else "1"))
        if self.mute is not None:
            wanted.append(_mute(self.mute))
        if self.freeze is not None:
            wanted.append(("FREZ", "1" if self.freeze else "0", "2"))
        return wanted


def _mute(on: bool) -> Setting:
    return "AVMT", "31" if on else "30", "1"


class Talk(Protocol):
    """Runs a function over one fresh connection to the projector, within its time."""

    async def __call__(self, say: Callable[[Session], Awaitable[Result]], /) -> Result: ...


class Ensure:
    """One act on one projector, and how far it has come: `heard`, `touched`, `last` words."""

    def __init__(
        self, talk: Talk, power: Callable[[Session], Awaitable[str]], settle_s: float
    ) -> None:
        """`power`: asks for the power state, empty when the projector does not tell just now."""
        self._talk = talk
        self._power = power
        self._settle_s = settle_s
        self.heard = False
        self.touched = False
        self.last = ""
        self.step = ""
        """What it is at, of `agents.steps`."""

    async def run(self, steps: Steps, *, keep_lit: bool, young: Callable[[], bool]) -> None:
        """Returns when all is as wished; how long that may take is the caller's business.

        Instead of standby: `keep_lit` only mutes picture and sound, since the next course begins
        soon; a `young` lamp is not put out at all.
        """
        settings = steps.settings()
        if steps.power is None and not settings:
            return
        power = await self._ask()
        if steps.power == "standby":
            while power not in ("on", "standby"):
                power = await self._ask_later(power)
            if power == "on" and keep_lit:
                settings = [_mute(True)]
            elif power == "on" and young():
                raise Refused("lamp_young", "it was switched on only now")
            else:
                await self._reach("standby", power)
        elif steps.power == "on":
            await self._reach("on", power)
        elif power != "on":
            raise Refused("not_on", f"its power state is {power or 'unknown'}")
        for setting in settings:
            await self._adjust(setting)

    async def _ask(self) -> str:
        power = await self._talk(self._power)
        self.heard = True
        return power

    async def _ask_later(self, power: str) -> str:
        self.last = f"its power state is {power or 'unknown'}"
        await asyncio.sleep(self._settle_s)
        try:
            return await self._talk(self._power)
        except DriverError:
            return ""  # many go deaf while they change; the next answer counts

    async def _reach(self, wanted: str, power: str) -> None:
        self.step = STEP_OF["POWR"]
        opposite, way = ("standby", "warming") if wanted == "on" else ("on", "cooling")
        moved = False
        while power != wanted:
            if moved and power == opposite:
                raise ResetFailed(f"it was {way} and is now {power} again", self.step)
            if power == opposite and not self.touched:
                await self._switch("1" if wanted == "on" else "0")
            moved = self.touched and (moved or power == way)
            power = await self._ask_later(power)

    async def _switch(self, digit: str) -> None:
        async def say(session: Session) -> str:
            self.touched = True
            return await session.send("POWR", digit)

        try:
            answer = await self._talk(say)
        except (Unreachable, Garbled):
            return  # it may have heard: only looking again can tell
        if answer == protocol.UNAVAILABLE:
            self.touched = False
            raise Refused("unavailable_now", "it takes no power command at this moment")
        _accept("POWR", answer)

    async def _adjust(self, setting: Setting) -> None:
        command, wanted, pjclass = setting
        self.step = STEP_OF[command]
        before = self.touched

        async def say(session: Session) -> str:
            if command == "FREZ" and await session.send("CLSS") != "2":
                return protocol.OK if wanted == "0" else protocol.OUT_OF_PARAMETER
            answer = await session.send(command, pjclass=pjclass)
            never = command == "FREZ" and wanted == "0" and answer == protocol.UNDEFINED
            if answer == wanted or never:
                return protocol.OK
            self.touched = True
            return await session.send(command, wanted, pjclass)

        while True:
            try:
                answer = await self._talk(say)
            except (Unreachable, Garbled) as error:
                self.last = f"{command}: {error}"
            else:
                if answer != protocol.UNAVAILABLE:
                    _accept(command, answer)
                    return
                self.last = f"{command}: {answer}"
                self.touched = before
            await asyncio.sleep(self._settle_s)


def _accept(command: str, answer: str) -> None:
    if answer == protocol.OUT_OF_PARAMETER:
        raise Misconfigured(f"{command}: the projector does not have this setting")
    if answer != protocol.OK:
        raise ResetFailed(f"{command}: {answer[:40]}", STEP_OF[command])
