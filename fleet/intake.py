"""Takes what the sites report from the bus into the database, in batches: the only bridge."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import prometheus_client
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlmodel import Session, col, select

import inventory
from agents.bus import BadMessage, Bus, Delivery, decode
from agents.messages import Found, Heartbeat, Outcome, Reading
from fleet import discovery
from fleet.health.folding import AHEAD, Report, clean, fold, set_back, text, used_since_clean
from fleet.health.judging import (
    Known,
    State,
    load_states,
    lock_devices,
    rejudge,
    settle,
    verdict,
    write_flips,
)
from fleet.health.needs import needs_of
from fleet.resets import apply_outcome
from fleet.settings import Settings
from inventory import AgentContact, DeviceState, ResetRun, Site
from inventory.db import session
from inventory.upsert import insert, upsert

__all__ = ["Applied", "apply", "clean", "rejudge", "run"]

log = logging.getLogger(__name__)

BATCH = 500
LINGER_S = 0.25
"""How long the first message of a batch waits for company."""
MESSAGES = prometheus_client.Counter(
    "raumwart_intake_messages", "Reports taken from the bus by this process", ["type"]
)
BATCHES = prometheus_client.Counter("raumwart_intake_batches", "Batches stored by this process")
REFUSED = prometheus_client.Counter(
    "raumwart_intake_refused", "Reports that this process could not use", ["why"]
)


@dataclass
class Applied:
    """What became of one batch. Nothing in here is an error: reports repeat and overtake."""

    stored: int = 0
    """Readings that were newer than what was known."""
    stale: int = 0
    kept: int = 0
    flips: int = 0
    unknown: set[str] = field(default_factory=set)
    """Devices or sites that the inventory does not know, or not at the site that spoke."""
    ahead: dict[str, float] = field(default_factory=dict)
    """Device or site → seconds by which its agent's clock is too far ahead."""


def apply(
    engine: Engine,
    messages: Sequence[Report | Found],
    now: datetime,
    settings: Settings,
    sites: Sequence[str] | None = None,
) -> Applied:
    """Store one batch of reports in one transaction; safe to repeat, in any order.

    `sites`: for each message the site that sent it. A site speaks only for its own devices; what
    it says of others counts as unknown. None: the sender is trusted.
    """
    done = Applied()
    senders = list(sites) if sites else [None] * len(messages)
    reports = [(m, s) for m, s in zip(messages, senders, strict=True) if not isinstance(m, Found)]
    finds = [(m, s) for m, s in zip(messages, senders, strict=True) if isinstance(m, Found)]
    said, done.ahead = set_back([message for message, _ in reports], now)
    about = {m.device for m in said if not isinstance(m, Heartbeat)}
    with session(engine) as opened:
        devices = lock_devices(opened, about)
        readings: dict[str, list[Reading]] = {}
        beats: list[Heartbeat] = []
        for message, (_, sender) in zip(said, reports, strict=True):
            if isinstance(message, Heartbeat):
                if sender in (None, message.site):
                    beats.append(message)
                else:
                    done.unknown.add(message.site)
                continue
            known = devices.get(message.device)
            if known is None or sender not in (None, known.site):
                done.unknown.add(message.device)
            elif isinstance(message, Outcome):
                apply_outcome(opened, message, now)
            else:
                readings.setdefault(message.device, []).append(message)
        opened.flush()
        _store(opened, devices, readings, done, now=now, settings=settings)
        _contact(opened, beats, done)
    _take(engine, finds, done, now)
    return done


def _take(
    engine: Engine, finds: Sequence[tuple[Found, str | None]], done: Applied, now: datetime
) -> None:
    """What searches found, each in a transaction of its own: it locks a whole site."""
    for found, sender in finds:
        if sender not in (None, found.site):
            done.unknown.add(found.site)
            continue
        with session(engine) as opened:
            discovery.take(opened, found, now)


def _store(
    session: Session,
    devices: dict[str, Known],
    readings: dict[str, list[Reading]],
    done: Applied,
    *,
    now: datetime,
    settings: Settings,
) -> None:
    states = load_states(session, devices.keys())
    needs = needs_of(session, now, settings)
    proofs = _proofs(session, states)
    kept: list[dict[str, Any]] = []
    flips: list[dict[str, Any]] = []
    changed: list[State] = []
    for device, known in devices.items():
        state = states.get(device)
        before = state
        for reading in sorted(readings.get(device, ()), key=lambda r: r.taken_at):
            if state is not None and reading.taken_at <= state["taken_at"] <= now + AHEAD:
                done.stale += 1
                continue
            state, keep = fold(state, reading)
            # After each look: the next one in the batch may not show it any more.
            if used_since_clean(state, proofs.get(state["clean_run_id"], {})):
                state = state | {"clean_run_id": None}
            done.stored += 1
            if keep:
                kept.append(keep)
        if state is None:
            continue
        if state is not before:
            flip = settle(device, known, state, verdict(known, state, needs, now, settings), now)
            if flip:
                flips.append(flip)
            changed.append(state)
    if changed:
        session.execute(upsert(session, DeviceState), changed)
    if kept:
        session.execute(insert(session, inventory.Reading), kept)
    write_flips(session, flips)
    done.kept, done.flips = len(kept), len(flips)


def _proofs(session: Session, states: Mapping[str, State]) -> dict[str, dict[str, Any]]:
    """Reset run → the facts of the look that proved it, for the devices that carry its proof."""
    runs = {state["clean_run_id"] for state in states.values() if state["clean_run_id"]}
    if not runs:
        return {}
    found = session.execute(
        select(ResetRun.id, ResetRun.evidence).where(col(ResetRun.id).in_(runs))
    )
    return {row.id: row.evidence for row in found}


def _contact(session: Session, beats: Collection[Heartbeat], done: Applied) -> None:
    """The newest heartbeat of each site."""
    if not beats:
        return
    newest = {beat.site: beat for beat in sorted(beats, key=lambda b: b.at)}
    known = set(session.exec(select(Site.id).where(col(Site.id).in_(newest))))
    done.unknown |= newest.keys() - known
    rows = [
        {
            "site_id": site,
            "at": beat.at,
            "ahead_s": done.ahead.get(site, 0.0),
            "version": text(beat.version, 63),
            "revision": beat.revision,
            "targets": beat.targets,
            "polls": beat.polls,
            "late": beat.late,
        }
        for site, beat in sorted(newest.items())
        if site in known
    ]
    if rows:
        session.execute(upsert(session, AgentContact, newer="at"), rows)


class _Intake:
    """The loop of one process, and what it has already complained about."""

    def __init__(self, engine: Engine, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._told: set[str] = set()

    async def work(self, queue: asyncio.Queue[Delivery]) -> None:
        while True:
            deliveries = [await queue.get()]
            if queue.qsize() < BATCH - 1:
                await asyncio.sleep(LINGER_S)
            while len(deliveries) < BATCH and not queue.empty():
                deliveries.append(queue.get_nowait())
            await self._store(deliveries)
            for delivery in deliveries:
                await delivery.ack()

    async def _store(self, deliveries: Sequence[Delivery]) -> None:
        """Returns when every message is stored or given up for good."""
        batch: list[tuple[Report | Found, str]] = []
        for delivery in deliveries:
            message = self._decode(delivery)
            if message is not None:
                batch.append((message, delivery.subject.partition(".")[2]))
        if not batch:
            return
        if not await self._try(batch) and len(batch) > 1:
            for one in batch:
                await self._try([one])

    async def _try(self, batch: Sequence[tuple[Report | Found, str]]) -> bool:
        """Whether the batch is stored; a single message that cannot be is given up here."""
        try:
            await self._apply(batch)
        except Exception:
            if len(batch) == 1:
                REFUSED.labels("poison").inc()
                message, site = batch[0]
                log.exception("a %s from %s cannot be stored and is dropped", message.type, site)
            else:
                log.warning("a batch of %d reports failed; each is tried alone", len(batch))
            return False
        return True

    async def _apply(self, batch: Sequence[tuple[Report | Found, str]]) -> None:
        messages, sites = [m for m, _ in batch], [s for _, s in batch]
        delay = 0.5
        while True:
            try:
                applied = await asyncio.to_thread(
                    apply, self._engine, messages, self._clock(), self._settings, sites
                )
                break
            except (OperationalError, InterfaceError) as error:
                # The database is away, not the message wrong: it waits, unacknowledged.
                log.warning("the database cannot store reports now: %s", error.orig)
                await asyncio.sleep(delay)
                delay = min(2 * delay, 10)
        BATCHES.inc()
        for kind, count in Counter(m.type for m in messages).items():
            MESSAGES.labels(kind).inc(count)
        self._tell(applied)

    def _decode(self, delivery: Delivery) -> Report | Found | None:
        try:
            message = decode(delivery.data)
        except BadMessage as error:
            REFUSED.labels("bad").inc()
            log.warning("a message on %s is not one of ours: %s", delivery.subject, error)
            return None
        if isinstance(message, Reading | Outcome | Heartbeat | Found):
            return message
        REFUSED.labels("bad").inc()
        log.warning("a %s does not belong on %s", message.type, delivery.subject)
        return None

    def _tell(self, applied: Applied) -> None:
        """Log what is odd, once per device or site."""
        REFUSED.labels("unknown").inc(len(applied.unknown))
        for name in applied.unknown - self._told:
            log.warning("reports about %s are ignored: not known at the site that sent them", name)
        for name, seconds in applied.ahead.items():
            if f"{name} clock" not in self._told:
                log.warning("the clock of the agent of %s is %.0f s ahead", name, seconds)
        if len(self._told) < 10_000:
            self._told |= applied.unknown | {f"{name} clock" for name in applied.ahead}


async def run(bus: Bus, engine: Engine, settings: Settings, clock: Callable[[], datetime]) -> None:
    """Take reports of all sites until cancelled. A message is acknowledged after its commit, or
    when it can never be used; one that poisons its batch is found and dropped alone."""
    queue: asyncio.Queue[Delivery] = asyncio.Queue(4 * BATCH)

    async def fetch() -> None:
        async for delivery in bus.receive("report.*"):
            await queue.put(delivery)

    async with asyncio.TaskGroup() as group:
        group.create_task(fetch())
        group.create_task(_Intake(engine, settings, clock).work(queue))
