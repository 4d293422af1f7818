"""Shows how often rooms were ready: a month of all rooms, a year of one; as a page and as CSV."""

import csv
import re
from datetime import date
from io import StringIO

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from dashboards.finding import find_room
from dashboards.view import language_of, month_name, page
from fleet.auth import Visitor, signed_in
from fleet.readiness import statistics
from inventory.db import reading

router = APIRouter(default_response_class=HTMLResponse)
BACK = 12
"""Months to choose from: courses are kept for a year, so of the same month a year ago only some
are left, and half a month would be told as a whole one."""


def _month(said: str, current: date) -> date:
    if not said:
        return current
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", said):
        raise HTTPException(404)
    return date.fromisoformat(f"{said}-01")


@router.get("/statistik")
def months(
    request: Request, visitor: Visitor = Depends(signed_in), monat: str = ""
) -> HTMLResponse:
    current = statistics.month_of(request.app.state.clock())
    month = _month(monat, current)
    with reading(request.app.state.engine) as session:
        rows = statistics.by_room(session, month, visitor.sites)
    language = language_of(request)
    choices = [statistics.following(current, -back) for back in range(BACK)]
    return page(
        request,
        "statistics.html",
        visitor=visitor,
        month=month,
        rows=rows,
        chosen=month.strftime("%Y-%m"),
        choices=[(each.strftime("%Y-%m"), month_name(each, language)) for each in choices],
    )


@router.get("/statistik.csv")
def download(request: Request, visitor: Visitor = Depends(signed_in), monat: str = "") -> Response:
    month = _month(monat, statistics.month_of(request.app.state.clock()))
    with reading(request.app.state.engine) as session:
        rows = statistics.by_room(session, month, visitor.sites)
    written = StringIO()
    sheet = csv.writer(written, delimiter=";")
    sheet.writerows([_harmless(cell) for cell in line] for line in statistics.cells(month, rows))
    name = f"raumwart-{month.strftime('%Y-%m')}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response("\ufeff" + written.getvalue(), 200, headers, "text/csv; charset=utf-8")


def _harmless(cell: object) -> object:
    """No text becomes a formula in a spreadsheet."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell


@router.get("/raum/{room_id}/statistik")
def one_room(request: Request, room_id: str, visitor: Visitor = Depends(signed_in)) -> HTMLResponse:
    current = statistics.month_of(request.app.state.clock())
    with reading(request.app.state.engine) as session:
        room, site = find_room(session, room_id, visitor)
        rows = statistics.by_month(session, room, site, current, BACK)
    return page(request, "statistics_room.html", visitor=visitor, room=room, site=site, rows=rows)
