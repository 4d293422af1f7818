"""What looks at laptops over SSH cost: paramiko against a real sshd, one connection for each."""

import asyncio
import json
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from agents.credentials import Credentials
from agents.drivers.ssh import Ssh
from agents.messages import Target
from agents.simulator.laptop_folder import LaptopFolder
from agents.simulator.ssh import Laptop
from tests.sshd import USER, new_key, sshd

POLLS = 120
AT_ONCE = 8
AMPLE = timedelta(seconds=30)
SECRET = "bench"


def bench() -> list[tuple[str, float, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _against_sshd(folder)
        rows += asyncio.run(_against_laptop(folder))
    return rows


def _against_sshd(folder: Path) -> list[tuple[str, float, str]]:
    """The server's share is not ours: it runs in processes of its own."""
    public = new_key(folder / "key")
    answer = folder / "answer"
    health = LaptopFolder(folder / "values", 1, "S").health("S")
    answer.write_text(json.dumps(health) + "\n")
    _credential(folder, user=USER, key_file=str(folder / "key"))
    with sshd(folder, f"cat {answer}", public) as server:
        wall, cpu = asyncio.run(_polls(folder, server.port))
    return [
        ("connect + health, 8 at once", POLLS / wall, "polls/s (sshd on the same cores)"),
        ("connect + health, our share", cpu / POLLS * 1000, "ms CPU per poll"),
        ("so one core carries", POLLS / cpu, "polls/s"),
    ]


async def _against_laptop(folder: Path) -> list[tuple[str, float, str]]:
    """A simulated laptop in this process: driver and device together."""
    laptop = Laptop(folder / "laptop", seed=1, serial="S", password=SECRET)
    port = await laptop.start()
    _credential(folder, user="raumwart", password=SECRET)
    wall, cpu = await _polls(folder, port)
    await laptop.stop()
    return [
        ("simulated laptop and driver, 8 at once", POLLS / wall, "polls/s"),
        ("simulated laptop and driver", cpu / POLLS * 1000, "ms CPU per poll"),
    ]


async def _polls(folder: Path, port: int) -> tuple[float, float]:
    """(wall, own CPU) seconds of all polls."""
    driver = Ssh(Credentials(folder), folder / "state")
    target = Target(
        device="d", room="r", kind="laptop", driver="ssh",
        address="127.0.0.1", port=port, credential="laptop",
    )  # fmt: skip
    await driver.poll(target, AMPLE)  # pins the host key
    turns = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with turns:
            await driver.poll(target, AMPLE)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one() for _ in range(POLLS)))
    took = time.perf_counter() - wall, time.process_time() - cpu
    await driver.close()
    return took


def _credential(folder: Path, **parts: str) -> None:
    path = folder / "laptop.json"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        json.dump(parts, file)
