"""The same as the pages show and do, as JSON for scripts, under /api/v1."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from pydantic import AfterValidator, AwareDatetime
from sqlalchemy import Select, func, select
from sqlmodel import Session, col

from fleet import readiness, resets
from fleet.api.ansible import ansible_inventory
from fleet.api.faults import FaultRoute
from fleet.api.shapes import (
    CountOut,
    CourseOut,
    DeviceOut,
    Fault,
    Page,
    ReasonOut,
    ReportChange,
    ReportOut,
    ResetOut,
    RoomOut,
    StateOut,
)
from fleet.auth import Action, Visitor, may, posted
from inventory import (
    Course,
    Device,
    DeviceKind,
    DeviceState,
    Health,
    Report,
    ReportState,
    ResetRun,
    Room,
    RunState,
    Verdict,
)
from inventory.db import reading, session

router = APIRouter(
    prefix="/api/v1",
    route_class=FaultRoute,
    tags=["v1"],
    responses={code: {"model": Fault} for code in (401, 403, 404, 422)},
)

Viewer = Annotated[Visitor, Depends(may(Action.VIEW))]
Poster = Annotated[Visitor, Depends(posted)]
Limit = Annotated[int, Query(ge=1, le=500)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]
Name = Annotated[str | None, Query(max_length=63)]
YEARS = range(2000, 2200)


def _near(moment: datetime) -> datetime:
    """Further away the calendar itself ends, in one time zone or another."""
    if moment.year not in YEARS:
        raise ValueError(f"must lie between {YEARS.start} and {YEARS.stop}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_near)]

T = TypeVar("T")
Queried = Select[*tuple[Any, ...]]

NOT_FOUND = "There is nothing of this name here."


def _page(
    opened: Session,
    query: Queried,
    shape: Callable[..., T],
    limit: int,
    offset: int,
) -> Page[T]:
    total = opened.execute(select(func.count()).select_from(query.order_by(None).subquery()))
    rows = opened.execute(query.limit(limit).offset(offset))
    return Page(
        items=[shape(*row) for row in rows],
        total=total.scalar_one(),
        limit=limit,
        offset=offset,
    )


def _one(opened: Session, query: Queried, shape: Callable[..., T]) -> T:
    row = opened.execute(query).first()
    if row is None:
        raise HTTPException(404, NOT_FOUND)
    return shape(*row)


def _within(
    query: Queried, visitor: Visitor, site: str | None = None, room: str | None = None
) -> Queried:
    """Only what stands at sites that the visitor may see; the query has joined Room."""
    query = query.where(col(Room.site_id).in_(visitor.sites))
    if site is not None:
        query = query.where(col(Room.site_id) == site)
    return query if room is None else query.where(col(Room.id) == room)


# --- rooms ----------------------------------------------------------------------------------


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


# --- devices --------------------------------------------------------------------------------


def _device(device: Device, site_id: str, state: DeviceState | None) -> DeviceOut:
    return DeviceOut.model_validate(
        {
            **device.model_dump(),
            "site_id": site_id,
            "state": StateOut.model_validate(state) if state else None,
        }
    )


_DEVICES = (
    select(Device, col(Room.site_id), DeviceState)
    .join(Room, col(Room.id) == col(Device.room_id))
    .outerjoin(DeviceState, col(DeviceState.device_id) == col(Device.id))
    .order_by(col(Device.id))
)


@router.get("/devices")
def list_devices(
    request: Request,
    visitor: Viewer,
    site: Name = None,
    room: Name = None,
    kind: DeviceKind | None = None,
    state: Health | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[DeviceOut]:
    """Devices and what is known of them; `state`: only those of this health."""
    query = _within(_DEVICES, visitor, site, room)
    if kind is not None:
        query = query.where(col(Device.kind) == kind)
    if state is not None:
        unheard = Health.UNKNOWN if state is Health.UNKNOWN else None
        known = col(DeviceState.health) == state
        query = query.where(known | col(DeviceState.health).is_(None) if unheard else known)
    with reading(request.app.state.engine) as opened:
        return _page(opened, query, _device, limit, offset)


@router.get("/devices/{device_id}")
def get_device(request: Request, visitor: Viewer, device_id: str) -> DeviceOut:
    with reading(request.app.state.engine) as opened:
        query = _within(_DEVICES, visitor).where(col(Device.id) == device_id)
        return _one(opened, query, _device)


@router.post("/devices/{device_id}/reset", status_code=202, responses={409: {"model": Fault}})
def reset_device(request: Request, visitor: Poster, device_id: str) -> ResetOut:
    """Ask for a reset by hand. 409 says why not, for example that a course is running."""
    _allow(visitor, Action.RESET)
    state = request.app.state
    with session(state.engine) as opened:
        _one(opened, _within(_DEVICES, visitor).where(col(Device.id) == device_id), _device)
        actor = visitor.account.name
        run = resets.request(opened, device_id, state.clock(), state.settings, actor)
        opened.flush()
        return ResetOut.model_validate(run)


def _allow(visitor: Visitor, action: Action) -> None:
    if not visitor.can(action):
        raise HTTPException(403, "Your account may not do this.")


# --- courses --------------------------------------------------------------------------------


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
    query = _within(
        select(Course)
        .join(Room, col(Room.id) == col(Course.room_id))
        .where(col(Course.end) > begin, col(Course.start) < end)
        .order_by(col(Course.start), col(Course.id)),
        visitor,
        site,
        room,
    )
    with reading(request.app.state.engine) as opened:
        return _page(opened, query, CourseOut.model_validate, limit, offset)


# --- resets ---------------------------------------------------------------------------------

_RESETS = (
    select(ResetRun)
    .join(Device, col(Device.id) == col(ResetRun.device_id))
    .join(Room, col(Room.id) == col(Device.room_id))
    .order_by(col(ResetRun.planned_at).desc(), col(ResetRun.id))
)


@router.get("/resets")
def list_resets(
    request: Request,
    visitor: Viewer,
    site: Name = None,
    room: Name = None,
    device: Name = None,
    state: RunState | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[ResetOut]:
    """Reset runs, the newest first."""
    query = _within(_RESETS, visitor, site, room)
    if device is not None:
        query = query.where(col(ResetRun.device_id) == device)
    if state is not None:
        query = query.where(col(ResetRun.state) == state)
    with reading(request.app.state.engine) as opened:
        return _page(opened, query, ResetOut.model_validate, limit, offset)


@router.get("/resets/{reset_id}")
def get_reset(request: Request, visitor: Viewer, reset_id: str) -> ResetOut:
    with reading(request.app.state.engine) as opened:
        query = _within(_RESETS, visitor).where(col(ResetRun.id) == reset_id)
        return _one(opened, query, ResetOut.model_validate)


# --- reports --------------------------------------------------------------------------------

_REPORTS = (
    select(Report, col(Room.id))
    .join(Device, col(Device.id) == col(Report.device_id))
    .join(Room, col(Room.id) == col(Device.room_id))
    .order_by(col(Report.reported_at).desc(), col(Report.id))
)


def _report_for(visitor: Visitor) -> Callable[[Report, str], ReportOut]:
    def shape(report: Report, room_id: str) -> ReportOut:
        contact = report.contact if visitor.can(Action.WORK) else ""
        return ReportOut.model_validate(
            {**report.model_dump(), "room_id": room_id, "contact": contact}
        )

    return shape


@router.get("/reports")
def list_reports(
    request: Request,
    visitor: Viewer,
    site: Name = None,
    room: Name = None,
    device: Name = None,
    state: ReportState | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[ReportOut]:
    """Fault reports, the newest first."""
    query = _within(_REPORTS, visitor, site, room)
    if device is not None:
        query = query.where(col(Report.device_id) == device)
    if state is not None:
        query = query.where(col(Report.state) == state)
    with reading(request.app.state.engine) as opened:
        return _page(opened, query, _report_for(visitor), limit, offset)


@router.get("/reports/{report_id}")
def get_report(request: Request, visitor: Viewer, report_id: str) -> ReportOut:
    with reading(request.app.state.engine) as opened:
        query = _within(_REPORTS, visitor).where(col(Report.id) == report_id)
        return _one(opened, query, _report_for(visitor))


@router.patch("/reports/{report_id}")
def change_report(
    request: Request, visitor: Poster, report_id: str, change: ReportChange
) -> ReportOut:
    """Move a report on, or open it again."""
    _allow(visitor, Action.WORK)
    with session(request.app.state.engine) as opened:
        query = _within(_REPORTS, visitor).where(col(Report.id) == report_id)
        report, room_id = _one(opened, query, lambda report, room: (report, room))
        if report.state != change.state:
            report.state = change.state
            done = change.state is ReportState.DONE
            report.closed_at = request.app.state.clock() if done else None
        return _report_for(visitor)(report, room_id)


# --- Ansible --------------------------------------------------------------------------------


@router.get("/ansible")
def ansible(request: Request, visitor: Viewer) -> dict[str, Any]:
    """Ansible's dynamic inventory: the devices that are reached by SSH, in groups `site_…`,
    `room_…` and `kind_…` (hyphens become underscores)."""
    with reading(request.app.state.engine) as opened:
        return ansible_inventory(opened, visitor.sites)
