"""What Prometheus is told, read from storage at each scrape: any process may answer."""

import gc
import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version

import prometheus_client
from sqlalchemy import Engine, func, select
from sqlmodel import Session, col

from fleet import readiness
from fleet.ends import Counts
from fleet.metrics import tally
from fleet.metrics.devices import device_families
from fleet.metrics.exposition import CONTENT_TYPE, Family, write
from fleet.metrics.resets import reset_families
from fleet.metrics.trust import (
    incident_families,
    notice_families,
    proof_families,
    timetable_families,
)
from fleet.settings import Settings
from inventory import (
    AgentContact,
    Device,
    Impact,
    Report,
    ReportState,
    Room,
    Verdict,
)
from inventory.db import reading

VERSION = version("raumwart")

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


def answer(
    engine: Engine, now: datetime, zipped: bool, settings: Settings | None = None
) -> tuple[bytes, dict[str, str]]:
    """Body and headers for a scrape; `zipped`: the scraper accepts gzip."""
    headers = {"Content-Type": CONTENT_TYPE, "Vary": "Accept-Encoding"}
    body = render(engine, now, settings)
    if zipped:
        # Level 1: beyond it the time grows faster than the page shrinks.
        body = gzip.compress(body, compresslevel=1)
        headers["Content-Encoding"] = "gzip"
    return body, headers


def warm(engine: Engine) -> None:
    """Write the lines of devices that changed since the last time, so that no scrape waits."""
    with reading(engine) as session:
        device_families(session, engine)


def render(engine: Engine, now: datetime, settings: Settings | None = None) -> bytes:
    """The whole page. Moments are told as timestamps, never as ages.

    What stands in storage is the same from every process; the counters of the answering process
    itself (intake, clockwork, memory) come last.
    """
    with _no_collector(), reading(engine) as session:
        counted = tally.totals(session)
        families = [
            *_service(),
            *device_families(session, engine),
            *_rooms(session, now, settings or Settings()),
            *reset_families(session, counted),
            *proof_families(session, counted, now),
            *_reports(session, counted),
            *_agents(session),
            *incident_families(session),
            *timetable_families(session),
            *notice_families(session, counted),
        ]
    return write(families) + prometheus_client.generate_latest()


@contextmanager
def _no_collector() -> Iterator[None]:
    """Without looking for cycles among some 100,000 new objects that have none: that would be a
    third of the time. Of two scrapes at once, the first to end switches it on again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _service() -> Iterable[Family]:
    info = Family("raumwart_build_info", "gauge", "Version of the service")
    info.add(1, version=VERSION)
    yield info


def _rooms(session: Session, now: datetime, settings: Settings) -> Iterable[Family]:
    verdict = Family("raumwart_room_readiness", "gauge", "Verdict for the next course, 1 = present")
    start = Family(
        "raumwart_room_next_course_start_timestamp_seconds",
        "gauge",
        "When the next course in the room begins",
    )
    active = Family("raumwart_room_course_active", "gauge", "Whether a course is running")
    usable = Family("raumwart_room_devices_usable", "gauge", "Devices a course could use now")
    wanted = Family("raumwart_room_devices_wanted", "gauge", "Devices that a course wants")
    for status in readiness.recent(session, now, settings):
        where = {"site": status.site.id, "room": status.room.id}
        verdict.states("verdict", Verdict, status.verdict, **where)
        active.add(status.running, **where)
        if status.course is not None and not status.running:
            start.add(status.course.start.timestamp(), **where)
        for kind, (have, want, _present) in status.counts.items():
            usable.add(have, **where, kind=kind)
            wanted.add(want, **where, kind=kind)
    return verdict, start, active, usable, wanted


def _reports(session: Session, counted: Counts) -> Iterable[Family]:
    came = Family("raumwart_reports_total", "counter", "Reports that came in")
    open_now = Family("raumwart_reports_open", "gauge", "Reports that are not done")
    oldest = Family(
        "raumwart_report_oldest_open_timestamp_seconds", "gauge", "When the oldest of them came in"
    )
    rows = session.execute(
        select(
            col(Room.site_id),
            col(Report.impact),
            func.count(),
            func.min(col(Report.reported_at)),
        )
        .join(Device, col(Device.id) == col(Report.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(col(Report.state) != ReportState.DONE)
        .group_by(col(Room.site_id), col(Report.impact))
    )
    counts: dict[tuple[str, Impact], int] = {}
    since: dict[str, datetime] = {}
    for site, impact, count, first in rows:
        counts[site, impact] = count
        since[site] = min(since.get(site, first), first)
    standing = session.execute(
        select(col(Room.site_id), col(Device.kind))
        .join(Device, col(Device.room_id) == col(Room.id))
        .distinct()
    )
    kinds = {(site, kind.value) for site, kind in standing}
    kinds |= {(key[1], key[2]) for key in counted if key[0] == tally.REPORTS}
    for site, kind in sorted(kinds):
        for impact in Impact:
            value = counted[(tally.REPORTS, site, kind, impact.value)]
            came.add(value, site=site, kind=kind, impact=impact.value)
    for site in sorted(session.execute(select(col(Room.site_id)).distinct()).scalars()):
        for impact in Impact:
            open_now.add(counts.get((site, impact), 0), site=site, impact=impact.value)
    for site, first in sorted(since.items()):
        oldest.add(first.timestamp(), site=site)
    return came, open_now, oldest


def _agents(session: Session) -> Iterable[Family]:
    info = Family("raumwart_agent_info", "gauge", "Version of the site's agent")
    heard = Family(
        "raumwart_agent_last_contact_timestamp_seconds", "gauge", "When the agent was last heard"
    )
    ahead = Family("raumwart_agent_clock_ahead_seconds", "gauge", "How far its clock is ahead")
    targets = Family("raumwart_agent_targets", "gauge", "Devices that it looks after")
    polls = Family("raumwart_agent_polls_total", "counter", "Polls since the agent started")
    late = Family("raumwart_agent_late_polls_total", "counter", "Polls that began too late")
    rows = session.execute(select(AgentContact).order_by(col(AgentContact.site_id))).scalars()
    for contact in rows:
        site = contact.site_id
        info.add(1, site=site, version=contact.version)
        heard.add(contact.at.timestamp(), site=site)
        ahead.add(contact.ahead_s, site=site)
        targets.add(contact.targets, site=site)
        polls.add(contact.polls, site=site)
        late.add(contact.late, site=site)
    return info, heard, ahead, targets, polls, late
