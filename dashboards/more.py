"""Shows the way to what nobody needs every day."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from dashboards.places import PLACES
from dashboards.view import page
from fleet.auth import Visitor, signed_in

router = APIRouter(default_response_class=HTMLResponse)


@router.get("/mehr")
def more(request: Request, visitor: Visitor = Depends(signed_in)) -> HTMLResponse:
    places = [place for place in PLACES if visitor.can(place[3])]
    return page(request, "more.html", visitor=visitor, places=places)
