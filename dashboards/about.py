"""The statement on accessibility, and the choice of language."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlmodel import col, select

from dashboards.signin import onward_path
from dashboards.view import COOKIE, LANGUAGES, page
from fleet.auth import visitor_of
from inventory import Site
from inventory.db import reading

router = APIRouter(default_response_class=HTMLResponse)
A_YEAR = 365 * 24 * 3600


@router.get("/barrierefreiheit")
def accessibility(request: Request) -> HTMLResponse:
    visitor = visitor_of(request)
    sites: list[Site] = []
    if visitor:
        with reading(request.app.state.engine) as session:
            sites = list(
                session.exec(
                    select(Site)
                    .where(col(Site.id).in_(visitor.sites), Site.phone != "")
                    .order_by(Site.municipality, Site.name)
                    .limit(20)
                )
            )
    return page(request, "accessibility.html", visitor=visitor, sites=sites)


@router.get("/sprache/{language}")
def choose_language(request: Request, language: str, weiter: str = "/") -> RedirectResponse:
    if language not in LANGUAGES:
        raise HTTPException(404)
    answer = RedirectResponse(onward_path(weiter), 303)
    answer.set_cookie(
        COOKIE,
        language,
        max_age=A_YEAR,
        httponly=True,
        samesite="lax",
        secure=request.app.state.settings.public_url.startswith("https://"),
    )
    return answer
