"""SNMP polls a second that one core carries: the driver alone, its devices in another process."""

import asyncio
import json
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from agents.credentials import Credentials
from agents.drivers.snmp import Snmp
from agents.messages import Target
from agents.simulator.snmp import SnmpDevice, V3User
from agents.snmp.message import Community, Kind, Question, oid
from tests import snmp_targets
from tests.snmp_fuzz import Tally, fuzz
from tests.snmp_targets import user_parts

USER = V3User("raum", "SHA256", "authentisch", "AES128", "verschluesselt")
DEVICES, AT_ONCE, SECONDS = 40, 40, 3.0


def _serve(model: str, pipe: Connection) -> None:
    async def scene() -> None:
        devices = [SnmpDevice(model, seed=n, v3=USER) for n in range(DEVICES)]
        pipe.send([await device.start() for device in devices])
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        for device in devices:
            await device.stop()

    asyncio.run(scene())


@contextmanager
def _devices(model: str) -> Iterator[list[int]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(model, theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("end")
        process.join(10)


async def _polls(ports: list[int], version: str) -> tuple[float, float]:
    """(polls per second of the clock, polls per second of our processor time)."""
    snmp = Snmp(Credentials(None), Path(tempfile.gettempdir()))
    queue = [
        Target(
            device=f"d-{port}",
            room="r",
            kind="k",
            driver="snmp",
            address="127.0.0.1",
            port=port,
            credential="bench-v3" if version == "3" else "bench",
            options={"version": version},
        )
        for port in ports
    ]
    limit = timedelta(seconds=10)
    await asyncio.gather(*(snmp.poll(target, limit) for target in queue))
    done, ends = 0, time.perf_counter() + SECONDS

    async def one(offset: int) -> None:
        nonlocal done
        while time.perf_counter() < ends:
            await snmp.poll(queue[offset % len(queue)], limit)
            done += 1

    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(one, range(AT_ONCE)))
    used, began = time.process_time() - used, time.perf_counter() - began
    await snmp.close()
    return done / began, done / used


def _responder(seconds: float = 2.0) -> float:
    """GETs of ten values a second that one simulated device answers over a real socket."""
    names = tuple(oid(f"1.3.6.1.2.1.2.2.1.2.{n}") for n in range(1, 11))
    packet = Community(1, b"public").seal(Question(7, Kind.GET, names))
    with _devices("switch-poe") as ports, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.connect(("127.0.0.1", ports[0]))
        wire.settimeout(2)
        answered, began = 0, time.perf_counter()
        for _ in range(32):
            wire.send(packet)
        while time.perf_counter() - began < seconds:
            wire.recv(4096)
            wire.send(packet)
            answered += 1
        return answered / (time.perf_counter() - began)


def bench() -> list[tuple[str, float, str]]:
    os.environ["RAUMWART_SECRET_BENCH"] = json.dumps({"community": "public"})
    os.environ["RAUMWART_SECRET_BENCH_V3"] = json.dumps(
        {
            "user": USER.name,
            "auth_protocol": USER.auth_protocol,
            "auth_password": USER.auth_password,
            "priv_protocol": USER.priv_protocol,
            "priv_password": USER.priv_password,
        }
    )
    results = [("SNMP simulator, GET of 10 values", _responder(), "answers/s")]
    for model in ("unifi-ap", "switch-poe"):
        with _devices(model) as ports:
            for version in ("2c", "3"):
                by_clock, by_core = asyncio.run(_polls(ports, version))
                name = f"SNMP v{version}, {model}"
                results.append((f"{name}, per core", by_core, "polls/s"))
                results.append((f"{name}, by the clock", by_clock, "polls/s"))
    results += _fuzzed()
    return results


def _fuzzed() -> list[tuple[str, float, str]]:
    """What the test does with 10,000 spoilt answers, with 100,000; raises when one breaks it."""
    os.environ["RAUMWART_SECRET_PUBLIC"] = json.dumps({"community": "public"})
    os.environ["RAUMWART_SECRET_V3"] = json.dumps(user_parts(snmp_targets.USER))

    async def scene() -> Tally:
        driver = Snmp(Credentials(None), Path(tempfile.gettempdir()))
        try:
            return await fuzz(driver, 100_000, 4711)
        finally:
            await driver.close()

    tally = asyncio.run(scene())
    if tally.complaints or tally.unhandled:
        raise RuntimeError(f"{tally.complaints[:3]} {tally.unhandled[:3]}")
    return [
        ("SNMP, spoilt answers taken without harm", tally.answers, "answers"),
        ("  of their polls, ended with an error of ours", tally.failed / tally.polls, "share"),
    ]


if __name__ == "__main__":
    for label, number, unit in bench():
        print(f"{label:44} {number:10.0f} {unit}")
