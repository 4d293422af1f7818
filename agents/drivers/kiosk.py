"""Tablets under Fully Kiosk Browser: look, and clear away what a guest left."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

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
from agents.kiosk.info import DeviceInfo
from agents.kiosk.rest import Complaint, Rest
from agents.messages import Facts, Order, Target
from agents.ssh.host_keys import HostKeys
from agents.web.request import within

_SETTINGS = TypeAdapter(dict[str, Any])
_CLEAR = {"cookies": "clearCookies", "webstorage": "clearWebstorage", "cache": "clearCache"}
STEP_OF = {
    "screenOn": "screen",
    "stopScreensaver": "screen",
    **{command: place for place, command in _CLEAR.items()},
    "resetWebview": "webview",
    "setBooleanSetting": "settings",
    "setStringSetting": "settings",
    "loadStartUrl": "start_page",
    "lockKiosk": "kiosk_lock",
}
"""Command → the step of `agents.steps` that it is."""


Setting = bool | Annotated[str, Field(max_length=500)]


class Steps(BaseModel):
    """`order.steps`. Nothing asked for: nothing is done, not even the screen switched on."""

    model_config = ConfigDict(extra="forbid", strict=True)

    clear: list[Literal["cookies", "webstorage", "cache"]] = []
    webview: bool = False
    settings: dict[Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9]{0,63}$")], Setting] = {}
    """The app's own names and values: what a course changes, or a guest may have changed."""
    start_page: bool = False
    lock: bool = False

    @model_validator(mode="after")
    def _no_keys_to_the_house(self) -> "Steps":
        if any(
            "password" in (low := name.lower()) or low.endswith("pin") for name in self.settings
        ):
            raise ValueError("a secret is no setting of a recipe")
        return self

    @classmethod
    def of(cls, order: Order) -> "Steps":
        try:
            return cls.model_validate(order.steps)
        except ValidationError as error:
            wrong = sorted({str((*fault["loc"], "settings")[0])[:40] for fault in error.errors()})
            raise Misconfigured(f"steps: {', '.join(wrong)}") from None

    def commands(self) -> list[tuple[str, dict[str, str]]]:
        """In the order that leaves nothing behind: clear first, then load the clean page."""
        commands: list[tuple[str, dict[str, str]]] = [(_CLEAR[place], {}) for place in self.clear]
        if self.webview:
            commands.append(("resetWebview", {}))
        commands += [_setting(name, value) for name, value in self.settings.items()]
        if self.start_page:
            commands.append(("loadStartUrl", {}))
        if self.lock:
            commands.append(("lockKiosk", {}))
        return [("screenOn", {}), ("stopScreensaver", {}), *commands] if commands else []


def _setting(name: str, value: bool | str) -> tuple[str, dict[str, str]]:
    if isinstance(value, bool):
        return "setBooleanSetting", {"key": name, "value": str(value).lower()}
    return "setStringSetting", {"key": name, "value": value}


class Kiosk:
    """Looks at tablets and resets them. Each request is a connection of its own."""

    def __init__(self, credentials: Credentials, state: Path) -> None:
        self._credentials = credentials
        self._certificates = HostKeys(state / "certificates", "certificate")

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        """Battery, screen, kiosk lock, page, disk, memory and identity, in one request."""
        rest = self._rest(target)
        async with within(timeout, rest.web):
            info = await _info(rest, target)
        facts = info.facts()
        if target.serial:
            facts["serial"] = target.serial  # the one of its two numbers that the inventory keeps
        return facts

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        """A poll, and whether the settings are as the order wants them."""
        wanted = Steps.of(order).settings
        facts = await self.poll(target, timeout)
        if wanted:
            rest = self._rest(target)
            async with within(timeout, rest.web):
                facts["settings_kept"] = await _kept(rest, wanted)
        return facts

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        """Make sure that it is the right tablet, then send the commands of `Steps` one by one."""
        commands = Steps.of(order).commands()
        if not commands:
            return
        rest = self._rest(target)
        command = ""
        try:
            async with within(timeout, rest.web):
                await _info(rest, target)
                for command, about in commands:
                    await rest.ask(command, **about)
        except Complaint as complaint:
            raise ResetFailed(str(complaint), STEP_OF.get(command, "")) from None
        except (Unreachable, Garbled, Denied) as error:
            if not command:
                raise
            raise NoEnd(f"{command}: {error}", STEP_OF.get(command, "")) from None

    async def close(self) -> None:
        """Nothing stays open between two calls."""

    def _rest(self, target: Target) -> Rest:
        try:
            password = self._credentials.find(target.credential)["password"]
        except CredentialProblem as problem:
            raise MissingCredential(str(problem)) from None
        return Rest(target, password, self._certificates)


async def _info(rest: Rest, target: Target) -> DeviceInfo:
    """What the tablet says of itself. Raises WrongDevice when it is another one."""
    try:
        info = DeviceInfo.of(await rest.ask("deviceInfo"))
    except (Complaint, ValueError) as error:
        raise Garbled(f"deviceInfo: {error}") from None
    if target.serial and not info.belongs_to(target.serial):
        raise WrongDevice(f"not the tablet with the number {target.serial}")
    return info


async def _kept(rest: Rest, wanted: dict[str, bool | str]) -> bool:
    """Whether the tablet's settings are these. It writes numbers as numbers, we as text."""
    try:
        told = _SETTINGS.validate_json(await rest.ask("listSettings"))
    except (Complaint, ValidationError):
        raise Garbled("listSettings: not a list of settings") from None
    return all(_same(value, told.get(name)) for name, value in wanted.items())


def _same(wanted: bool | str, told: object) -> bool:
    if isinstance(wanted, bool):
        return str(told).lower() == str(wanted).lower()
    return told is not None and str(told) == wanted
