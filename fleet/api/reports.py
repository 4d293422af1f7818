"""What caretakers reported."""

from collections.abc import Callable

from fastapi import Request
from sqlalchemy import select
from sqlmodel import col

from fleet.api.queries import (
    Limit,
    Name,
    Offset,
    Poster,
    Viewer,
    allow,
    new_router,
    one_of,
    page_of,
    within,
)
from fleet.api.shapes import (
    Page,
    ReportChange,
    ReportOut,
)
from fleet.auth import Action, Visitor
from inventory import (
    Device,
    Report,
    ReportState,
    Room,
)
from inventory.db import reading, session

router = new_router()


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
    query = within(_REPORTS, visitor, site, room)
    if device is not None:
        query = query.where(col(Report.device_id) == device)
    if state is not None:
        query = query.where(col(Report.state) == state)
    with reading(request.app.state.engine) as opened:
        return page_of(opened, query, _report_for(visitor), limit, offset)


@router.get("/reports/{report_id}")
def get_report(request: Request, visitor: Viewer, report_id: str) -> ReportOut:
    with reading(request.app.state.engine) as opened:
        query = within(_REPORTS, visitor).where(col(Report.id) == report_id)
        return one_of(opened, query, _report_for(visitor))


@router.patch("/reports/{report_id}")
def change_report(
    request: Request, visitor: Poster, report_id: str, change: ReportChange
) -> ReportOut:
    """Move a report on, or open it again."""
    allow(visitor, Action.WORK)
    with session(request.app.state.engine) as opened:
        query = within(_REPORTS, visitor).where(col(Report.id) == report_id)
        report, room_id = one_of(opened, query, lambda report, room: (report, room))
        if report.state != change.state:
            report.state = change.state
            done = change.state is ReportState.DONE
            report.closed_at = request.app.state.clock() if done else None
        return _report_for(visitor)(report, room_id)
