"""So many questions a second, and no more, however many ask."""

import asyncio

from agents.clock import Clock


class Pace:
    """`turn()` returns when the next question may be sent; nothing is saved up for a burst."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._gap = 1 / per_second
        self._clock = clock
        self._next = 0.0
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        async with self._lock:
            now = self._clock.monotonic()
            wait = self._next - now
            self._next = max(self._next, now) + self._gap
            if wait > 0:
                await self._clock.sleep(wait)
