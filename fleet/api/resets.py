"""Reset runs."""

from fastapi import Request
from sqlalchemy import select
from sqlmodel import col

from fleet import resets
from fleet.api.queries import (
    Limit,
    Name,
    Offset,
    Poster,
    Viewer,
    allow,
    new_router,
    one_of,
    page_of,
    within,
)
from fleet.api.shapes import (
    Fault,
    Page,
    ResetOut,
)
from fleet.auth import Action
from inventory import (
    Device,
    ResetRun,
    Room,
    RunState,
)
from inventory.db import reading, session

router = new_router()


_RESETS = (
    select(ResetRun)
    .join(Device, col(Device.id) == col(ResetRun.device_id))
    .join(Room, col(Room.id) == col(Device.room_id))
    .order_by(col(ResetRun.planned_at).desc(), col(ResetRun.id))
)


@router.get("/resets")
def list_resets(
    request: Request,
    visitor: Viewer,
    site: Name = None,
    room: Name = None,
    device: Name = None,
    state: RunState | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[ResetOut]:
    """Reset runs, the newest first."""
    query = within(_RESETS, visitor, site, room)
    if device is not None:
        query = query.where(col(ResetRun.device_id) == device)
    if state is not None:
        query = query.where(col(ResetRun.state) == state)
    with reading(request.app.state.engine) as opened:
        return page_of(opened, query, ResetOut.model_validate, limit, offset)


@router.get("/resets/{reset_id}")
def get_reset(request: Request, visitor: Viewer, reset_id: str) -> ResetOut:
    with reading(request.app.state.engine) as opened:
        query = within(_RESETS, visitor).where(col(ResetRun.id) == reset_id)
        return one_of(opened, query, ResetOut.model_validate)


@router.post("/resets/{reset_id}/recall", responses={409: {"model": Fault}})
def recall_reset(request: Request, visitor: Poster, reset_id: str) -> ResetOut:
    """Take back a reset that was asked for by hand. It is `dropped` at once, or, where its order is
    on its way, as soon as its device says that nothing was touched. 409: it is too late."""
    allow(visitor, Action.RESET)
    state = request.app.state
    with session(state.engine) as opened:
        one_of(opened, within(_RESETS, visitor).where(col(ResetRun.id) == reset_id), lambda _: None)
        return ResetOut.model_validate(resets.recall(opened, reset_id, state.clock()))
