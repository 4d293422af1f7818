"""What it costs to plan and to send: one tick with 10,000 devices due, most of which must wait."""

import time
from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import Engine, update

from fleet import overrides, resets
from fleet.overrides import Scope
from inventory import Course, Device, Feed, OverrideKind, Recipe, ResetRun, Room, Site
from inventory.db import session
from inventory.recipes import BUILT_IN
from tests.bench_fleet import NOW, PER_ROOM, SETTINGS, Result, postgresql, sqlite, timed
from tests.parts import find

DEVICES = 10_000
SITES = 100
TICK = timedelta(seconds=3)


def make(engine: Engine) -> None:
    """A region of laptops; each room has a course this afternoon and is free until then."""
    rooms = DEVICES // PER_ROOM
    with session(engine) as opened:
        opened.add(Recipe.model_validate(BUILT_IN["laptop-reset"].model_dump()))
        opened.flush()
        opened.bulk_save_objects(
            Site(id=f"s{n}", name="S", municipality=f"M{n}") for n in range(SITES)
        )
        opened.bulk_save_objects(
            Feed(id=f"f{n}", site_id=f"s{n}", url="file:///x", good_at=NOW) for n in range(SITES)
        )
        opened.bulk_save_objects(
            Room(id=f"r{n}", site_id=f"s{n % SITES}", name=f"Room {n}") for n in range(rooms)
        )
        opened.bulk_save_objects(
            Device(
                id=f"d{n}", room_id=f"r{n // PER_ROOM}", name=f"Device {n}", kind="laptop",
                driver="ssh", address="127.0.0.1", recipe_id="laptop-reset",
            )
            for n in range(DEVICES)
        )  # fmt: skip
        for n in range(rooms):
            start = NOW + timedelta(hours=4, minutes=n % 120)
            end = start + timedelta(hours=2)
            opened.add(Course(id=n + 1, room_id=f"r{n}", uid="c", start=start, end=end))


def _plan(engine: Engine, at: timedelta = timedelta(0)) -> float:
    begun = time.perf_counter()
    with session(engine) as opened:
        resets.expire(opened, NOW + at)
        resets.plan(opened, NOW + at, SETTINGS)
    return time.perf_counter() - begun


def _claim(engine: Engine, at: timedelta) -> tuple[float, int]:
    begun = time.perf_counter()
    with session(engine) as opened:
        orders = resets.claim(opened, NOW + at, SETTINGS)
    return time.perf_counter() - begun, len(orders)


def bench_of(name: str, engine: Engine) -> Iterator[Result]:
    make(engine)
    what = f"{DEVICES:,} devices, {name}"
    yield f"first plan, {what}", _plan(engine), "s"
    yield f"plan, nothing new, {what}", timed(lambda: _plan(engine)), "s"
    took, sent = _claim(engine, TICK)
    yield f"first tick of sending ({sent} orders), {what}", took, "s"
    ticks = [_claim(engine, TICK * n) for n in range(2, 12)]
    yield f"a tick with all places taken, the slowest of 10, {what}", max(ticks)[0], "s"
    with session(engine) as opened:
        opened.execute(update(ResetRun).values(state="planned", attempts=0, reason=""))
        overrides.say(opened, OverrideKind.PAUSE, Scope(), NOW, "bench")
    _plan(engine)
    ticks = [_claim(engine, TICK * n) for n in range(20, 32)]
    assert not any(sent for _, sent in ticks)
    yield f"a tick while everything is paused, the slowest of 12, {what}", max(ticks)[0], "s"


def bench() -> list[Result]:
    results: list[Result] = []
    with sqlite() as engine:
        results += bench_of("SQLite", engine)
    if find("initdb"):
        with postgresql() as engine:
            results += bench_of("PostgreSQL", engine)
    return results
