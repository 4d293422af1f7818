"""What is broken or was, and what trouble is to be expected."""

from datetime import timedelta

from fastapi import Request
from sqlalchemy import select
from sqlmodel import col

from fleet.api.queries import Limit, Moment, Name, Offset, Viewer, new_router, page_of, within
from fleet.api.shapes import IncidentOut, Page, PredictionOut
from inventory import Device, Incident, Prediction, Room, Service
from inventory.db import reading

router = new_router()


@router.get("/incidents")
def list_incidents(
    request: Request,
    visitor: Viewer,
    site: Name = None,
    since: Moment | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[IncidentOut]:
    """Faults that are open or ended since then (7 days ago), the newest first."""
    begin = since or request.app.state.clock() - timedelta(days=7)
    query = (
        select(Incident)
        .where(col(Incident.site_id).in_(visitor.sites))
        .where(col(Incident.closed_at).is_(None) | (col(Incident.closed_at) >= begin))
        .order_by(col(Incident.since).desc(), col(Incident.id).desc())
    )
    if site is not None:
        query = query.where(col(Incident.site_id) == site)
    with reading(request.app.state.engine) as opened:
        return page_of(opened, query, IncidentOut.model_validate, limit, offset)


@router.get("/predictions")
def list_predictions(
    request: Request,
    visitor: Viewer,
    site: Name = None,
    room: Name = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[PredictionOut]:
    """Trouble to be expected, the soonest first."""
    query = within(
        select(Prediction)
        .join(Device, col(Device.id) == col(Prediction.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(col(Device.service) == Service.ACTIVE)
        .order_by(col(Prediction.due_at), col(Prediction.device_id)),
        visitor,
        site,
        room,
    )
    with reading(request.app.state.engine) as opened:
        return page_of(opened, query, PredictionOut.model_validate, limit, offset)
