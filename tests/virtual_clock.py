"""A clock that stands still until a test lets it run."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from agents.clock import Clock

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class VirtualClock:
    """`clock` is what the code under test gets; `advance` lets time pass, sleeper by sleeper."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0
        self.clock = Clock(now=self.now, monotonic=lambda: self.seconds, sleep=self.sleep)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        entry = (self.seconds + seconds, self._number, waiting)
        self._sleepers.append(entry)
        try:
            await waiting
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)

    async def advance(self, seconds: float) -> None:
        end = self.seconds + seconds
        await settle()
        while self._sleepers and min(self._sleepers)[0] <= end:
            entry = min(self._sleepers)
            self._sleepers.remove(entry)
            self.seconds = max(self.seconds, entry[0])
            entry[2].set_result(None)
            await settle()
        self.seconds = end


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    """Wait, in real time, for something that happens over sockets."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
