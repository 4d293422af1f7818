"""Tells whoever sits at a laptop, some minutes before the course ends, that all is deleted then."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta

from agents.clock import Clock
from agents.driver import Driver, DriverError, Warns
from agents.messages import Roster, Target
from agents.poller import bounded

log = logging.getLogger(__name__)

AHEAD = timedelta(minutes=10)
"""So long before the end people are told: enough to save what they did."""
LOOK_S = 20.0
LIMIT_S = 10.0
AGAIN = timedelta(minutes=2)
"""After which time one that could not be told is tried once more."""
SEEN = timedelta(minutes=5)
"""Who has not answered for so long is asleep or off: nobody sits before it."""
AT_ONCE = 16


class Warner:
    """By the agent's own copy of the calendar, so also while the uplink is gone."""

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        rosters: Callable[[str], Roster | None],
        sites: Sequence[str],
        locks: Mapping[str, asyncio.Lock],
        clock: Clock,
        seen: Callable[[str], datetime | None],
    ) -> None:
        """`locks`: device → what is held while it is talked to; `seen`: when it last answered."""
        self._drivers, self._rosters, self._sites = drivers, rosters, sites
        self._locks, self._clock, self._seen = locks, clock, seen
        self._told: dict[str, tuple[Target, datetime]] = {}
        """Device → the end that stands on its screen."""
        self._failed: dict[str, datetime] = {}

    async def run(self) -> None:
        while True:
            await self.tick()
            await self._clock.sleep(LOOK_S)

    async def tick(self) -> None:
        """Tell who is to be told now, and take back what is no longer so."""
        now = self._clock.now()
        self._told = {device: told for device, told in self._told.items() if told[1] > now}
        wanted = {target.device: (target, end) for target, end in self._due(now)}
        news = [
            (target, math.ceil((end - now) / timedelta(minutes=1)))
            for target, end in wanted.values()
            if self._told.get(target.device, (target, None))[1] != end
        ]
        news += [(target, 0) for device, (target, _) in self._told.items() if device not in wanted]
        gate = asyncio.Semaphore(AT_ONCE)
        said = await asyncio.gather(*(self._say(*one, now, gate) for one in news))
        for (target, minutes), done in zip(news, said, strict=True):
            if done and minutes:
                self._told[target.device] = wanted[target.device]
            elif done:
                del self._told[target.device]

    def _due(self, now: datetime) -> Iterator[tuple[Target, datetime]]:
        for site in self._sites:
            if roster := self._rosters(site):
                for target, end in ending(roster, now):
                    seen = self._seen(target.device)
                    awake = seen is not None and now - seen <= SEEN
                    if awake and isinstance(self._drivers.get(target.driver), Warns):
                        yield target, end

    async def _say(
        self, target: Target, minutes: int, now: datetime, gate: asyncio.Semaphore
    ) -> bool:
        """Whether it was told."""
        failed = self._failed.get(target.device)
        if failed and now - failed < AGAIN:
            return False
        try:
            # One that is being reset is not waited for to its end: the others' end would pass.
            async with gate:
                await bounded(self._tell(target, minutes), 2 * LIMIT_S)
        except DriverError as error:
            log.info("%s: people could not be told of the end: %s", target.device, error.code)
            self._failed[target.device] = now
            return False
        self._failed.pop(target.device, None)
        return True

    async def _tell(self, target: Target, minutes: int) -> None:
        driver = self._drivers[target.driver]
        assert isinstance(driver, Warns)
        async with self._locks.get(target.device) or nullcontext():
            await driver.warn(target, minutes, timedelta(seconds=LIMIT_S))


def ending(roster: Roster, now: datetime) -> Iterator[tuple[Target, datetime]]:
    """The devices that are cleared when their room becomes free within AHEAD, and when that is.

    None where no reset follows: the calendar is in doubt, or somebody said so by hand. Pure.
    """
    for target in roster.targets:
        trusted = roster.trusted_until.get(target.room)
        if not target.cleared or trusted is None or trusted <= now:
            continue
        used = [one for one in roster.busy if one.room == target.room]
        ends = [one.end for one in used if one.start <= now < one.end]
        end = max(ends, default=None)
        if end is None or end - now > AHEAD:
            continue
        goes_on = any(one.start <= end < one.end for one in used)
        held = any(
            hold.room in ("", target.room)
            and hold.device in ("", target.device)
            and hold.start <= end
            and (hold.end is None or end < hold.end)
            for hold in roster.holds
        )
        if not goes_on and not held:
            yield target, end
