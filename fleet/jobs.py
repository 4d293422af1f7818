"""The clockwork: one table of what is done how often.

APScheduler only ticks. Every job looks at the rows, claims what it takes, and may run twice, late,
or in two processes at once without harm.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from prometheus_client import Gauge, Histogram
from sqlalchemy import Engine
from sqlmodel import select

from agents.bus import Bus, BusAway, NotSent, encode
from agents.messages import Order, Sweep
from fleet import (
    canary,
    discovery,
    incidents,
    intake,
    metrics,
    notify,
    outbox,
    readiness,
    resets,
    retention,
    roster,
    timetable,
)
from fleet.embedded import EmbeddedAgents
from fleet.health import trends
from fleet.settings import Settings
from inventory import Site
from inventory.db import reading, session

log = logging.getLogger(__name__)


def _worth_a_line(record: logging.LogRecord) -> bool:
    """A tick that finds the one before still at work is left out, as it should be: on a busy
    machine that is no news, and the metrics below tell how long ticks take and when one ended."""
    return "maximum number of running instances reached" not in str(record.msg)


logging.getLogger("apscheduler.scheduler").addFilter(_worth_a_line)

LAST_SUCCESS = Gauge(
    "raumwart_task_last_success_timestamp_seconds",
    "When a task of this process's clockwork last ended well",
    ["task"],
)
TOOK = Histogram(
    "raumwart_task_duration_seconds",
    "How long a task of this process's clockwork takes",
    ["task"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120),
)


@dataclass
class Service:
    """What the jobs work with."""

    engine: Engine
    bus: Bus
    settings: Settings
    clock: Callable[[], datetime]
    write: notify.Writer | None = None
    write_fault: incidents.Writer | None = None
    """Puts messages into words; None: nobody is told of anything."""
    agents: EmbeddedAgents | None = None
    """None: the agents are where the devices are."""
    published: dict[str, roster.Published] = field(default_factory=dict)
    """Site → the roster that was last sent there."""
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while rosters are read and sent: what was read earlier must not be sent later."""
    started: datetime | None = None
    """When this process began: whoever has not reported since is waited for a while."""
    ticked: dict[str, datetime] = field(default_factory=dict)
    """Job → when it last ended well."""


async def read_timetables(service: Service) -> None:
    await asyncio.to_thread(timetable.refresh, service.engine, service.settings, service.clock())


async def plan_resets(service: Service) -> None:
    def run() -> None:
        now = service.clock()
        with session(service.engine) as opened:
            resets.expire(opened, now)
            resets.plan(opened, now, service.settings)

    await asyncio.to_thread(run)


async def plan_rest(service: Service) -> None:
    def run() -> None:
        with session(service.engine) as opened:
            resets.plan_rest(opened, service.clock(), service.settings)

    await asyncio.to_thread(run)


async def plan_canaries(service: Service) -> None:
    def run() -> None:
        with session(service.engine) as opened:
            canary.plan(opened, service.clock(), service.settings)

    await asyncio.to_thread(run)


async def send_orders(service: Service) -> None:
    """Claim what is due, and publish only after the claim is committed: a lost order times out
    and is tried again, an order without a row could not be judged. What certainly did not leave is
    given back at once."""

    def claim() -> list[Order]:
        with session(service.engine) as opened:
            now = service.clock()
            return resets.claim(opened, now, service.settings, started=service.started)

    def give_back() -> None:
        with session(service.engine) as opened:
            resets.give_back(opened, unsent, service.clock())

    unsent = await asyncio.to_thread(claim)
    try:
        if unsent:
            # An agent refuses what its own copy of the calendar does not allow: let it have
            # today's.
            await publish_rosters(service)
        while unsent:
            order = unsent.pop(0)
            try:
                await service.bus.publish(f"order.{order.site}", encode(order))
            except NotSent:
                unsent.insert(0, order)
                raise
    finally:
        if unsent:
            await asyncio.to_thread(give_back)


async def search_networks(service: Service) -> None:
    """Plan, claim and order the searches of the sites' networks; the same care as with resets."""

    def claim() -> list[Sweep]:
        now = service.clock()
        with session(service.engine) as opened:
            discovery.expire(opened, now)
            discovery.plan(opened, now, service.settings)
            return discovery.claim(opened, now)

    def give_back() -> None:
        with session(service.engine) as opened:
            discovery.give_back(opened, [sweep.id for sweep in unsent], service.clock())

    unsent = await asyncio.to_thread(claim)
    try:
        while unsent:
            sweep = unsent.pop(0)
            try:
                await service.bus.publish(f"order.{sweep.site}", encode(sweep))
            except NotSent:
                unsent.insert(0, sweep)
                raise
    finally:
        if unsent:
            await asyncio.to_thread(give_back)


async def publish_rosters(service: Service) -> None:
    async with service.publishing:
        await roster.publish_changed(
            service.bus, service.engine, service.settings, service.clock(), service.published
        )


async def keep_agents(service: Service) -> None:
    def sites() -> list[str]:
        with reading(service.engine) as opened:
            return list(opened.exec(select(Site.id)))

    if service.agents:
        await service.agents.keep(await asyncio.to_thread(sites))


async def judge_devices(service: Service) -> None:
    def run() -> None:
        now = service.clock()
        intake.rejudge(service.engine, now, service.settings)
        incidents.tick(service.engine, now, service.settings, service.write_fault)

    await asyncio.to_thread(run)


async def judge_rooms(service: Service) -> None:
    def run() -> None:
        now = service.clock()
        with session(service.engine) as opened:
            readiness.keep(opened, now, service.settings)
            readiness.freeze(opened, now, service.settings)
            readiness.tick_rooms(opened, now, service.settings)

    await asyncio.to_thread(run)


async def raise_alarms(service: Service) -> None:
    """Not right after a start: what nobody has looked at yet is no fault."""
    if service.started and service.clock() - service.started < resets.SETTLING:
        return

    def run(write: notify.Writer) -> None:
        with session(service.engine) as opened:
            notify.climb(opened, service.clock(), service.settings, write)

    if service.write:
        await asyncio.to_thread(run, service.write)


async def warn_of_tomorrow(service: Service) -> None:
    def run(write: notify.Writer) -> None:
        with session(service.engine) as opened:
            notify.warn(opened, service.clock(), service.settings, write)

    if service.write:
        await asyncio.to_thread(run, service.write)


async def send_notices(service: Service) -> None:
    await asyncio.to_thread(outbox.send, service.engine, service.clock, service.settings)


async def warm_metrics(service: Service) -> None:
    await asyncio.to_thread(metrics.warm, service.engine)


async def search_trends(service: Service) -> None:
    await asyncio.to_thread(trends.search, service.engine, service.clock())


async def forget(service: Service) -> None:
    await asyncio.to_thread(retention.forget, service.engine, service.clock())


@dataclass(frozen=True)
class Job:
    name: str
    every_s: int
    run: Callable[[Service], Awaitable[None]]


JOBS = (
    Job("timetable", 30, read_timetables),
    Job("agents", 5, keep_agents),
    Job("roster", 5, publish_rosters),
    Job("plan", 10, plan_resets),
    Job("rest", 60, plan_rest),
    Job("canary", 60, plan_canaries),
    Job("orders", 3, send_orders),
    Job("devices", 15, judge_devices),
    Job("rooms", 10, judge_rooms),
    Job("alarms", 15, raise_alarms),
    Job("tomorrow", 600, warn_of_tomorrow),
    Job("notices", 5, send_notices),
    Job("metrics", 10, warm_metrics),
    Job("trends", 60, search_trends),
    Job("discovery", 10, search_networks),
    Job("retention", 3600, forget),
)


def schedule(service: Service) -> AsyncIOScheduler:
    """A scheduler with every job of the table; each ticks at once and then at its interval."""
    scheduler = AsyncIOScheduler(
        timezone=UTC,
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )

    async def tick(job: Job) -> None:
        try:
            with TOOK.labels(task=job.name).time():
                await job.run(service)
        except BusAway as error:
            log.warning("%s waits: %s", job.name, error)
            return
        service.ticked[job.name] = service.clock()
        LAST_SUCCESS.labels(task=job.name).set(service.ticked[job.name].timestamp())

    for place, job in enumerate(JOBS):
        scheduler.add_job(
            tick,
            "interval",
            seconds=job.every_s,
            args=[job],
            id=job.name,
            # In the table's order: first the timetable, then what is decided by it.
            next_run_time=datetime.now(UTC) + timedelta(seconds=0.2 * place),
        )
    return scheduler
