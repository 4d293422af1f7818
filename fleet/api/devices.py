"""Devices, what is known of them, and a reset by hand."""

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
    DeviceOut,
    Fault,
    Page,
    ResetIn,
    ResetOut,
    StateOut,
)
from fleet.auth import Action
from inventory import (
    Device,
    DeviceKind,
    DeviceState,
    Health,
    Room,
)
from inventory.db import reading, session

router = new_router()


def _device(device: Device, site_id: str, state: DeviceState | None) -> DeviceOut:
    return DeviceOut.model_validate(
        {
            **device.model_dump(),
            "site_id": site_id,
            "state": StateOut.model_validate(state) if state else None,
        }
    )


_DEVICES = (
    select(Device, col(Room.site_id), DeviceState)
    .join(Room, col(Room.id) == col(Device.room_id))
    .outerjoin(DeviceState, col(DeviceState.device_id) == col(Device.id))
    .order_by(col(Device.id))
)


@router.get("/devices")
def list_devices(
    request: Request,
    visitor: Viewer,
    site: Name = None,
    room: Name = None,
    kind: DeviceKind | None = None,
    state: Health | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[DeviceOut]:
    """Devices and what is known of them; `state`: only those of this health."""
    query = within(_DEVICES, visitor, site, room)
    if kind is not None:
        query = query.where(col(Device.kind) == kind)
    if state is not None:
        unheard = Health.UNKNOWN if state is Health.UNKNOWN else None
        known = col(DeviceState.health) == state
        query = query.where(known | col(DeviceState.health).is_(None) if unheard else known)
    with reading(request.app.state.engine) as opened:
        return page_of(opened, query, _device, limit, offset)


@router.get("/devices/{device_id}")
def get_device(request: Request, visitor: Viewer, device_id: str) -> DeviceOut:
    with reading(request.app.state.engine) as opened:
        query = within(_DEVICES, visitor).where(col(Device.id) == device_id)
        return one_of(opened, query, _device)


@router.post("/devices/{device_id}/reset", status_code=202, responses={409: {"model": Fault}})
def reset_device(
    request: Request, visitor: Poster, device_id: str, how: ResetIn | None = None
) -> ResetOut:
    """Ask for a reset by hand. 409 says why not, for example that a course is running, which
    nobody can insist against."""
    how = how or ResetIn()
    allow(visitor, Action.EDIT if how.force or how.countdown else Action.RESET)
    state = request.app.state
    with session(state.engine) as opened:
        one_of(opened, within(_DEVICES, visitor).where(col(Device.id) == device_id), _device)
        run = resets.request(
            opened,
            device_id,
            state.clock(),
            state.settings,
            visitor.account.name,
            tier=how.tier,
            force=how.force,
            over_all=visitor.can(Action.ADMIN),
            countdown=how.countdown,
            why=how.why,
        )
        opened.flush()
        return ResetOut.model_validate(run)
