"""How ready rooms were, why one was not, and which coming courses would fail."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any

from fastapi import HTTPException, Query, Request
from pydantic import BaseModel
from sqlmodel import col, select

from fleet.api.queries import NOT_FOUND, Moment, Name, Viewer, new_router
from fleet.api.shapes import CourseOut, ReasonOut, ResetOut
from fleet.readiness import forecast, replay, statistics
from inventory import Course, Room, Verdict
from inventory.db import reading

router = new_router()
Month = Annotated[str | None, Query(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
LONGEST = timedelta(days=31)


class Counted(BaseModel):
    name: str
    count: int


class RoomMonthOut(BaseModel):
    month: str
    site_id: str
    room_id: str
    courses: int
    verdicts: dict[Verdict, int]
    """At the courses' starts."""
    resets: int
    resets_proved: int
    reasons: list[Counted]
    """Why it was not ready: in how many courses, the most frequent first."""
    worst_devices: list[Counted]
    """Whose resets were not proved, and how often."""


class ToldOut(BaseModel):
    point: str
    """`day`, `hour` and `quarter` before the course, or its `start`."""
    verdict: Verdict
    reasons: list[ReasonOut]
    evidence: dict[str, Any]
    judged_at: datetime


class ChangeOut(BaseModel):
    device: str | None
    """Its name; null: the room's own verdict."""
    at: datetime
    old: str
    new: str
    reason: str


class StoryOut(BaseModel):
    course: CourseOut
    verdicts: list[ToldOut]
    resets: list[ResetOut]
    changes: list[ChangeOut]
    reports: list[str]
    """References of reports that were open at its start."""
    alarms: list[dict[str, Any]]
    messages: list[dict[str, Any]]


class ProspectOut(BaseModel):
    course: CourseOut
    site_id: str
    verdict: Verdict
    reasons: list[ReasonOut]
    swaps: list[tuple[str, str]]


def _reasons(found: Any) -> list[ReasonOut]:
    return [ReasonOut.model_validate(reason) for reason in found]


@router.get("/statistics")
def get_statistics(
    request: Request, visitor: Viewer, month: Month = None, site: Name = None
) -> list[RoomMonthOut]:
    """Every room in one month (the running one), those with the most trouble first."""
    now = request.app.state.clock()
    chosen = date.fromisoformat(f"{month}-01") if month else statistics.month_of(now)
    sites = visitor.sites if site is None else visitor.sites & {site}
    with reading(request.app.state.engine) as opened:
        rows = statistics.by_room(opened, chosen, sites)
    return [
        RoomMonthOut(
            month=chosen.strftime("%Y-%m"),
            site_id=one.site.id,
            room_id=one.room.id,
            courses=one.courses,
            verdicts={verdict: one.verdicts[verdict] for verdict in Verdict},
            resets=one.resets,
            resets_proved=one.proved,
            reasons=[Counted(name=name, count=count) for name, count in one.reasons],
            worst_devices=[Counted(name=name, count=count) for name, count in one.worst],
        )
        for one in rows
    ]


@router.get("/courses/{course_id}/why")
def get_why(request: Request, visitor: Viewer, course_id: int) -> StoryOut:
    """Everything that is kept of how the room was for this course."""
    if not 0 < course_id < 2**31:
        raise HTTPException(404, NOT_FOUND)
    with reading(request.app.state.engine) as opened:
        course = opened.exec(
            select(Course)
            .join(Room, col(Room.id) == col(Course.room_id))
            .where(Course.id == course_id, col(Room.site_id).in_(visitor.sites))
        ).first()
        if course is None:
            raise HTTPException(404, NOT_FOUND)
        told = replay.story(opened, course)
        return StoryOut(
            course=CourseOut.model_validate(course),
            verdicts=[
                ToldOut(**{**vars(each), "reasons": _reasons(each.reasons)})
                for each in told.verdicts
            ],
            resets=[ResetOut.model_validate(run) for run, _ in told.runs],
            changes=[
                ChangeOut(device=name, at=flip.at, old=flip.old, new=flip.new, reason=flip.reason)
                for flip, name in told.flips
            ],
            reports=[report.id for report, _ in told.reports],
            alarms=[{"level": alarm.level, "raised_at": alarm.raised_at} for alarm in told.alarms],
            messages=[
                {"level": one.level, "channel": one.channel, "state": one.state, "at": one.made_at}
                for one in told.notices
            ],
        )


@router.get("/forecast")
def get_forecast(
    request: Request, visitor: Viewer, until: Moment | None = None, failing: bool = False
) -> list[ProspectOut]:
    """How rooms would be for the coming courses (of 7 days, at most 31), if nothing changes.
    `failing`: only those that would not simply be ready."""
    now = request.app.state.clock()
    end = min(until or now + timedelta(days=7), now + LONGEST)
    with reading(request.app.state.engine) as opened:
        found = forecast.foresee(opened, now, end, request.app.state.settings, visitor.sites)
    return [
        ProspectOut(
            course=CourseOut.model_validate(each.course),
            site_id=each.site.id,
            verdict=each.judgement.verdict,
            reasons=_reasons(each.judgement.reasons),
            swaps=[(swap.out, swap.into) for swap in each.judgement.swaps],
        )
        for each in found
        if each.fails or not failing
    ]
