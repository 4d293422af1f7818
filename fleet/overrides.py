"""Takes what people say by hand about courses and resets, and keeps it against the timetable.

A course that is held now becomes a course of its own; one that is called off stays called off
whatever its feed says next. Everything else is looked up here by whoever decides.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, update
from sqlmodel import Session, col, select

from fleet.auth import Action
from inventory import Course, Device, Feed, Override, OverrideKind, Recipe, Room, Site

NEEDS: dict[OverrideKind, Action] = {
    OverrideKind.COURSE: Action.WORK,
    OverrideKind.BLOCK: Action.WORK,
    OverrideKind.CANCEL: Action.RESET,
    OverrideKind.SKIP: Action.RESET,
    OverrideKind.PAUSE: Action.EDIT,
    OverrideKind.MAINTENANCE: Action.EDIT,
    OverrideKind.STOP: Action.EDIT,
}
"""What an account must be allowed to do. What concerns every site needs Action.ADMIN."""

REFUSALS: dict[str, str] = {
    "unknown_place": "There is no such site, room, device or course.",
    "course_over": "This course is already over.",
    "already_cancelled": "This course is called off already.",
    "ends_before_it_begins": "The end must lie in the future.",
    "too_long": "This ends too far in the future.",
    "end_needed": "It must be said until when.",
}
HOLDS = {OverrideKind.PAUSE: "paused", OverrideKind.MAINTENANCE: "maintenance"}
"""What keeps every reset in its scope waiting → the code that says so."""
EVERYWHERE = "paused_everywhere"
"""The code when it is said of every site: who insists at one of them does not overrule that."""
LONGEST = {OverrideKind.COURSE: timedelta(hours=24), OverrideKind.BLOCK: timedelta(days=366)}
"""These need an end, at most so far away: a typing error must not empty a room for ever."""
BLOCKED = "blocked:"
"""Begins the uid of what `blocks` tells."""


class OverrideRefused(Exception):
    """`code` is a key of REFUSALS."""

    def __init__(self, code: str) -> None:
        super().__init__(REFUSALS[code])
        self.code = code


@dataclass(frozen=True)
class Scope:
    """What it is said of: the narrowest that is named; nothing named: everything."""

    site: str | None = None
    room: str | None = None
    device: str | None = None
    course: int | None = None
    recipe: str | None = None


def say(
    session: Session,
    kind: OverrideKind,
    scope: Scope,
    now: datetime,
    by: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    reason: str = "",
) -> Override:
    """Say this by hand; it holds from the commit on. Raises OverrideRefused."""
    since = since or now
    if until is not None and until <= max(since, now):
        raise OverrideRefused("ends_before_it_begins")
    if kind in LONGEST and until is None:
        raise OverrideRefused("end_needed")
    if kind in LONGEST and until is not None and until - since > LONGEST[kind]:
        raise OverrideRefused("too_long")
    said = Override(
        kind=kind,
        since=since,
        until=until,
        made_at=now,
        made_by=by[:100],
        reason=" ".join(reason.split())[:200],
        **_place(session, kind, scope),
    )
    _new_plan(session, said)
    if kind is OverrideKind.COURSE:
        said.course_id = _held_now(session, said)
    elif kind in (OverrideKind.CANCEL, OverrideKind.SKIP):
        _about_a_course(session, said, now)
    session.add(said)
    session.flush()
    return said


def _place(session: Session, kind: OverrideKind, scope: Scope) -> dict[str, Any]:
    """The columns of the scope, from the device up to its site. Raises OverrideRefused."""
    course = session.get(Course, scope.course) if scope.course is not None else None
    device = session.get(Device, scope.device) if scope.device else None
    room_id = course.room_id if course else device.room_id if device else scope.room
    room = session.get(Room, room_id) if room_id else None
    site = session.get(Site, room.site_id if room else scope.site or "")
    recipe = session.get(Recipe, scope.recipe) if scope.recipe else None
    named = (
        (scope.course is not None, course), (scope.device, device), (scope.room, room),
        (scope.site, site), (scope.recipe, recipe),
    )  # fmt: skip
    wanted = {
        OverrideKind.COURSE: room,
        OverrideKind.BLOCK: room,
        OverrideKind.CANCEL: course,
        OverrideKind.SKIP: course,
        OverrideKind.STOP: recipe,
    }
    moved = device is not None and room is not None and device.room_id != room.id
    if moved or any(name and not row for name, row in named) or not wanted.get(kind, True):
        raise OverrideRefused("unknown_place")
    return {
        "site_id": site.id if site else None,
        "room_id": room.id if room else None,
        "device_id": device.id if device else None,
        "recipe_id": recipe.id if recipe else None,
        "course_id": course.id if course else None,
    }


def _new_plan(session: Session, said: Override) -> None:
    """What was planned in its scope so far is not carried out before the plan looked again.

    Waits for whoever is claiming there just now: afterwards nobody claims without knowing.
    """
    new_plan(session, [said.site_id] if said.site_id else session.exec(select(Site.id)).all())


def new_plan(session: Session, sites: Collection[str]) -> None:
    """Orders and plans of these sites made so far are out of date from the commit on."""
    lock(session, sites)
    session.execute(
        update(Site)
        .where(col(Site.id).in_(sites))
        .values(plan_rev=col(Site.plan_rev) + 1)
        .execution_options(synchronize_session=False)
    )


def lock(session: Session, sites: Collection[str]) -> None:
    """Until the end of the transaction nobody else claims, plans or says anything of these sites;
    always in the same order, so that two processes cannot block each other for ever."""
    locked = select(Site.id).where(col(Site.id).in_(sites)).order_by(col(Site.id))
    session.exec(locked.with_for_update(key_share=True)).all()


def _held_now(session: Session, said: Override) -> int | None:
    assert said.room_id
    assert said.until
    course = Course(
        room_id=said.room_id,
        uid=f"by-hand:{said.made_at.timestamp():.6f}",
        title=said.reason,
        start=said.since,
        end=said.until,
        known_at=said.made_at,
    )
    session.add(course)
    session.flush()
    return course.id


def _about_a_course(session: Session, said: Override, now: datetime) -> None:
    course = session.get_one(Course, said.course_id, with_for_update=True)
    if course.end <= now:
        raise OverrideRefused("course_over")
    if course.cancelled:
        raise OverrideRefused("already_cancelled")
    said.feed_id, said.uid, said.occurrence = course.feed_id, course.uid, course.occurrence
    if said.kind is OverrideKind.CANCEL:
        course.cancelled = True
    else:
        said.until = course.end


def end(session: Session, said_id: int, now: datetime, by: str) -> None:
    """Take it back. Harmless when it has ended already."""
    said = session.get_one(Override, said_id, with_for_update=True)
    if said.ended_at is not None or (said.until is not None and said.until <= now):
        return
    _new_plan(session, said)
    said.ended_at, said.ended_by = now, by[:100]
    course = session.get(Course, said.course_id) if said.course_id is not None else None
    if course is None:
        return
    if said.kind is OverrideKind.COURSE:
        course.cancelled = course.start >= now
        course.end = max(now, course.start + timedelta(seconds=1))
    elif said.kind is OverrideKind.CANCEL:
        course.cancelled, course.known_at = False, now
        # Perhaps the feed calls it off by now as well: it is read again as a whole.
        session.execute(
            update(Feed)
            .where(col(Feed.id) == said.feed_id)
            .values(etag="", modified="", tried_at=None)
        )


def reapply(session: Session, feed_id: str) -> None:
    """What was called off by hand stays so, although the feed was just read and says otherwise."""
    same = and_(
        col(Override.feed_id) == col(Course.feed_id),
        col(Override.uid) == col(Course.uid),
        col(Override.occurrence) == col(Course.occurrence),
        col(Override.ended_at).is_(None),
    )
    here = col(Course.feed_id) == feed_id
    called_off = exists().where(same, col(Override.kind) == OverrideKind.CANCEL)
    session.execute(
        update(Course)
        .where(here, col(Course.cancelled).is_(False), called_off)
        .values(cancelled=True)
        .execution_options(synchronize_session="fetch")
    )
    lost = select(Override, Course.id).join(Course, and_(same, here))
    for said, course_id in session.exec(lost.where(col(Override.course_id).is_(None))).all():
        said.course_id = course_id
    # A skipped reset goes along with a course that moves.
    moved = select(Override, Course.end).join(Course, col(Course.id) == col(Override.course_id))
    moved = moved.where(here, Override.kind == OverrideKind.SKIP, col(Override.ended_at).is_(None))
    for said, end_now in session.exec(moved.where(col(Override.until) != col(Course.end))).all():
        said.until = end_now
    session.flush()


def active(now: datetime) -> ColumnElement[bool]:
    """Condition: it holds now, or will."""
    return and_(
        col(Override.ended_at).is_(None),
        or_(col(Override.until).is_(None), col(Override.until) > now),
    )


def in_force(
    session: Session, now: datetime, *kinds: OverrideKind, sites: Collection[str] | None = None
) -> Sequence[Override]:
    """What holds now or will, of these kinds (all), that concerns these sites; oldest first."""
    query = select(Override).where(active(now)).order_by(col(Override.id))
    if kinds:
        query = query.where(col(Override.kind).in_(kinds))
    if sites is not None:
        query = query.where(or_(col(Override.site_id).is_(None), col(Override.site_id).in_(sites)))
    return session.exec(query).all()


def needs(said: Override) -> Action:
    """What somebody must be allowed to do who says this, or takes it back."""
    return NEEDS[said.kind] if said.site_id else Action.ADMIN


def concerns(said: Override, site: str, room: str, device: str | None = None) -> bool:
    """Whether it is said of this device (or of the room as a whole)."""
    if said.device_id:
        return said.device_id == device
    if said.room_id:
        return said.room_id == room
    return said.site_id in (None, site)


def blocks(
    session: Session, room_ids: Collection[str], start: datetime, end: datetime
) -> list[Course]:
    """The times in [start, end) in which these rooms are blocked, told like courses that no
    table holds: for those who only ask when a room is used."""
    found = session.exec(
        select(Override)
        .where(col(Override.kind) == OverrideKind.BLOCK, col(Override.ended_at).is_(None))
        .where(col(Override.room_id).in_(room_ids))
        .where(Override.since < end, col(Override.until) > start)
        .order_by(col(Override.id))
    )
    return [
        Course(
            room_id=said.room_id or "",
            uid=f"{BLOCKED}{said.id}",
            title=said.reason,
            start=said.since,
            end=said.until or end,
            block=True,
        )
        for said in found
    ]
