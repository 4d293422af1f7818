"""What it costs the agent to ping: three echoes to loopback a poll, 50 polls at once."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

from agents.credentials import Credentials
from agents.drivers.ping import Ping
from agents.messages import Target

POLLS = 1000
AT_ONCE = 50


def bench() -> list[tuple[str, float, str]]:
    begun, cpu = time.perf_counter(), time.process_time()
    asyncio.run(_polls())
    past, spent = time.perf_counter() - begun, time.process_time() - cpu
    return [
        ("ping, polls", POLLS / past, "/s"),
        ("ping, polls per core", POLLS / spent, "/s"),
        ("ping, processor a poll", spent / POLLS * 1000, "ms"),
    ]


async def _polls() -> None:
    driver = Ping(Credentials(None), Path())
    target = Target(device="d", room="r", kind="switch", driver="ping", address="127.0.0.1")
    gate = asyncio.Semaphore(AT_ONCE)

    async def poll() -> None:
        async with gate:
            await driver.poll(target, timedelta(seconds=10))

    await asyncio.gather(*(poll() for _ in range(POLLS)))
    await driver.close()
