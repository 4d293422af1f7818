"""Which of the coming courses will not find their devices reset, and why: by the planner itself."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush

from sqlmodel import Session

from fleet.resets import loading
from fleet.resets.planner import Choice, audible, choose, coming
from fleet.resets.world import Ban, Lesson, Machine, Place, World
from fleet.settings import Settings
from inventory import RunState

REASONS: dict[str, str] = {
    "gap_too_short": "The break before the course is shorter than a reset takes.",
    "quiet_hours": "The room's quiet hours leave no time for it.",
    "no_device_time": "The device's lead time is shorter than its reset.",
    "too_late": "It is too late for a reset by now.",
    "capacity": "So many devices are due at the site that not all get their turn in time.",
    "calendar_in_doubt": "The room's timetable is in doubt, so nothing is reset.",
    "paused": "Resets are paused by hand.",
    "maintenance": "Somebody works there; until then nothing is reset.",
    "recipe_stopped": "Too many resets of this kind failed, so they have been stopped.",
    "skipped": "Somebody called this reset off.",
}
"""Code → a sentence for people."""
NO_END = timedelta(days=3650)
SETTLED = (RunState.VERIFIED, RunState.ORDERED, RunState.ACTED)
"""What is proved or under way needs no turn any more."""


@dataclass(frozen=True)
class Shortfall:
    """One course, and why some of its devices will not be reset before it."""

    course_id: int
    start: datetime
    site: str
    room: str
    code: str
    """A key of REASONS."""
    devices: tuple[str, ...]

    @property
    def sentence(self) -> str:
        return REASONS[self.code]


@dataclass(frozen=True)
class _Turn:
    """One device before one course, and the time in which its reset may begin and must end."""

    place: Place
    lesson: Lesson
    machine: Machine
    begin: datetime
    latest: datetime
    length: timedelta


def forecast(
    session: Session, now: datetime, settings: Settings, until: datetime
) -> list[Shortfall]:
    """The courses from now until then that will not find all their devices reset, by what is known
    now; the earliest first. Empty: none."""
    return shortfalls(now, loading.load(session, now, settings, until), until)


def shortfalls(now: datetime, world: World, until: datetime) -> list[Shortfall]:
    """The same of a world: pure."""
    found: dict[tuple[datetime, str, int, str], set[str]] = defaultdict(set)
    turns: list[_Turn] = []
    machines: dict[str, list[Machine]] = defaultdict(list)
    for machine in world.machines:
        machines[machine.room].append(machine)
    done = {run.key for run in world.runs if run.used_at is None and run.state in SETTLED}
    for place in world.places.values():
        for lesson in coming(place, now):
            if lesson.start > until:
                continue
            near = [
                each
                for each in machines[place.id]
                if (lesson.id, each.id, lesson.start) not in done
            ]
            chosen = choose(place, lesson, near, now, world.rules, {})
            for machine in near:
                turn = _turn(place, lesson, machine, chosen[machine.id], now, world)
                if isinstance(turn, str):
                    found[lesson.start, place.id, lesson.id, turn].add(machine.id)
                else:
                    turns.append(turn)
    for turn in _left_over(turns, world):
        key = turn.lesson.start, turn.place.id, turn.lesson.id, "capacity"
        found[key].add(turn.machine.id)
    return [
        Shortfall(course, start, world.places[room].site, room, code, tuple(sorted(devices)))
        for (start, room, course, code), devices in sorted(found.items())
    ]


def _turn(
    place: Place, lesson: Lesson, machine: Machine, choice: Choice, now: datetime, world: World
) -> _Turn | str:
    """The time in which it can be reset, or why there is none."""
    if not place.trusted:
        return "calendar_in_doubt"
    if {(lesson.id, None), (lesson.id, machine.id)} & world.skips:
        return "skipped"
    simplest = machine.ways[0]
    latest = lesson.start - world.rules.buffer - simplest.length
    if choice.reason:
        return choice.reason
    begin = _begin(place, machine, max(choice.window.not_before, now), latest, world.bans)
    if isinstance(begin, str):
        return begin
    return _Turn(place, lesson, machine, begin, latest, simplest.length)


def _begin(
    place: Place, machine: Machine, begin: datetime, latest: datetime, bans: Sequence[Ban]
) -> datetime | str:
    """When it may begin, in time and held up by nothing, or what keeps it from that."""
    if begin > latest:
        return "too_late"
    for ban in _bans(bans, place, machine):
        if ban.since <= begin:
            end = ban.until or begin + NO_END
            if end > latest:
                return ban.code
            begin = max(begin, end)
    begin = audible(place, machine.ways[0], begin)
    return begin if begin <= latest else "quiet_hours"


def _bans(bans: Sequence[Ban], place: Place, machine: Machine) -> list[Ban]:
    return sorted(
        (ban for ban in bans if ban.concerns(place.site, place.id, machine.id, machine.recipe)),
        key=lambda ban: ban.since,
    )


def _left_over(turns: Sequence[_Turn], world: World) -> Iterator[_Turn]:
    """Those that do not get their turn when each site does what it can, the earliest course
    first, every reset in its simplest tier and for as long as its watchdog lets it."""
    by_site: dict[str, list[_Turn]] = defaultdict(list)
    for turn in turns:
        by_site[turn.place.site].append(turn)
    for site in sorted(by_site):
        seats: list[datetime] = []
        waiting = sorted(by_site[site], key=lambda one: (one.begin, one.latest, one.machine.id))
        ready: list[tuple[datetime, str, int]] = []
        place = 0
        moment = waiting[0].begin
        while place < len(waiting) or ready:
            while place < len(waiting) and waiting[place].begin <= moment:
                heappush(ready, (waiting[place].lesson.start, waiting[place].machine.id, place))
                place += 1
            while seats and seats[0] <= moment:
                heappop(seats)
            while ready and len(seats) < world.rules.site:
                turn = waiting[heappop(ready)[2]]
                if moment > turn.latest:
                    yield turn
                else:
                    heappush(seats, moment + turn.length)
            later = [waiting[place].begin] if place < len(waiting) else []
            moment = min([*later, *seats[:1]], default=moment)
