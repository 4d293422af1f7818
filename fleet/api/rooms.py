"""Rooms and their readiness."""

from fastapi import HTTPException, Request

from fleet import readiness
from fleet.api.queries import (
    NOT_FOUND,
    Limit,
    Name,
    Offset,
    Viewer,
    new_router,
)
from fleet.api.shapes import (
    CountOut,
    CourseOut,
    Page,
    ReasonOut,
    RoomOut,
)
from inventory import (
    Room,
    Verdict,
)
from inventory.db import reading

router = new_router()


def _room(status: readiness.RoomStatus) -> RoomOut:
    return RoomOut(
        id=status.room.id,
        site_id=status.site.id,
        name=status.room.name,
        verdict=status.verdict,
        reasons=[ReasonOut.model_validate(reason) for reason in status.reasons],
        running=status.running,
        course=CourseOut.model_validate(status.course) if status.course else None,
        counts={
            str(kind): CountOut(usable=usable, wanted=wanted, present=present)
            for kind, (usable, wanted, present) in status.counts.items()
        },
        judged_at=status.judged_at,
    )


@router.get("/rooms")
def list_rooms(
    request: Request,
    visitor: Viewer,
    site: Name = None,
    verdict: Verdict | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[RoomOut]:
    """Rooms and their readiness; first those that need attention."""
    state = request.app.state
    sites = visitor.sites if site is None else visitor.sites & {site}
    with reading(state.engine) as opened:
        found = [
            status
            for status in readiness.overview(opened, state.clock(), state.settings, sites)
            if verdict is None or status.verdict == verdict
        ]
    some = [_room(status) for status in found[offset : offset + limit]]
    return Page(items=some, total=len(found), limit=limit, offset=offset)


@router.get("/rooms/{room_id}")
def get_room(request: Request, visitor: Viewer, room_id: str) -> RoomOut:
    state = request.app.state
    with reading(state.engine) as opened:
        room = opened.get(Room, room_id)
        if room is None or room.site_id not in visitor.sites:
            raise HTTPException(404, NOT_FOUND)
        return _room(readiness.room_status(opened, room_id, state.clock(), state.settings))
