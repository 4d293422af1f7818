"""Is each room ready for its running or next course, and since when is it so?

Everything is read in a fixed number of queries, however many rooms and devices there are.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from fleet.readiness import limits
from fleet.readiness.checkpoints import freeze, judged_for, keep
from fleet.readiness.judging import judge
from fleet.readiness.roomdata import running_or_next
from fleet.readiness.verdict import REASONS, Reason, Swap, judge_room
from fleet.settings import Settings
from inventory import Course, Flip, Room, Site, Subject, Verdict

__all__ = [
    "REASONS",
    "Reason",
    "RoomStatus",
    "Swap",
    "freeze",
    "judge_room",
    "judged_for",
    "keep",
    "overview",
    "recent",
    "room_status",
    "tick_rooms",
]

RECENT = timedelta(seconds=20)
"""So old may a judgement be for those who ask often: twice the time between two ticks."""
FAR = datetime.max.replace(tzinfo=UTC)


_LAST: WeakKeyDictionary[Engine, tuple[datetime, list["RoomStatus"]]] = WeakKeyDictionary()
"""What each database's rooms were judged by the last tick of this process."""


@dataclass(frozen=True)
class RoomStatus:
    """How a room is at `judged_at`. `course`: the running one, else the next within 14 days."""

    room: Room
    site: Site
    course: Course | None
    running: bool
    verdict: Verdict
    reasons: list[Reason]
    preparing: bool
    """Resets for the course are still to come, in time."""
    proved: int
    to_prove: int
    counts: dict[str, tuple[int, int, int]]
    """Kind → (usable, wanted, present), spares not counted."""
    swaps: list[Swap]
    judged_at: datetime


def overview(
    session: Session, now: datetime, settings: Settings, sites: Collection[str] | None = None
) -> list[RoomStatus]:
    """All rooms (of these sites), what needs attention first."""
    query = select(Room, Site).join(Site, col(Site.id) == col(Room.site_id))
    if sites is not None:
        query = query.where(col(Site.id).in_(sites))
    found = _statuses(session, session.exec(query).all(), now, settings)
    return sorted(found, key=lambda status: _attention(status, now))


def room_status(session: Session, room_id: str, now: datetime, settings: Settings) -> RoomStatus:
    """One room. Raises LookupError when there is none of that id."""
    query = select(Room, Site).join(Site, col(Site.id) == col(Room.site_id))
    places = session.exec(query.where(Room.id == room_id)).all()
    if not places:
        raise LookupError(room_id)
    return _statuses(session, places, now, settings)[0]


def _statuses(
    session: Session, places: Sequence[tuple[Room, Site]], now: datetime, settings: Settings
) -> list[RoomStatus]:
    rooms = [room for room, _ in places]
    courses = running_or_next(session, [room.id for room in rooms], now)
    judged = judge(session, rooms, courses, now, settings)
    return [
        RoomStatus(
            room=room,
            site=site,
            course=courses.get(room.id),
            running=room.id in courses and courses[room.id].start <= now,
            judged_at=now,
            **vars(judged[room.id].judgement),
        )
        for room, site in places
    ]


_RANK = {
    Verdict.NOT_READY: 0,
    Verdict.UNKNOWN: 1,
    Verdict.DEGRADED: 2,
    Verdict.READY: 3,
}


def _attention(status: RoomStatus, now: datetime) -> tuple[int, int, datetime, str]:
    """Not ready and soon; then not ready at all; then by the time that is left."""
    start = status.course.start if status.course else FAR
    ready = status.verdict is Verdict.READY
    urgency = 2 if ready else 0 if start <= now + limits.SOON else 1
    return urgency, _RANK[status.verdict], start, status.room.id


def recent(session: Session, now: datetime, settings: Settings) -> list[RoomStatus]:
    """All rooms as this process last judged them, if that is only seconds ago; else judged now."""
    at, statuses = _LAST.get(session.get_bind().engine, (None, []))
    if at is not None and timedelta() <= now - at <= RECENT:
        return statuses
    return overview(session, now, settings)


def tick_rooms(session: Session, now: datetime, settings: Settings) -> None:
    """Write a Flip for every room whose verdict is another than at its last Flip.

    A room of which there is none was unknown.
    """
    judged = overview(session, now, settings)
    _LAST[session.get_bind().engine] = (now, judged)
    statuses = {status.room.id: status for status in judged}
    verdicts = {room: status.verdict.value for room, status in statuses.items()}
    unknown = Verdict.UNKNOWN.value
    old = _last_flips(session, verdicts.keys())
    changed = [room for room, new in verdicts.items() if old.get(room, unknown) != new]
    if not changed:
        return
    locked = select(Room.id).where(col(Room.id).in_(changed)).order_by(col(Room.id))
    session.exec(locked.with_for_update(key_share=True)).all()
    old = _last_flips(session, changed)  # another process may have been faster
    for room in changed:
        before = old.get(room, unknown)
        if before != verdicts[room]:
            reasons = statuses[room].reasons
            session.add(
                Flip(
                    subject=Subject.ROOM,
                    room_id=room,
                    at=now,
                    old=before,
                    new=verdicts[room],
                    reason=reasons[0].code if reasons else "",
                )
            )
    session.flush()


def _last_flips(session: Session, rooms: Collection[str]) -> dict[str, str]:
    """Room → the verdict that its last Flip led to."""
    last = (
        select(func.max(Flip.id))
        .where(Flip.subject == Subject.ROOM, col(Flip.device_id).is_(None))
        .where(col(Flip.room_id).in_(rooms))
        .group_by(col(Flip.room_id))
    )
    rows = session.exec(select(Flip.room_id, Flip.new).where(col(Flip.id).in_(last)))
    return dict(rows.all())
