"""Shows how the reset's own test stands in each room, and whether its evidence is sealed."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from sqlmodel import Session, col, func, select

from dashboards.overrides import may_end
from dashboards.view import page
from dashboards.words import N_
from fleet import canary, overrides
from fleet.auth import Visitor, signed_in
from fleet.canary import Stand
from inventory import Device, EvidenceSeal, OverrideKind, Room, Site
from inventory.db import reading

router = APIRouter(default_response_class=HTMLResponse)

STATES = {
    "ok": N_("bestanden"),
    "failed": N_("nicht bestanden"),
    "stale": N_("überfällig"),
    "waiting": N_("steht noch aus"),
    "off": N_("abgeschaltet"),
    "none": N_("kein Laptop dafür"),
}
"""Every state of `fleet.canary.Stand`."""

URGENT = ("failed", "stale", "off", "waiting", "none", "ok")


@dataclass(frozen=True)
class Row:
    stand: Stand
    room: Room
    site: Site
    device: Device | None
    """Where the last one ran."""


@router.get("/selbsttest")
def shown(request: Request, visitor: Visitor = Depends(signed_in)) -> HTMLResponse:
    with reading(request.app.state.engine) as opened:
        rows = _rows(opened, canary.stands(opened, request.app.state.clock()), visitor)
        sealed_at = opened.exec(select(func.max(EvidenceSeal.sealed_at))).one()
    return page(
        request,
        "canaries.html",
        visitor=visitor,
        rows=rows,
        states=STATES,
        wrong=sum(row.stand.state in ("failed", "stale") for row in rows),
        off=sum(row.stand.state == "off" for row in rows),
        may_switch=visitor.can(overrides.NEEDS[OverrideKind.STOP]),
        may_end=may_end(visitor, [row.stand.said for row in rows if row.stand.said]),
        sealed_at=sealed_at,
    )


def _rows(opened: Session, stands: Sequence[Stand], visitor: Visitor) -> list[Row]:
    """What this visitor may see, the most urgent first."""
    rooms = opened.exec(
        select(Room, Site)
        .join(Site, col(Site.id) == col(Room.site_id))
        .where(col(Site.id).in_(visitor.sites))
    )
    places = {room.id: (room, site) for room, site in rooms}
    seen = [stand for stand in stands if stand.room in places]
    names = {stand.device for stand in seen}
    devices = {one.id: one for one in opened.exec(select(Device).where(col(Device.id).in_(names)))}
    rows = [Row(stand, *places[stand.room], devices.get(stand.device)) for stand in seen]
    return sorted(rows, key=lambda row: (URGENT.index(row.stand.state), row.room.name, row.room.id))
