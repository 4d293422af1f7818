"""An agent as a process at a real broker: killed, ended, wrongly set."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agents.bus import BusAway, encode
from agents.bus_nats import NatsBus
from agents.journal import Journal
from tests.agent_bench import Centre, a_roster, an_order, running
from tests.line_device import LineDevice
from tests.nats import NatsServer
from tests.virtual_clock import until

ROOT = Path(__file__).parents[1]


class Process:
    """A real agent process at a real broker."""

    def __init__(self, url: str, folder: Path) -> None:
        (folder / "credentials").mkdir(exist_ok=True)
        self.command = [
            *(sys.executable, "-m", "tests.agent_process", "--site", "north", "--bus", url),
            *("--credentials", str(folder / "credentials"), "--state", str(folder / "state")),
        ]
        self.log = folder / "log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=log, stderr=log)

    def end(self, how: signal.Signals) -> int:
        os.kill(self.process.pid, how)
        return self.process.wait(10)


@asynccontextmanager
async def at_a_broker(folder: Path) -> AsyncIterator[tuple[Centre, Process, LineDevice]]:
    server = NatsServer().start()
    bus = await NatsBus.connect(server.url, beat=0.3)
    centre, device = Centre(bus), await LineDevice().start()
    await bus.publish("roster.north", encode(a_roster(device.port)))
    process = Process(server.url, folder)
    process.start()
    try:
        async with asyncio.timeout(30), running(centre.run()):
            yield centre, process, device
    finally:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)
        await bus.close()
        await device.stop()
        server.remove()


def test_a_process_killed_in_the_middle_of_a_reset(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_a_broker(tmp_path) as (centre, process, device):
            await until(lambda: bool(centre.readings))  # it has its roster
            device.gate.clear()
            await centre.bus.publish("order.north", encode(an_order()))
            await device.began.wait()
            await until(lambda: centre.steps == ["accepted"])
            process.end(signal.SIGKILL)
            process.start()
            await until(lambda: centre.steps[-1] == "unknown")
            assert centre.outcomes[-1].reason == "interrupted"
            await centre.bus.publish("order.north", encode(an_order()))
            await until(lambda: centre.steps.count("unknown") == 2)
            device.gate.set()
            await centre.bus.publish("order.north", encode(an_order("7.2")))
            await until(lambda: centre.steps[-1] == "looked")
            assert device.resets == ["7.1", "7.2"]
            assert process.end(signal.SIGTERM) == 0

    asyncio.run(run())


def test_sigterm_ends_it_cleanly_and_everything_is_sent(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_a_broker(tmp_path) as (centre, process, _device):
            await until(lambda: bool(centre.readings))
            assert process.end(signal.SIGTERM) == 0
            assert "Traceback" not in process.log.read_text()
            assert centre.subjects == {"report.north"}
            journal = Journal(tmp_path / "state" / "orders.db")
            assert journal.unsent() == []
            journal.close()

    asyncio.run(run())


def _asked(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.agent_process", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda a: a.update({"--credentials": "/nowhere"}), "there is no folder /nowhere"),
        (lambda a: a.update({"--bus": "local:"}), "'local:' ends with this process"),
        (lambda a: a.update({"--bus": "http://x"}), "FLEET_BUS must be"),
        (lambda a: a.update({"--bus": "nats://x?credentials=/no.json"}), "not known here"),
        (lambda a: a.update({"--site": "no.rth"}), "not a subject"),
        (lambda a: a.pop("--site"), "--site"),
    ],
)
def test_a_wrong_setting_is_said_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, str]], None], complaint: str
) -> None:
    arguments = {
        "--site": "north",
        "--bus": "nats://127.0.0.1:1",
        "--credentials": str(tmp_path),
        "--state": str(tmp_path / "state"),
    }
    change(arguments)
    done = _asked(*(part for pair in arguments.items() for part in pair))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_no_secret_of_the_bus_is_ever_shown(tmp_path: Path) -> None:
    login = tmp_path / "bus.json"
    login.write_text(json.dumps({"user": "north", "password": "s3cret"}))
    login.chmod(0o600)

    async def run() -> None:
        bus = await NatsBus.connect(f"nats://127.0.0.1:1?credentials={login}", patience=0.1)
        assert "s3cret" not in repr(vars(bus))
        with pytest.raises(BusAway):
            await bus.publish("report.north", b"x")
        await bus.close()

    asyncio.run(run())
