"""What the look after a reset found, each point as a sentence that needs no glossary."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dashboards import units
from dashboards.fact_words import FACT, fact_names
from dashboards.words import N_
from fleet.resets import verify
from inventory import Recipe, ResetRun, RunState

SENTENCES: dict[str, tuple[str, str]] = {
    "at_rest": (N_("Das Gerät wirft kein Bild mehr."), N_("Das Gerät wirft noch ein Bild.")),
    "reset_id": (
        N_("Das Gerät nennt genau diesen Auftrag als erledigt."),
        N_("Das Gerät nennt diesen Auftrag nicht als erledigt."),
    ),
    "home_clean": (
        N_("Der Gast-Ordner gleicht der Vorlage."),
        N_("Der Gast-Ordner weicht von der Vorlage ab."),
    ),
    "residue": (N_("Keine Spuren von Gästen."), N_("Spuren von Gästen: {value}.")),
    "used_since": (
        N_("Seit der Zurücksetzung hat sich niemand angemeldet."),
        N_("Seit der Zurücksetzung hat sich jemand angemeldet."),
    ),
    "canary_planted": (
        N_("{value} Arten von Spuren wurden absichtlich gelegt."),
        N_("Es wurden zu wenige Spuren gelegt: {value}."),
    ),
    "canary_unseen": (
        N_("Das Gerät sah jede gelegte Spur."),
        N_("Das Gerät sah nicht jede gelegte Spur. Übersehen: {value}."),
    ),
    "on_start_page": (
        N_("Die Startseite ist zu sehen."),
        N_("Die Startseite ist nicht zu sehen."),
    ),
    "kiosk_locked": (
        N_("Der Kiosk-Modus ist gesperrt."),
        N_("Der Kiosk-Modus ist nicht gesperrt."),
    ),
    "report_age_s": (
        N_("Das Gerät hat sich danach gemeldet, vor {value}."),
        N_("Das Gerät hat sich zuletzt vor {value} gemeldet, das ist zu lange her."),
    ),
    "screen_on": (N_("Der Bildschirm ist an."), N_("Der Bildschirm ist aus.")),
    "power": (N_("Das Gerät ist an."), N_("Das Gerät ist nicht an, sondern: {value}.")),
    "input": (N_("Der Eingang stimmt: {value}."), N_("Der Eingang ist falsch: {value}.")),
    "picture_muted": (N_("Das Bild ist zu sehen."), N_("Das Bild ist ausgeblendet.")),
    "sound_muted": (N_("Der Ton ist an."), N_("Der Ton ist aus.")),
}
"""Fact of the built-in recipes → what is said when it is as it should be, and when it is not."""

OTHER = (N_("{fact}: {value}, wie verlangt."), N_("{fact}: {value}, anders als verlangt."))
"""For a fact that only somebody's own recipe asks for."""
UNTOLD = N_("{fact}: Das Gerät sagt es nicht.")
TRACES = N_("{count}, und zwar {places}")

PLACES = {
    "tmp": N_("im Zwischenspeicher (tmp)"),
    "var_tmp": N_("im Zwischenspeicher (var_tmp)"),
    "shm": N_("im Arbeitsspeicher (shm)"),
    "trash": N_("im Papierkorb"),
    "media": N_("auf einem Stick oder Laufwerk"),
    "mail": N_("in der Post (mail)"),
    "cron": N_("in geplanten Aufgaben (cron)"),
}
"""Where traces are looked for; other names are shown as they are."""


@dataclass(frozen=True)
class Point:
    """One thing that was checked."""

    good: bool
    text: str


def points(
    run: ResetRun, recipe: Recipe | None, language: str, translate: Callable[[str], str]
) -> list[Point]:
    """What the run's look was held against, what is wrong first; empty when it was only to answer.

    A recipe may have been changed since: what a proved run does not show by it is left out.
    """
    if recipe is None or not run.evidence:
        return []
    wrong = {each.fact for each in verify(recipe.expects, run.evidence, run.order_id or "")}
    shown = sorted(fact_names(recipe.expects), key=lambda fact: fact not in wrong)
    if run.state is RunState.VERIFIED:
        shown = [fact for fact in shown if fact not in wrong]
    return [
        Point(fact not in wrong, _text(fact, fact not in wrong, run.evidence, language, translate))
        for fact in shown
    ]


def _text(
    fact: str, good: bool, found: dict[str, Any], language: str, translate: Callable[[str], str]
) -> str:
    named = translate(FACT[fact])
    if fact not in found:
        return translate(UNTOLD).format(fact=named)
    value = units.human(fact, found[fact], language, translate)
    if fact == "residue" and found.get("residue_places"):
        names = str(found["residue_places"]).split(",")
        places = ", ".join(translate(PLACES[name]) if name in PLACES else name for name in names)
        value = translate(TRACES).format(count=value, places=places)
    said = SENTENCES.get(fact, OTHER)[0 if good else 1]
    return translate(said).format(fact=named, value=value)
