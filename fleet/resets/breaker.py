"""Stops the automatic resets with a recipe of which too many fail, and says so."""

from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import Session, col, select

from fleet import overrides
from fleet.overrides import Scope
from inventory import Override, OverrideKind, Recipe, ResetRun, RunState
from inventory.recipes import CANARY

LAST = 10
"""So many resets are looked at; fewer say nothing."""
MOST = 3
"""So many of them may fail: 30 percent."""
BACK = timedelta(days=2)
NOT_ITS_FAULT = (
    "unreachable", "server_silent", "denied", "host_key_changed", "wrong_device", "misconfigured",
    "missing_credential", "no_answer", "interrupted", "no_journal", "in_use",
)  # fmt: skip
"""A reset that ended for such a reason says something about a device, a line or an agent, and
nothing about the recipe."""
BY = "raumwart"


def stop_failing(session: Session, now: datetime) -> None:
    """Say STOP of every recipe of whose last ten resets more than three failed.

    A person takes that back (or a reset by hand shows that it works, and then takes it back);
    from then on only newer resets count.
    """
    # A canary that fails is no reason to look away: only the next one can say that all is well.
    for recipe in _used(session, now) - _stopped(session, now) - {CANARY}:
        last = _last(session, recipe, now)
        failed = sum(state != RunState.VERIFIED for state in last)
        if len(last) == LAST and failed > MOST:
            # Of several processes one says it.
            session.exec(select(Recipe).where(Recipe.id == recipe).with_for_update()).one()
            if recipe not in _stopped(session, now):
                why = f"{failed}/{LAST}"
                scope = Scope(recipe=recipe)
                overrides.say(session, OverrideKind.STOP, scope, now, BY, reason=why)


def _stopped(session: Session, now: datetime) -> set[str | None]:
    """The recipes stopped everywhere: what one site stops for itself is no word about others."""
    said = overrides.in_force(session, now, OverrideKind.STOP)
    return {one.recipe_id for one in said if one.site_id is None}


def _used(session: Session, now: datetime) -> set[str]:
    recent = col(ResetRun.planned_at) > now - BACK
    failed = col(ResetRun.state).in_((RunState.FAILED, RunState.UNKNOWN))
    return set(session.exec(select(ResetRun.recipe_id).where(recent, failed).distinct()))


def _last(session: Session, recipe: str, now: datetime) -> list[str]:
    taken_back = session.exec(
        select(func.max(Override.ended_at)).where(
            Override.kind == OverrideKind.STOP,
            col(Override.recipe_id) == recipe,
            col(Override.site_id).is_(None),
        )
    ).one()
    ended = (
        select(ResetRun.state)
        .where(ResetRun.recipe_id == recipe, col(ResetRun.planned_at) > now - BACK)
        .where(col(ResetRun.state).in_((RunState.VERIFIED, RunState.FAILED, RunState.UNKNOWN)))
        .where(col(ResetRun.reason).not_in(NOT_ITS_FAULT))
    )
    if taken_back is not None:
        ended = ended.where(col(ResetRun.finished_at) > taken_back)
    newest = ended.order_by(col(ResetRun.finished_at).desc(), col(ResetRun.id)).limit(LAST)
    return list(session.exec(newest).all())
