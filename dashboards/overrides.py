"""Takes what people say by hand: a course now, a course called off, a room blocked, a pause."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlmodel import Session, col, select

from dashboards.finding import find_room, in_order
from dashboards.view import local, page, refusal
from dashboards.words import N_
from fleet import overrides, resets
from fleet.auth import Action, Visitor, posted, signed_in
from fleet.overrides import Scope
from inventory import Course, Device, Override, OverrideKind, Room
from inventory.db import reading, session
from inventory.recipes import CANARY

router = APIRouter(default_response_class=HTMLResponse)

FOREVER = ""
EVENING, MORNING = 22, 7
HOURS = {"1": 1, "1.5": 1.5, "2": 2, "3": 3, "4": 4}
UNTIL = [
    ("1", N_("eine Stunde")),
    ("1.5", N_("anderthalb Stunden")),
    ("2", N_("zwei Stunden")),
    ("3", N_("drei Stunden")),
    ("4", N_("vier Stunden")),
]
WEEK = ("week", N_("eine Woche"))
ENDLESSLY = (FOREVER, N_("bis jemand es aufhebt"))
LONGER = [
    *UNTIL,
    ("evening", N_("bis heute Abend, 22 Uhr")),
    ("morning", N_("bis zum nächsten Morgen, 7 Uhr")),
    WEEK,
]
ENDLESS = [*LONGER, ENDLESSLY]
WEEK_OR_MORE = [ENDLESSLY, WEEK]


@dataclass(frozen=True)
class Deed:
    """One thing that can be done by hand, and how the page speaks of it."""

    kind: OverrideKind | None
    """None: reset the room now."""
    title: str
    means: str
    """What happens then, in plain words."""
    button: str
    choices: tuple[tuple[str, str], ...] = ()
    """Until when."""
    recipe: str | None = None
    """Said of this recipe alone."""
    at_site: bool = False
    """Said of the room's whole site."""

    @property
    def needs(self) -> Action:
        return overrides.NEEDS[self.kind] if self.kind else Action.RESET


DEEDS = {
    "kurs": Deed(
        OverrideKind.COURSE,
        N_("Jetzt ist ein Kurs"),
        N_(
            "Im Raum beginnt sofort ein Kurs, auch ohne Eintrag im Stundenplan. "
            "Nichts wird zurückgesetzt."
        ),
        N_("Kurs beginnt jetzt"),
        tuple(UNTIL),
    ),
    "sperren": Deed(
        OverrideKind.BLOCK,
        N_("Raum sperren"),
        N_("Der Raum gilt als belegt. Bis zum Ende wird darin nichts zurückgesetzt."),
        N_("Raum sperren"),
        tuple(LONGER),
    ),
    "ausfall": Deed(
        OverrideKind.CANCEL,
        N_("Kurs fällt aus"),
        N_(
            "Der Kurs gilt als abgesagt, auch wenn er im Stundenplan stehen bleibt. "
            "Der Raum ist dann frei."
        ),
        N_("Kurs fällt aus"),
    ),
    "auslassen": Deed(
        OverrideKind.SKIP,
        N_("Nicht zurücksetzen"),
        N_("Vor diesem Kurs wird im Raum nichts zurückgesetzt. Spuren vom letzten Mal bleiben."),
        N_("Nicht zurücksetzen"),
    ),
    "zuruecksetzen": Deed(
        None,
        N_("Alle Geräte jetzt zurücksetzen"),
        N_(
            "Alle Geräte im Raum werden sofort zurückgesetzt. Offene Dateien gehen "
            "verloren. Wo jemand angemeldet ist, geschieht nichts."
        ),
        N_("Jetzt zurücksetzen"),
    ),
    "wartung": Deed(
        OverrideKind.MAINTENANCE,
        N_("Wartung im Raum"),
        N_(
            "Jemand arbeitet hier. Bis zum Ende wird nichts zurückgesetzt, "
            "und Störungen gelten nicht als Störung."
        ),
        N_("Wartung beginnt"),
        tuple(ENDLESS),
    ),
    "pause": Deed(
        OverrideKind.PAUSE,
        N_("Standort anhalten"),
        N_("Am ganzen Standort beginnt keine Zurücksetzung mehr. Was schon läuft, läuft zu Ende."),
        N_("Standort anhalten"),
        tuple(ENDLESS),
        at_site=True,
    ),
    "selbsttest": Deed(
        OverrideKind.STOP,
        N_("Selbsttest im Raum abschalten"),
        N_(
            "In diesem Raum prüft kein Laptop mehr, ob die Zurücksetzung wirklich alles löscht, "
            "und keiner wird dafür nachts geweckt. Zurückgesetzt wird wie bisher."
        ),
        N_("Selbsttest abschalten"),
        tuple(WEEK_OR_MORE),
        recipe=CANARY,
    ),
    "selbsttest-standort": Deed(
        OverrideKind.STOP,
        N_("Selbsttest am Standort abschalten"),
        N_(
            "Am ganzen Standort prüft kein Laptop mehr, ob die Zurücksetzung wirklich alles "
            "löscht, und keiner wird dafür nachts geweckt. Zurückgesetzt wird wie bisher."
        ),
        N_("Selbsttest abschalten"),
        tuple(WEEK_OR_MORE),
        recipe=CANARY,
        at_site=True,
    ),
}  # fmt: skip
EVERYWHERE = Deed(
    OverrideKind.PAUSE,
    N_("Alles anhalten"),
    N_("An keinem Standort beginnt noch eine Zurücksetzung. Was schon läuft, läuft zu Ende."),
    N_("Alles anhalten"),
    tuple(ENDLESS),
)
OF_A_COURSE = ("ausfall", "auslassen")


def in_room(session: Session, room: Room, now: datetime) -> list[Override]:
    """What was said by hand that concerns this room, now or later."""
    return [
        one
        for one in _in_force(session, now, [room.site_id])
        if (one.room_id == room.id if one.room_id else one.site_id in (None, room.site_id))
    ]


def _in_force(session: Session, now: datetime, sites: Collection[str]) -> list[Override]:
    """Without courses called off that would be over by now."""
    found = overrides.in_force(session, now, sites=sites)
    off = [one.course_id for one in found if one.kind is OverrideKind.CANCEL]
    coming: set[int | None] = set()
    if off:
        ahead = select(Course.id).where(col(Course.id).in_(off), Course.end > now)
        coming = set(session.exec(ahead))
    return [one for one in found if one.kind is not OverrideKind.CANCEL or one.course_id in coming]


def offered(visitor: Visitor) -> list[tuple[str, Deed]]:
    """What this visitor may do in a room."""
    return [
        (name, deed)
        for name, deed in DEEDS.items()
        if name not in OF_A_COURSE and deed.recipe is None and visitor.can(deed.needs)
    ]


@router.get("/eingreifen")
def everywhere(
    request: Request, visitor: Visitor = Depends(signed_in), hinweis: str = ""
) -> HTMLResponse:
    return _everywhere(request, visitor, hint=hinweis)


def _everywhere(
    request: Request, visitor: Visitor, hint: str = "", problem: str = ""
) -> HTMLResponse:
    """All that holds, and the emergency stop."""
    now = request.app.state.clock()
    with reading(request.app.state.engine) as opened:
        said = _in_force(opened, now, visitor.sites)
    return page(
        request, "overrides.html", visitor=visitor, hint=hint, said=said, stop=EVERYWHERE,
        choices=still_to_come(EVERYWHERE, now), may_stop=visitor.can(Action.ADMIN),
        may_end=may_end(visitor, said), problem=problem, http_status=409 if problem else 200,
    )  # fmt: skip


def may_end(visitor: Visitor, said: list[Override]) -> set[int | None]:
    """Which of these the visitor may take back."""
    return {one.id for one in said if visitor.can(overrides.needs(one))}


@router.get("/raum/{room_id}/eingreifen/{name}")
def ask(
    request: Request, room_id: str, name: str, visitor: Visitor = Depends(signed_in), kurs: int = 0
) -> HTMLResponse:
    return _asked(request, room_id, name, visitor, kurs)


def _asked(
    request: Request, room_id: str, name: str, visitor: Visitor, kurs: int, problem: str = ""
) -> HTMLResponse:
    """What would happen, and the button that lets it."""
    deed = DEEDS.get(name)
    if deed is None:
        raise HTTPException(404)
    if not visitor.can(deed.needs):
        raise HTTPException(403)
    with reading(request.app.state.engine) as opened:
        room, site = find_room(opened, room_id, visitor)
        course = _course(opened, room, kurs) if name in OF_A_COURSE else None
    return page(
        request, "override.html", visitor=visitor, deed=deed, name=name, room=room, site=site,
        course=course, choices=still_to_come(deed, request.app.state.clock()), problem=problem,
        left={}, http_status=409 if problem else 200,
    )  # fmt: skip


def _course(session: Session, room: Room, course_id: int) -> Course:
    if not 0 < course_id < 2**31:
        raise HTTPException(404)
    found = session.exec(
        select(Course).where(Course.id == course_id, col(Course.room_id) == room.id)
    ).first()
    if found is None:
        raise HTTPException(404)
    return found


@router.post("/raum/{room_id}/eingreifen/{name}")
def do(
    request: Request,
    room_id: str,
    name: str,
    visitor: Visitor = Depends(posted),
    kurs: int = Form(0),
    bis: str = Form(""),
    grund: str = Form(""),
) -> Response:
    deed = DEEDS.get(name)
    if deed is None:
        raise HTTPException(404)
    if not visitor.can(deed.needs):
        raise HTTPException(403)
    state = request.app.state
    now, actor = state.clock(), visitor.account.name
    hint, answer = "override_said", resets.RoomAnswer()
    try:
        with session(state.engine) as opened:
            room, _ = find_room(opened, room_id, visitor)
            if deed.kind is None:
                answer = resets.request_room(opened, room_id, now, state.settings, actor)
                hint = "room_reset"
            else:
                scope = Scope(room=room_id, recipe=deed.recipe)
                if name in OF_A_COURSE:
                    scope = Scope(course=_course(opened, room, kurs).id)
                elif deed.at_site:
                    scope = Scope(site=room.site_id, recipe=deed.recipe)
                until = moment_of(bis, now, deed)
                overrides.say(opened, deed.kind, scope, now, actor, until=until, reason=grund)
    except overrides.OverrideRefused as refused:
        return _asked(request, room_id, name, visitor, kurs, refusal(request, refused.code))
    if answer.refused:
        return _not_all(request, room_id, visitor, deed, answer)
    if deed.kind is None and not answer.runs:
        return _asked(request, room_id, name, visitor, kurs, refusal(request, "no_recipe"))
    return RedirectResponse(f"/raum/{room_id}?hinweis={hint}", 303)


def _not_all(
    request: Request, room_id: str, visitor: Visitor, deed: Deed, answer: resets.RoomAnswer
) -> HTMLResponse:
    """How many devices of the room are reset, and which are not, by reason."""
    with reading(request.app.state.engine) as opened:
        room, site = find_room(opened, room_id, visitor)
        left = opened.exec(select(Device).where(col(Device.id).in_(answer.refused))).all()
    by_reason: dict[str, list[Device]] = {}
    for code, one in in_order((answer.refused[one.id], one) for one in left):
        by_reason.setdefault(code, []).append(one)
    return page(
        request, "override.html", visitor=visitor, deed=deed, room=room, site=site,
        course=None, problem="", started=len(answer.runs), left=by_reason,
        http_status=200 if answer.runs else 409,
    )  # fmt: skip


@router.post("/eingreifen/anhalten")
def stop(
    request: Request,
    visitor: Visitor = Depends(posted),
    bis: str = Form(""),
    grund: str = Form(""),
) -> Response:
    if not visitor.can(Action.ADMIN):
        raise HTTPException(403)
    now = request.app.state.clock()
    until, actor = moment_of(bis, now, EVERYWHERE), visitor.account.name
    try:
        with session(request.app.state.engine) as opened:
            overrides.say(
                opened, OverrideKind.PAUSE, Scope(), now, actor, until=until, reason=grund
            )
    except overrides.OverrideRefused as refused:
        return _everywhere(request, visitor, problem=refusal(request, refused.code))
    return RedirectResponse("/eingreifen?hinweis=override_said", 303)


@router.post("/eingriff/{override_id}/aufheben")
def take_back(
    request: Request, override_id: int, visitor: Visitor = Depends(posted), raum: str = Form("")
) -> Response:
    with session(request.app.state.engine) as opened:
        said = opened.get(Override, override_id) if 0 < override_id < 2**31 else None
        if said is None or said.site_id not in (None, *visitor.sites):
            raise HTTPException(404)
        if not visitor.can(overrides.needs(said)):
            raise HTTPException(403)
        overrides.end(opened, override_id, request.app.state.clock(), visitor.account.name)
        here = find_room(opened, raum, visitor)[0].id if raum else ""
    back = f"/raum/{here}" if here else "/eingreifen"
    return RedirectResponse(f"{back}?hinweis=override_ended", 303)


def still_to_come(deed: Deed, now: datetime) -> list[tuple[str, str]]:
    """The ends to choose from: at ten in the evening "this evening" is over."""
    late = local(now).hour >= EVENING
    return [each for each in deed.choices if not (late and each[0] == "evening")]


def moment_of(said: str, now: datetime, deed: Deed) -> datetime | None:
    """The chosen end. A choice that was not offered is none: then the end is asked for."""
    if said not in {value for value, _ in deed.choices} or said == FOREVER:
        return None
    if said in HOURS:
        return now + timedelta(hours=HOURS[said])
    today = local(now)
    if said == "evening":
        return today.replace(hour=EVENING, minute=0, second=0, microsecond=0)
    if said == "morning":
        at_seven = today.replace(hour=MORNING, minute=0, second=0, microsecond=0)
        return at_seven if at_seven > today else at_seven + timedelta(days=1)
    return now + timedelta(days=7)
