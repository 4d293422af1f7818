"""What Prometheus is told of what everything else rests on: canaries, evidence, timetables, and
whether messages to people arrive."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select
from sqlmodel import Session, col

from fleet import canary, ends, incidents
from fleet.ends import Counts
from fleet.health.trends import coming
from fleet.metrics import tally
from fleet.metrics.exposition import Family
from fleet.timetable import WARNINGS
from inventory import EvidenceSeal, Feed, Room
from inventory.contact import Channel
from inventory.course import FeedSnapshot
from inventory.notice import OPEN_NOTICES, Notice, NoticeState

CANARY_STATES = ("ok", "failed", "stale", "waiting", "off", "none")


def proof_families(session: Session, counted: Counts, now: datetime) -> Iterable[Family]:
    """Whether the reset's own test passes, and whether the evidence is sealed."""
    state = Family("raumwart_canary_state", "gauge", "The reset's own test, 1 = present state")
    good = Family(
        "raumwart_canary_last_success_timestamp_seconds",
        "gauge",
        "When a canary of the room last passed; 0: not within two weeks",
    )
    failures = Family("raumwart_canary_failures_total", "counter", "Canaries that did not pass")
    sealed = Family(
        "raumwart_evidence_sealed_timestamp_seconds", "gauge", "When evidence was last sealed"
    )
    rooms = session.execute(select(col(Room.id), col(Room.site_id)))
    site_of = {row.id: row.site_id for row in rooms}
    for stand in canary.stands(session, now):
        where = {"site": site_of[stand.room], "room": stand.room}
        state.states("state", CANARY_STATES, stand.state, **where)
        if stand.state != "none":
            good.add(stand.good_at.timestamp() if stand.good_at else 0, **where)
    for site in sorted(set(site_of.values())):
        failures.add(counted[(ends.CANARIES, site)], site=site)
    last = session.scalar(select(func.max(col(EvidenceSeal.sealed_at))))
    if last is not None:
        sealed.add(last.timestamp())
    return state, good, failures, sealed


def incident_families(session: Session) -> Iterable[Family]:
    """One line per cause, so that an alert is one per cause too."""
    begun = Family("raumwart_incident_open", "gauge", "1 while a fault lasts, by its cause")
    cut_off = Family(
        "raumwart_incident_affected_devices", "gauge", "How many other devices it cut off at most"
    )
    due = Family(
        "raumwart_device_trouble_due_timestamp_seconds",
        "gauge",
        "When trouble is to be expected if a device goes on as it did",
    )
    for one in incidents.current(session):
        where = {"site": one.site_id, "cause": one.cause, "reason": one.reason}
        begun.add(1, **where)
        cut_off.add(one.affected, **where)
    for each, device, room in coming(session):
        when = each.due_at.timestamp()
        due.add(when, site=room.site_id, room=room.id, device=device.id, code=each.code)
    return begun, cut_off, due


def timetable_families(session: Session) -> Iterable[Family]:
    good = Family(
        "raumwart_feed_last_success_timestamp_seconds",
        "gauge",
        "When the timetable was last read in full; 0: never",
    )
    max_age = Family(
        "raumwart_feed_max_age_seconds", "gauge", "From which age on the timetable is in doubt"
    )
    ahead = Family("raumwart_feed_occurrences", "gauge", "Courses to come that were read in it")
    warned = Family(
        "raumwart_feed_warnings", "gauge", "What was guessed or mended when it was read, by kind"
    )
    for feed in session.execute(select(Feed).order_by(col(Feed.id))).scalars():
        good.add(feed.good_at.timestamp() if feed.good_at else 0, site=feed.site_id, feed=feed.id)
        max_age.add(feed.max_age_s, site=feed.site_id, feed=feed.id)
    newest = (
        select(col(FeedSnapshot.feed_id), func.max(col(FeedSnapshot.id)).label("id"))
        .group_by(col(FeedSnapshot.feed_id))
        .subquery()
    )
    read = session.execute(
        select(
            col(Feed.site_id), col(Feed.id), col(FeedSnapshot.coming), col(FeedSnapshot.warnings)
        )
        .join(Feed, col(Feed.id) == col(FeedSnapshot.feed_id))
        .join(newest, newest.c.id == col(FeedSnapshot.id))
        .order_by(col(Feed.id))
    )
    for site, feed_id, count, warnings in read:
        ahead.add(count, site=site, feed=feed_id)
        for kind in WARNINGS:
            warned.add(warnings.get(kind, 0), site=site, feed=feed_id, kind=kind)
    return good, max_age, ahead, warned


def notice_families(session: Session, counted: Counts) -> Iterable[Family]:
    told = Family(
        "raumwart_notifications_total", "counter", "Messages to people that came to an end"
    )
    waiting = Family(
        "raumwart_notifications_waiting", "gauge", "Messages that are still to be sent"
    )
    oldest = Family(
        "raumwart_notification_oldest_waiting_timestamp_seconds",
        "gauge",
        "When the oldest of them was written",
    )
    rows = session.execute(
        select(col(Notice.channel), func.count(), func.min(col(Notice.made_at)))
        .where(col(Notice.state).in_(OPEN_NOTICES))
        .group_by(col(Notice.channel))
    )
    open_now = {channel: (count, first) for channel, count, first in rows}
    for channel in Channel:
        count, first = open_now.get(channel, (0, None))
        waiting.add(count, channel=channel.value)
        if first is not None:
            oldest.add(first.timestamp(), channel=channel.value)
        for state in NoticeState:
            if state not in OPEN_NOTICES:
                value = counted[(tally.NOTICES, channel.value, state.value)]
                told.add(value, channel=channel.value, result=state.value)
    return told, waiting, oldest
