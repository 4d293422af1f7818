"""One agent: its rosters, its poller, its worker and its heartbeat, on one bus."""

import asyncio
import fcntl
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv4Address
from pathlib import Path

from agents.bus import BadMessage, Bus, Delivery, check_subject, decode
from agents.clock import Clock
from agents.credentials import Credentials
from agents.discovery.sweep import Manner, Sweeper
from agents.driver import Driver, Tidies
from agents.journal import Journal, JournalBroken
from agents.messages import Heartbeat, Order, Outcome, Roster, Sweep
from agents.outbox import Outbox
from agents.pjlink.notify import Notifications
from agents.poller import Poller
from agents.recall import Recaller
from agents.rosters import Rosters
from agents.wake import Waker
from agents.warner import Warner
from agents.worker import Worker

log = logging.getLogger(__name__)

CLOCK = Clock(now=lambda: datetime.now(UTC), monotonic=time.monotonic, sleep=asyncio.sleep)
HEARTBEAT_S = 15.0
RECONSIDER_S = 10.0
"""So often it is asked whether what was told in advance, a course or a pause, has begun."""
try:
    VERSION = version("raumwart")
except PackageNotFoundError:  # run from a folder
    VERSION = ""
Table = Mapping[str, Callable[[Credentials, Path], Driver]]
"""Driver name → its class."""


class StateTaken(Exception):
    """Another agent works with this state folder."""


class Agent:
    """Serves one or several sites. `state`: a folder that outlives the process, its own alone."""

    def __init__(
        self,
        sites: Sequence[str],
        bus: Bus,
        credentials: Credentials,
        state: Path,
        *,
        drivers: Table | None = None,
        clock: Clock = CLOCK,
        networks: Sequence[IPv4Address] = (),
        sweeping: Manner | None = None,
    ) -> None:
        """`networks`: where to send what wakes a device. Raises ValueError for a site whose name
        cannot be one."""
        for site in sites:
            check_subject(f"report.{site}")
        self._sites = list(sites)
        self._bus = bus
        self._credentials = credentials
        self._state = state
        self._table = drivers if drivers is not None else _all_drivers()
        self._clock = clock
        self._networks = networks
        self._sweeping = sweeping
        self._orders: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until cancelled. Raises StateTaken, OSError when the state folder is of no use."""
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(self._state):
            journal = _journal(self._state / "orders.db")
            drivers = {
                name: make(self._credentials, self._state) for name, make in self._table.items()
            }
            try:
                await self._work(drivers, journal)
            finally:
                closing = (driver.close() for driver in drivers.values())
                await asyncio.gather(*closing, return_exceptions=True)
                if journal:
                    journal.close()

    async def _work(self, drivers: Mapping[str, Driver], journal: Journal | None) -> None:
        outbox = Outbox(self._bus, self._clock, lambda outcome: _mark_sent(journal, outcome))
        locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        rosters = Rosters(self._state)
        poller = Poller(drivers, outbox.put, locks, self._clock)
        news = Notifications(poller.hint, self._clock)
        waker = Waker(self._clock, self._networks)
        recaller = Recaller(rosters.get, self._clock)
        worker = Worker(
            drivers,
            rosters.get,
            outbox.put,
            locks,
            journal,
            self._clock,
            waker=waker,
            recaller=recaller,
            seen=poller.answered.get,
        )
        seen = poller.answered.get
        warner = Warner(drivers, rosters.get, self._sites, locks, self._clock, seen)
        sweeper = Sweeper(
            lambda name: self._table[name](self._credentials, self._state),
            outbox.put,
            poller.answering,
            self._clock,
            self._sweeping,
        )

        def told(roster: Roster) -> None:
            if rosters.take(roster):
                poller.follow(roster.site, roster.targets)
                news.follow(roster.site, roster.targets)
                self._start(recaller.reconsider(roster.site))

        for site in self._sites:
            if roster := rosters.load(site):
                poller.follow(site, roster.targets)
                news.follow(site, roster.targets)
        worker.recover()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(poller.run())
                group.create_task(outbox.run())
                for driver in drivers.values():
                    if isinstance(driver, Tidies):
                        group.create_task(driver.tidy())
                group.create_task(news.run())
                group.create_task(warner.run())
                group.create_task(self._beat(rosters, poller, outbox))
                group.create_task(self._reconsider(recaller))
                for site in self._sites:
                    group.create_task(self._follow(site, told))
                    group.create_task(self._obey(site, told, worker, sweeper))
        finally:
            for task in self._orders:
                task.cancel()
            await asyncio.gather(*self._orders, return_exceptions=True)
            await outbox.flush(2)

    async def _follow(self, site: str, told: Callable[[Roster], None]) -> None:
        async with aclosing(self._bus.receive(f"roster.{site}")) as deliveries:
            async for delivery in deliveries:
                message = _read(delivery)
                if isinstance(message, Roster) and message.site == site:
                    told(message)
                await delivery.ack()

    async def _reconsider(self, recaller: Recaller) -> None:
        while True:
            await self._clock.sleep(RECONSIDER_S)
            for site in self._sites:
                self._start(recaller.reconsider(site))

    async def _obey(
        self, site: str, told: Callable[[Roster], None], worker: Worker, sweeper: Sweeper
    ) -> None:
        async with aclosing(self._bus.receive(f"order.{site}")) as deliveries:
            async for delivery in deliveries:
                message = _read(delivery)
                if isinstance(message, Order) and message.site == site:
                    self._start(worker.handle(message, delivery.ack))
                    continue
                if isinstance(message, Roster) and message.site == site:
                    told(message)
                elif isinstance(message, Sweep) and message.site == site:
                    self._start(sweeper.handle(message))
                await delivery.ack()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._orders.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._orders.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a bug while an order was carried out", exc_info=error)

    async def _beat(self, rosters: Rosters, poller: Poller, outbox: Outbox) -> None:
        while True:
            for site in self._sites:
                roster = rosters.get(site)
                beat = Heartbeat(
                    site=site,
                    at=self._clock.now(),
                    version=VERSION,
                    revision=roster.revision if roster else 0,
                    targets=len(roster.targets) if roster else 0,
                    polls=poller.polls[site],
                    late=poller.late[site],
                )
                outbox.put(site, beat)
            await self._clock.sleep(HEARTBEAT_S)


def _all_drivers() -> Table:
    from agents.drivers import DRIVERS  # a process without devices need not load every library

    return DRIVERS


def _read(delivery: Delivery) -> object:
    """The message, or None for one that is none; the stream goes on."""
    try:
        return decode(delivery.data)
    except BadMessage as error:
        log.warning("%s: a message that is none: %s", delivery.subject, error)
        return None


def _journal(path: Path) -> Journal | None:
    try:
        return Journal(path)
    except JournalBroken as broken:
        log.error("no order will be carried out, the journal cannot be opened: %s", broken)
        return None


def _mark_sent(journal: Journal | None, outcome: Outcome) -> None:
    try:
        if journal:
            journal.sent(outcome)
    except JournalBroken as broken:  # then it is sent once more after the next start
        log.error("the journal cannot be written: %s", broken)


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Hold the folder: two agents with one journal would each carry the same order out."""
    with (state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StateTaken(f"another agent works with {state}") from None
        yield
