"""Finds what a visitor may see; everything else does not exist for them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from fastapi import HTTPException
from sqlmodel import Session, col, or_, select

from fleet.auth import Visitor
from inventory import AgentContact, Device, Feed, Report, Room, Site

T = TypeVar("T")


def find_room(session: Session, room_id: str, visitor: Visitor) -> tuple[Room, Site]:
    """The room and its site. Raises 404 when there is none, or none for this visitor."""
    found = session.exec(
        select(Room, Site).join(Site, col(Site.id) == col(Room.site_id)).where(Room.id == room_id)
    ).first()
    if found is None or found[1].id not in visitor.sites:
        raise HTTPException(404)
    return found


def find_device(session: Session, device_id: str, visitor: Visitor) -> tuple[Device, Room, Site]:
    """The device and where it stands. Raises 404 as `find_room` does."""
    device = session.get(Device, device_id)
    if device is None:
        raise HTTPException(404)
    return (device, *find_room(session, device.room_id, visitor))


def find_report(session: Session, report_id: str, visitor: Visitor) -> Report:
    """Raises 404 as `find_room` does."""
    report = session.get(Report, report_id)
    if report is None:
        raise HTTPException(404)
    find_device(session, report.device_id, visitor)
    return report


def in_order(pairs: Iterable[tuple[T, Device]]) -> list[tuple[T, Device]]:
    """By the devices' names as people count: Laptop 2 before Laptop 10."""

    def place(pair: tuple[T, Device]) -> list[tuple[int, str]]:
        parts = re.findall(r"\d+|\D+", pair[1].name.casefold())
        return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]

    return sorted(pairs, key=place)


def municipalities(session: Session, visitor: Visitor) -> list[tuple[str, str]]:
    """Value and text for a choice of the visitor's municipalities, in alphabetical order."""
    names = session.exec(
        select(Site.municipality)
        .where(col(Site.id).in_(visitor.sites))
        .distinct()
        .order_by(Site.municipality)
    )
    return [(name, name) for name in names]


@dataclass
class Freshness:
    """How far what is shown about a room can be trusted."""

    heard_at: datetime | None = None
    """When its site's agent was last heard."""
    read_at: datetime | None = None
    """When the oldest of its timetables was last read in full."""
    problem: str = ""
    """A code of `fleet.timetable` when one of them is in doubt."""


def freshness(session: Session, sites: Iterable[str]) -> dict[str, Freshness]:
    """Room → how fresh, for every room of these sites, in two queries."""
    chosen = list(sites)
    rooms = session.exec(
        select(Room.id, AgentContact.at)
        .outerjoin(AgentContact, col(AgentContact.site_id) == col(Room.site_id))
        .where(col(Room.site_id).in_(chosen))
    )
    found = {room: Freshness(heard_at=at) for room, at in rooms}
    read: dict[str, list[datetime | None]] = {}
    rows = session.exec(
        select(Room.id, Feed.good_at, Feed.problem)
        .join(Feed, col(Feed.site_id) == col(Room.site_id))
        .where(
            col(Room.site_id).in_(chosen),
            or_(col(Feed.room_id).is_(None), col(Feed.room_id) == col(Room.id)),
        )
    )
    for room, good_at, problem in rows:
        read.setdefault(room, []).append(good_at)
        found[room].problem = found[room].problem or problem
    for room, times in read.items():
        found[room].read_at = None if None in times else min(at for at in times if at)
    return found
