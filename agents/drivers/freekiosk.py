"""Tablets under FreeKiosk: look, empty the cache, show the start page.

FreeKiosk cannot be told to clear cookies, stored pages or forms: whoever asks for that is refused,
since a reset that leaves them must not pass for one that does not.
"""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.credentials import CredentialProblem, Credentials
from agents.driver import (
    Denied,
    Garbled,
    Misconfigured,
    MissingCredential,
    NoEnd,
    ResetFailed,
    Unreachable,
    WrongDevice,
)
from agents.freekiosk.info import Info
from agents.freekiosk.rest import Complaint, Missing, Rest
from agents.messages import Facts, Order, Target
from agents.ssh.host_keys import HostKeys
from agents.web.request import within

STEP_OF = {
    "screen/on": "screen",
    "clearCache": "cache",
    "url": "start_page",
    "reboot": "restart",
}
"""Command → the step of `agents.steps` that it is."""


class Steps(BaseModel):
    """`order.steps`. Nothing asked for: nothing is done, not even the screen switched on."""

    model_config = ConfigDict(extra="forbid", strict=True)

    clear: list[Literal["cache"]] = []
    start_page: bool = False
    """The page of the option `start_page`."""
    restart: bool = False
    """Only where FreeKiosk is device owner."""

    @classmethod
    def of(cls, order: Order) -> "Steps":
        asked = order.steps.get("clear")
        cannot = {"cookies", "webstorage"}.intersection(
            each for each in (asked if isinstance(asked, list) else []) if isinstance(each, str)
        )
        cannot |= {"webview", "lock", "settings"} & set(order.steps)
        if cannot:
            raise Misconfigured(
                f"FreeKiosk cannot do this: {', '.join(sorted(cannot))}; "
                "the recipe tablet-start-page asks for no more than it can"
            )
        try:
            return cls.model_validate(order.steps)
        except ValidationError as error:
            wrong = sorted({str(fault["loc"][0])[:40] for fault in error.errors()})
            raise Misconfigured(f"steps: {', '.join(wrong)}") from None

    def commands(self, start_page: str) -> list[tuple[str, dict[str, str]]]:
        """In the order that leaves least behind; a restart comes last."""
        commands: list[tuple[str, dict[str, str]]] = []
        if self.clear:
            commands.append(("clearCache", {}))
        if self.start_page:
            if not start_page:
                raise Misconfigured("options: start_page must say which page")
            commands.append(("url", {"url": start_page}))
        if commands:
            commands.insert(0, ("screen/on", {}))
        if self.restart:
            commands.append(("reboot", {}))
        return commands


class FreeKiosk:
    """Looks at tablets and puts them back to their page. Each request has its own connection."""

    def __init__(self, credentials: Credentials, state: Path) -> None:
        self._credentials = credentials
        self._certificates = HostKeys(state / "certificates", "certificate")

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        """Battery, screen, kiosk, page, memory and identity: one request, or three of an old
        version."""
        rest = self._rest(target)
        async with within(timeout, rest.web):
            info = await _info(rest, target)
            for section in ("battery", "wifi"):
                if info.lacks(section):
                    await _complete(rest, info, section)
        facts = info.facts(rest.options.start_page)
        if not facts:
            raise Garbled("status: nothing that we know")
        if target.serial and info.numbers():
            facts["serial"] = target.serial  # the one of its numbers that the inventory keeps
        return facts

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        return await self.poll(target, timeout)

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        """Make sure that it is the right tablet, then send the commands of `Steps` one by one."""
        steps = Steps.of(order)
        rest = self._rest(target)
        commands = steps.commands(rest.options.start_page)
        if not commands:
            return
        command = ""
        try:
            async with within(timeout, rest.web):
                await _info(rest, target)
                for command, about in commands:
                    await rest.post(command, about)
        except Complaint as complaint:
            raise ResetFailed(str(complaint), STEP_OF.get(command, "")) from None
        except (Unreachable, Garbled, Denied) as error:
            refused = isinstance(error, Denied) and command == commands[0][0]
            if not command or refused:  # nothing was touched
                raise
            raise NoEnd(f"{command}: {error}", STEP_OF.get(command, "")) from None

    async def close(self) -> None:
        """Nothing stays open between two calls."""

    def _rest(self, target: Target) -> Rest:
        """With the key of the credential; without a credential the tablet must want none."""
        if not target.credential:
            return Rest(target, "", self._certificates)
        try:
            key = self._credentials.find(target.credential)["key"]
        except CredentialProblem as problem:
            raise MissingCredential(str(problem)) from None
        return Rest(target, key, self._certificates)


async def _info(rest: Rest, target: Target) -> Info:
    """What the tablet says of itself. Raises WrongDevice when it is another one."""
    try:
        info = Info(await rest.get("status"))
    except Complaint as complaint:
        raise Garbled(str(complaint)) from None
    if target.serial and not info.belongs_to(target.serial):
        raise WrongDevice(f"not the tablet with the number {target.serial}")
    return info


async def _complete(rest: Rest, info: Info, section: str) -> None:
    """Ask for what the status lacks, where the version knows the question."""
    try:
        info.add(section, await rest.get(section))
    except Missing:
        info.add(section, {})
    except Complaint as complaint:
        raise Garbled(str(complaint)) from None
