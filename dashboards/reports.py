"""Shows what caretakers reported, and moves a report on."""

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlmodel import col, func, select

from dashboards import words
from dashboards.finding import find_report, municipalities
from dashboards.view import page
from fleet.auth import Action, Visitor, posted, signed_in
from inventory import Device, Report, ReportState, Room, Site
from inventory.db import reading, session

router = APIRouter(default_response_class=HTMLResponse)

MOST = 200
STATES = [
    ("", words.N_("offen")),
    *((state.value, text) for state, text in words.REPORT_STATE.items()),
    ("all", words.N_("alle")),
]
FOLLOWING = {
    ReportState.RECEIVED: [ReportState.IN_PROGRESS, ReportState.DONE],
    ReportState.IN_PROGRESS: [ReportState.DONE, ReportState.RECEIVED],
    ReportState.DONE: [ReportState.IN_PROGRESS],
}
ACTIONS = {
    ReportState.RECEIVED: words.N_("Zurück auf eingegangen"),
    ReportState.IN_PROGRESS: words.N_("In Arbeit nehmen"),
    ReportState.DONE: words.N_("Erledigt"),
}


@router.get("/meldungen")
def reports(
    request: Request,
    visitor: Visitor = Depends(signed_in),
    status: str = "",
    gemeinde: str = "",
    hinweis: str = "",
) -> HTMLResponse:
    query = (
        select(Report, Device, Room, Site)
        .join(Device, col(Device.id) == col(Report.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(Site, col(Site.id) == col(Room.site_id))
        .where(col(Site.id).in_(visitor.sites))
        .order_by(col(Report.reported_at).desc())
        .limit(MOST + 1)
    )
    if gemeinde:
        query = query.where(Site.municipality == gemeinde)
    if status in set(ReportState):
        query = query.where(Report.state == ReportState(status))
    elif status != "all":
        query = query.where(Report.state != ReportState.DONE)
    with reading(request.app.state.engine) as opened:
        rows = opened.exec(query).all()
        count = opened.exec(
            select(func.count())
            .select_from(Report)
            .join(Device, col(Device.id) == col(Report.device_id))
            .join(Room, col(Room.id) == col(Device.room_id))
            .where(col(Room.site_id).in_(visitor.sites), Report.state != ReportState.DONE)
        ).one()
        choices = municipalities(opened, visitor)
    return page(
        request,
        "reports.html",
        visitor=visitor,
        hint=hinweis,
        rows=rows[:MOST],
        more=len(rows) > MOST,
        open=count,
        may_work=visitor.can(Action.WORK),
        following=FOLLOWING,
        actions=ACTIONS,
        states=STATES,
        municipalities=choices,
        chosen={"status": status, "gemeinde": gemeinde},
    )


@router.post("/meldungen/{report_id}")
def move(
    request: Request,
    report_id: str,
    state: ReportState = Form(),
    visitor: Visitor = Depends(posted),
) -> RedirectResponse:
    if not visitor.can(Action.WORK):
        raise HTTPException(403)
    with session(request.app.state.engine) as opened:
        report = find_report(opened, report_id, visitor)
        report.state = state
        report.closed_at = request.app.state.clock() if state == ReportState.DONE else None
    return RedirectResponse("/meldungen?hinweis=report_set", 303)
