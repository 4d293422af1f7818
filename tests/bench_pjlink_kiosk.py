"""What a poll of a projector and of a tablet costs the agent; devices run in another process."""

import asyncio
import json
import multiprocessing
import os
import resource
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from agents.credentials import Credentials
from agents.driver import Driver
from agents.drivers.kiosk import Kiosk
from agents.drivers.pjlink import Pjlink
from agents.messages import Target
from agents.simulator import Simulated
from agents.simulator.kiosk import Tablet
from agents.simulator.pjlink import Projector

DEVICES = 200
ROUNDS = 5
AT_ONCE = 50
PASSWORD = "bench"

Row = tuple[str, float, str]


def bench() -> Iterator[Row]:
    os.environ["RAUMWART_SECRET_BENCH"] = json.dumps({"password": PASSWORD})
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    devices = context.Process(target=_devices, args=(theirs,), daemon=True)
    devices.start()
    try:
        ports: dict[str, list[int]] = ours.recv()
        for name, kind in (("pjlink", Pjlink), ("kiosk", Kiosk)):
            driver = kind(Credentials(None), Path())
            yield from asyncio.run(_measure(name, driver, ports[name]))
    finally:
        devices.terminate()
        devices.join()


def _devices(pipe: Connection) -> None:
    async def serve() -> None:
        projectors = [Projector("P", PASSWORD, transition_s=0.0) for _ in range(DEVICES)]
        for projector in projectors:
            projector.press_power()
        tablets = [Tablet("T", PASSWORD) for _ in range(DEVICES)]
        made: dict[str, Sequence[Simulated]] = {"pjlink": projectors, "kiosk": tablets}
        pipe.send({name: [await one.start() for one in ones] for name, ones in made.items()})
        await asyncio.Event().wait()

    asyncio.run(serve())


async def _measure(name: str, driver: Driver, ports: list[int]) -> list[Row]:
    gate = asyncio.Semaphore(AT_ONCE)
    took: list[float] = []

    async def poll(port: int) -> None:
        target = Target(
            device=f"d{port}",
            room="r",
            kind="thing",
            driver=name,
            address="127.0.0.1",
            port=port,
            credential="bench",
        )
        async with gate:
            began = time.perf_counter()
            await driver.poll(target, timedelta(seconds=30))
            took.append(time.perf_counter() - began)

    await asyncio.gather(*map(poll, ports))  # names and models are asked once
    took.clear()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(ROUNDS):
        await asyncio.gather(*map(poll, ports))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    await driver.close()
    polls = len(took)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    return [
        (f"{name}: polls", polls / wall, "1/s"),
        (f"{name}: the agent's processor time for a poll", processor / polls * 1000, "ms"),
        (f"{name}: poll, median", sorted(took)[polls // 2] * 1000, "ms"),
        (f"{name}: poll, 99 of 100", sorted(took)[polls * 99 // 100] * 1000, "ms"),
        (f"{name}: memory grown in {polls} polls", grown / 1024, "MiB"),
        (f"{name}: cores for 1,000 of them each minute", processor / polls * 1000 / 60, ""),
    ]
