"""Shows the timetables, what is wrong with one, and takes the word that a shorter one is right."""

import re
from collections.abc import Sequence

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import update
from sqlmodel import Session, col, select

from dashboards.finding import find_room
from dashboards.view import page
from fleet import timetable
from fleet.api.feeds import host
from fleet.auth import Action, Visitor, may, posted
from fleet.timetable import snapshots
from inventory import Feed, FeedSnapshot, Room, Site
from inventory.db import reading, session

router = APIRouter(default_response_class=HTMLResponse)

COUNTS = re.compile(r"(\d+) instead of (\d+)")
MOST = 50
"""Snapshots on one page."""
MOST_COMPARED = 200
"""Courses that a comparison lists on either side."""


def troubled(opened: Session, room: Room) -> list[tuple[Feed, tuple[int, int] | None]]:
    """The room's feeds that have a problem; for one that shrank the coming courses now and before.

    A feed without a room belongs to every room of its site.
    """
    return [(feed, _counts(feed)) for feed in of_room(opened, room) if feed.problem]


def of_room(opened: Session, room: Room) -> Sequence[Feed]:
    return opened.exec(
        select(Feed)
        .join(Room, timetable.belongs())
        .where(Room.id == room.id)
        .order_by(col(Feed.id))
    ).all()


def _counts(feed: Feed) -> tuple[int, int] | None:
    told = COUNTS.fullmatch(feed.detail) if feed.problem == "shrunk" else None
    return (int(told[1]), int(told[2])) if told else None


@router.post("/raum/{room_id}/stundenplan")
def confirm(
    request: Request, room_id: str, feed: str = Form(), visitor: Visitor = Depends(posted)
) -> RedirectResponse:
    if not visitor.can(Action.EDIT):
        raise HTTPException(403)
    with session(request.app.state.engine) as opened:
        room, _ = find_room(opened, room_id, visitor)
        if feed not in {each.id for each in of_room(opened, room)}:
            raise HTTPException(404)
        hint = _confirmed(opened, feed)
    return RedirectResponse(f"/raum/{room_id}?hinweis={hint}", 303)


def _confirmed(opened: Session, feed: str) -> str:
    """Only a feed that shrank or is empty is confirmed: every other problem ends with a full
    reading. Returns what to tell."""
    if opened.get_one(Feed, feed, with_for_update=True).problem not in timetable.TO_CONFIRM:
        return "timetable_fine"
    timetable.confirm(opened, feed)
    return "timetable_confirmed"


# --- the timetables themselves, for those who look after them -------------------------------


def _find(opened: Session, feed_id: str, visitor: Visitor) -> tuple[Feed, Site]:
    """The feed and its site. Raises 404 when there is none, or none for this visitor."""
    found = opened.exec(
        select(Feed, Site)
        .join(Site, col(Site.id) == col(Feed.site_id))
        .where(Feed.id == feed_id, col(Site.id).in_(visitor.sites))
    ).first()
    if found is None:
        raise HTTPException(404)
    return found


@router.get("/stundenplaene")
def overview(request: Request, visitor: Visitor = Depends(may(Action.EDIT))) -> HTMLResponse:
    with reading(request.app.state.engine) as opened:
        rows = opened.exec(
            select(Feed, Site, Room)
            .join(Site, col(Site.id) == col(Feed.site_id))
            .outerjoin(Room, col(Room.id) == col(Feed.room_id))
            .where(col(Site.id).in_(visitor.sites))
            .order_by(col(Feed.problem) == "", col(Site.name), col(Feed.id))
        ).all()
    return page(request, "feeds.html", visitor=visitor, rows=rows)


@router.get("/stundenplan/{feed_id}")
def one(
    request: Request,
    feed_id: str,
    visitor: Visitor = Depends(may(Action.EDIT)),
    hinweis: str = "",
) -> HTMLResponse:
    with reading(request.app.state.engine) as opened:
        feed, site = _find(opened, feed_id, visitor)
        room = opened.get(Room, feed.room_id) if feed.room_id else None
        taken = opened.exec(
            select(FeedSnapshot)
            .where(FeedSnapshot.feed_id == feed_id)
            .order_by(col(FeedSnapshot.id).desc())
            .limit(MOST)
        ).all()
    return page(
        request,
        "feed.html",
        visitor=visitor,
        hint=hinweis,
        feed=feed,
        site=site,
        room=room,
        host=host(feed),
        taken=taken,
        comparable=_pair(taken) is not None,
    )


def _pair(taken: Sequence[FeedSnapshot]) -> tuple[FeedSnapshot, FeedSnapshot] | None:
    """The last good reading and the newest one, when both are kept and differ."""
    kept = [one for one in taken if one.body]
    good = next((one for one in kept if not one.problem), None)
    return (good, kept[0]) if good is not None and good is not kept[0] else None


@router.post("/stundenplan/{feed_id}/neu")
def read_again(
    request: Request, feed_id: str, visitor: Visitor = Depends(posted)
) -> RedirectResponse:
    """At the next tick of the clockwork, not within this request."""
    if not visitor.can(Action.EDIT):
        raise HTTPException(403)
    with session(request.app.state.engine) as opened:
        _find(opened, feed_id, visitor)
        opened.execute(update(Feed).where(col(Feed.id) == feed_id).values(tried_at=None))
    return RedirectResponse(f"/stundenplan/{feed_id}?hinweis=timetable_again", 303)


@router.post("/stundenplan/{feed_id}/stimmt")
def confirm_here(
    request: Request, feed_id: str, visitor: Visitor = Depends(posted)
) -> RedirectResponse:
    if not visitor.can(Action.EDIT):
        raise HTTPException(403)
    with session(request.app.state.engine) as opened:
        _find(opened, feed_id, visitor)
        hint = _confirmed(opened, feed_id)
    return RedirectResponse(f"/stundenplan/{feed_id}?hinweis={hint}", 303)


@router.get("/stundenplan/{feed_id}/vergleich")
def compare(
    request: Request, feed_id: str, visitor: Visitor = Depends(may(Action.EDIT))
) -> HTMLResponse:
    """What a reading in doubt lacks, so that somebody can tell holidays from a loss."""
    with reading(request.app.state.engine) as opened:
        feed, _ = _find(opened, feed_id, visitor)
        taken = opened.exec(
            select(FeedSnapshot)
            .where(FeedSnapshot.feed_id == feed_id, col(FeedSnapshot.body).is_not(None))
            .order_by(col(FeedSnapshot.id).desc())
        ).all()
    pair = _pair(taken)
    if pair is None:
        raise HTTPException(404)
    start, end = timetable.window(request.app.state.clock())
    found = snapshots.compare(feed, *pair, start, end)
    return page(
        request,
        "feed_compare.html",
        visitor=visitor,
        feed=feed,
        good=pair[0],
        other=pair[1],
        found=found,
        most=MOST_COMPARED,
    )


@router.get("/stundenplan/{feed_id}/inhalt/{number}")
def body(
    request: Request, feed_id: str, number: int, visitor: Visitor = Depends(may(Action.EDIT))
) -> Response:
    """What came, as a file: never shown as a page, whatever it is."""
    with reading(request.app.state.engine) as opened:
        _find(opened, feed_id, visitor)
        snapshot = opened.get(FeedSnapshot, number) if 0 < number < 2**31 else None
        if snapshot is None or snapshot.feed_id != feed_id or not snapshot.body:
            raise HTTPException(404)
        text = snapshots.body_of(snapshot)
    name = f"{feed_id}-{snapshot.taken_at:%Y%m%d-%H%M}.txt"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="application/octet-stream", headers=headers)
