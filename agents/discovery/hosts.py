"""Asks one address in every known way, and says what probably stands there."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta

from agents.discovery import ports
from agents.discovery.pace import Pace
from agents.driver import Driver, DriverError, MissingCredential
from agents.facts import clean
from agents.messages import Facts, FoundHost, SweepRange, Target

ANSWER_S = 2.0
KINDS = (
    ("supply_ratio", "printer"),
    ("pages", "printer"),
    ("on_battery", "ups"),
    ("runtime_s", "ups"),
    ("lamp_s", "projector"),
    ("clients", "access_point"),
    ("channel_5g", "access_point"),
    ("poe_watts", "switch"),
    ("ports", "switch"),
)
"""What a device that tells this fact probably is; the first that fits."""


KIOSKS = {"Fully Kiosk": ("kiosk", ports.FULLY), "FreeKiosk": ("freekiosk", ports.FREEKIOSK)}
"""What a tablet's page names → the driver for it, and its usual port."""


class NoCredential(Exception):
    """The credential that the centre names is not on this machine."""


@dataclass(frozen=True)
class Places:
    """On which ports to knock; other ones than the usual only in tests."""

    snmp: int = 161
    ssh: int = ports.SSH
    pjlink: int = ports.PJLINK
    fully: int = ports.FULLY
    freekiosk: int = ports.FREEKIOSK


class Asker:
    """Every question waits for its turn. No password is sent, but for SNMP where one is named."""

    def __init__(
        self, snmp: Driver, pjlink: Driver, pace: Pace, places: Places, answer_s: float = ANSWER_S
    ) -> None:
        self._snmp = snmp
        self._pjlink = pjlink
        self._pace = pace
        self._places = places
        self._answer_s = answer_s

    async def ask(self, address: str, by: SweepRange) -> FoundHost | None:
        """What stands there; None when nothing answers. Raises NoCredential."""
        questions: list[Awaitable[FoundHost | None]] = [
            self._projector(address),
            self._kiosk(address, self._places.fully),
            self._kiosk(address, self._places.freekiosk),
            self._ssh(address),
        ]
        if by.credential:
            questions.insert(0, self._by_snmp(address, by))
        answers = [found for found in await asyncio.gather(*questions) if found]
        return merged(answers) if answers else None

    async def _by_snmp(self, address: str, by: SweepRange) -> FoundHost | None:
        facts = await self._facts(self._snmp, self._target(address, "snmp", self._places.snmp, by))
        if facts is None:
            return None
        kind = next((kind for fact, kind in KINDS if fact in facts), "")
        proved = by.version == "3" and bool(facts.get("serial"))
        return _host(address, "snmp", kind, facts, self._places.snmp, 161, proved=proved)

    async def _projector(self, address: str) -> FoundHost | None:
        port = self._places.pjlink
        await self._pace.turn()
        if not await ports.speaks(address, port, self._answer_s, b"PJLINK "):
            return None
        target = self._target(address, "pjlink", port, None)
        facts = await self._facts(self._pjlink, target) or {}
        return _host(address, "pjlink", "projector", facts, port, ports.PJLINK)

    async def _kiosk(self, address: str, port: int) -> FoundHost | None:
        await self._pace.turn()
        page = await ports.kiosk_page(address, port, self._answer_s)
        if page is None:
            return None
        driver, usual = KIOSKS[page]
        return _host(address, driver, "tablet", {"model": page}, port, usual)

    async def _ssh(self, address: str) -> FoundHost | None:
        await self._pace.turn()
        banner = await ports.ssh_banner(address, self._places.ssh, self._answer_s)
        if banner is None:
            return None
        return _host(address, "ssh", "", {"model": banner}, self._places.ssh, ports.SSH)

    async def _facts(self, driver: Driver, target: Target) -> Facts | None:
        """What a driver reads there; None when it reads nothing that makes sense."""
        for _ in range(3):  # a silent agent is asked three times
            await self._pace.turn()
        try:
            # A little longer than one answer takes: an agent may be slow with tables.
            return clean(await driver.poll(target, timedelta(seconds=3 * self._answer_s)))
        except MissingCredential as error:
            raise NoCredential(str(error)) from None
        except (DriverError, ValueError):
            return None

    def _target(self, address: str, driver: str, port: int, by: SweepRange | None) -> Target:
        return Target(
            device=f"sweep {address}",
            room="",
            kind="",
            driver=driver,
            address=address,
            port=port,
            credential=by.credential if by else "",
            options={"version": by.version} if by else {},
        )


def merged(answers: list[FoundHost]) -> FoundHost:
    """One host of several answers; the first that knows something says it."""
    first = answers[0]

    def said(name: str) -> str:
        return next((str(value) for one in answers if (value := getattr(one, name))), "")

    fields = {name: said(name) for name in ("mac", "serial", "name", "vendor", "model", "kind")}
    ways = sorted({way for one in answers for way in one.ways})
    return first.model_copy(update={**fields, "ways": ways})


def _host(
    address: str,
    way: str,
    kind: str,
    facts: Facts,
    port: int,
    usual: int,
    *,
    proved: bool = False,
) -> FoundHost:
    def said(name: str) -> str:
        return str(facts.get(name, ""))[:200]

    return FoundHost(
        address=address,
        serial=said("serial"),
        name=said("name"),
        vendor=said("vendor"),
        model=said("model"),
        ways=[way],
        kind=kind,
        driver=way,
        port=None if port == usual else port,
        proved=proved,
    )
