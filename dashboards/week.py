"""Shows which courses of the next seven days would begin in a room that is not ready."""

from datetime import timedelta
from itertools import groupby

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from dashboards.view import local, page
from fleet.auth import Visitor, signed_in
from fleet.readiness.forecast import foresee
from inventory.db import reading

router = APIRouter(default_response_class=HTMLResponse)
DAYS = 7


@router.get("/woche")
def week(
    request: Request, visitor: Visitor = Depends(signed_in), alle: bool = False
) -> HTMLResponse:
    state = request.app.state
    now = state.clock()
    with reading(state.engine) as session:
        found = foresee(session, now, now + timedelta(days=DAYS), state.settings, visitor.sites)
    failing = [each for each in found if each.fails]
    shown = found if alle else failing
    days = groupby(shown, key=lambda each: local(each.course.start).date())
    return page(
        request,
        "week.html",
        visitor=visitor,
        total=len(found),
        failing=len(failing),
        days=[list(each) for _, each in days],
        everything=alle,
    )
