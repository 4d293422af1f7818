"""What the planner knows: rooms, their timetables, devices and runs, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.resets.quiet import Quiet
from fleet.resets.ways import Way
from inventory import RunState, Tier


@dataclass(frozen=True, order=True)
class Span:
    """A time in which a room is in use without a course that wants its devices reset."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Lesson:
    """A course that is held. `wanted`: devices are reset before it; not before a holiday or when
    somebody only sets up the room."""

    id: int
    start: datetime
    end: datetime
    wanted: bool = True


@dataclass(frozen=True)
class Ban:
    """Said by hand: none of these resets from here to there. `code` says why."""

    code: str
    since: datetime
    until: datetime | None
    site: str | None = None
    room: str | None = None
    device: str | None = None
    recipe: str | None = None
    """Only automatic resets with this recipe."""

    @property
    def everywhere(self) -> bool:
        """Said of every site, and of every recipe."""
        return not (self.site or self.room or self.device or self.recipe)

    def concerns(self, site: str, room: str, device: str, recipe: str) -> bool:
        """The narrowest that it names decides."""
        if self.recipe is not None and self.recipe != recipe:
            return False
        if self.device is not None:
            return self.device == device
        if self.room is not None:
            return self.room == room
        return self.site in (None, site)

    def at(self, moment: datetime) -> bool:
        return self.since <= moment and (self.until is None or moment < self.until)


@dataclass(frozen=True)
class Place:
    """A room. `trusted`: its timetable may be believed. `plan_rev`: its site's."""

    id: str
    site: str
    lessons: tuple[Lesson, ...]
    blocks: tuple[Span, ...] = ()
    trusted: bool = True
    quiet: Quiet | None = None
    plan_rev: int = 0


@dataclass(frozen=True)
class Machine:
    """A device that is reset. `ahead`: how long before a course it may be, at the earliest;
    `uplink`: the access point that it hangs on."""

    id: str
    room: str
    recipe: str
    ways: tuple[Way, ...]
    ahead: timedelta
    uplink: str | None = None


@dataclass(frozen=True)
class Known:
    """A run for a course that is there already."""

    id: str
    device: str
    course: int
    course_start: datetime
    recipe: str
    tier: Tier
    tier_limit: Tier | None
    state: RunState
    reason: str
    attempts: int
    not_before: datetime
    not_after: datetime
    used_at: datetime | None = None
    """When its proof was used up; None also when something newer proved the device clean."""

    @property
    def key(self) -> tuple[int, str, datetime]:
        return self.course, self.device, self.course_start


@dataclass(frozen=True)
class Rules:
    """How far everything keeps from courses, and how much may happen at once."""

    grace: timedelta
    buffer: timedelta
    guard: timedelta
    boots_room: int = 6
    """So many devices of one room start up at once: they hang on one socket."""
    boots_uplink: int = 6
    """The same for one access point, which may serve several rooms."""
    heavy_site: int = 4
    """So many load their updates at once through a site's line."""
    site: int = 30
    """So many resets are under way at one site. A room goes all at once."""
    fleet: int = 500
    starts: int = 600
    """So many resets begin within five minutes, everywhere together; each attempt counts, and none
    that touched nothing."""
    per_day: int = 12
    """So often one device is touched within 24 hours."""


@dataclass(frozen=True)
class World:
    """All that `plan` looks at. `skips`: (course, device or None for all) without a reset.
    `planned_at`: when the plan was last made; None: never."""

    places: Mapping[str, Place]
    machines: Sequence[Machine]
    rules: Rules
    runs: Sequence[Known] = ()
    skips: frozenset[tuple[int, str | None]] = frozenset()
    bans: Sequence[Ban] = ()
    planned_at: datetime | None = None
