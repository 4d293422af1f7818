"""What SNMP may change: what a device's profile names, and the power of the port it hangs on.

What was switched off is written down before, and is switched on again whatever happens: at the
end of the act, and else by `tidy`, also after the agent was killed in between.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.credentials import CredentialProblem, Credentials
from agents.driver import (
    DriverError,
    Misconfigured,
    MissingCredential,
    Refused,
    ResetFailed,
    TimedOut,
    Unreachable,
)
from agents.messages import Order, Target
from agents.snmp.facts import text
from agents.snmp.message import Community, Manner, Oid, oid
from agents.snmp.profile import Action
from agents.snmp.session import Session
from agents.snmp.usm import Engines, user_of
from agents.snmp.wire import Wire, resolve

log = logging.getLogger(__name__)

PORT = 161
SYS_UPTIME = oid("1.3.6.1.2.1.1.3.0")
POE = oid("1.3.6.1.2.1.105.1.1.1.3")
"""pethPsePortAdminEnable, by group and port: 1 is on, 2 off; a switch keeps it over a restart."""
POE_PAUSE_S = 8.0
"""Without power, until every capacitor is empty."""
TALK_S = 15.0
"""For one talk with a device; switching on again is given it once, then `tidy` goes on."""
TIDY_S = 20.0


class Steps(BaseModel):
    """`order.steps`: one thing at most."""

    model_config = ConfigDict(extra="forbid", strict=True)

    do: Literal["", "kick", "restart", "power_cycle"] = ""

    @classmethod
    def of(cls, order: Order) -> "Steps":
        try:
            return cls.model_validate(order.steps)
        except ValidationError as error:
            wrong = sorted({str(fault["loc"][0])[:40] for fault in error.errors()})
            raise Misconfigured(f"steps: {', '.join(wrong)}") from None


class Switched(BaseModel):
    """What is off for a moment: OIDs on one device, and the value that makes each good again."""

    target: Target
    back: dict[str, int]


class Acting:
    """`folder` holds what is switched off now, one file per device that is being acted on."""

    def __init__(
        self, credentials: Credentials, folder: Path, *, pause_s: float | None = None
    ) -> None:
        self._credentials, self._folder = credentials, folder
        self._pause_s = POE_PAUSE_S if pause_s is None else pause_s
        self._wire, self._engines = Wire(), Engines()
        self._busy: set[str] = set()

    async def act(
        self, target: Target, order: Order, actions: Mapping[Any, Action], *, poe_port: str
    ) -> None:
        """Do the one thing. `actions`: those of the device's profile."""
        do = Steps.of(order).do
        if do == "power_cycle":
            await self._power_cycle(target, poe_port)
        elif do:
            action = actions.get(do)
            if action is None:
                raise Misconfigured(f"the profile of this device knows no '{do}'")
            await self._do(target, action)

    async def tidy(self) -> None:
        """As long as the agent runs: switch on what an act, or a killed agent, left off."""
        while True:
            for path in sorted(self._folder.glob("*.json")):
                if path.stem not in self._busy:
                    await self._make_good(path)
            await asyncio.sleep(TIDY_S)

    def close(self) -> None:
        self._wire.close()
        self._engines.close()

    async def _power_cycle(self, target: Target, poe_port: str) -> None:
        switch = target.uplink
        if switch is None or not poe_port:
            raise Misconfigured("its switch (uplink) or its port there (poe_port) is not known")
        try:
            place = (*POE, *oid(poe_port))
        except ValueError:
            raise Misconfigured("poe_port is the port's group and number, such as 1.5") from None
        await self._off_and_on(target.device, switch, {place: (2, 1)}, self._pause_s)

    async def _do(self, target: Target, action: Action) -> None:
        if action.undo is None:
            async with self._talk(target) as session:
                if session.manner.version == 3:  # to meet it takes packets, which may be lost
                    await session.get([SYS_UPTIME])
                # Once: a second packet would restart it again.
                with contextlib.suppress(Unreachable):
                    await session.put(oid(action.oid or ""), action.sent(), once=True)
            return
        async with self._talk(target) as session:
            rows = await _rows(session, action)
        if not rows:
            raise ResetFailed("there is nothing that this could be done to")
        values = dict.fromkeys(rows, (int(action.value), action.undo))
        await self._off_and_on(target.device, target, values, action.pause_s)

    async def _off_and_on(
        self, device: str, target: Target, values: dict[Oid, tuple[int, int]], pause_s: float
    ) -> None:
        """Set each to its first value, wait, and set it to its second, whatever happens."""
        path = self._folder / f"{device}.json"
        back = {".".join(map(str, place)): on for place, (_, on) in values.items()}
        self._busy.add(path.stem)
        try:
            async with self._talk(target) as session:
                if await _differ(session, {place: on for place, (_, on) in values.items()}):
                    raise ResetFailed("what was to be switched off is off already", "power_off")
                _write(path, Switched(target=target, back=back))
                try:
                    for place, (off, _) in values.items():
                        with contextlib.suppress(TimedOut):  # perhaps it was heard
                            await session.put(place, off)
                    wrong = await _differ(session, {at: off for at, (off, _) in values.items()})
                    await asyncio.sleep(0 if wrong else pause_s)
                finally:
                    good = await self._make_good(path)
        finally:
            self._busy.discard(path.stem)
        if wrong:
            raise ResetFailed("it could not be switched off", "power_off")
        if not good:
            raise ResetFailed(
                "it was switched off and could not yet be switched on again", "power_on"
            )

    async def _make_good(self, path: Path) -> bool:
        """Whether all that is written there is on again; then the file is gone."""
        try:
            switched = Switched.model_validate_json(path.read_bytes())
            async with self._talk(switched.target) as session:
                wanted = {oid(place): on for place, on in switched.back.items()}
                for place in await _differ(session, wanted):
                    with contextlib.suppress(TimedOut):
                        await session.put(place, wanted[place])
                left = await _differ(session, wanted)
        except FileNotFoundError:
            return True
        except (OSError, ValueError, DriverError) as error:
            log.error("%s: still switched off: %s", path.stem, type(error).__name__)
            return False
        if left:
            log.error("%s: still switched off: it does not take the value", path.stem)
            return False
        path.unlink(missing_ok=True)
        log.info("%s: on again", path.stem)
        return True

    @contextlib.asynccontextmanager
    async def _talk(self, target: Target) -> AsyncIterator[Session]:
        """A session that may write."""
        version = str(target.options.get("version", "2c"))
        peer = await resolve(target.address, target.port or PORT)
        now = asyncio.get_running_loop().time()
        try:
            secret = self._credentials.find(target.credential)
            manner: Manner
            if version == "3":
                context = str(target.options.get("context", "")).encode()
                manner = self._engines.usm(peer, user_of(secret), context, now)
            else:
                manner = Community(int(version != "1"), secret["write_community"].encode())
        except CredentialProblem as problem:
            raise MissingCredential(str(problem)) from None
        yield Session(self._wire, peer, manner, TALK_S, now)


async def _rows(session: Session, action: Action) -> Sequence[Oid]:
    """The places that the action is for, read from the device."""
    if action.oid is not None:
        return [oid(action.oid)]
    column = oid(action.column or "")
    wanted = [oid(where.column) for where in action.where]
    tables = await session.tables([column, *wanted], {})
    if not all(table.complete for table in tables.values()):
        raise TimedOut("a table could not be read to its end")
    return [
        (*column, *index)
        for index in tables[column].rows
        if all(
            text(tables[at].rows.get(index)) in where.one_of
            for at, where in zip(wanted, action.where, strict=True)
        )
    ]


async def _differ(session: Session, wanted: dict[Oid, int]) -> list[Oid]:
    """The places that do not have these values now."""
    found = await session.get(list(wanted))
    return [place for place, value in wanted.items() if found.get(place) != value]


def _write(path: Path, switched: Switched) -> None:
    """On the disk before anything is switched off. Raises Refused when it cannot be remembered."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(switched.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        detail = f"what is switched off cannot be remembered: {error.strerror}"
        raise Refused("no_journal", detail) from None
