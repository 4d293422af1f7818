"""The steps of a reset run's life: only those that TRANSITIONS allows, each with its deadline."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, update
from sqlmodel import Session, col

from inventory import OPEN_STATES, TRANSITIONS, Recipe, ResetRun, RunState

BACKOFF = (timedelta(0), timedelta(seconds=60), timedelta(seconds=180))
"""Pause before the second, third and every further attempt."""
ORDER_VALID = timedelta(seconds=60)
"""How long an order may be on its way. One that comes later is dead, so a new attempt can never
meet the one before it on the device."""
ANSWER_MARGIN = timedelta(seconds=120)
"""Beyond the reset itself: the look and its repetitions, and the way back."""


class WrongTransition(Exception):
    """A bug of ours: a run was to take a step that does not exist."""


def check(old: RunState, new: RunState) -> None:
    """Raises WrongTransition."""
    if new not in TRANSITIONS.get(old, frozenset()):
        raise WrongTransition(f"{old.value} -> {new.value}")


def move(
    run: ResetRun, state: RunState, now: datetime, *, reason: str = "", detail: str = ""
) -> None:
    """Take the run to `state`. Raises WrongTransition."""
    check(run.state, state)
    run.state, run.reason, run.detail = state, reason[:64], detail[:500]
    run.finished_at = None if state in OPEN_STATES else now


def move_all(
    session: Session,
    old: RunState,
    new: RunState,
    *where: ColumnElement[bool],
    now: datetime,
    reason: str | ColumnElement[str],
) -> None:
    """The same for all runs in state `old` to which the conditions apply."""
    check(old, new)
    finished = None if new in OPEN_STATES else now
    session.execute(
        update(ResetRun)
        .where(col(ResetRun.state) == old, *where)
        .values(state=new, reason=reason, finished_at=finished)
        .execution_options(synchronize_session=False)
    )


def length(recipe: Recipe) -> timedelta:
    """How long a reset keeps a device from people at most: its own watchdog, and the pause in
    which the device comes back."""
    return timedelta(seconds=recipe.max_runtime_s + recipe.settle_s)


def answer_due(started_by: datetime, recipe: Recipe) -> datetime:
    """When an order that is begun by then must have been answered."""
    return started_by + length(recipe) + ANSWER_MARGIN


def look_due(ended: datetime, recipe: Recipe) -> datetime:
    """When the look after a reset that ended then must have been told."""
    return ended + timedelta(seconds=recipe.settle_s) + ANSWER_MARGIN


def retry(
    run: ResetRun,
    recipe: Recipe,
    now: datetime,
    *,
    otherwise: RunState,
    reason: str,
    detail: str = "",
    counts: bool = True,
    earliest: datetime | None = None,
) -> None:
    """Plan another attempt if there is time for one, else end the run in state `otherwise`.

    `counts`: whether the attempt counts against the recipe's tries. A refusal does not: nothing
    was touched, and asking again costs nothing. `earliest`: until then the last attempt may still
    be at work on the device.
    """
    at = now + BACKOFF[min(run.attempts, len(BACKOFF)) - 1]
    if not counts:
        at = max(at, now + BACKOFF[1])
    at = max(at, earliest or at)
    if at <= run.not_after and (not counts or run.attempts < recipe.tries):
        move(run, RunState.PLANNED, now, reason=reason, detail=detail)
        run.next_try_at, run.deadline = at, run.not_after
    else:
        move(run, otherwise, now, reason=reason, detail=detail)
