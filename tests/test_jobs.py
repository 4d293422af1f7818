"""The whole table of the clockwork, on a region with something to do for each of its jobs."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from apscheduler.events import EVENT_JOB_MAX_INSTANCES
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy import Engine
from sqlmodel import SQLModel, select

from agents.bus import decode
from agents.bus_local import LocalBus
from agents.messages import Order
from dashboards import write_letter
from fleet import jobs
from fleet.settings import Settings
from inventory import (
    Alarm,
    Audience,
    Channel,
    Checkpoint,
    Contact,
    Course,
    Device,
    DeviceState,
    Feed,
    Network,
    Notice,
    NoticeState,
    Override,
    OverrideKind,
    ResetRun,
    Room,
    Search,
)
from inventory.db import reading, session
from inventory.recipes import CANARY, ensure_recipes
from tests.rows import make_region

AFTERNOON = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
NIGHT = datetime(2026, 11, 24, 1, 59, tzinfo=UTC)
"""Half past one in Berlin, and a minute to three the night after."""
MINUTE = timedelta(minutes=1)


def write_calendar(path: Path, room: str, *starts: datetime) -> str:
    """Courses of an hour in this room; returns the address of the file."""
    stamp = "%Y%m%dT%H%M%SZ"
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:raumwart"]
    for start in starts:
        lines += [
            "BEGIN:VEVENT", f"UID:{start}", "SUMMARY:Kurs", f"LOCATION:{room}",
            f"DTSTART:{start.strftime(stamp)}",
            f"DTEND:{(start + 60 * MINUTE).strftime(stamp)}", "END:VEVENT",
        ]  # fmt: skip
    path.write_text("\r\n".join([*lines, "END:VCALENDAR", ""]))
    return path.as_uri()


def seed(engine: Engine, folder: Path) -> None:
    """In the library a course in a quarter of an hour and one tomorrow, in the hall one in days."""
    make_region(engine)
    soon, tomorrow = AFTERNOON + 15 * MINUTE, AFTERNOON + timedelta(hours=20)
    north = write_calendar(folder / "north.ics", "library", soon, tomorrow)
    south = write_calendar(folder / "south.ics", "hall", AFTERNOON + timedelta(days=5))
    log = {"channel": Channel.LOG, "name": "Log"}
    with session(engine) as opened:
        ensure_recipes(opened)
        opened.add(Feed(id="north", site_id="north", url=north))
        opened.add(Feed(id="south", site_id="south", url=south))
        opened.add(Contact(id="care", site_id="north", audience=Audience.CARETAKER, **log))
        opened.add(Contact(id="duty", site_id="north", audience=Audience.DUTY, **log))
        opened.add(Network(id="lan", site_id="north", range="192.168.1.0/24"))
        opened.add(
            Override(
                kind=OverrideKind.PAUSE, since=AFTERNOON - timedelta(days=500),
                until=AFTERNOON - timedelta(days=400), made_at=AFTERNOON, made_by="IT",
            )
        )  # fmt: skip
        # Well, and looked at just now; but never reset.
        for name in ("laptop-1", "projector-1"):
            opened.add(DeviceState(device_id=name, taken_at=AFTERNOON, reachable=True, health="ok"))
        opened.get_one(Room, "library").required = {"laptop": 2}  # there is one
        opened.get_one(Device, "laptop-2").recipe_id = "laptop-reset"
        opened.get_one(Device, "projector-1").recipe_id = "projector-ready"


def count(engine: Engine, table: type[SQLModel]) -> int:
    with reading(engine) as opened:
        return len(opened.exec(select(table)).all())


KEPT = (Alarm, Checkpoint, Course, Notice, Override, ResetRun, Search)


@pytest.mark.anyio
async def test_every_job_of_the_table_does_its_part_and_may_be_repeated(
    engine: Engine, tmp_path: Path
) -> None:
    seed(engine, tmp_path)
    moment, bus = AFTERNOON, LocalBus()
    settings = Settings(home=tmp_path, reset_buffer_s=60, discovery_hour=2)
    write = partial(write_letter, settings.public_url)
    service = jobs.Service(engine, bus, settings, lambda: moment, write)

    async def tick() -> dict[str, int]:
        for job in jobs.JOBS:
            await job.run(service)
        return {table.__name__: count(engine, table) for table in KEPT}

    first = await tick()
    assert first["Course"] == 3, "timetable"
    assert first["ResetRun"] > 0, "plan"
    assert first["Checkpoint"] > 0, "rooms"
    assert first["Alarm"] > 0, "alarms"
    assert first["Override"] == 0, "retention"
    with reading(engine) as opened:
        said = opened.exec(select(Notice)).all()
    assert {one.level.value for one in said} >= {"day_before", "duty"}, "alarms, tomorrow"
    assert {one.state for one in said} == {NoticeState.SENT}, "notices"
    orders = bus.receive("order.north")
    order = decode((await anext(orders)).data)
    assert isinstance(order, Order), "orders"
    assert (order.room, order.site) == ("library", "north")
    assert service.published.keys() == {"north", "south"}, "roster"
    assert await tick() == first, "once more changes nothing"

    moment = NIGHT
    night = await tick()
    assert night["Search"] == 1, "discovery"
    with reading(engine) as opened:
        canaries = opened.exec(select(ResetRun).where(ResetRun.recipe_id == CANARY)).all()
    assert [run.device_id for run in canaries] == ["laptop-2"], "canary"
    assert await tick() == night, "once more changes nothing"
    await orders.aclose()


@pytest.mark.anyio
async def test_a_tick_that_is_left_out_is_no_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scheduler, left_out = AsyncIOScheduler(timezone=UTC), asyncio.Event()
    scheduler.add_listener(lambda _: left_out.set(), EVENT_JOB_MAX_INSTANCES)
    scheduler.add_job(asyncio.sleep, "interval", seconds=0.02, args=[60])
    with caplog.at_level(logging.WARNING):
        scheduler.start()
        await asyncio.wait_for(left_out.wait(), 10)
        await asyncio.sleep(0.05)
        scheduler.shutdown(wait=False)
        logging.getLogger("apscheduler.scheduler").warning("the job store is gone")
    assert [record.getMessage() for record in caplog.records] == ["the job store is gone"]


@pytest.mark.anyio
async def test_no_alarm_right_after_a_start(engine: Engine, tmp_path: Path) -> None:
    """What nobody has looked at yet is no fault; two minutes later it is."""
    seed(engine, tmp_path)
    moment = AFTERNOON
    settings = Settings(home=tmp_path, reset_buffer_s=60)
    write = partial(write_letter, settings.public_url)
    service = jobs.Service(engine, LocalBus(), settings, lambda: moment, write)
    service.started = AFTERNOON
    for wait, raised in ((0, False), (1, False), (2, True)):
        moment = AFTERNOON + wait * MINUTE
        await jobs.read_timetables(service)
        await jobs.raise_alarms(service)
        assert bool(count(engine, Alarm)) is raised, wait
