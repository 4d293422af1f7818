"""The whole service on a simulated region of 1,000 devices, each polled once a minute: processor
time and memory of its process, as the operating system counts them."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from fleet import demo
from fleet.demo import free_port

DEVICES = 1000
WARM_UP_S = 75
"""The first look at each device costs more, and the resets before the first courses come in."""
MEASURE_S = 120
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of those it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICKS


def memory_mb(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def metrics(port: int) -> dict[str, float]:
    """The service's own metrics without labels, summed."""
    sums: dict[str, float] = {}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line and not line.startswith("#"):
                name = line.split("{")[0].split(" ")[0]
                sums[name] = sums.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
    return sums


def bench() -> list[tuple[str, float, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with demo.simulated(folder, DEVICES) as ports:
            file = demo.write_region(folder, DEVICES, ports, datetime.now(UTC))
            port = free_port(18080)
            environment = {
                **os.environ,
                "FLEET_HOME": str(folder),
                "FLEET_PORT": str(port),
                "FLEET_CREDENTIALS": str(folder / "credentials"),
            }
            fleet = [sys.executable, "-c", "from fleet.cli import main; main()"]
            subprocess.run(
                [*fleet, "import", str(file)],
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            with subprocess.Popen(
                [*fleet, "serve"], env=environment, stdout=subprocess.DEVNULL
            ) as service:
                try:
                    return measure(service.pid, port)
                finally:
                    service.terminate()


def measure(pid: int, port: int) -> list[tuple[str, float, str]]:
    time.sleep(WARM_UP_S)
    begun, before, polls = time.monotonic(), cpu_seconds(pid), metrics(port)
    time.sleep(MEASURE_S)
    after, past = cpu_seconds(pid), time.monotonic() - begun
    now = metrics(port)
    done = now.get("raumwart_agent_polls_total", 0) - polls.get("raumwart_agent_polls_total", 0)
    return [
        ("devices", DEVICES, "devices"),
        ("of them answering", now.get("raumwart_device_up", 0), "devices"),
        ("polls", done / past * 60, "per minute"),
        ("processor", (after - before) / past * 100, "% of one core"),
        ("memory now", memory_mb(pid, "VmRSS"), "MB"),
        ("memory at its highest", memory_mb(pid, "VmHWM"), "MB"),
    ]


if __name__ == "__main__":
    print(json.dumps(bench(), indent=1))
