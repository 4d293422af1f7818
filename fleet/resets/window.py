"""When a device may be reset: the window before a course, and what stands in the way now; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from fleet.settings import Settings


class Timed(Protocol):
    """Anything with a start and an end: a course."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Window:
    """From when, and the latest start that still ends before people come."""

    not_before: datetime
    not_after: datetime

    @property
    def feasible(self) -> bool:
        return self.not_before <= self.not_after


def window(
    start: datetime,
    courses: Iterable[Timed],
    *,
    lead: timedelta,
    runtime: timedelta,
    settings: Settings,
) -> Window:
    """The window before a course that begins at `start`.

    `courses` are those of the room, in any order; those that begin earlier must be over. Not
    feasible: the gap between two courses is too short for this recipe.
    """
    grace = timedelta(seconds=settings.reset_grace_s)
    ends = [course.end + grace for course in courses if course.start < start]
    return Window(
        not_before=max([*ends, start - lead]),
        not_after=start - timedelta(seconds=settings.reset_buffer_s) - runtime,
    )


def obstacle(
    courses: Iterable[Timed], now: datetime, *, runtime: timedelta, settings: Settings
) -> str:
    """Why nothing in this room may be reset now, or empty.

    `course_running`: a course is running, has just ended or is about to begin. `too_close`: a
    reset begun now could run into the next one.
    """
    grace = timedelta(seconds=settings.reset_grace_s)
    buffer = timedelta(seconds=settings.reset_buffer_s)
    close = False
    for course in courses:
        if course.start - buffer <= now < course.end + grace:
            return "course_running"
        close = close or now < course.start < now + runtime + buffer
    return "too_close" if close else ""


def next_start(courses: Iterable[Timed], now: datetime) -> datetime | None:
    return min((course.start for course in courses if course.start > now), default=None)
