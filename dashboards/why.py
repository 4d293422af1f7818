"""Shows what is kept of a course in the past: how its room was, and why."""

from collections.abc import Sequence

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from sqlmodel import Session

from dashboards.finding import find_room
from dashboards.view import page
from fleet.auth import Visitor, signed_in
from fleet.readiness import replay
from inventory import Course
from inventory.db import reading

router = APIRouter(default_response_class=HTMLResponse)


@router.get("/raum/{room_id}/warum")
def why(
    request: Request,
    room_id: str,
    visitor: Visitor = Depends(signed_in),
    tag: str = "",
    kurs: str = "",
) -> HTMLResponse:
    """Without a day: the last course that was not simply ready."""
    wrong = False
    courses: Sequence[Course] = []
    with reading(request.app.state.engine) as session:
        room, site = find_room(session, room_id, visitor)
        try:
            courses = _courses(session, room_id, tag, kurs, request)
        except replay.NotUnderstood:
            wrong = True
        stories = [replay.story(session, course) for course in courses]
    return page(
        request,
        "why.html",
        visitor=visitor,
        room=room,
        site=site,
        stories=stories,
        day=tag,
        wrong=wrong,
        asked=bool(tag or kurs),
        http_status=422 if wrong else 200,
    )


def _courses(
    session: Session, room_id: str, day: str, course_id: str, request: Request
) -> Sequence[Course]:
    if day:
        found = replay.day_of(day, request.app.state.clock())
        return replay.courses_on(session, room_id, found)
    if course_id.isdecimal() and len(course_id) < 10:
        course = session.get(Course, int(course_id))
        return [course] if course and course.room_id == room_id else []
    last = replay.last_trouble(session, room_id)
    return [last] if last else []
