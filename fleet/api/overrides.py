"""What is said by hand about courses and resets, for scripts: course now, pause, and so on."""

from datetime import datetime

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import col, or_, select

from fleet import overrides
from fleet.api.queries import (
    NOT_FOUND,
    Limit,
    Moment,
    Offset,
    Poster,
    Viewer,
    allow,
    new_router,
    page_of,
)
from fleet.api.shapes import Fault, Out, Page
from fleet.auth import Visitor
from inventory import Override, OverrideKind
from inventory.db import reading, session

router = new_router()


class OverrideOut(Out):
    id: int
    kind: OverrideKind
    site_id: str | None
    """None: everywhere."""
    room_id: str | None
    device_id: str | None
    recipe_id: str | None
    course_id: int | None
    since: datetime
    until: datetime | None
    made_at: datetime
    made_by: str
    reason: str
    ended_at: datetime | None
    ended_by: str


class OverrideIn(BaseModel):
    """`course` and `block` need a room and `until`; `cancel` and `skip` a course (`skip` may name a
    device of its room); `pause` and `maintenance` a site, room or device, a pause of everything
    none; `stop` a recipe."""

    model_config = ConfigDict(extra="forbid")

    kind: OverrideKind
    site: str | None = Field(default=None, max_length=63)
    room: str | None = Field(default=None, max_length=63)
    device: str | None = Field(default=None, max_length=63)
    course: int | None = Field(default=None, ge=1, le=2**31 - 1)
    recipe: str | None = Field(default=None, max_length=63)
    until: Moment | None = None
    reason: str = Field(default="", max_length=200)


@router.get("/overrides")
def list_overrides(
    request: Request,
    visitor: Viewer,
    ended: bool = False,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[OverrideOut]:
    """What holds now or will, the newest first. `ended`: also what held once."""
    seen = or_(col(Override.site_id).is_(None), col(Override.site_id).in_(visitor.sites))
    query = select(Override).where(seen).order_by(col(Override.id).desc())
    if not ended:
        query = query.where(overrides.active(request.app.state.clock()))
    with reading(request.app.state.engine) as opened:
        return page_of(opened, query, OverrideOut.model_validate, limit, offset)


@router.post("/overrides", status_code=201, responses={409: {"model": Fault}})
def say(request: Request, visitor: Poster, said: OverrideIn) -> OverrideOut:
    """Say this by hand; it holds at once. 409 says why it makes no sense."""
    scope = overrides.Scope(said.site, said.room, said.device, said.course, said.recipe)
    now = request.app.state.clock()
    with session(request.app.state.engine) as opened:
        made = overrides.say(
            opened,
            said.kind,
            scope,
            now,
            visitor.account.name,
            until=said.until,
            reason=said.reason,
        )
        _check(visitor, made)
        return OverrideOut.model_validate(made)


@router.delete("/overrides/{override_id}")
def take_back(request: Request, visitor: Poster, override_id: int) -> OverrideOut:
    """Take it back. What has ended stays as it ended."""
    with session(request.app.state.engine) as opened:
        made = opened.get(Override, override_id) if 0 < override_id < 2**31 else None
        if made is None:
            raise HTTPException(404, NOT_FOUND)
        _check(visitor, made)
        overrides.end(opened, override_id, request.app.state.clock(), visitor.account.name)
        return OverrideOut.model_validate(made)


def _check(visitor: Visitor, made: Override) -> None:
    """Raises 404 for a place that this account may not see, 403 for what it may not do; what was
    said before in the same transaction is then not said."""
    if made.site_id is not None and made.site_id not in visitor.sites:
        raise HTTPException(404, NOT_FOUND)
    allow(visitor, overrides.needs(made))
