"""Tablets under Headwind MDM: their server is asked, and tells what they last reported to it."""

import asyncio
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.credentials import CredentialProblem, Credentials
from agents.driver import (
    Denied,
    Garbled,
    Misconfigured,
    MissingCredential,
    NoEnd,
    ResetFailed,
    ServerSilent,
    Unreachable,
)
from agents.headwind.options import PORT, Options
from agents.headwind.server import LARGEST_ANSWER, Complaint, Login, Server
from agents.headwind.tablets import Tablet
from agents.messages import Facts, Order, Target
from agents.ssh.host_keys import HostKeys
from agents.web.request import Web, within

LOOK_EVERY_S = 3.0
REMEMBERED = 1000
"""Orders of which is kept what the tablet had last reported before them."""
STEP_OF = {"configUpdated": "configuration", "reboot": "restart"}
"""Message → the step of `agents.steps` that it is."""


class Steps(BaseModel):
    """`order.steps`. The server passes these on; what guests left, it cannot take away."""

    model_config = ConfigDict(extra="forbid", strict=True)

    refresh: bool = False
    """Fetch and apply the configuration anew, kiosk included."""
    restart: bool = False
    """Only where Headwind is device owner."""

    @classmethod
    def of(cls, order: Order) -> "Steps":
        cannot = {"clear", "webview", "lock", "settings", "start_page"} & set(order.steps)
        if cannot:
            raise Misconfigured(
                f"Headwind cannot do this: {', '.join(sorted(cannot))}; "
                "the recipe tablet-configuration asks for no more than it can"
            )
        try:
            return cls.model_validate(order.steps)
        except ValidationError as error:
            wrong = sorted({str(fault["loc"][0])[:40] for fault in error.errors()})
            raise Misconfigured(f"steps: {', '.join(wrong)}") from None

    def messages(self) -> list[str]:
        return ["configUpdated"] * self.refresh + ["reboot"] * self.restart


class Headwind:
    """One login and one list per server and account, however many tablets hang on it."""

    def __init__(self, credentials: Credentials, state: Path) -> None:
        self._credentials = credentials
        self._certificates = HostKeys(state / "certificates", "certificate")
        self._servers: dict[tuple[object, ...], Server] = {}
        self._before: dict[str, float] = {}
        """Order → the tablet's last report before it."""

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        """What the tablet last reported, and how long ago; Unreachable when that is too long,
        ServerSilent when it is the server that does not answer."""
        _, facts = await self._read(target, timeout, target.every_s / 2)
        return facts

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        """The same, asked anew until the tablet has reported since the order: what it said before
        proves nothing."""
        now = asyncio.get_running_loop().time
        end = now() + timeout.total_seconds()
        while True:
            tablet, facts = await self._read(target, timedelta(seconds=end - now()), 0)
            if tablet.reported_at > self._before.get(order.id, -1.0):
                return facts
            if end - now() <= 2 * LOOK_EVERY_S:
                raise Unreachable("it has not reported to its server since the order")
            await asyncio.sleep(LOOK_EVERY_S)

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        """Make sure that it is the right tablet and lately heard of, then hand over the messages.

        That the server took them says nothing of the tablet: the look waits for its report."""
        messages = Steps.of(order).messages()
        if not messages:
            return
        asked = asyncio.get_running_loop().time()
        tablet, _ = await self._read(target, timeout, 0)
        self._remember(order, tablet)
        left = asked + timeout.total_seconds() - asyncio.get_running_loop().time()
        server, web, login = self._server(target)
        message = ""
        try:
            async with within(timedelta(seconds=max(left, 0.01)), web):
                for message in messages:
                    await server.push(web, login, tablet.number, message)
        except Complaint as complaint:
            raise ResetFailed(f"{message}: {complaint}", STEP_OF.get(message, "")) from None
        except (Unreachable, Garbled, Denied) as error:
            if isinstance(error, Denied) and message == messages[0]:
                raise
            raise NoEnd(f"{message}: {error}", STEP_OF.get(message, "")) from None

    async def close(self) -> None:
        """Nothing stays open between two calls."""

    async def _read(
        self, target: Target, timeout: timedelta, max_age: float
    ) -> tuple[Tablet, Facts]:
        options = Options.of(target)
        server, web, login = self._server(target)
        try:
            async with within(timeout, web):
                listing = await server.tablets(web, login, max_age)
        except Unreachable as error:
            raise ServerSilent(f"its management server: {error}") from None
        tablet = listing.find(options.number, target.serial)
        since = asyncio.get_running_loop().time() - listing.read_at
        age = tablet.age(listing.server_time + since, options.silent_after_s)
        facts = tablet.facts() | {"report_age_s": age}
        if target.serial and "serial" in facts:
            facts["serial"] = target.serial  # as the inventory writes it
        return tablet, facts

    def _server(self, target: Target) -> tuple[Server, Web, Login]:
        options = Options.of(target)
        try:
            secret = self._credentials.find(target.credential)
            login = Login(secret["user"], secret["password"])
        except CredentialProblem as problem:
            raise MissingCredential(str(problem)) from None
        web = Web(target, options, PORT, self._certificates, LARGEST_ANSWER)
        about = (options.tls, options.authorities, options.pin, options.path)
        place = (target.address, target.port, target.credential, *about)
        return self._servers.setdefault(place, Server(options.path)), web, login

    def _remember(self, order: Order, tablet: Tablet) -> None:
        while len(self._before) >= REMEMBERED:
            del self._before[next(iter(self._before))]
        self._before[order.id] = tablet.reported_at
