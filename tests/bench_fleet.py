"""What it costs to know: readings stored a second, judging, rosters, time and size of a scrape."""

import asyncio
import gzip
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import Engine
from sqlmodel import Session

from agents.bus_local import LocalBus
from agents.facts import FACTS, Kind
from agents.messages import Reading
from fleet import intake, metrics, readiness, roster
from fleet.metrics import tally
from fleet.metrics.devices import device_families
from fleet.metrics.trust import proof_families
from fleet.settings import Settings
from inventory import Course, Device, DeviceKind, Recipe, ResetRun, Room, RunState, Site
from inventory.db import migrate, open_engine, reading, session
from inventory.recipes import BUILT_IN, CANARY
from tests.conftest import Postgres
from tests.parts import find

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SETTINGS = Settings()
PER_ROOM = 20
NUMBERS = [f for f in FACTS.values() if f.kind in (Kind.GAUGE, Kind.COUNTER)][:16]
KINDS = list(DeviceKind)
ROUNDS = 5

Result = tuple[str, float, str]


def make(engine: Engine, devices: int) -> None:
    """A region in which every room has a course today."""
    rooms = devices // PER_ROOM
    with session(engine) as opened:
        sites = [Site(id=f"s{n}", name="S", municipality=f"M{n}") for n in range(rooms // 5 + 1)]
        opened.bulk_save_objects(sites)
        opened.bulk_save_objects(
            Room(id=f"r{n}", site_id=f"s{n // 5}", name=f"Room {n}") for n in range(rooms)
        )
        opened.bulk_save_objects(
            Device(
                id=f"d{n}",
                room_id=f"r{n // PER_ROOM}",
                name=f"Device {n}",
                kind=KINDS[n % len(KINDS)],
                driver="snmp",
                address="127.0.0.1",
            )
            for n in range(devices)
        )
        for n in range(rooms):
            start = NOW + timedelta(minutes=n % 600)
            end = start + timedelta(hours=2)
            before = {"start": start - timedelta(days=1), "end": end - timedelta(days=1)}
            opened.add(Course(id=n + 1, room_id=f"r{n}", uid="c", start=start, end=end))
            opened.add(Course(id=rooms + n + 1, room_id=f"r{n}", uid="before", **before))
        opened.add_all(
            Recipe.model_validate(BUILT_IN[name].model_dump()) for name in ("laptop-reset", CANARY)
        )
        opened.flush()
        opened.bulk_save_objects(_resets(devices))
    with session(engine) as opened:
        tally.settle(opened, NOW)  # as retention does every hour


def _resets(devices: int) -> Iterator[ResetRun]:
    """Two proved resets a day for two days on each device, and a canary a night in each room."""
    for n in range(devices):
        recipes = ["laptop-reset"] * 4 + [CANARY] * (14 if n % PER_ROOM == 0 else 0)
        for place, recipe in enumerate(recipes):
            at = NOW - timedelta(hours=12 * (place % 4) if place < 4 else 24 * (place - 3))
            yield ResetRun(
                id=f"{n}-{place}",
                device_id=f"d{n}",
                recipe_id=recipe,
                state=RunState.VERIFIED,
                planned_at=at,
                not_before=at,
                not_after=at,
                deadline=at,
                next_try_at=at,
                ordered_at=at,
                acted_at=at + timedelta(seconds=20),
                looked_at=at + timedelta(seconds=30),
                course_start=at + timedelta(hours=1) if place < 4 else None,
                course_id=(n // PER_ROOM + 1 + (devices // PER_ROOM if place else 0))
                if place < 4
                else None,
            )


def looks(devices: int, at: datetime) -> list[Reading]:
    """One look at each device, with 20 facts."""
    chance = random.Random(at.timestamp())
    words = {"power": "on", "input": "31", "plugged": True, "model": "Model"}
    return [
        Reading(
            device=f"d{n}",
            taken_at=at,
            reachable=True,
            latency_ms=3.5,
            facts={**words, **{fact.name: round(chance.random(), 4) for fact in NUMBERS}},
        )
        for n in range(devices)
    ]


def store(engine: Engine, readings: list[Reading], now: datetime) -> float:
    """Seconds to store them in the batches of the service."""
    begun = time.perf_counter()
    for start in range(0, len(readings), intake.BATCH):
        intake.apply(engine, readings[start : start + intake.BATCH], now, SETTINGS)
    return time.perf_counter() - begun


def timed(work: Callable[[], object]) -> float:
    """Median of some rounds, in seconds."""
    took = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return median(took)


@contextmanager
def sqlite() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{Path(folder) / 'fleet.db'}")
        migrate(engine)
        yield engine
        engine.dispose()


@contextmanager
def postgresql() -> Iterator[Engine]:
    server = Postgres()
    try:
        engine = open_engine(server.create("bench"))
        migrate(engine)
        yield engine
        engine.dispose()
    finally:
        server.stop()


def bench_storing(name: str, engine: Engine) -> Iterator[Result]:
    devices = 5000
    make(engine, devices)
    yield f"first readings stored, {name}", devices / store(engine, looks(devices, NOW), NOW), "/s"
    rates = []
    for minute in range(1, 4):
        at = NOW + timedelta(minutes=minute)
        rates.append(devices / store(engine, looks(devices, at), at))
    yield f"readings stored, {name}", median(rates), "/s"


def bench_region(name: str, engine: Engine, devices: int) -> Iterator[Result]:
    make(engine, devices)
    store(engine, looks(devices, NOW), NOW)
    what = f"{devices:,} devices, {name}"

    def read(work: Callable[[Session], object]) -> Callable[[], None]:
        def inside() -> None:
            with reading(engine) as opened:
                work(opened)

        return inside

    begun = time.perf_counter()
    metrics.render(engine, NOW, SETTINGS)
    yield f"first scrape, {what}", time.perf_counter() - begun, "s"
    yield f"scrape, nothing new, {what}", timed(lambda: metrics.render(engine, NOW, SETTINGS)), "s"
    took, zipped = [], []
    for minute in range(1, ROUNDS + 1):
        at = NOW + timedelta(minutes=minute)
        store(engine, looks(devices, at)[: devices // 4], at)
        begun = time.perf_counter()
        page = metrics.render(engine, at, SETTINGS)
        took.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        small = gzip.compress(page, compresslevel=1)
        zipped.append(time.perf_counter() - begun)
    yield f"scrape, a quarter new, {what}", median(took), "s"
    yield f"scrape, everything new, {what}", _all_new(engine, devices), "s"
    yield f"scrape of the running service, {what}", _ticking(engine, devices), "s"
    yield f"gzip, {what}", median(zipped), "s"
    yield f"size, {what}", len(page) / 1e6, "MB"
    yield f"size with gzip, {what}", len(small) / 1e6, "MB"
    yield f"of a scrape: devices, {what}", timed(read(lambda s: device_families(s, engine))), "s"
    rooms = timed(read(lambda s: readiness.overview(s, NOW, SETTINGS)))
    yield f"of a scrape: readiness of the rooms, {what}", rooms, "s"
    yield f"of a scrape: counters, {what}", timed(read(tally.totals)), "s"
    proof = timed(read(lambda s: list(proof_families(s, defaultdict(float), NOW))))
    yield f"of a scrape: canaries and evidence, {what}", proof, "s"
    intake.rejudge(engine, NOW, SETTINGS)
    yield f"judge all, {what}", timed(lambda: intake.rejudge(engine, NOW, SETTINGS)), "s"
    yield f"rosters, nothing new, {what}", _rosters(engine), "s"


def _all_new(engine: Engine, devices: int) -> float:
    at = NOW + timedelta(hours=1)
    store(engine, looks(devices, at), at)
    begun = time.perf_counter()
    metrics.render(engine, at, SETTINGS)
    return time.perf_counter() - begun


def _ticking(engine: Engine, devices: int) -> float:
    """A scrape somewhere between two ticks of the clockwork (10 s): a twelfth of the devices was
    polled since the last one, which has judged the rooms and written everybody else's lines."""
    took = []
    for minute in range(1, ROUNDS + 1):
        at = NOW + timedelta(hours=2, minutes=minute)
        heard = looks(devices, at)
        store(engine, heard[devices // 12 :], at)
        with session(engine) as opened:
            readiness.tick_rooms(opened, at, SETTINGS)
        metrics.warm(engine)
        store(engine, heard[: devices // 12], at)
        begun = time.perf_counter()
        metrics.render(engine, at + timedelta(seconds=5), SETTINGS)
        took.append(time.perf_counter() - begun)
    return median(took)


def _rosters(engine: Engine) -> float:
    bus = LocalBus()
    last: dict[str, roster.Published] = {}

    def publish() -> None:
        asyncio.run(roster.publish_changed(bus, engine, SETTINGS, NOW, last))

    publish()
    return timed(publish)


def bench() -> list[Result]:
    results: list[Result] = []
    kinds = [("SQLite", sqlite)]
    if find("initdb"):
        kinds.append(("PostgreSQL", postgresql))
    for name, opened in kinds:
        with opened() as engine:
            results += bench_storing(name, engine)
    for devices in (1000, 10_000):
        with sqlite() as engine:
            results += bench_region("SQLite", engine, devices)
    if find("initdb"):
        with postgresql() as engine:
            results += bench_region("PostgreSQL", engine, 10_000)
    return results
