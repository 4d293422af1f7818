"""What every question to the API may ask, and how its answers are found and counted."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import AfterValidator, AwareDatetime
from sqlalchemy import Select, func, select
from sqlmodel import Session, col

from fleet.api.faults import FaultRoute
from fleet.api.shapes import Fault, Page
from fleet.auth import Action, Visitor, may, posted
from inventory import Room


def new_router() -> APIRouter:
    """For one kind of thing; all of them stand under /api/v1."""
    return APIRouter(
        prefix="/api/v1",
        route_class=FaultRoute,
        tags=["v1"],
        responses={code: {"model": Fault} for code in (401, 403, 404, 422)},
    )


Viewer = Annotated[Visitor, Depends(may(Action.VIEW))]
Poster = Annotated[Visitor, Depends(posted)]
Limit = Annotated[int, Query(ge=1, le=500)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]
Name = Annotated[str | None, Query(max_length=63)]
YEARS = range(2000, 2200)


def _near(moment: datetime) -> datetime:
    """Further away the calendar itself ends, in one time zone or another."""
    if moment.year not in YEARS:
        raise ValueError(f"must lie between {YEARS.start} and {YEARS.stop}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_near)]

T = TypeVar("T")
Queried = Select[*tuple[Any, ...]]

NOT_FOUND = "There is nothing of this name here."


def page_of(
    opened: Session,
    query: Queried,
    shape: Callable[..., T],
    limit: int,
    offset: int,
) -> Page[T]:
    total = opened.execute(select(func.count()).select_from(query.order_by(None).subquery()))
    rows = opened.execute(query.limit(limit).offset(offset))
    return Page(
        items=[shape(*row) for row in rows],
        total=total.scalar_one(),
        limit=limit,
        offset=offset,
    )


def one_of(opened: Session, query: Queried, shape: Callable[..., T]) -> T:
    row = opened.execute(query).first()
    if row is None:
        raise HTTPException(404, NOT_FOUND)
    return shape(*row)


def within(
    query: Queried, visitor: Visitor, site: str | None = None, room: str | None = None
) -> Queried:
    """Only what stands at sites that the visitor may see; the query has joined Room."""
    query = query.where(col(Room.site_id).in_(visitor.sites))
    if site is not None:
        query = query.where(col(Room.site_id) == site)
    return query if room is None else query.where(col(Room.id) == room)


def allow(visitor: Visitor, action: Action) -> None:
    """Raises 403."""
    if not visitor.can(action):
        raise HTTPException(403, "Your account may not do this.")
