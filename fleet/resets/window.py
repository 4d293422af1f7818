"""When a device may be reset: the window before a course; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Timed(Protocol):
    """Anything with a start and an end: a course."""

    @property
    def start(self) -> datetime: ...

    @property
    def end(self) -> datetime: ...


@dataclass(frozen=True)
class Window:
    """From when, and the latest start that still ends before people come."""

    not_before: datetime
    not_after: datetime

    @property
    def feasible(self) -> bool:
        return self.not_before <= self.not_after


def next_start(courses: Iterable[Timed], now: datetime) -> datetime | None:
    return min((course.start for course in courses if course.start > now), default=None)
