"""Asks twice before a reset that somebody insists on, against what would keep it waiting."""

import math
from collections.abc import Mapping
from enum import StrEnum

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from dashboards.finding import find_device
from dashboards.reasons import sentence
from dashboards.view import language_of, page, refusal, translations
from dashboards.words import N_
from fleet import resets
from fleet.auth import Action, Visitor, posted, signed_in
from fleet.resets.ways import ways
from inventory import DeviceState, Recipe, Tier
from inventory.db import reading, session

router = APIRouter(default_response_class=HTMLResponse)

MINUTES = N_("%(tier)s (höchstens %(minutes)s Minuten)")


class SignedIn(StrEnum):
    """What happens with somebody who is signed in."""

    STAYS = "bleibt"
    COUNTDOWN = "countdown"


SIGNED_IN = [
    (SignedIn.STAYS, N_("Nicht zurücksetzen")),
    (SignedIn.COUNTDOWN, N_("60 Sekunden Zeit zum Speichern geben, dann zurücksetzen")),
]


def tiers_of(request: Request, recipe: Recipe | None) -> list[tuple[str, str]]:
    """How thoroughly this recipe can reset, in the visitor's language; of one way none."""
    found = ways(recipe) if recipe else ()
    say = translations(language_of(request)).gettext
    named = []
    for way in found if len(found) > 1 else ():
        minutes = math.ceil(way.length.total_seconds() / 60)
        text = say(MINUTES) % {"tier": say(sentence(way.tier, "tier")), "minutes": minutes}
        named.append((way.tier.value, text))
    return named


@router.get("/geraet/{device_id}/trotzdem")
def ask(request: Request, device_id: str, visitor: Visitor = Depends(signed_in)) -> HTMLResponse:
    said = {"tier": Tier.QUICK.value, "grund": "", "angemeldet": SignedIn.STAYS.value}
    return _asked(request, device_id, visitor, said)


def _asked(
    request: Request,
    device_id: str,
    visitor: Visitor,
    said: Mapping[str, str],
    *,
    sure: bool = False,
    problem: str = "",
) -> HTMLResponse:
    """First how and why; then, with all that was `said`, whether they are sure."""
    if not visitor.can(Action.EDIT):
        raise HTTPException(403)
    state, against = request.app.state, list[str]()
    with reading(state.engine) as opened:
        device, room, site = find_device(opened, device_id, visitor)
        recipe = opened.get(Recipe, device.recipe_id) if device.recipe_id else None
        heard = opened.get(DeviceState, device_id)
        if recipe:
            now, tier = state.clock(), Tier(said["tier"])
            against = resets.objections(opened, device, recipe, tier, now, state.settings)
    return page(
        request, "insist.html", visitor=visitor, device=device, room=room, site=site, said=said,
        sure=sure, problem=problem, tiers=tiers_of(request, recipe), against=against,
        signed_in=SIGNED_IN if resets.counts_down(device, recipe, heard) else [],
        http_status=409 if problem else 200,
    )  # fmt: skip


@router.post("/geraet/{device_id}/trotzdem")
def insist(
    request: Request,
    device_id: str,
    visitor: Visitor = Depends(posted),
    tier: Tier = Form(Tier.QUICK),
    grund: str = Form("", max_length=200),
    angemeldet: SignedIn = Form(SignedIn.STAYS),
    sicher: bool = Form(False),
) -> Response:
    if not visitor.can(Action.EDIT):
        raise HTTPException(403)
    state = request.app.state
    said = {"tier": tier.value, "grund": " ".join(grund.split()), "angemeldet": angemeldet.value}
    if not said["grund"]:
        return _asked(request, device_id, visitor, said, problem=refusal(request, "why_needed"))
    if not sicher:
        return _asked(request, device_id, visitor, said, sure=True)
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
                force=True,
                over_all=visitor.can(Action.ADMIN),
                countdown=angemeldet is SignedIn.COUNTDOWN,
                why=said["grund"],
            )
    except resets.ResetRefused as refused:
        return _asked(request, device_id, visitor, said, problem=refusal(request, refused.code))
    return RedirectResponse(f"/geraet/{device_id}?hinweis=reset_requested#runs", 303)
