"""How often rooms were ready, month by month, from the frozen verdicts.

Rooms, courses and devices are counted; what a person did, or how fast, is counted nowhere.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time

from sqlmodel import Session, col, func, select

from fleet.resets.quiet import ZONE
from inventory import (
    OPEN_STATES,
    Course,
    Device,
    Readiness,
    ResetRun,
    Room,
    RunState,
    Site,
    Verdict,
)
from inventory.reset import stood_in

MOST = 5
"""So many devices and reasons are named: the most frequent."""
KIND_WIDE = frozenset({"too_few", "spare_needed"})
"""These follow from others and say nothing by themselves."""


@dataclass
class RoomMonth:
    """One room in one month. `reasons` and `worst`: the most frequent first."""

    room: Room
    site: Site
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    proved: int = 0
    resets: int = 0
    """Resets before courses that came to an end, without those that were dropped."""
    reasons: list[tuple[str, int]] = field(default_factory=list)
    worst: list[tuple[str, int]] = field(default_factory=list)
    """Devices by name, and how many of their resets were not proved."""

    @property
    def courses(self) -> int:
        return self.verdicts.total()


def month_of(moment: datetime) -> date:
    """The first day of the month that it is in Germany."""
    return moment.astimezone(ZONE).date().replace(day=1)


def following(month: date, months: int = 1) -> date:
    place = month.year * 12 + month.month - 1 + months
    return date(place // 12, place % 12 + 1, 1)


def span(month: date) -> tuple[datetime, datetime]:
    """From the month's first moment to the first of the next, as the clock on the wall goes."""
    first, last = (datetime.combine(day, time(), ZONE) for day in (month, following(month)))
    return first.astimezone(UTC), last.astimezone(UTC)


def by_room(session: Session, month: date, sites: Collection[str]) -> list[RoomMonth]:
    """Every room of these sites, those with the most trouble first."""
    places = session.exec(
        select(Room, Site)
        .join(Site, col(Site.id) == col(Room.site_id))
        .where(col(Site.id).in_(sites))
    )
    found = {room.id: RoomMonth(room, site) for room, site in places}
    _count_verdicts(session, found, month)
    _count_resets(session, found, month)
    return sorted(found.values(), key=_trouble)


def by_month(
    session: Session, room: Room, site: Site, last: date, months: int
) -> list[tuple[date, RoomMonth]]:
    """One room over the last months, the newest first."""
    told = []
    for back in range(months):
        month = following(last, -back)
        found = {room.id: RoomMonth(room, site)}
        _count_verdicts(session, found, month)
        _count_resets(session, found, month)
        told.append((month, found[room.id]))
    return told


def _trouble(one: RoomMonth) -> tuple[int, str]:
    return -one.verdicts[Verdict.NOT_READY], one.room.id


def _count_verdicts(session: Session, found: dict[str, RoomMonth], month: date) -> None:
    first, last = span(month)
    rows = session.exec(
        select(Readiness.room_id, Readiness.verdict, Readiness.reasons)
        .join(Course, col(Course.id) == col(Readiness.course_id))
        .where(Course.start >= first, Course.start < last)
        .where(col(Readiness.room_id).in_(list(found)))
    )
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for room, verdict, why in rows:
        found[room].verdicts[Verdict(verdict)] += 1
        # A reason that five devices have is one reason why the room was not ready.
        reasons[room].update({each["code"] for each in why} - KIND_WIDE)
    for room, counted in reasons.items():
        found[room].reasons = _most(counted)


def _count_resets(session: Session, found: dict[str, RoomMonth], month: date) -> None:
    first, last = span(month)
    rows = session.exec(
        select(stood_in(), Device.name, ResetRun.state, func.count())
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .where(ResetRun.course_start >= first, ResetRun.course_start < last)  # type: ignore[operator]
        .where(col(ResetRun.state).not_in([*OPEN_STATES, RunState.DROPPED]))
        .where(stood_in().in_(list(found)))
        .group_by(stood_in(), col(Device.name), col(ResetRun.state))
    )
    worst: dict[str, Counter[str]] = defaultdict(Counter)
    for room, device, state, count in rows:
        found[room].resets += count
        if state == RunState.VERIFIED:
            found[room].proved += count
        else:
            worst[room][device] += count
    for room, counted in worst.items():
        found[room].worst = _most(counted)


def _most(counted: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:MOST]


COLUMNS = (
    "month", "municipality", "site", "room", "room_name", "courses",
    *(verdict.value for verdict in Verdict), "resets", "resets_proved", "reasons", "worst_devices",
)  # fmt: skip


def cells(month: date, rows: Iterable[RoomMonth]) -> list[list[object]]:
    """The same as a table: `COLUMNS` and a line for each room."""

    def line(one: RoomMonth) -> list[object]:
        return [
            month.strftime("%Y-%m"),
            one.site.municipality,
            one.site.id,
            one.room.id,
            one.room.name,
            one.courses,
            *(one.verdicts[verdict] for verdict in Verdict),
            one.resets,
            one.proved,
            " ".join(f"{code}:{count}" for code, count in one.reasons),
            ", ".join(f"{name}: {count}" for name, count in one.worst),
        ]

    return [list(COLUMNS), *(line(one) for one in rows)]
