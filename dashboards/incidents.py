"""Shows what is broken now, what was, and what is to be expected."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from sqlmodel import Session, col, select

from dashboards.view import page
from fleet import incidents
from fleet.auth import Visitor, signed_in
from fleet.health.trends import coming
from inventory import Device, Incident, Room, Site
from inventory.db import reading

router = APIRouter(default_response_class=HTMLResponse)

BACK = timedelta(days=7)


@dataclass(frozen=True)
class Shown:
    """An incident with where it is; `device` and `room` are None for a whole site."""

    incident: Incident
    site: Site
    device: Device | None
    room: Room | None

    @property
    def name(self) -> str:
        """What people call what has failed."""
        if self.device:
            return self.device.name
        return incidents.name_of(self.incident) or self.site.name


@router.get("/stoerungen")
def shown(request: Request, visitor: Visitor = Depends(signed_in)) -> HTMLResponse:
    now = request.app.state.clock()
    with reading(request.app.state.engine) as opened:
        return page(
            request,
            "incidents.html",
            visitor=visitor,
            current=_placed(opened, incidents.current(opened, visitor.sites)),
            past=_placed(opened, incidents.past(opened, now - BACK, visitor.sites)),
            coming=coming(opened, visitor.sites),
        )


def _placed(opened: Session, found: Sequence[Incident]) -> list[Shown]:
    sites = opened.exec(select(Site).where(col(Site.id).in_({one.site_id for one in found})))
    by_id = {site.id: site for site in sites}
    pairs = opened.exec(
        select(Device, Room)
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(col(Device.id).in_({one.device_id for one in found if one.device_id}))
    )
    places = {device.id: (device, room) for device, room in pairs}
    nowhere = (None, None)
    return [Shown(one, by_id[one.site_id], *places.get(one.cause, nowhere)) for one in found]
