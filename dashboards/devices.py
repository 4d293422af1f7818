"""Shows one device: facts, history, resets, reports, its label; and takes orders for it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import segno
from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup
from sqlmodel import Session, col, func, select

from dashboards import words
from dashboards.evidence import points
from dashboards.fact_words import MACHINE_ONLY, fact_names
from dashboards.finding import find_device
from dashboards.history import strip
from dashboards.insisting import tiers_of
from dashboards.view import language_of, page, refusal, translations
from fleet import resets
from fleet.auth import Action, Visitor, posted, signed_in
from inventory import (
    Course,
    Device,
    DeviceState,
    Flip,
    Health,
    Prediction,
    Reading,
    Recipe,
    Report,
    ResetRun,
    Service,
    Subject,
    Tier,
)
from inventory.db import reading, session

router = APIRouter(default_response_class=HTMLResponse)

SERVICE_CHOICES = [(service.value, text) for service, text in words.SERVICE.items()]
RUNS_SHOWN = 10


@router.get("/geraet/{device_id}")
def device(
    request: Request, device_id: str, visitor: Visitor = Depends(signed_in), hinweis: str = ""
) -> HTMLResponse:
    return _device_page(request, device_id, visitor, hint=hinweis)


def _device_page(
    request: Request,
    device_id: str,
    visitor: Visitor,
    *,
    hint: str = "",
    refused: str = "",
) -> HTMLResponse:
    """`refused`: why nothing was done, a code of `resets.REFUSALS`."""
    now = request.app.state.clock()
    with reading(request.app.state.engine) as opened:
        found, room, site = find_device(opened, device_id, visitor)
        state = opened.get(DeviceState, device_id)
        recipe = opened.get(Recipe, found.recipe_id) if found.recipe_id else None
        flips = opened.exec(
            select(Flip)
            .where(
                Flip.subject == Subject.DEVICE,
                Flip.device_id == device_id,
                Flip.at > now - timedelta(days=7),
            )
            .order_by(col(Flip.at), col(Flip.id))
        ).all()
        first = _first_heard(opened, device_id, state)
        sight = _sight(opened, state, visitor)
        runs = _last_runs(opened, device_id)
        reports = opened.exec(
            select(Report)
            .where(Report.device_id == device_id)
            .order_by(col(Report.reported_at).desc())
            .limit(20)
        ).all()
        cause = opened.get(Device, state.cause) if state and state.cause else None
        coming = opened.exec(
            select(Prediction)
            .where(Prediction.device_id == device_id)
            .order_by(col(Prediction.due_at))
        ).all()
    language = language_of(request)
    current = (state.health if state else Health.UNKNOWN).value
    return page(
        request,
        "device.html",
        visitor=visitor,
        http_status=409 if refused else 200,
        here=f"/geraet/{device_id}" if request.method == "POST" else "",
        hint=hint,
        refused=refusal(request, refused) if refused else "",
        may_insist=visitor.can(Action.EDIT)
        and resets.may_insist(refused, found, recipe, state, over_all=visitor.can(Action.ADMIN)),
        tiers=tiers_of(request, recipe),
        device=found,
        room=room,
        site=site,
        state=state,
        recipe=recipe,
        names=[
            name for name in fact_names(state.facts if state else {}) if name not in MACHINE_ONLY
        ],
        strips=[strip(flips, current, now, days, first) for days in (1, 7)],
        first=first,
        sight=sight,
        changes=list(reversed(flips)),
        runs=[
            (run, course, points(run, used, language, translations(language).gettext))
            for run, course, used in runs
        ],
        reports=reports,
        cause=cause,
        coming=coming,
        services=SERVICE_CHOICES,
        recallable=resets.recallable,
        may_reset=visitor.can(Action.RESET) and recipe is not None,
        may_edit=visitor.can(Action.EDIT),
    )


def _last_runs(opened: Session, device_id: str) -> Sequence[tuple[ResetRun, Course | None, Recipe]]:
    return opened.exec(
        select(ResetRun, Course, Recipe)
        .join(Recipe, col(Recipe.id) == col(ResetRun.recipe_id))
        .outerjoin(Course, col(Course.id) == col(ResetRun.course_id))
        .where(ResetRun.device_id == device_id)
        .order_by(col(ResetRun.planned_at).desc(), col(ResetRun.id))
        .limit(RUNS_SHOWN)
    ).all()


def _sight(
    opened: Session, state: DeviceState | None, visitor: Visitor
) -> tuple[Device, datetime] | None:
    """The access point that still has a sleeping device, and when it said so."""
    if state is None or state.problem != "asleep_wifi":
        return None
    by, _, at = state.detail.partition(" ")
    try:
        seen, when = find_device(opened, by, visitor)[0], datetime.fromisoformat(at)
    except (HTTPException, ValueError):
        return None
    return (seen, when) if when.tzinfo else None


def _first_heard(opened: Session, device_id: str, state: DeviceState | None) -> datetime | None:
    """Since when anything is known of the device, as far back as that is kept; None: never."""
    kept = opened.exec(
        select(func.min(Flip.at)).where(Flip.subject == Subject.DEVICE, Flip.device_id == device_id)
    ).one()
    read = opened.exec(
        select(func.min(Reading.taken_at)).where(Reading.device_id == device_id)
    ).one()
    since = state.health_since if state else None
    return min((at for at in (kept, read, since) if at is not None), default=None)


@router.post("/geraet/{device_id}/zuruecksetzen", response_model=None)
def reset(
    request: Request,
    device_id: str,
    visitor: Visitor = Depends(posted),
    tier: Tier = Form(Tier.QUICK),
) -> HTMLResponse | RedirectResponse:
    if not visitor.can(Action.RESET):
        raise HTTPException(403)
    state = request.app.state
    try:
        with session(state.engine) as opened:
            find_device(opened, device_id, visitor)
            resets.request(
                opened,
                device_id,
                state.clock(),
                state.settings,
                visitor.account.name,
                tier=None if tier is Tier.QUICK else tier,
            )
    except resets.ResetRefused as refused:
        return _device_page(request, device_id, visitor, refused=refused.code)
    return RedirectResponse(f"/geraet/{device_id}?hinweis=reset_requested#runs", 303)


@router.post("/geraet/{device_id}/zuruecknehmen", response_model=None)
def recall(
    request: Request, device_id: str, run: str = Form(), visitor: Visitor = Depends(posted)
) -> HTMLResponse | RedirectResponse:
    if not visitor.can(Action.RESET):
        raise HTTPException(403)
    state = request.app.state
    try:
        with session(state.engine) as opened:
            find_device(opened, device_id, visitor)
            resets.recall(opened, run, state.clock(), device_id=device_id)
    except resets.ResetRefused as refused:
        return _device_page(request, device_id, visitor, refused=refused.code)
    return RedirectResponse(f"/geraet/{device_id}?hinweis=reset_recalled#runs", 303)


@router.post("/geraet/{device_id}/einsatz")
def set_service(
    request: Request,
    device_id: str,
    service: Service = Form(),
    visitor: Visitor = Depends(posted),
) -> RedirectResponse:
    if not visitor.can(Action.EDIT):
        raise HTTPException(403)
    with session(request.app.state.engine) as opened:
        found, _, _ = find_device(opened, device_id, visitor)
        found.service = service
    return RedirectResponse(f"/geraet/{device_id}?hinweis=service_set", 303)


@router.get("/geraet/{device_id}/etikett")
def label(request: Request, device_id: str, visitor: Visitor = Depends(signed_in)) -> HTMLResponse:
    with reading(request.app.state.engine) as opened:
        found, room, site = find_device(opened, device_id, visitor)
    address = f"{request.app.state.settings.public_url}/m/{found.code}"
    code = segno.make(address, error="m", micro=False)
    picture = code.svg_inline(scale=4, border=4, svgclass="qr", lineclass=None, omitsize=True)
    return page(
        request,
        "label.html",
        visitor=visitor,
        device=found,
        room=room,
        site=site,
        address=address,
        short=address.partition("://")[2],
        code=Markup(picture),  # noqa: S704 - made by segno from our own address
    )
