"""Timetables and what their readings found, as JSON."""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from sqlalchemy import select
from sqlmodel import col

from fleet.api.queries import Limit, Name, Offset, Viewer, new_router, one_of, page_of
from fleet.api.shapes import Out, Page
from inventory import Feed, FeedKind, FeedSnapshot
from inventory.db import reading

router = new_router()


class FeedOut(Out):
    id: str
    site_id: str
    room_id: str | None
    """None: each course names its place."""
    kind: FeedKind
    host: str
    """Where it is read; the whole address may be a secret. Empty: a file."""
    credential: str
    options: dict[str, Any]
    max_age_s: int
    tried_at: datetime | None
    good_at: datetime | None
    """When it was last read in full."""
    problem: str
    """A code; `fleet.timetable.PROBLEMS` puts it into words. Empty: read in full."""
    detail: str


class SnapshotOut(Out):
    id: int
    taken_at: datetime
    seen_at: datetime
    sha256: str
    size: int
    events: int
    coming: int
    warnings: dict[str, int]
    problem: str
    detail: str


def _shape(feed: Feed) -> FeedOut:
    return FeedOut.model_validate({**feed.model_dump(), "host": host(feed)})


def host(feed: Feed) -> str:
    """Where a feed is read, without the part of its address that may be a secret."""
    return urlsplit(feed.url).hostname or ""


_FEEDS = select(Feed).order_by(col(Feed.id))


@router.get("/feeds")
def list_feeds(
    request: Request, visitor: Viewer, site: Name = None, limit: Limit = 100, offset: Offset = 0
) -> Page[FeedOut]:
    """Timetables and how far each may be believed."""
    query = _FEEDS.where(col(Feed.site_id).in_(visitor.sites))
    if site is not None:
        query = query.where(col(Feed.site_id) == site)
    with reading(request.app.state.engine) as opened:
        return page_of(opened, query, _shape, limit, offset)


@router.get("/feeds/{feed_id}/snapshots")
def list_snapshots(
    request: Request, visitor: Viewer, feed_id: str, limit: Limit = 100, offset: Offset = 0
) -> Page[SnapshotOut]:
    """What readings of this timetable found, as often as that changed, the newest first."""
    feed = _FEEDS.where(col(Feed.site_id).in_(visitor.sites), col(Feed.id) == feed_id)
    query = (
        select(FeedSnapshot)
        .where(col(FeedSnapshot.feed_id) == feed_id)
        .order_by(col(FeedSnapshot.id).desc())
    )
    with reading(request.app.state.engine) as opened:
        one_of(opened, feed, _shape)
        return page_of(opened, query, SnapshotOut.model_validate, limit, offset)
