"""Which resets there should be: a pure function of the clock and of what is known."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fleet.resets.ways import Way, up_to
from fleet.resets.window import Timed, Window
from fleet.resets.world import Known, Lesson, Machine, Place, Rules, World
from inventory import RunState, Tier

AFTER_USE = timedelta(minutes=10)
"""So long after it was last used a device that was proved clean is left alone."""
LOOK_BACK = timedelta(days=2)
"""Courses missed longer ago get no record of their own."""
NO_WINDOW = frozenset({"gap_too_short", "quiet_hours", "no_device_time"})
"""Why there is no time at all for a reset before a course."""


@dataclass(frozen=True)
class Add:
    """A new run; with a reason it is at once expired, so that the gap is seen."""

    machine: Machine
    lesson: Lesson
    tier: Tier
    window: Window
    reason: str = ""


@dataclass(frozen=True)
class Change:
    """A run that waits gets another window or tier. `moved`: what was planned no longer holds."""

    run: Known
    tier: Tier
    window: Window
    moved: bool


@dataclass(frozen=True)
class Close:
    """A run that waits comes to its end."""

    run: Known
    state: RunState
    reason: str


@dataclass(frozen=True)
class Reopen:
    """A run that never had a chance is taken away: an Add follows."""

    run: Known


Action = Add | Change | Close | Reopen


@dataclass(frozen=True)
class Choice:
    """How and when a device is to be reset before a course. `reason`: why it cannot be."""

    tier: Tier
    window: Window
    reason: str = ""


def plan(now: datetime, world: World) -> list[Action]:
    """What has to change so that each device has one run before each course that comes.

    Rooms whose timetable is in doubt get nothing new. Order and repetition of what is known change
    nothing.
    """
    known = _living(world.runs)
    held = {
        lesson.id: (place, lesson) for place in world.places.values() for lesson in place.lessons
    }
    machines = _by_room(world.machines)
    led = frozenset((run.course, run.course_start) for run in known.values())
    next_ones = {place.id: coming(place, now, led) for place in world.places.values()}
    wanted: dict[tuple[int, str, datetime], tuple[Machine, Lesson, Choice]] = {}
    for place in world.places.values():
        if place.trusted:
            for lesson in next_ones[place.id]:
                near = [m for m in machines[place.id] if lesson.start - m.ahead <= now]
                near = [m for m in near if not _skipped(world, lesson, m)]
                runs = {m.id: known.get((lesson.id, m.id, lesson.start)) for m in near}
                chosen = choose(place, lesson, near, now, world.rules, runs)
                for machine in near:
                    key = lesson.id, machine.id, lesson.start
                    wanted[key] = machine, lesson, chosen[machine.id]
    stand = {lesson.id for lessons in next_ones.values() for lesson in lessons}
    actions: list[Action] = [*_dropped(world, held, stand, now)]
    gone = {each.run.id for each in actions if isinstance(each, Close)}
    for key in sorted(wanted):
        run = known.get(key)
        if run is None or run.id not in gone:
            actions += _act(run, *wanted[key], now)
    return [*actions, *_missed(world, machines, known, led, now)]


def coming(
    place: Place, now: datetime, led: Collection[tuple[int, datetime]] = frozenset()
) -> list[Lesson]:
    """The courses to come; of two that begin together in one room, one stands for both: rather one
    of `led`, (id, start) of those that have runs already."""
    first: dict[datetime, Lesson] = {}
    every = sorted(place.lessons, key=lambda one: ((one.id, one.start) not in led, one.id))
    for lesson in sorted(every, key=lambda one: one.start):
        if lesson.start > now and lesson.wanted:
            first.setdefault(lesson.start, lesson)
    return list(first.values())


def opens(place: Place, lesson: Lesson, rules: Rules) -> datetime | None:
    """When the room is free before this course: everything that began earlier is over."""
    used: tuple[Timed, ...] = (*place.lessons, *place.blocks)
    ends = [one.end for one in used if one.start < lesson.start]
    return max(ends) + rules.grace if ends else None


def choose(
    place: Place,
    lesson: Lesson,
    machines: Sequence[Machine],
    now: datetime,
    rules: Rules,
    runs: dict[str, Known | None],
) -> dict[str, Choice]:
    """For each of these devices of the room the richest tier that still fits before the course.

    Where not all can have it in time, some do, others at another course: the order is a lottery
    that is the same however often it is drawn.
    """
    free = opens(place, lesson, rules)
    taken: Counter[tuple[Tier, str]] = Counter()
    found: dict[str, Choice] = {}
    for machine in sorted(machines, key=lambda one: lot(f"{lesson.id} {one.id}")):
        run = runs.get(machine.id)
        waiting = run is None or run.state is RunState.PLANNED
        limit = run.tier_limit if run else None
        found[machine.id] = _choice(
            place, lesson, machine, up_to(machine.ways, limit), free, now, rules,
            taken if waiting else Counter(),
        )  # fmt: skip
    return found


def lot(name: str) -> bytes:
    """A stable place in a queue that favours nobody."""
    return hashlib.blake2s(name.encode(), digest_size=8).digest()


def _choice(
    place: Place,
    lesson: Lesson,
    machine: Machine,
    ways: tuple[Way, ...],
    free: datetime | None,
    now: datetime,
    rules: Rules,
    taken: Counter[tuple[Tier, str]],
) -> Choice:
    simplest = ways[0]
    ready_by = lesson.start - rules.buffer
    earliest = lesson.start - machine.ahead
    not_before = max(free, earliest) if free else earliest
    not_after = ready_by - simplest.length
    for way in reversed(ways):
        begin = audible(place, way, not_before)
        if way is simplest:
            if begin <= not_after:
                return Choice(way.tier, Window(begin, not_after))
            break
        if free is not None and lesson.start - free < way.gap:
            continue
        time = ready_by - simplest.length - max(begin, audible(place, way, now))
        if _room_for(machine, way, time // way.length, rules, taken):
            return Choice(way.tier, Window(begin, not_after))
    reason = "gap_too_short"
    if not_before <= not_after:
        reason = "quiet_hours"
    elif earliest > not_after:
        reason = "no_device_time"
    return Choice(simplest.tier, Window(not_before, not_after), reason)


def audible(place: Place, way: Way, moment: datetime) -> datetime:
    """From when on it may be heard: this moment, or the end of the quiet hours around it."""
    return place.quiet.next_loud(moment) if way.noisy and place.quiet else moment


def _room_for(
    machine: Machine, way: Way, rounds: int, rules: Rules, taken: Counter[tuple[Tier, str]]
) -> bool:
    """Whether this device gets its turn too; `rounds`: how often one can begin one after the
    other and still leave time for the simplest tier."""
    limits = {"": rules.site}
    if way.boots:
        limits[""] = min(limits[""], rules.boots_room)
        if machine.uplink:
            limits[machine.uplink] = rules.boots_uplink
    if way.heavy:
        limits[""] = min(limits[""], rules.heavy_site)
    if any(taken[way.tier, name] >= limit * max(rounds, 0) for name, limit in limits.items()):
        return False
    taken.update((way.tier, name) for name in limits)
    return True


# --- what follows for the runs ----------------------------------------------------------------


def _living(runs: Iterable[Known]) -> dict[tuple[int, str, datetime], Known]:
    """The run that counts for each device and course: one that was used up is followed by
    another."""
    found: dict[tuple[int, str, datetime], Known] = {}
    for run in sorted(runs, key=lambda one: (one.used_at is None, one.id)):
        if run.state is not RunState.DROPPED:
            found[run.key] = run
    return found


def _by_room(machines: Iterable[Machine]) -> defaultdict[str, list[Machine]]:
    found: defaultdict[str, list[Machine]] = defaultdict(list)
    for machine in sorted(machines, key=lambda one: one.id):
        found[machine.room].append(machine)
    return found


def _skipped(world: World, lesson: Lesson, machine: Machine) -> bool:
    return (lesson.id, None) in world.skips or (lesson.id, machine.id) in world.skips


def _dropped(
    world: World, held: dict[int, tuple[Place, Lesson]], stand: set[int], now: datetime
) -> Iterator[Close]:
    """What waits for a course that moved, was cancelled, or is no longer this device's; or for
    which another course stands that begins with it (`stand`: the courses that do).

    What is already on its way to a device comes to its own end: it is bounded, and nobody must
    think the device free before.
    """
    machines = {machine.id: machine for machine in world.machines}
    for run in sorted(world.runs, key=lambda one: one.id):
        if run.state is not RunState.PLANNED:
            continue
        place, lesson = held.get(run.course, (None, None))
        machine = machines.get(run.device)
        if (
            place is None
            or lesson is None
            or machine is None
            or not lesson.wanted
            or lesson.start != run.course_start
            or (lesson.start > now and lesson.id not in stand)
            or (machine.room, machine.recipe) != (place.id, run.recipe)
        ):
            yield Close(run, RunState.DROPPED, "course_changed")
        elif _skipped(world, lesson, machine):
            yield Close(run, RunState.DROPPED, "skipped")


def _act(
    run: Known | None, machine: Machine, lesson: Lesson, choice: Choice, now: datetime
) -> Iterator[Action]:
    """The course before may have moved: windows follow, and a gap that opened is planned anew."""
    window = choice.window
    if run is None:
        late = "too_late" if now > window.not_after else ""
        yield Add(machine, lesson, choice.tier, window, choice.reason or late)
    elif run.state is RunState.PLANNED and choice.reason:
        yield Close(run, RunState.EXPIRED, choice.reason)
    elif run.state is RunState.PLANNED:
        moved = (run.not_before, run.not_after) != (window.not_before, window.not_after)
        if moved or run.tier is not choice.tier:
            # Another tier of the same gap begins elsewhere, but nothing that was planned is wrong.
            yield Change(run, choice.tier, window, moved and run.tier is choice.tier)
    elif not choice.reason and now <= window.not_after:
        if run.state is RunState.EXPIRED and run.reason in NO_WINDOW and not run.attempts:
            yield Reopen(run)
            yield Add(machine, lesson, choice.tier, window)
        elif run.state is RunState.VERIFIED and run.used_at is not None:
            later = replace(window, not_before=max(window.not_before, run.used_at + AFTER_USE))
            if later.feasible and now <= later.not_after:
                yield Add(machine, lesson, choice.tier, later)


def _missed(
    world: World,
    machines: defaultdict[str, list[Machine]],
    known: dict[tuple[int, str, datetime], Known],
    led: Collection[tuple[int, datetime]],
    now: datetime,
) -> Iterator[Add]:
    """One record for each reset of a course that began while nobody planned. None is made up."""
    if world.planned_at is None:
        return
    since = max(world.planned_at, now - LOOK_BACK)
    for place in sorted(world.places.values(), key=lambda one: one.id):
        begun = [one for one in coming(place, since, led) if one.start <= now and place.trusted]
        for lesson in begun:
            for machine in machines[place.id]:
                key = lesson.id, machine.id, lesson.start
                if key not in known and not _skipped(world, lesson, machine):
                    end = lesson.start - world.rules.buffer - machine.ways[0].length
                    window = Window(lesson.start - machine.ahead, end)
                    yield Add(machine, lesson, machine.ways[0].tier, window, "too_late")
