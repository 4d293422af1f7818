"""Looks at every device of a roster, each in its own turn, and never lets one disturb another."""

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

from agents.clock import Clock
from agents.credentials import CredentialProblem
from agents.driver import (
    Asleep,
    Driver,
    DriverError,
    Garbled,
    Misconfigured,
    MissingCredential,
    SeesStations,
    ServerSilent,
    TimedOut,
    Unreachable,
    WrongDevice,
)
from agents.facts import clean
from agents.messages import Facts, Reading, Target
from agents.presence import Presence

log = logging.getLogger(__name__)
_T = TypeVar("_T")

SLOWEST_S = 300.0
"""A device that goes on failing is looked at this often, or at its own longer interval."""
HINTED_S = 5.0
"""However many hints come, a device is looked at only so often because of them."""
AT_ONCE_SITE = 32
AT_ONCE_DRIVER = {"ssh": 32, "snmp": 128}
"""Over all sites: SSH costs a thread each, SNMP shares one socket. Others: no such limit."""
_TICK_S = 0.1
_FIRST_PER_S = 50.0
"""How many new devices are looked at for the first time each second."""


class Bug(DriverError):
    """Our own mistake, not the device's; the log has the traceback."""

    code = "bug"


async def bounded(call: Coroutine[Any, Any, _T], seconds: float) -> _T:
    """One call to a driver, ended after `seconds` even if the driver forgets to.

    Raises DriverError for whatever happens: a driver's unexpected exception becomes `Bug`.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await call
    except DriverError:
        raise
    except CredentialProblem as problem:
        raise MissingCredential(str(problem)) from None
    except Exception as error:
        if limit.expired():
            raise TimedOut(f"no end within {seconds:g} s") from None
        raise Bug(type(error).__name__) from error


def trusted(facts: object, target: Target) -> Facts:
    """A driver's facts, when they are facts and this device's. Raises Garbled, WrongDevice."""
    if not isinstance(facts, Mapping):
        raise Garbled("the driver returned no facts")
    try:
        known = clean(facts)
    except ValueError as error:
        raise Garbled(str(error)) from None
    serial = str(known.get("serial", "")).strip()
    if target.serial and serial and serial.casefold() != target.serial.strip().casefold():
        raise WrongDevice(f"serial number {serial[:60]} instead of {target.serial}")
    return known


@dataclass
class _Watch:
    """One device under watch."""

    site: str
    target: Target
    due: float
    """Monotonic. Later ones lie on the device's own grid, so that the devices stay spread."""
    failures: int = 0
    problem: str = ""
    gone: bool = False
    hinted: bool = False
    """A hint came while it was looked at: that look may have missed it."""
    looked: float = -math.inf
    """When the last look ended."""
    task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def every(self) -> float:
        return _every(self.target)

    @property
    def interval(self) -> float:
        """A first failure is looked at again as usual; then the interval doubles."""
        slowest = max(SLOWEST_S, self.every)
        return min(self.every * 2.0 ** min(max(self.failures - 1, 0), 20), slowest)

    def next_due(self, now: float) -> float:
        """The first of the device's own moments half an interval or more after this one."""
        grid = self.every
        offset = grid * _share(self.target.device)
        after = max(self.due + self.interval - grid / 2, now)
        return offset + grid * (math.floor((after - offset) / grid) + 1)


class Poller:
    """One timer loop for all sites of an agent.

    `report(site, reading)` must return at once. `locks` (device → lock) is shared with the worker:
    a device that is being reset is not looked at. The device answering but refusing us, or
    answering nonsense, counts as not reachable: the problem's code says the rest.
    """

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        report: Callable[[str, Reading], None],
        locks: defaultdict[str, asyncio.Lock],
        clock: Clock,
        *,
        timeout: timedelta = timedelta(seconds=10),
        at_once: int = AT_ONCE_SITE,
    ) -> None:
        self.polls: defaultdict[str, int] = defaultdict(int)
        """Site → polls since the start."""
        self.late: defaultdict[str, int] = defaultdict(int)
        """Site → polls that began more than one interval late."""
        self.answered: dict[str, datetime] = {}
        """Device → when it last answered as it should."""
        self._drivers = drivers
        self._report = report
        self._locks = locks
        self._clock = clock
        self._timeout = timeout
        self._sites: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(at_once)
        )
        self._kinds = {kind: asyncio.Semaphore(n) for kind, n in AT_ONCE_DRIVER.items()}
        self._unlimited = asyncio.Semaphore(100_000)
        self._watched: dict[tuple[str, str], _Watch] = {}
        self._heap: list[tuple[float, int, _Watch]] = []
        self._number = count()
        self._presence = Presence(clock)
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, site: str, targets: Sequence[Target]) -> None:
        """Watch exactly these devices of the site; those that did not change go on undisturbed."""
        wanted = {target.device: target for target in targets}
        self._presence.follow(site, targets)
        for key in [key for key in self._watched if key[0] == site]:
            if wanted.get(key[1]) != self._watched[key].target:
                self._drop(key)
        new = [t for t in wanted.values() if (site, t.device) not in self._watched]
        now = self._clock.monotonic()
        for target in new:
            wait = _share(target.device) * min(_every(target), len(new) / _FIRST_PER_S)
            watch = _Watch(site, target, now + wait)
            self._watched[site, target.device] = watch
            self._push(watch)

    def hint(self, site: str, device: str) -> None:
        """Something may have happened there: look soon, but at most every few seconds."""
        watch = self._watched.get((site, device))
        if watch is None:
            return
        if watch.busy:
            watch.hinted = True
            return
        due = max(self._clock.monotonic(), watch.looked + HINTED_S)
        if due < watch.due:
            watch.due = due
            self._push(watch)

    def answering(self, site: str) -> set[str]:
        """Addresses of the site's devices whose last look went well."""
        return {
            watch.target.address
            for key, watch in self._watched.items()
            if key[0] == site and watch.looked > -math.inf and not watch.problem
        }

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            while True:
                await self._clock.sleep(self._fire())
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _fire(self) -> float:
        """Start what is due; how long to sleep until the next look at the heap."""
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, _, watch = heappop(self._heap)
            if watch.gone or watch.busy or due != watch.due:  # a hint has moved it
                continue
            watch.task = asyncio.create_task(self._poll(watch))
            self._tasks.add(watch.task)
            watch.task.add_done_callback(self._tasks.discard)
        wait = self._heap[0][0] - now if self._heap else 1.0
        return min(max(wait, _TICK_S), 1.0)

    def _push(self, watch: _Watch) -> None:
        heappush(self._heap, (watch.due, next(self._number), watch))

    def _drop(self, key: tuple[str, str]) -> None:
        watch = self._watched.pop(key)
        watch.gone = True
        self.answered.pop(key[1], None)
        if watch.task:
            watch.task.cancel()

    async def _poll(self, watch: _Watch) -> None:
        lock = self._locks[watch.target.device]
        meant = watch.due
        while True:
            if lock.locked():  # by a reset: no slot is held meanwhile, and it is not lateness
                async with lock:
                    meant = self._clock.monotonic()
            kind = self._kinds.get(watch.target.driver, self._unlimited)
            async with self._sites[watch.site], kind:
                if lock.locked():
                    continue
                async with lock:
                    self.late[watch.site] += self._clock.monotonic() - meant > watch.every
                    reading, error = await self._look(watch.target)
                    reading, error = self._present(watch, reading, error)
                    break
        self.polls[watch.site] += 1
        self._note(watch, reading, error)
        if reading.reachable:
            self.answered[reading.device] = reading.taken_at
        self._report(watch.site, reading)
        watch.looked = self._clock.monotonic()
        watch.due = watch.next_due(watch.looked)
        if watch.hinted:
            watch.due = min(watch.due, watch.looked + HINTED_S)
        watch.hinted = False
        self._push(watch)

    def _present(
        self, watch: _Watch, reading: Reading, error: DriverError | None
    ) -> tuple[Reading, DriverError | None]:
        """An access point tells whom it has; a device that is silent there is only asleep, but
        not when somebody else is silent who speaks for it."""
        driver, target = self._drivers.get(watch.target.driver), watch.target
        if error is None and isinstance(driver, SeesStations):
            self._presence.heard(watch.site, target.device, driver.stations(target.device))
        sight = self._presence.of(watch.site, target.device)
        itself = isinstance(error, Unreachable) and not isinstance(error, ServerSilent)
        if not itself or sight is None:
            return reading, error
        asleep = Asleep(f"{sight.by} {sight.at.isoformat(timespec='seconds')}")
        told = {"problem": asleep.code, "detail": str(asleep)}
        return reading.model_copy(update=told), asleep

    async def _look(self, target: Target) -> tuple[Reading, DriverError | None]:
        began, at = self._clock.monotonic(), self._clock.now()
        try:
            driver = self._drivers.get(target.driver)
            if driver is None:
                raise Misconfigured(f"there is no driver '{target.driver}'")
            call = driver.poll(target, self._timeout)
            facts = trusted(await bounded(call, self._timeout.total_seconds() + 1), target)
        except DriverError as error:
            bad = Reading(
                device=target.device,
                taken_at=at,
                reachable=False,
                problem=error.code,
                detail=str(error)[:500],
            )
            return bad, error
        took = (self._clock.monotonic() - began) * 1000
        good = Reading(
            device=target.device,
            taken_at=at,
            reachable=True,
            latency_ms=round(took, 3),
            facts=facts,
        )
        return good, None

    def _note(self, watch: _Watch, reading: Reading, error: DriverError | None) -> None:
        """Count failures, and log when something changed, not at every poll."""
        device, problem = watch.target.device, reading.problem
        if problem != watch.problem:
            if isinstance(error, Bug):
                log.error(
                    "%s: a bug in driver '%s'",
                    device,
                    watch.target.driver,
                    exc_info=error.__cause__,
                )
            elif problem:
                log.warning("%s: %s: %s", device, problem, reading.detail)
            else:
                log.info("%s: well again (was %s)", device, watch.problem)
        watch.problem = problem
        if error is None:
            watch.failures = 0
        elif error.permanent:
            watch.failures = max(watch.failures + 1, 20)
        else:
            watch.failures += 1


def _every(target: Target) -> float:
    """Seconds, held within sense: a second to a day."""
    return min(max(1.0, target.every_s), 86400.0)


def _share(device: str) -> float:
    """A number from 0 to 1 that is always the same for this device."""
    return int.from_bytes(blake2b(device.encode(), digest_size=4).digest()) / 2**32
