"""Shows whom each site tells when a room will not be ready, and lets its IT change that."""

from collections.abc import Mapping

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from sqlmodel import Session, col, select

from dashboards import words
from dashboards.view import page
from dashboards.words import N_
from fleet.auth import Action, Visitor, posted, signed_in
from inventory import Contact, Notice, Room, Site
from inventory.db import reading, session
from inventory.region.rows import ContactRow

router = APIRouter(default_response_class=HTMLResponse)

ERRORS = {
    "name": N_("Bitte geben Sie einen Namen an, zum Beispiel: Hausmeisterei."),
    "address": N_(
        "Bitte prüfen Sie die Adresse: eine E-Mail-Adresse, oder für Webhooks https://… ohne"
        " Kennwort."
    ),
    "quiet": N_("Bitte schreiben Sie die Ruhezeit so: 18:00-07:00"),
    "audience": N_("Bitte wählen Sie, wer das ist."),
    "channel": N_("Bitte wählen Sie einen Weg."),
    "credential": N_("Der Name des Geheimnisses ist zu lang."),
    "site": N_("Bitte wählen Sie einen Standort."),
}
MOST = 20
"""Messages shown: the newest."""


def _editor(visitor: Visitor) -> None:
    if not visitor.can(Action.EDIT):
        raise HTTPException(403)


@router.get("/kontakte")
def contacts(
    request: Request, visitor: Visitor = Depends(signed_in), kontakt: str = "", hinweis: str = ""
) -> HTMLResponse:
    _editor(visitor)
    with reading(request.app.state.engine) as opened:
        chosen = _find(opened, kontakt, visitor) if kontakt else None
        told = {**chosen.model_dump(), "site": chosen.site_id} if chosen else {}
        return _page(request, visitor, opened, told, hint=hinweis)


def _page(
    request: Request,
    visitor: Visitor,
    opened: Session,
    told: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    hint: str = "",
) -> HTMLResponse:
    sites = opened.exec(
        select(Site).where(col(Site.id).in_(visitor.sites)).order_by(col(Site.name))
    ).all()
    rows = opened.exec(
        select(Contact, Site)
        .join(Site, col(Site.id) == col(Contact.site_id))
        .where(col(Site.id).in_(visitor.sites))
        .order_by(col(Site.name), col(Contact.name))
    ).all()
    sent = opened.exec(
        select(Notice, Room)
        .outerjoin(Room, col(Room.id) == col(Notice.room_id))
        .where(col(Notice.site_id).in_(visitor.sites))
        .order_by(col(Notice.made_at).desc())
        .limit(MOST)
    ).all()
    return page(
        request,
        "contacts.html",
        visitor=visitor,
        hint=hint,
        rows=rows,
        sent=sent,
        sites=[(site.id, f"{site.name}, {site.municipality}") for site in sites],
        audiences=[(one.value, text) for one, text in words.AUDIENCE.items()],
        channels=[(one.value, text) for one, text in words.CHANNEL.items()],
        told=told,
        errors=errors or {},
        http_status=422 if errors else 200,
    )


def _find(opened: Session, contact_id: str, visitor: Visitor) -> Contact:
    contact = opened.get(Contact, contact_id)
    if contact is None or contact.site_id not in visitor.sites:
        raise HTTPException(404)
    return contact


@router.post("/kontakte")
def save(
    request: Request,
    visitor: Visitor = Depends(posted),
    kontakt: str = Form(""),
    site: str = Form(""),
    name: str = Form(""),
    audience: str = Form(""),
    channel: str = Form(""),
    address: str = Form(""),
    credential: str = Form(""),
    quiet: str = Form(""),
) -> Response:
    """A new contact, or a known one with other words."""
    _editor(visitor)
    told = {
        "site": site,
        "name": name,
        "audience": audience,
        "channel": channel,
        "address": address,
        "credential": credential,
        "quiet": quiet,
    }
    with session(request.app.state.engine) as opened:
        if site not in visitor.sites:
            raise HTTPException(404)
        known = _find(opened, kontakt, visitor) if kontakt else None
        new_id = known.id if known else _free_id(opened, site, audience)
        try:
            row = ContactRow.model_validate({"id": new_id, **told})
        except ValidationError as error:
            wrong = {str(each["loc"][0]) for each in error.errors()}
            errors = {field: text for field, text in ERRORS.items() if field in wrong}
            return _page(request, visitor, opened, {"id": kontakt, **told}, errors)
        values = row.model_dump(exclude={"site"})
        opened.merge(Contact(**values, site_id=site))
    return RedirectResponse("/kontakte?hinweis=contact_saved", 303)


@router.post("/kontakte/{contact_id}/weg")
def remove(
    request: Request, contact_id: str, visitor: Visitor = Depends(posted)
) -> RedirectResponse:
    _editor(visitor)
    with session(request.app.state.engine) as opened:
        opened.delete(_find(opened, contact_id, visitor))
    return RedirectResponse("/kontakte?hinweis=contact_gone", 303)


def _free_id(opened: Session, site: str, audience: str) -> str:
    """A name that stands in files: the site, who it is, and a number if need be."""
    stem = f"{site[:40]}-{audience[:12]}".strip("-") or "contact"
    number = 1
    while opened.get(Contact, name := stem if number == 1 else f"{stem}-{number}") is not None:
        number += 1
    return name
