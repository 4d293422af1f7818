"""The steps of a reset run's life: only those that TRANSITIONS allows, each with its deadline."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, SQLColumnExpression, exists, update
from sqlmodel import Session, col

from fleet.resets.ways import Way
from inventory import OPEN_STATES, TRANSITIONS, Course, Device, Recipe, ResetRun, RunState

BACKOFF = (timedelta(0), timedelta(seconds=60), timedelta(seconds=180))
"""Pause before the second and third attempt, and the least before every further one."""
PATIENCE = 8
"""After the third attempt the pause is this part of the time that is left: a device that is off all
night is not asked all night, but often when the course comes near."""
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
    run: ResetRun,
    state: RunState,
    now: datetime,
    *,
    reason: str = "",
    detail: str = "",
    step: str = "",
) -> None:
    """Take the run to `state`. Raises WrongTransition."""
    check(run.state, state)
    run.state, run.reason, run.detail, run.step = state, reason[:64], detail[:500], step
    run.finished_at = None if state in OPEN_STATES else now


def move_all(
    session: Session,
    old: RunState,
    new: RunState,
    *where: ColumnElement[bool],
    now: datetime,
    reason: str | SQLColumnExpression[str],
    step: str | SQLColumnExpression[str] = "",
) -> None:
    """The same for all runs in state `old` to which the conditions apply."""
    check(old, new)
    finished = None if new in OPEN_STATES else now
    session.execute(
        update(ResetRun)
        .where(col(ResetRun.state) == old, *where)
        .values(state=new, reason=reason, step=step, finished_at=finished)
        .execution_options(synchronize_session=False)
    )


def prepared(now: datetime) -> ColumnElement[bool]:
    """Condition on a Device: a reset of it was proved for a course that is still to come."""
    return exists().where(
        col(ResetRun.device_id) == col(Device.id),
        col(ResetRun.state) == RunState.VERIFIED,
        col(ResetRun.course_start) > now,
        exists().where(col(Course.id) == col(ResetRun.course_id), col(Course.cancelled).is_(False)),
    )


def answer_due(started_by: datetime, way: Way) -> datetime:
    """When an order that is begun by then must have been answered."""
    return started_by + way.length + ANSWER_MARGIN


def look_due(ended: datetime, way: Way) -> datetime:
    """When the look after a reset that ended then must have been told."""
    return ended + timedelta(seconds=way.settle_s) + ANSWER_MARGIN


def retry(
    run: ResetRun,
    recipe: Recipe,
    now: datetime,
    *,
    otherwise: RunState,
    reason: str,
    detail: str = "",
    step: str = "",
    counts: bool = True,
    earliest: datetime | None = None,
) -> None:
    """Plan another attempt if there is time for one, else end the run in state `otherwise`.

    `counts`: whether the attempt counts against the recipe's tries. A refusal does not, nor does a
    device that is away: nothing was touched, and asking again costs nothing. `earliest`: until
    then the last attempt may still be at work on the device, and counts as under way.
    """
    run.failures += counts
    at = max(now + _pause(run, now, counts=counts), earliest or now)
    again = run.recalled_at is None and at <= run.not_after
    if again and (not counts or run.failures < recipe.tries):
        move(run, RunState.PLANNED, now, reason=reason, detail=detail, step=step)
        run.next_try_at, run.deadline = at, run.not_after
    else:
        move(run, otherwise, now, reason=reason, detail=detail, step=step)
    run.busy_until = earliest


def _pause(run: ResetRun, now: datetime, *, counts: bool) -> timedelta:
    if run.attempts > len(BACKOFF):
        return max(BACKOFF[-1], (run.not_after - now) / PATIENCE)
    pause = BACKOFF[max(run.attempts, 1) - 1]
    return pause if counts else max(pause, BACKOFF[1])
