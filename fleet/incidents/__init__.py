"""Opens and closes incidents: each fault told once, with what it cut off, and its end."""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine, func, update
from sqlmodel import Session, col, select

from fleet.health import silence_limit
from fleet.health.causes import SERVER, SITE
from fleet.health.judging import SERVER_SILENT
from fleet.incidents.deciding import Change, Seen, decide
from fleet.incidents.telling import Fault, Writer, drop, tell_begun, tell_over, too_late
from fleet.settings import Settings
from inventory import AgentContact, Device, DeviceState, Health, Incident, Room, Service
from inventory.db import reading, session
from inventory.upsert import insert_missing

__all__ = ["SITE_REASONS", "Fault", "Writer", "current", "name_of", "past", "tick"]

log = logging.getLogger(__name__)

AGENT_SILENT = "agent_silent"
LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""An agent that is heard again is back: it needs no time to prove it."""
SITE_REASONS: dict[str, str] = {
    AGENT_SILENT: "Nothing is heard from the site any more.",
    SITE: "None of the site's devices can be reached.",
}
"""Incidents of a whole site: reason → the sentence for people."""


def tick(engine: Engine, now: datetime, settings: Settings, write: Writer | None = None) -> None:
    """Look at everything, and write what has begun and ended, and the messages about it (`write`
    puts them into words). Harmless when run twice: an index holds that one cause has one open
    incident."""
    with reading(engine) as opened:
        seen = [*_devices(opened), *_sites(opened, now, settings), *_servers(opened)]
        cut_off = Counter(_cut_off(opened))
        running = {(each.site_id, each.cause): each for each in current(opened)}
        late = too_late(opened, now)
    change = decide(seen, running.keys(), now)
    grown = {each.id: cut_off[key] for key, each in running.items() if cut_off[key] > each.affected}
    if change.opened or change.closed or grown or late:
        with session(engine) as opened:
            drop(opened, late)
            _write(opened, change, cut_off, now, write)
            for incident, count in grown.items():
                larger = update(Incident).where(col(Incident.id) == incident)
                opened.execute(larger.values(affected=count))


def _write(
    session: Session,
    change: Change,
    cut_off: Counter[tuple[str, str]],
    now: datetime,
    write: Writer | None,
) -> None:
    rows = [
        {
            "site_id": each.site,
            "device_id": each.id if each.kind is not None else None,
            "cause": each.id,
            "reason": each.reason,
            "since": each.since,
            "opened_at": now,
            "affected": cut_off[each.site, each.id],
        }
        for each in change.opened
    ]
    opened: list[int | None] = []
    closed: list[int | None] = []
    for row in rows:
        # One by one, to know which of them were ours: another process may have been faster.
        statement = insert_missing(session, Incident).values(**row).returning(col(Incident.id))
        opened += session.scalars(statement).all()
    for site, cause in change.closed:
        closed += session.scalars(
            update(Incident)
            .where(col(Incident.site_id) == site, col(Incident.cause) == cause)
            .where(col(Incident.closed_at).is_(None))
            .values(closed_at=now)
            .returning(col(Incident.id))
            .execution_options(synchronize_session=False)
        ).all()
    for incident in _of(session, opened):
        log.warning("%s, %s: %s", incident.site_id, incident.cause, incident.reason)
    for incident in _of(session, closed):
        log.info("%s, %s: over", incident.site_id, incident.cause)
    if write:
        tell_begun(session, _of(session, opened), now, write)
        tell_over(session, _of(session, closed), now, write)


def _of(session: Session, ids: Collection[int | None]) -> Sequence[Incident]:
    return session.exec(
        select(Incident).where(col(Incident.id).in_(ids)).order_by(col(Incident.id))
    ).all()


def _devices(session: Session) -> Iterator[Seen]:
    rows = session.execute(
        select(  # type: ignore[call-overload]  # SQLModel types at most four columns
            Device.id,
            Room.site_id,
            Device.kind,
            DeviceState.health,
            DeviceState.reason,
            DeviceState.health_since,
            DeviceState.taken_at,
            DeviceState.cause,
            DeviceState.cut_off_at,
        )
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .where(Device.service == Service.ACTIVE)
    )
    for device, site, kind, health, reason, since, taken_at, cause, cut_off_at in rows:
        yield Seen(device, site, kind, health, reason, since or taken_at, cause, cut_off_at)


def _sites(session: Session, now: datetime, settings: Settings) -> Iterator[Seen]:
    """Each site with an agent that was ever heard: is it silent, or are all its devices?"""
    limit = silence_limit(0, settings.poll_s)
    silent = dict(
        session.exec(
            select(Room.site_id, func.min(DeviceState.health_since))
            .join(Device, col(Device.room_id) == col(Room.id))
            .join(DeviceState, col(DeviceState.device_id) == col(Device.id))
            .where(DeviceState.cause == SITE, Device.service == Service.ACTIVE)
            .group_by(col(Room.site_id))
        ).all()
    )
    for site, at in session.exec(select(AgentContact.site_id, AgentContact.at)):
        if now - at > limit:
            yield Seen(AGENT_SILENT, site, None, Health.FAILED, AGENT_SILENT, at)
            yield Seen(SITE, site, None, Health.UNKNOWN, SITE, at)
            continue
        yield Seen(AGENT_SILENT, site, None, Health.OK, "", LONG_AGO)
        if site in silent:
            yield Seen(SITE, site, None, Health.FAILED, SITE, silent[site] or at)
        else:
            yield Seen(SITE, site, None, Health.OK, "", LONG_AGO)


def _servers(session: Session) -> Iterator[Seen]:
    """Each management server that is dead, since the last answer that came through it; one that
    is well again is not seen here, and its incident over at once."""
    rows = session.exec(
        select(
            Room.site_id,
            DeviceState.cause,
            func.max(func.coalesce(DeviceState.facts_at, DeviceState.taken_at)),
        )
        .join(Device, col(Device.room_id) == col(Room.id))
        .join(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .where(col(DeviceState.cause).startswith(SERVER), Device.service == Service.ACTIVE)
        .group_by(col(Room.site_id), col(DeviceState.cause))
    )
    for site, server, since in rows:
        yield Seen(server, site, None, Health.FAILED, SERVER_SILENT, since)


def name_of(incident: Incident) -> str:
    """What has failed, where it is neither a device nor a whole site: a server's address."""
    return incident.cause.removeprefix(SERVER) if incident.cause.startswith(SERVER) else ""


def _cut_off(session: Session) -> Iterator[tuple[str, str]]:
    """(site, cause) of each device that is cut off."""
    rows = session.exec(
        select(Room.site_id, DeviceState.cause)
        .join(Device, col(Device.room_id) == col(Room.id))
        .join(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .where(DeviceState.cause != "", Device.service == Service.ACTIVE)
    )
    yield from rows.all()


def current(session: Session, sites: Collection[str] | None = None) -> Sequence[Incident]:
    """The incidents that are open (at these sites), the newest first."""
    query = select(Incident).where(col(Incident.closed_at).is_(None))
    if sites is not None:
        query = query.where(col(Incident.site_id).in_(sites))
    return session.exec(query.order_by(col(Incident.since).desc(), col(Incident.id))).all()


def past(
    session: Session, since: datetime, sites: Collection[str] | None = None
) -> Sequence[Incident]:
    """The incidents that ended since then, the last first."""
    query = select(Incident).where(col(Incident.closed_at) >= since)
    if sites is not None:
        query = query.where(col(Incident.site_id).in_(sites))
    return session.exec(query.order_by(col(Incident.closed_at).desc(), col(Incident.id))).all()
