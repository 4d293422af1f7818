"""Takes back what somebody asked for by hand, as long as its device has not begun to delete."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from fleet.resets.due import BY_PLAN
from fleet.resets.manual import ResetRefused
from fleet.resets.runs import move_all
from inventory import Device, ResetRun, Room, RunState

RECALLED = "recalled"


def recallable(run: ResetRun) -> bool:
    """Whether it can be taken back: one that somebody asked for, and of which nobody has heard yet
    that it is done. Those for a course are called off by an override."""
    waiting = run.state in (RunState.PLANNED, RunState.ORDERED)
    return waiting and run.course_id is None and run.requested_by != BY_PLAN


def recall(
    session: Session, run_id: str, now: datetime, *, device_id: str | None = None
) -> ResetRun:
    """Drop it, or, where its order is on its way, ask for it back: the site's agent is told with
    its next roster and stops the device if that has touched nothing. Safe to repeat.

    `device_id`: of which device it has to be. Raises ResetRefused.
    """
    run = session.get(ResetRun, run_id, with_for_update=True)
    another = run is not None and device_id not in (None, run.device_id)
    if run is None or another or not recallable(run):
        raise ResetRefused("too_late_to_recall")
    run.recalled_at = run.recalled_at or now
    session.flush()
    drop_recalled(session, now)
    session.refresh(run)
    return run


def drop_recalled(session: Session, now: datetime) -> None:
    """Those that wait to be sent, perhaps once more."""
    asked = col(ResetRun.recalled_at).is_not(None)
    move_all(session, RunState.PLANNED, RunState.DROPPED, asked, now=now, reason=RECALLED)


def recalled_orders(session: Session, sites: Sequence[str]) -> list[tuple[str, str]]:
    """Site and id of every order that is on its way and was taken back."""
    rows = session.execute(
        select(col(Room.site_id), col(ResetRun.order_id))
        .join(Device, col(Device.room_id) == col(Room.id))
        .join(ResetRun, col(ResetRun.device_id) == col(Device.id))
        .where(col(ResetRun.state) == RunState.ORDERED, col(ResetRun.recalled_at).is_not(None))
        .where(col(Room.site_id).in_(sites))
        .order_by(col(ResetRun.id))
    )
    return [(site, order) for site, order in rows]
