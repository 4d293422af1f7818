"""Shows today's courses in order of time, and how far their resets are."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from sqlmodel import Session, col, select

from dashboards.finding import in_order, municipalities
from dashboards.view import local_day, page
from fleet import readiness
from fleet.auth import Visitor, signed_in
from fleet.readiness import RoomStatus
from fleet.resets.due import BY_PLAN
from inventory import Course, Device, Readiness, ResetRun, Room, RunState, Site
from inventory.db import reading
from inventory.recipes import CANARY

router = APIRouter(default_response_class=HTMLResponse)

TROUBLE = frozenset({RunState.FAILED, RunState.UNKNOWN, RunState.EXPIRED})
Runs = Sequence[tuple[ResetRun, Device]]


@dataclass(frozen=True)
class Resets:
    """The resets for one course, and what stands out among them."""

    runs: Runs

    @property
    def tally(self) -> list[tuple[RunState, int]]:
        return tally(run for run, _ in self.runs)

    @property
    def trouble(self) -> Runs:
        return [pair for pair in self.runs if pair[0].state in TROUBLE]


@dataclass(frozen=True)
class Entry:
    """A course of today with everything the page says about it."""

    course: Course
    room: Room
    site: Site
    resets: Resets
    frozen: Readiness | None
    """The verdict at its start, once it has begun."""
    status: RoomStatus | None
    """How its room is now, when this is the course that the room is judged for."""
    begun: bool
    over: bool


def tally(runs: Iterable[ResetRun]) -> list[tuple[RunState, int]]:
    """How many runs are in which state, in the order in which states follow each other."""
    counted = Counter(run.state for run in runs)
    return [(state, counted[state]) for state in RunState if counted[state]]


@router.get("/heute")
def today(
    request: Request, visitor: Visitor = Depends(signed_in), gemeinde: str = ""
) -> HTMLResponse:
    now = request.app.state.clock()
    start, end = local_day(now)
    with reading(request.app.state.engine) as session:
        choices = municipalities(session, visitor)
        query = (
            select(Course, Room, Site, Readiness)
            .join(Room, col(Room.id) == col(Course.room_id))
            .join(Site, col(Site.id) == col(Room.site_id))
            .outerjoin(Readiness, col(Readiness.course_id) == col(Course.id))
            .where(col(Site.id).in_(visitor.sites), Course.end > start, Course.start < end)
            .order_by(col(Course.start), col(Room.name))
        )
        if gemeinde:
            query = query.where(Site.municipality == gemeinde)
        rows = session.exec(query).all()
        rooms = readiness.overview(session, now, request.app.state.settings, visitor.sites)
        judged = {one.course.id: one for one in rooms if one.course}
        runs = _runs_of(session, [course.id for course, *_ in rows if course.id is not None])
        by_hand = session.exec(
            select(ResetRun, Device)
            .join(Device, col(Device.id) == col(ResetRun.device_id))
            .join(Room, col(Room.id) == col(Device.room_id))
            .where(
                col(Room.site_id).in_(visitor.sites),
                col(ResetRun.course_id).is_(None),
                ResetRun.recipe_id != CANARY,
                ResetRun.requested_by != BY_PLAN,
                ResetRun.planned_at >= start,
            )
            .order_by(col(ResetRun.planned_at).desc())
            .limit(50)
        ).all()
    entries = [
        Entry(
            course,
            room,
            site,
            Resets(in_order(runs.get(course.id or 0, []))),
            frozen,
            judged.get(course.id),
            begun=course.start <= now,
            over=course.end <= now,
        )
        for course, room, site, frozen in rows
    ]
    return page(
        request,
        "today.html",
        visitor=visitor,
        entries=entries,
        coming=[entry for entry in entries if not entry.over],
        past=[entry for entry in reversed(entries) if entry.over],
        tally=tally(run for entry in entries for run, _ in entry.resets.runs),
        by_hand=by_hand,
        municipalities=choices,
        chosen=gemeinde,
    )


def _runs_of(session: Session, courses: list[int]) -> dict[int, list[tuple[ResetRun, Device]]]:
    found: dict[int, list[tuple[ResetRun, Device]]] = {}
    rows = session.exec(
        select(ResetRun, Device, Course)
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .join(Course, col(Course.id) == col(ResetRun.course_id))
        .where(col(ResetRun.course_id).in_(courses))
    )
    for run, device, course in rows:
        # A course that was moved has runs for its old start too: they were dropped.
        if course.id is not None and run.course_start in (None, course.start):
            found.setdefault(course.id, []).append((run, device))
    return found
