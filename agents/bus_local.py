"""The bus within one process: asyncio queues that behave like the real courier, if wished badly."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from random import Random

from agents.bus import Delivery, check_subject

_MOST = 100_000
"""Messages kept for one subject; then the oldest is lost."""


@dataclass
class Chaos:
    """How badly the courier works: the share of messages that it loses, repeats, lets overtake."""

    random: Random
    drop: float = 0.0
    double: float = 0.0
    shuffle: float = 0.0


class _Queue(asyncio.Queue[tuple[str, bytes]]):
    """Messages that wait for one group of receivers."""

    _queue: deque[tuple[str, bytes]]

    def __init__(self, chaos: Chaos | None) -> None:
        self._chaos = chaos
        super().__init__()

    def _put(self, item: tuple[str, bytes]) -> None:
        chaos = self._chaos
        if chaos and chaos.random.random() < chaos.shuffle:
            self._queue.insert(chaos.random.randint(0, len(self._queue)), item)
        else:
            self._queue.append(item)
        if len(self._queue) > _MOST:
            self._queue.popleft()


class LocalBus:
    """Satisfies `agents.bus.Bus`. Lives in one event loop; what waits is lost with the process."""

    def __init__(self, ack_wait: float = 30.0, chaos: Chaos | None = None) -> None:
        """`ack_wait`: seconds after which an unacknowledged message comes again."""
        self._ack_wait = ack_wait
        self._chaos = chaos
        self._groups: dict[str, _Queue] = {}
        self._rosters: dict[str, bytes] = {}
        self._roster_queues: list[tuple[str, _Queue]] = []
        self._unclaimed: deque[tuple[str, bytes]] = deque(maxlen=_MOST)
        self._timers: set[asyncio.TimerHandle] = set()

    async def publish(self, subject: str, data: bytes) -> None:
        what, _ = check_subject(subject)
        if what == "roster":
            self._rosters[subject] = data
            queues = [queue for wanted, queue in self._roster_queues if _fits(wanted, subject)]
        else:
            queues = [queue for wanted, queue in self._groups.items() if _fits(wanted, subject)]
            if not queues:
                self._unclaimed.append((subject, data))
        for queue in queues:
            for _ in range(self._copies()):
                queue.put_nowait((subject, data))

    async def receive(self, subject: str) -> AsyncGenerator[Delivery, None]:
        what, _ = check_subject(subject, wildcard=True)
        queue = self._roster_queue(subject) if what == "roster" else self._group(subject)
        try:
            while True:
                yield self._deliver(queue, *await queue.get())
        finally:
            if what == "roster":
                self._roster_queues.remove((subject, queue))

    async def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _copies(self) -> int:
        if not self._chaos:
            return 1
        draw = self._chaos.random.random
        return 0 if draw() < self._chaos.drop else 2 if draw() < self._chaos.double else 1

    def _group(self, subject: str) -> _Queue:
        if subject not in self._groups:
            queue = self._groups[subject] = _Queue(self._chaos)
            for _ in range(len(self._unclaimed)):
                message = self._unclaimed.popleft()
                if _fits(subject, message[0]):
                    queue.put_nowait(message)
                else:
                    self._unclaimed.append(message)
        return self._groups[subject]

    def _roster_queue(self, subject: str) -> _Queue:
        queue = _Queue(self._chaos)
        self._roster_queues.append((subject, queue))
        for named, data in self._rosters.items():
            if _fits(subject, named):
                queue.put_nowait((named, data))
        return queue

    def _deliver(self, queue: _Queue, subject: str, data: bytes) -> Delivery:
        def again() -> None:
            self._timers.discard(timer)
            queue.put_nowait((subject, data))

        async def ack() -> None:
            timer.cancel()
            self._timers.discard(timer)

        timer = asyncio.get_running_loop().call_later(self._ack_wait, again)
        self._timers.add(timer)
        return Delivery(subject, data, ack)


def _fits(wanted: str, subject: str) -> bool:
    """Whether a receiver of `wanted`, perhaps `report.*`, gets this subject's messages."""
    return wanted == subject or (wanted.endswith("*") and subject.startswith(wanted[:-1]))
