"""Whatever the bus loses, doubles and shuffles, and whenever the agent dies: an order is acted upon
at most once, never into a course, never after its time, and what was begun is answered."""

import asyncio
import tempfile
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.bus import decode, encode
from agents.bus_local import Chaos, LocalBus
from agents.checks import EARLY
from agents.driver import NoEnd, Refused, ResetFailed
from agents.journal import Journal
from agents.messages import Busy, Facts, Order, Outcome, Roster, Step, Target
from agents.worker import Worker
from tests.virtual_clock import START, VirtualClock

DEVICES = 4
FINAL = {Step.REFUSED, Step.LOOKED, Step.FAILED, Step.UNKNOWN}


class Storm:
    """One agent's worker behind a bad bus, killed and started again at random."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = Random(seed)
        self.folder = folder
        self.time = VirtualClock()
        self.bus = LocalBus(
            ack_wait=0.003, chaos=Chaos(Random(seed), drop=0.1, double=0.3, shuffle=0.4)
        )
        self.orders: dict[str, Order] = {}
        self.acts: list[tuple[str, datetime, datetime]] = []
        self.now_acting: Counter[str] = Counter()
        self.answers: defaultdict[str, set[Step]] = defaultdict(set)
        self.tasks: set[asyncio.Task[None]] = set()
        at = START
        self.busy = []
        while at < START + timedelta(hours=2):
            start = at + timedelta(seconds=self.random.uniform(100, 1500))
            at = start + timedelta(seconds=self.random.uniform(60, 1500))
            self.busy.append(Busy(room="r", start=start, end=at))
        self.roster = Roster(
            site="north",
            revision=1,
            sent_at=START,
            busy=self.busy,
            trusted_until={"r": START + timedelta(hours=2)},
            targets=[
                Target(device=f"d{n}", room="r", kind="laptop", driver="d", address="x")
                for n in range(DEVICES)
            ],
        )

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        return {}

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        await self.time.sleep(self.random.uniform(0, 5))
        return {"reset_id": order.id}

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        began = self.time.now()
        self.now_acting[target.device] += 1
        assert self.now_acting[target.device] == 1
        try:
            await self.time.sleep(self.random.uniform(0, timeout.total_seconds()))
        finally:
            self.now_acting[target.device] -= 1
            self.acts.append((order.id, began, self.time.now()))
        if self.random.random() < 0.3:
            raise self.random.choice([NoEnd(), Refused("in_use"), ResetFailed()])

    async def close(self) -> None: ...

    def start(self) -> None:
        self.journal = Journal(self.folder / "orders.db")
        self.worker = Worker(
            {"d": self},
            lambda _: self.roster,
            self.answer,
            defaultdict(asyncio.Lock),
            self.journal,
            self.time.clock,
            at_once=2,
        )
        self.worker.recover()
        self.spawn(self.receive())

    def answer(self, site: str, outcome: Outcome) -> None:
        self.answers[outcome.order].add(outcome.step)

    def spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def receive(self) -> None:
        async for delivery in self.bus.receive("order.north"):
            order = decode(delivery.data)
            assert isinstance(order, Order)

            async def ack(delivery: object = delivery) -> None:
                for _ in range(self.random.randrange(3)):  # so that death may come here too
                    await asyncio.sleep(0)
                if self.random.random() < 0.7:
                    await delivery.ack()  # type: ignore[attr-defined]

            self.spawn(self.worker.handle(order, ack))

    async def die(self) -> None:
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        self.journal.close()

    async def order(self) -> None:
        now = self.time.now()
        early = timedelta(seconds=self.random.uniform(-60, 10))
        order = Order(
            id=f"{len(self.orders)}.1",
            site="north",
            device=f"d{self.random.randrange(DEVICES)}",
            room="r",
            not_before=now + early,
            not_after=now + timedelta(seconds=self.random.uniform(-10, 300)),
            max_runtime_s=self.random.randint(1, 200),
            settle_s=self.random.randint(0, 20),
        )
        self.orders[order.id] = order
        for _ in range(self.random.randint(1, 3)):
            await self.bus.publish("order.north", encode(order))

    async def run(self) -> None:
        self.start()
        for _ in range(60):
            what = self.random.random()
            if what < 0.4:
                await self.order()
            elif what < 0.6:
                await self.time.advance(self.random.uniform(0, 200))
            elif what < 0.7:
                await asyncio.sleep(0.004)
            elif what < 0.8:
                await self.die()
                self.start()
            else:
                for _ in range(self.random.randrange(8)):
                    await asyncio.sleep(0)
        await self.die()
        self.start()
        await self.die()
        await self.bus.close()

    def check(self) -> None:
        counts = Counter(order for order, _, _ in self.acts)
        assert all(count == 1 for count in counts.values()), counts
        for order_id, began, ended in self.acts:
            order = self.orders[order_id]
            assert order.not_before <= began <= order.not_after
            for busy in self.busy:
                assert not busy.start - EARLY <= began < busy.end
                assert ended <= busy.start or began >= busy.end
            assert self.answers[order_id] & FINAL


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_at_most_once_and_never_into_a_course(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(seed, Path(folder))
        asyncio.run(storm.run())
        storm.check()


def test_the_storm_is_one(tmp_path: Path) -> None:
    """It would prove nothing if hardly anything were acted upon, refused and interrupted."""
    acted = interrupted = refused = 0
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        storm = Storm(seed, folder)
        asyncio.run(storm.run())
        acted += len(storm.acts)
        refused += sum(Step.REFUSED in steps for steps in storm.answers.values())
        interrupted += sum(
            {Step.ACCEPTED, Step.UNKNOWN} <= steps for steps in storm.answers.values()
        )
    assert acted > 30
    assert interrupted > 10
    assert refused > 30
