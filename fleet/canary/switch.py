"""Where the canary is switched off: somebody said STOP of its recipe, for a room, a site or all.

A canary that fails is never stopped by itself: only another one can say that all is well again.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlmodel import Session, select

from fleet import overrides
from inventory import Override, OverrideKind, Room
from inventory.recipes import CANARY


def off(session: Session, now: datetime) -> Mapping[str, Override]:
    """Room → the first word by which it gets no canary now."""
    said = [one for one in _said(session, now) if one.device_id is None]
    if not said:
        return {}
    found: dict[str, Override] = {}
    for room, site in session.exec(select(Room.id, Room.site_id)):
        for one in said:
            if overrides.concerns(one, site, room):
                found.setdefault(room, one)
    return found


def spared(session: Session, now: datetime) -> frozenset[str]:
    """Single laptops that somebody took out of it."""
    return frozenset(one.device_id for one in _said(session, now) if one.device_id)


def _said(session: Session, now: datetime) -> list[Override]:
    return [
        one
        for one in overrides.in_force(session, now, OverrideKind.STOP)
        if one.recipe_id == CANARY and one.since <= now
    ]
