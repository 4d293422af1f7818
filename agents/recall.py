"""Takes orders back that were begun, where what the site is told since speaks against them."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from agents.checks import objection
from agents.clock import Clock
from agents.driver import Driver, DriverError, Recalls, Unreachable
from agents.messages import Order, Roster, Target
from agents.poller import bounded

log = logging.getLogger(__name__)

TRIES = 4
"""The first may come before the device has heard of the order itself."""
AGAIN_S = 2.0
LIMIT_S = 10.0


class Recaller:
    """Knows what is being carried out; only the device knows whether it has touched anything."""

    def __init__(self, roster: Callable[[str], Roster | None], clock: Clock) -> None:
        self._roster, self._clock = roster, clock
        self._acting: dict[str, tuple[Order, Recalls, Target]] = {}
        self._asked: set[str] = set()

    @contextmanager
    def acting(self, order: Order, driver: Driver, target: Target) -> Iterator[None]:
        """While this lasts, the order may be taken back."""
        if isinstance(driver, Recalls):
            self._acting[order.id] = order, driver, target
        try:
            yield
        finally:
            self._acting.pop(order.id, None)
            self._asked.discard(order.id)

    async def reconsider(self, site: str) -> None:
        """To be called when the site's roster has changed, and as time passes."""
        roster, now = self._roster(site), self._clock.now()
        wrong = [
            order.id
            for order, _, _ in self._acting.values()
            if order.site == site and order.id not in self._asked and objection(order, roster, now)
        ]
        self._asked.update(wrong)
        await asyncio.gather(*map(self._recall, wrong))

    async def _recall(self, order_id: str) -> None:
        """Until the device gives in or has said no often enough, or the order is done."""
        tries, silent = TRIES, False
        while tries and order_id in self._acting:
            order, driver, target = self._acting[order_id]
            try:
                limit = timedelta(seconds=LIMIT_S)
                if await bounded(driver.recall(target, order, limit), LIMIT_S):
                    log.info("%s: order %s was taken back", order.device, order_id)
                    return
                tries -= 1
            except Unreachable as error:  # it counts down all the same, and may be heard again
                if not silent:
                    log.info("%s: order %s: %s", order.device, order_id, error.code)
                silent = True
            except DriverError as error:
                log.info("%s: order %s: %s", order.device, order_id, error.code)
                tries -= 1
            await self._clock.sleep(AGAIN_S)
