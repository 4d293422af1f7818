"""Gives out addresses under which a calendar program reads courses and reset windows."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlmodel import Session, col, select

from dashboards.finding import find_room
from dashboards.view import LANGUAGES, language_of, page
from fleet.api.calendar import Scope, answer
from fleet.auth import (
    Visitor,
    calendar_reader,
    forget_calendar_link,
    new_calendar_link,
    posted,
    signed_in,
)
from inventory import CalendarLink, Room, Site
from inventory.db import reading, session

router = APIRouter(default_response_class=HTMLResponse)

MOST = 20
"""Addresses for one account; more are not for one person's programs."""


@router.get("/kalender")
def ask(
    request: Request,
    visitor: Visitor = Depends(signed_in),
    raum: str = "",
    hinweis: str = "",
) -> HTMLResponse:
    return _page(request, visitor, raum, hint=hinweis)


def _page(
    request: Request, visitor: Visitor, room_id: str, *, address: str = "", hint: str = ""
) -> HTMLResponse:
    with reading(request.app.state.engine) as opened:
        room, site = find_room(opened, room_id, visitor) if room_id else (None, None)
        links = _links(opened, visitor)
        choices = opened.exec(
            select(Room, Site)
            .join(Site, col(Site.id) == col(Room.site_id))
            .where(col(Site.id).in_(visitor.sites))
            .order_by(col(Site.name), col(Room.name))
            .limit(500)
        ).all()
    scopes = [("", "")]
    sites = {place.id: place.name for _, place in choices}
    scopes += [(f"site:{key}", name) for key, name in sites.items()]
    scopes += [(f"room:{one.id}", f"{one.name}, {place.name}") for one, place in choices]
    chosen = f"room:{room.id}" if room else ""
    return page(
        request,
        "calendars.html",
        visitor=visitor,
        hint=hint,
        room=room,
        site=site,
        scopes=scopes,
        chosen=chosen,
        links=links,
        full=len(links) >= MOST,
        address=address,
    )


def _links(
    opened: Session, visitor: Visitor
) -> list[tuple[CalendarLink, Room | None, Site | None]]:
    found = opened.exec(
        select(CalendarLink, Room, Site)
        .outerjoin(Room, col(Room.id) == col(CalendarLink.room_id))
        .outerjoin(Site, col(Site.id) == col(CalendarLink.site_id))
        .where(CalendarLink.account_id == visitor.account.id)
        .order_by(col(CalendarLink.created_at).desc(), col(CalendarLink.token_hash))
    )
    return [(link, room, site) for link, room, site in found]


@router.post("/kalender")
def make(
    request: Request,
    scope: Annotated[str, Form()] = "",
    raum: Annotated[str, Form()] = "",
    visitor: Visitor = Depends(posted),
) -> HTMLResponse:
    """The address is on the answer to this form and nowhere else: only its hash is kept."""
    state = request.app.state
    kind, _, name = scope.partition(":")
    room = name if kind == "room" else None
    site = name if kind == "site" else None
    with session(state.engine) as opened:
        if room is not None:
            find_room(opened, room, visitor)
        if site is not None and site not in visitor.sites:
            raise HTTPException(404)
        if len(_links(opened, visitor)) >= MOST:
            raise HTTPException(409)
        token = new_calendar_link(opened, visitor.account, state.clock(), site=site, room=room)
    address = f"{state.settings.public_url}/kalender/{token}.ics"
    language = language_of(request)
    if language != LANGUAGES[0]:
        address += f"?sprache={language}"
    return _page(request, visitor, raum if room else "", address=address)


@router.post("/kalender/loeschen")
def forget(
    request: Request,
    link: Annotated[str, Form(max_length=64)],
    visitor: Visitor = Depends(posted),
) -> RedirectResponse:
    with session(request.app.state.engine) as opened:
        forget_calendar_link(opened, visitor.account, link)
    return RedirectResponse("/kalender?hinweis=calendar_gone", 303)


@router.get("/kalender/{token}.ics")
def read(request: Request, token: str, sprache: str = LANGUAGES[0]) -> Response:
    """Without signing in: the address itself is the key, and opens nothing else."""
    state = request.app.state
    with session(state.engine) as opened:
        found = calendar_reader(opened, token, state.clock())
    if found is None:
        raise HTTPException(404)
    link, sites = found
    return answer(
        request,
        Scope(sites, link.site_id, link.room_id),
        sprache if sprache in LANGUAGES else LANGUAGES[0],
    )
