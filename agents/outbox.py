"""What waits for the bus: the last reading of every device, every outcome, the last heartbeat."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from agents.bus import Bus, BusAway, encode
from agents.clock import Clock
from agents.messages import Found, Heartbeat, Outcome, Reading

log = logging.getLogger(__name__)

_Key = tuple[str, ...]
Report = Reading | Outcome | Heartbeat | Found
MOST = 100_000
"""Messages that wait at most; then the oldest is lost. Outcomes stay in the journal."""
AT_ONCE = 32
_AGAIN_S = 2.0


class Outbox:
    """A newer reading of a device takes the place of one that still waits."""

    def __init__(self, bus: Bus, clock: Clock, sent: Callable[[Outcome], None]) -> None:
        """`sent(outcome)` is called when the courier has an outcome."""
        self._bus = bus
        self._clock = clock
        self._sent = sent
        self._waiting: dict[_Key, tuple[str, Report]] = {}
        self._filled = asyncio.Event()
        self._away = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, site: str, message: Report) -> None:
        """Returns at once; sent when the bus takes it."""
        self._waiting[_key(site, message)] = (site, message)
        if len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]
        self._filled.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._filled.wait()
            if not await self.send():
                await self._clock.sleep(_AGAIN_S)

    async def send(self) -> bool:
        """Send what waits, oldest first, some at a time. False: the bus is away."""
        while batch := [*self._waiting.items()][:AT_ONCE]:
            done = await asyncio.gather(*(self._one(*entry) for entry in batch))
            if not all(done):
                if not self._away:
                    log.warning("the bus is away: keeping the last reading of every device")
                self._away = True
                return False
        if self._away:
            log.info("the bus is back, everything is delivered")
        self._away = False
        self._filled.clear()
        return True

    async def flush(self, seconds: float) -> None:
        """A last try before the agent stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.send()

    async def _one(self, key: _Key, entry: tuple[str, Report]) -> bool:
        site, message = entry
        try:
            await self._bus.publish(f"report.{site}", encode(message))
        except BusAway:
            return False
        except ValueError as error:  # this one can never be sent
            log.error("a message of site '%s' cannot be sent: %s", site, error)
        if self._waiting.get(key) is entry:
            del self._waiting[key]
        if isinstance(message, Outcome):
            self._sent(message)
        return True


def _key(site: str, message: Report) -> _Key:
    if isinstance(message, Outcome):
        return ("outcome", message.order, message.step)
    if isinstance(message, Heartbeat):
        return ("heartbeat", site)
    if isinstance(message, Found):
        return ("found", message.sweep, str(message.part))
    return ("reading", site, message.device)
