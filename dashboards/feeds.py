"""Shows what is wrong with a room's timetable, and takes the word that a shorter one is right."""

import re
from collections.abc import Sequence

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlmodel import Session, col, select

from dashboards.finding import find_room
from fleet import timetable
from fleet.auth import Action, Visitor, posted
from inventory import Feed, Room
from inventory.db import session

router = APIRouter(default_response_class=HTMLResponse)

SHRUNK = "shrunk"
COUNTS = re.compile(r"(\d+) instead of (\d+)")


def troubled(opened: Session, room: Room) -> list[tuple[Feed, tuple[int, int] | None]]:
    """The room's feeds that have a problem; for one that shrank the coming courses now and before.

    A feed without a room belongs to every room of its site.
    """
    return [(feed, _counts(feed)) for feed in _feeds(opened, room) if feed.problem]


def _feeds(opened: Session, room: Room) -> Sequence[Feed]:
    return opened.exec(
        select(Feed)
        .join(Room, timetable.belongs())
        .where(Room.id == room.id)
        .order_by(col(Feed.id))
    ).all()


def _counts(feed: Feed) -> tuple[int, int] | None:
    told = COUNTS.fullmatch(feed.detail) if feed.problem == SHRUNK else None
    return (int(told[1]), int(told[2])) if told else None


@router.post("/raum/{room_id}/stundenplan")
def confirm(
    request: Request, room_id: str, feed: str = Form(), visitor: Visitor = Depends(posted)
) -> RedirectResponse:
    """Only a feed that shrank is confirmed: every other problem ends with a full reading."""
    if not visitor.can(Action.EDIT):
        raise HTTPException(403)
    hint = "timetable_fine"
    with session(request.app.state.engine) as opened:
        room, _ = find_room(opened, room_id, visitor)
        if feed not in {each.id for each in _feeds(opened, room)}:
            raise HTTPException(404)
        if opened.get_one(Feed, feed, with_for_update=True).problem == SHRUNK:
            timetable.confirm(opened, feed, request.app.state.clock())
            hint = "timetable_confirmed"
    return RedirectResponse(f"/raum/{room_id}?hinweis={hint}", 303)
