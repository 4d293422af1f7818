"""What is needed of each room now, and which thresholds hold there: the timetable's word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, col

from fleet import overrides
from fleet.health import Expected
from fleet.settings import Settings
from fleet.timetable import waited_for
from inventory import Course, CourseKind, Override, OverrideKind, Room

Limits = Mapping[str, Mapping[str, float]]
"""Kind of device → name of a threshold → limit."""


@dataclass(frozen=True)
class Need:
    """What a room is needed for; `limits` of the sort of course that runs or is about to begin."""

    expected: Expected = Expected.IDLE
    limits: Limits = field(default_factory=dict)


IDLE = Need()


@dataclass(frozen=True)
class Needs:
    """What is needed now, everywhere. `works`: where somebody is at work."""

    rooms: Mapping[str, Need]
    works: Sequence[Override] = ()

    def of(self, room: str) -> Need:
        return self.rooms.get(room, IDLE)

    def works_on(self, site: str, room: str, device: str) -> bool:
        return any(overrides.concerns(said, site, room, device) for said in self.works)


def needs_of(session: Session, now: datetime, settings: Settings) -> Needs:
    """The rooms that are needed now: IN_USE (a course is running) or NEEDED (one begins within
    the lead time). All others are IDLE."""
    soon = now + timedelta(seconds=settings.reset_lead_s)
    courses = session.execute(
        select(col(Course.room_id), col(Room.site_id), col(Course.title), col(Course.start))
        .join(Room, col(Room.id) == col(Course.room_id))
        .where(waited_for(), col(Course.start) <= soon, col(Course.end) > now)
        .order_by(col(Course.start), col(Course.id))
    ).all()
    kinds = session.scalars(select(CourseKind).order_by(col(CourseKind.id))).all()
    rooms: dict[str, Need] = {}
    for room, site, title, start in courses:
        if room in rooms:  # the one that runs, or else the first to begin, decides
            continue
        kind = kind_of(title, site, kinds)
        expected = Expected.IN_USE if start <= now else Expected.NEEDED
        rooms[room] = Need(expected, kind.thresholds if kind else {})
    said = overrides.in_force(session, now, OverrideKind.MAINTENANCE)
    return Needs(rooms, [one for one in said if one.since <= now])


def kind_of(title: str, site: str, kinds: Any) -> CourseKind | None:
    """The sort of a course: of those whose words its title holds the one with the most, and the
    site's own before one for all sites; None: an ordinary course."""
    said = " ".join(title.split()).casefold()
    fitting = [
        kind
        for kind in kinds
        if kind.site_id in (None, site) and " ".join(kind.title.split()).casefold() in said
    ]
    return max(fitting, key=lambda kind: (len(kind.title), kind.site_id or ""), default=None)


def limits_of(
    kind: str, site: Limits, course: Limits, device: Mapping[str, float]
) -> Mapping[str, float]:
    """The thresholds of one device: its own before the course's before the site's."""
    if not (site or course or device):
        return {}
    return {**site.get(kind, {}), **course.get(kind, {}), **device}
