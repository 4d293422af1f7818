"""Courses."""

from datetime import datetime, timedelta

from fastapi import Request
from sqlalchemy import select
from sqlmodel import col

from fleet.api.queries import (
    Limit,
    Moment,
    Name,
    Offset,
    Viewer,
    new_router,
    page_of,
    within,
)
from fleet.api.shapes import (
    CourseOut,
    Page,
)
from inventory import (
    Course,
    Room,
)
from inventory.db import reading

router = new_router()


@router.get("/courses")
def list_courses(
    request: Request,
    visitor: Viewer,
    site: Name = None,
    room: Name = None,
    since: Moment | None = None,
    until: Moment | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[CourseOut]:
    """Courses that overlap the time from `since` (now) to `until` (14 days later), by start."""
    begin: datetime = since or request.app.state.clock()
    end = until or begin + timedelta(days=14)
    query = within(
        select(Course)
        .join(Room, col(Room.id) == col(Course.room_id))
        .where(col(Course.end) > begin, col(Course.start) < end)
        .order_by(col(Course.start), col(Course.id)),
        visitor,
        site,
        room,
    )
    with reading(request.app.state.engine) as opened:
        return page_of(opened, query, CourseOut.model_validate, limit, offset)
