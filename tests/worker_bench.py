"""A worker on virtual time, with a device on a real socket and a journal on the disk."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agents.credentials import Credentials
from agents.driver import Driver
from agents.journal import Journal
from agents.messages import Busy, Order, Outcome, Roster, Target
from agents.worker import Worker
from tests.line_device import LineDevice, LineDriver
from tests.virtual_clock import START, VirtualClock

NOW = START


def minutes(number: float) -> datetime:
    return NOW + timedelta(minutes=number)


def a_roster(port: int = 1, devices: int = 1, **changes: Any) -> Roster:
    targets = [
        Target(
            device=f"d{n}", room="r1", kind="laptop", driver="line", address="127.0.0.1", port=port
        )
        for n in range(1, devices + 1)
    ]
    fields: dict[str, Any] = {
        "site": "north",
        "revision": 1,
        "sent_at": minutes(-5),
        "targets": targets,
        "busy": [],
        "trusted_until": {"r1": minutes(20)},
    }
    return Roster(**{**fields, **changes})


def an_order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "id": "7.1",
        "site": "north",
        "device": "d1",
        "room": "r1",
        "not_before": minutes(-1),
        "not_after": minutes(10),
        "max_runtime_s": 120,
    }
    return Order(**{**fields, **changes})


def busy(start: float, end: float, room: str = "r1") -> Busy:
    return Busy(room=room, start=minutes(start), end=minutes(end))


class Bench:
    """A worker on virtual time, a device on a real socket, a journal on the disk."""

    def __init__(self, folder: Path, device: LineDevice) -> None:
        self.folder = folder
        self.time = VirtualClock()
        self.device = device
        self.roster: Roster | None = a_roster(device.port, devices=5)
        self.answers: list[Outcome] = []
        self.acks = 0
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.drivers: dict[str, Driver] = {"line": LineDriver(Credentials(None), folder)}
        self.tasks: list[asyncio.Task[None]] = []
        self.seen = True
        """The poller has just heard of every device."""
        self.start()

    def start(self, **options: Any) -> None:
        self.journal = Journal(self.folder / "orders.db")
        self.worker = Worker(
            self.drivers,
            lambda _site: self.roster,
            lambda _site, outcome: self.answers.append(outcome),
            self.locks,
            self.journal,
            self.time.clock,
            seen=lambda _device: self.time.now() if self.seen else None,
            **options,
        )
        self.worker.recover()

    async def crash(self) -> None:
        """The process dies: nothing more is written, and every lock is gone with it."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()
        self.journal.close()

    def send(self, order: Order) -> asyncio.Task[None]:
        async def ack() -> None:
            self.acks += 1

        task = asyncio.create_task(self.worker.handle(order, ack))
        self.tasks.append(task)
        return task

    @property
    def steps(self) -> list[tuple[str, str]]:
        return [(outcome.step.value, outcome.reason) for outcome in self.answers]


def on_bench(
    check: Callable[[Bench], Awaitable[None]],
) -> Callable[[Path], None]:
    def test(tmp_path: Path) -> None:
        async def run() -> None:
            async with asyncio.timeout(20), a_bench(tmp_path) as bench:
                await check(bench)

        asyncio.run(run())

    test.__name__ = check.__name__
    return test


@asynccontextmanager
async def a_bench(folder: Path) -> AsyncIterator[Bench]:
    device = await LineDevice().start()
    bench = Bench(folder, device)
    yield bench
    await bench.crash()
    await device.stop()
