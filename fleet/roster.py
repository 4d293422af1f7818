"""Tells each site's agent what it has to know: its devices, and when their rooms are used."""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Engine, Text, cast
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from agents.bus import Bus, encode
from agents.messages import Busy, Hold, Roster, Target
from fleet import overrides, timetable
from fleet.resets.recall import recalled_orders
from fleet.settings import Settings
from fleet.wiring import wired
from inventory import (
    AgentContact,
    Course,
    Device,
    Override,
    OverrideKind,
    Recipe,
    Room,
    Service,
    Site,
)
from inventory.db import reading

AHEAD = timedelta(hours=48)
"""How much of the calendar an agent holds, for when the line is down."""

REPEAT = timedelta(minutes=5)
"""Every roster is sent again so often: the bus may have lost it."""

POLLED = (Service.ACTIVE, Service.REPAIR)
"""A device in repair is looked at, so that one sees when it is well again; it is never reset."""


@dataclass(frozen=True)
class Published:
    """The roster that a site was sent last."""

    digest: bytes
    """Over everything but its revision and time."""
    revision: int
    at: datetime


def target_of(device: Device, settings: Settings) -> Target:
    """What an agent has to know of one device."""
    row = [getattr(device, name) for name in _TOLD]
    return _target(settings.poll_s, json.dumps(device.options), False, *row)


_TOLD = (
    "id",
    "room_id",
    "kind",
    "driver",
    "address",
    "port",
    "profile",
    "credential",
    "serial",
    "mac",
)


@lru_cache(maxsize=20_000)
def _target(every_s: float, options: str, cleared: bool, device: str, *told: Any) -> Target:
    """Kept, because every device is looked at every few seconds and hardly one ever changes."""
    room, kind, driver, address, port, profile, credential, serial, mac = told
    return Target(
        device=device,
        room=room,
        kind=kind,
        driver=driver,
        address=address,
        port=port,
        profile=profile,
        credential=credential,
        serial=serial,
        mac=mac,
        options=json.loads(options),
        every_s=every_s,
        cleared=cleared,
    )


def build(session: Session, site_id: str, now: datetime, settings: Settings) -> Roster:
    """The roster of one site as it would be sent now."""
    return _build(session, [site_id], now, settings)[0]


async def publish_changed(
    bus: Bus, engine: Engine, settings: Settings, now: datetime, last: dict[str, Published]
) -> list[str]:
    """Send every roster that changed, or was not sent for five minutes; returns their sites.

    `last` remembers what was sent, and is written here. A revision is the time of the change in
    milliseconds, so it also grows over restarts and from one process to the next; should our
    clock have been set back, it begins above what the agent holds. A site that is gone from the
    inventory is sent an empty roster, so that its agent stops.
    """
    rosters, held = await asyncio.to_thread(_all, engine, now, settings)
    gone = sorted(last.keys() - {roster.site for roster in rosters})
    sent = []
    for roster in [*rosters, *(_empty(site, now) for site in gone)]:
        before = last.get(roster.site)
        digest = _digest(roster)
        if before is None:
            revision = max(roster.revision, held.get(roster.site, 0) + 1)
        elif before.digest != digest:
            revision = max(roster.revision, before.revision + 1)
        elif now - before.at >= REPEAT:
            revision = before.revision
        else:
            continue
        message = roster.model_copy(update={"revision": revision})
        await bus.publish(f"roster.{roster.site}", encode(message))
        last[roster.site] = Published(digest, revision, now)
        sent.append(roster.site)
    for site in gone:
        del last[site]
    return sent


def _empty(site: str, now: datetime) -> Roster:
    return Roster(site=site, revision=_revision(now), sent_at=now, targets=[], busy=[])


def _revision(now: datetime) -> int:
    return int(now.timestamp() * 1000)


def _all(engine: Engine, now: datetime, settings: Settings) -> tuple[list[Roster], dict[str, int]]:
    """Every site's roster, and the revision that its agent said it holds."""
    with reading(engine) as session:
        sites = session.exec(select(Site.id).order_by(Site.id)).all()
        held = dict(session.exec(select(AgentContact.site_id, AgentContact.revision)).all())
        return _build(session, sites, now, settings), held


def _build(
    session: Session, sites: Sequence[str], now: datetime, settings: Settings
) -> list[Roster]:
    """The rosters of these sites, read with the same few queries however many they are."""
    revisions = dict(
        session.exec(select(Site.id, Site.plan_rev).where(col(Site.id).in_(sites))).all()
    )
    site_of = dict(
        session.exec(select(Room.id, Room.site_id).where(col(Room.site_id).in_(sites))).all()
    )
    devices = session.execute(
        sql_select(
            cast(col(Device.options), Text),
            *(col(getattr(Device, name)) for name in (*_TOLD, "uplink_id", "recipe_id")),
        )
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(col(Room.site_id).in_(sites), col(Device.service).in_(POLLED))
        .order_by(col(Device.id))
    ).all()
    clearing = {recipe.id for recipe in session.exec(select(Recipe)) if recipe.steps}
    # A course that has just ended still counts: courses overrun.
    since = now - timedelta(seconds=settings.reset_grace_s)
    courses = timetable.busy(session, list(site_of), since, now + AHEAD)
    kinds = (*overrides.HOLDS, OverrideKind.SKIP)
    said = overrides.in_force(session, now, *kinds, sites=sites)
    spared = _spared(said, courses, now)
    told = [
        _target(
            settings.poll_s,
            options,
            recipe in clearing and spared.isdisjoint([(row[1], None), (row[1], row[0])]),
            *row,
        )
        for options, *row, _, recipe in devices
    ]
    uplinks = {row.id: row.uplink_id for row in devices}
    targets = _by_site((site_of[target.room], target) for target in told)
    rooms = _by_site((site, room) for room, site in site_of.items())
    busy = _by_site(
        (site_of[c.room_id], Busy(room=c.room_id, start=c.start, end=c.end))
        for c in sorted(courses, key=lambda c: (c.start, c.room_id, c.end))
    )
    trusted = timetable.trusted_until(session, list(site_of), now)
    trust = _by_site((site_of[room], (room, until)) for room, until in sorted(trusted.items()))
    back = _by_site(recalled_orders(session, sites))
    held = [one for one in said if one.kind in overrides.HOLDS]
    return [
        Roster(
            site=site,
            revision=_revision(now),
            sent_at=now,
            targets=wired(targets[site], uplinks, rooms[site]),
            busy=busy[site],
            trusted_until=dict(trust[site]),
            holds=[_hold(one) for one in held if one.site_id in (None, site)],
            plan_rev=revisions[site],
            recalled=back[site],
        )
        for site in sites
    ]


def _spared(
    said: Iterable[Override], courses: Sequence[Course], now: datetime
) -> set[tuple[str, str | None]]:
    """Room and device (None: all of it) that are not reset for the room's next course."""
    coming: dict[str, int | None] = {}
    for course in sorted(courses, key=lambda one: one.start):
        if course.start > now and course.id is not None and not course.block:
            coming.setdefault(course.room_id, course.id)
    rooms = {number: room for room, number in coming.items()}
    skips = (one for one in said if one.kind is OverrideKind.SKIP and one.course_id in rooms)
    return {(rooms[one.course_id], one.device_id) for one in skips}


def _hold(said: Override) -> Hold:
    return Hold(
        room=said.room_id or "",
        device=said.device_id or "",
        start=said.since,
        end=said.until,
        reason=overrides.HOLDS[said.kind] if said.site_id else overrides.EVERYWHERE,
    )


def _by_site(pairs: Iterable[tuple[str, Any]]) -> defaultdict[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for site, thing in pairs:
        found[site].append(thing)
    return found


def _digest(roster: Roster) -> bytes:
    text = roster.model_dump_json(exclude={"revision", "sent_at"})
    return hashlib.sha256(text.encode()).digest()
