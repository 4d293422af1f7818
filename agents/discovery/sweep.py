"""One sweep: everybody at once where that is allowed, then each address in its turn."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from agents.clock import Clock
from agents.discovery import mdns, neighbours
from agents.discovery.hosts import Asker, NoCredential, Places, merged
from agents.discovery.pace import Pace
from agents.discovery.ranges import BadRange, Ranges
from agents.driver import Driver
from agents.messages import Found, FoundHost, Sweep, SweepRange
from agents.pjlink.search import search

log = logging.getLogger(__name__)

PER_SECOND = 50.0
"""Questions; a network of 250 addresses takes half a minute."""
AT_ONCE = 32
"""Addresses under question at the same time."""
LISTEN_S = 4.0
PART = 50
"""Hosts in one message."""

Make = Callable[[str], Driver]
"""A fresh driver of this name: what it learns of strangers is forgotten with it."""


@dataclass(frozen=True)
class Manner:
    """How a sweep goes about it."""

    per_second: float = PER_SECOND
    listen_s: float = LISTEN_S
    places: Places = field(default_factory=Places)
    answer_s: float = 2.0


class Sweeper:
    """Carries out the sweeps of one agent: one at a time, each once.

    `report(site, found)` returns at once. `busy(site)`: addresses of devices that answer their own
    polls; they are left in peace.
    """

    def __init__(
        self,
        make: Make,
        report: Callable[[str, Found], None],
        busy: Callable[[str], Iterable[str]],
        clock: Clock,
        manner: Manner | None = None,
    ) -> None:
        self._make = make
        self._report = report
        self._busy = busy
        self._clock = clock
        self._manner = manner or Manner()
        self._begun: set[str] = set()
        self._lock = asyncio.Lock()

    async def handle(self, order: Sweep) -> None:
        """Sweep, unless it is too late or was begun before. Whatever happens, the end is told."""
        if order.id in self._begun:
            return
        self._begun.add(order.id)
        async with self._lock:
            telling = _Telling(order, self._report, self._clock)
            if self._clock.now() > order.not_after:
                telling.end("expired")
                return
            try:
                await self._sweep(order, telling)
            except BadRange as error:
                log.warning("site '%s' is not swept: %s", order.site, error)
                telling.end("bad_range")
            except NoCredential as error:
                log.warning("site '%s' is not swept: %s", order.site, error)
                telling.end("missing_credential")
            finally:
                if not telling.ended:
                    telling.end("failed")

    async def _sweep(self, order: Sweep, telling: "_Telling") -> None:
        ranges = Ranges(by.range for by in order.ranges)
        known = set(self._busy(order.site))
        on_link = ranges.on_link()
        listen_s = self._manner.listen_s
        searched: Mapping[str, str] = {}
        announced: Mapping[str, mdns.Announced] = {}
        if on_link:
            searched, announced = await asyncio.gather(
                search(
                    [link.broadcast for link in on_link],
                    ranges.__contains__,
                    seconds=listen_s,
                    port=self._manner.places.pjlink,
                ),
                mdns.listen([link.address for link in on_link], ranges, listen_s),
            )
        by = _lookup(order)
        pace = Pace(self._manner.per_second, self._clock)
        drivers = self._make("snmp"), self._make("pjlink")
        asker = Asker(*drivers, pace, self._manner.places, self._manner.answer_s)
        slots = asyncio.Semaphore(AT_ONCE)

        async def look(address: str) -> None:
            try:
                host = await asker.ask(address, by(address))
            finally:
                slots.release()
            host = _completed(address, host, searched.get(address, ""), announced.get(address))
            if host:
                telling.add(host)

        try:
            async with asyncio.TaskGroup() as group:
                for address in ranges.hosts():
                    if address not in known:
                        await slots.acquire()
                        telling.asked += 1
                        group.create_task(look(address))
        except* NoCredential as errors:
            raise errors.exceptions[0] from None
        finally:
            await asyncio.gather(*(driver.close() for driver in drivers), return_exceptions=True)
        telling.end()


class _Telling:
    """Hands over what was found, in parts."""

    def __init__(self, order: Sweep, report: Callable[[str, Found], None], clock: Clock) -> None:
        self._order = order
        self._report = report
        self._clock = clock
        self._hosts: list[FoundHost] = []
        self._part = 0
        self.asked = 0
        self.ended = False

    def add(self, host: FoundHost) -> None:
        self._hosts.append(host)
        if len(self._hosts) >= PART:
            self._send()

    def end(self, problem: str = "") -> None:
        self.ended = True
        self._send(done=True, problem=problem)

    def _send(self, *, done: bool = False, problem: str = "") -> None:
        macs = neighbours.macs()
        hosts = [
            host if host.mac else host.model_copy(update={"mac": macs.get(host.address, "")})
            for host in self._hosts
        ]
        found = Found(
            sweep=self._order.id,
            site=self._order.site,
            at=self._clock.now(),
            part=self._part,
            hosts=hosts,
            done=done,
            problem=problem,
            asked=self.asked,
        )
        self._report(self._order.site, found)
        self._hosts = []
        self._part += 1


def _lookup(order: Sweep) -> Callable[[str], SweepRange]:
    """From an address to the range that it is in, the narrowest of several."""
    ranges = sorted(
        ((IPv4Network(by.range), by) for by in order.ranges), key=lambda pair: -pair[0].prefixlen
    )

    def by(address: str) -> SweepRange:
        return next(by for network, by in ranges if IPv4Address(address) in network)

    return by


def _completed(
    address: str, host: FoundHost | None, mac: str, announced: mdns.Announced | None
) -> FoundHost | None:
    """With what the search and mDNS told of the same address."""
    answers = [host] if host else []
    if mac:
        answers.append(
            FoundHost(address=address, mac=mac, ways=["pjlink"], kind="projector", driver="pjlink")
        )
    if announced:
        kind = "printer" if "printer" in announced.ways else ""
        driver = "snmp" if kind else "ssh"
        answers.append(
            FoundHost(
                address=address,
                model=announced.model,
                ways=sorted(announced.ways),
                kind=kind,
                driver=driver,
            )
        )
    return merged(answers) if answers else None
