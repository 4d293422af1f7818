"""The form behind the code on a device: report a fault without an account."""

import hashlib
import re
import secrets
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, StringConstraints, ValidationError
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from dashboards import words
from dashboards.limits import Limits
from dashboards.view import page
from fleet.auth import check_form_token, form_token
from inventory import Device, Impact, Problem, Report, ReportState, Room, Service, Site
from inventory.db import reading, session

router = APIRouter(prefix="/m", default_response_class=HTMLResponse)

SUBMISSION = re.compile(r"[A-Za-z0-9_-]{16,64}")
Place = tuple[Device, Room, Site]

ERRORS = {
    "problem": words.N_("Wählen Sie, was kaputt ist."),
    "impact": words.N_("Wählen Sie, ob der Kurs weitergehen kann."),
    "text": words.N_("Der Text ist zu lang. Höchstens 500 Zeichen passen."),
    "contact": words.N_("Die Angabe ist zu lang. Höchstens 200 Zeichen passen."),
    "again": words.N_("Bitte warten Sie kurz und senden Sie dann noch einmal."),
    "often": words.N_(
        "Von hier kamen gerade sehr viele Meldungen. Bitte rufen Sie an oder versuchen Sie es in"
        " einer Stunde wieder."
    ),
}
"""What is said beside a field, or (the last two) beside the button."""


class Answers(BaseModel):
    """What somebody filled in."""

    problem: Problem
    impact: Impact
    text: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
    contact: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


@router.get("/stand/{token}")
def stand(request: Request, token: str, neu: str = "") -> HTMLResponse:
    with reading(request.app.state.engine) as opened:
        report = opened.exec(select(Report).where(Report.token == token)).first()
        if report is None:
            raise HTTPException(404)
        device, room, site = _place(opened, Device.id == report.device_id) or _gone()
    return page(
        request, "stand.html", one=report, device=device, room=room, site=site, new=bool(neu)
    )


@router.get("/{code}")
def form(request: Request, code: str, hinweis: str = "") -> HTMLResponse:
    with reading(request.app.state.engine) as opened:
        place = _by_code(opened, code)
        if place is None:
            return page(request, "unknown_code.html", http_status=404)
        return _form_page(request, opened, place, hint=hinweis)


@router.post("/{code}", response_model=None)
def send(
    request: Request,
    code: str,
    problem: str = Form(""),
    impact: str = Form(""),
    text: str = Form(""),
    contact: str = Form(""),
    website: str = Form(""),
    token: str = Form(""),
    submission: str = Form(""),
) -> HTMLResponse | RedirectResponse:
    """Keep one report, however often the same form is sent."""
    values = {"problem": problem, "impact": impact, "text": text, "contact": contact}
    # PostgreSQL holds no NUL, and a report is worth more than a stray character in it.
    values = {name: value.replace("\0", "") for name, value in values.items()}
    if not SUBMISSION.fullmatch(submission):
        submission = secrets.token_urlsafe(16)
    with reading(request.app.state.engine) as opened:
        place = _by_code(opened, code)
        if place is None:
            return page(request, "unknown_code.html", http_status=404)
        if sent := _sent(opened, place[0], submission):
            return _thanks(sent)
        answers, wrong = _check(values)
        if website or not _ours(request, place[0], token):
            wrong["again"] = ERRORS["again"]
        if answers is None or wrong:
            return _form_page(request, opened, place, values, wrong, submission, status=422)
        if not _allowed(request, place[0]):
            wrong["often"] = ERRORS["often"]
            return _form_page(request, opened, place, values, wrong, submission, status=429)
    return _thanks(_keep(request, place[0], answers, submission))


@router.post("/{code}/auch", response_model=None)
def me_too(
    request: Request, code: str, report: str = Form(""), token: str = Form("")
) -> HTMLResponse | RedirectResponse:
    """Count one more who sees the same fault; the same network counts once in an hour."""
    limits: Limits = request.app.state.limits
    with session(request.app.state.engine) as opened:
        place = _by_code(opened, code)
        if place is None:
            return page(request, "unknown_code.html", http_status=404)
        if not _ours(request, place[0], token):
            wrong = {"again": ERRORS["again"]}
            return _form_page(request, opened, place, wrong=wrong, status=422)
        here = (
            col(Report.id) == report,
            col(Report.device_id) == place[0].id,
            col(Report.state) != ReportState.DONE,
        )
        # Only of what there is anything is remembered: whoever asks might invent names without end.
        known = opened.exec(select(Report.id).where(*here)).first()
        key = f"{known}|{limits.network(request)}"
        if known and limits.me_too.allow(key, request.app.state.clock()):
            opened.exec(update(Report).where(*here).values(seconded=Report.seconded + 1))
    return RedirectResponse(f"/m/{place[0].code}?hinweis=me_too", 303)


def _check(values: dict[str, str]) -> tuple[Answers | None, dict[str, str]]:
    """The answers, or field → what is wrong with it, in the order of the form."""
    try:
        return Answers.model_validate(values), {}
    except ValidationError as error:
        fields = {str(one["loc"][0]) for one in error.errors()}
        return None, {name: ERRORS[name] for name in ERRORS if name in fields}


def _form_page(
    request: Request,
    opened: Session,
    place: Place,
    values: dict[str, str] | None = None,
    wrong: dict[str, str] | None = None,
    submission: str = "",
    *,
    hint: str = "",
    status: int = 200,
) -> HTMLResponse:
    device, room, site = place
    known = opened.exec(
        select(Report)
        .where(Report.device_id == device.id, Report.state != ReportState.DONE)
        .order_by(col(Report.reported_at).desc())
        .limit(5)
    ).all()
    return page(
        request,
        "caretaker.html",
        http_status=status,
        device=device,
        room=room,
        site=site,
        known=known,
        hint=hint,
        values=values or dict.fromkeys(("problem", "impact", "text", "contact"), ""),
        errors=wrong or {},
        problems=[(one.value, words.PROBLEM[one]) for one in words.PROBLEMS_OF[device.kind]],
        impacts=[(one.value, text) for one, text in words.IMPACT.items()],
        token=form_token(request.app.state.key, _purpose(device), request.app.state.clock()),
        submission=submission or secrets.token_urlsafe(16),
    )


def _by_code(opened: Session, code: str) -> Place | None:
    """The device with this code and where it stands; a retired device has no form any more."""
    return _place(opened, Device.code == code.strip().lower(), Device.service != Service.RETIRED)


def _place(opened: Session, *conditions: bool) -> Place | None:
    return opened.exec(
        select(Device, Room, Site)
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(Site, col(Site.id) == col(Room.site_id))
        .where(*conditions)
    ).first()


def _gone() -> Place:
    raise HTTPException(404)


def _purpose(device: Device) -> str:
    return f"report|{device.code}"


def _ours(request: Request, device: Device, token: str) -> bool:
    """Whether this form came from here, and was not filled in faster than a person can."""
    state = request.app.state
    return check_form_token(state.key, token, _purpose(device), state.clock())


def _allowed(request: Request, device: Device) -> bool:
    now = request.app.state.clock()
    limits: Limits = request.app.state.limits
    return limits.per_network.allow(limits.network(request), now) and limits.per_code.allow(
        device.code, now
    )


def _key(device: Device, submission: str) -> str:
    """What marks one sending of one form; nobody can make it meet another device's report."""
    return hashlib.sha256(f"{device.id}|{submission}".encode()).hexdigest()


def _sent(opened: Session, device: Device, submission: str) -> Report | None:
    return opened.exec(select(Report).where(Report.submission == _key(device, submission))).first()


def _keep(request: Request, device: Device, answers: Answers, submission: str) -> Report:
    """Store the report; of two that arrive at once with the same submission, the first stays."""
    while True:
        report = Report(
            device_id=device.id,
            submission=_key(device, submission),
            reported_at=request.app.state.clock(),
            **answers.model_dump(),
        )
        try:
            with session(request.app.state.engine) as opened:
                opened.add(report)
        except IntegrityError:
            with reading(request.app.state.engine) as opened:
                if sent := _sent(opened, device, submission):
                    return sent
                if opened.get(Report, report.id) is None:
                    raise
            # The short number for the phone was taken: draw another one.
        else:
            return report


def _thanks(report: Report) -> RedirectResponse:
    return RedirectResponse(f"/m/stand/{report.token}?neu=1", 303)
