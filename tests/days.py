"""Days of courses, run through from event to event: a centre, its agent, laptops, people who come
too early and stay too long, and timetables that change at the last moment.

`run(seed)` is one site for two days; the same seed is the same days.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from heapq import heappop, heappush
from random import Random

from agents.messages import Outcome
from fleet.resets import loading
from fleet.resets.gates import GATES, Gate
from fleet.resets.quiet import ZONE, parse
from fleet.resets.world import Ban, Lesson, Machine, Place, Span
from inventory import OPEN_STATES, ResetRun, RunState
from tests.days_centre import RECIPE, SITE, WAYS, Centre
from tests.days_centre import S as SETTINGS
from tests.days_oracle import Known, Limits, Oracle, Spot
from tests.days_site import Laptop, S, Site

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DATES = (date(2026, 11, 23), date(2026, 10, 24), date(2027, 3, 27), date(2026, 7, 6))
"""Two of them are weekends on which the clocks change."""
FRESH = timedelta(minutes=3)
REPEAT = timedelta(minutes=5)
POINTS = ("ap1", "ap1", "ap2", None)
"""The access points that laptops hang on: no matter in which room they are."""
ENDLESS = 10**6


@dataclass(frozen=True)
class Missing:
    """What is taken out, to see that something then goes wrong."""

    gates: Mapping[str, Gate] = field(default_factory=lambda: GATES)
    complaints: frozenset[str] = frozenset()
    """Of the agent."""
    limits: frozenset[str] = frozenset()
    """Fields of `Rules`: the centre knows no end to these."""


class Days:
    """One site, two or three rooms, two days."""

    def __init__(self, seed: int, missing: Missing = Missing(), *, calm: bool = False) -> None:
        self.random, lines = Random(seed), Random(seed + 3)
        chance = self.random
        self.calm, self.seed = calm, seed
        first = chance.choice(DATES)
        self.begin = datetime(first.year, first.month, first.day, 3, tzinfo=ZONE).astimezone(UTC)
        self.now, self.number, self.revision, self.last_told = self.begin, 0, 0, b""
        self.queue: list[tuple[datetime, int, Callable[[], None]]] = []
        self.tick_at: datetime | None = None
        self.waited, self.lessons_made = 0, 0
        self.unrest = 0.0 if calm else chance.choice([0.02, 0.15])
        """How often something changes in the moment between plan and order."""
        rules = loading.rules(SETTINGS)
        if not calm:
            rules = replace(rules, site=chance.choice([2, 4, 30]), boots_room=chance.choice([1, 6]),
                            heavy_site=1, per_day=chance.choice([5, 30]),
                            fleet=lines.choice([3, 500]), boots_uplink=lines.choice([1, 2, 6]),
                            starts=lines.choice([3, 600]))  # fmt: skip
        ahead = chance.choice([HOUR, 16 * HOUR])
        rooms = [f"r{n}" for n in range(chance.randint(2, 3))]
        machines = [
            Machine(f"{room}-l{n}", room, RECIPE.id, WAYS, ahead, lines.choice(POINTS))
            for room in rooms
            for n in range(chance.randint(1, 3))
        ]
        quiet = parse(chance.choice(["", "", "20:00-07:00"]))
        places = {room: Place(room, SITE, (), quiet=quiet) for room in rooms}
        endless = replace(rules, **dict.fromkeys(missing.limits, ENDLESS))
        self.centre = Centre(endless, places, machines, Random(seed + 1), missing.gates)
        self.oracle = Oracle(Limits(**{f.name: getattr(rules, f.name) for f in fields(Limits)}))
        self.site = Site(
            Random(seed + 2), self.oracle,
            {m.id: Laptop(self._skew(8)) for m in machines},
            self.later, self.hear, lambda: self.now, calm, without=missing.complaints,
        )  # fmt: skip
        self.down: list[tuple[datetime, datetime]] = []
        self._prepare(rooms)

    def _skew(self, most: float) -> timedelta:
        return timedelta(0) if self.calm else self.random.uniform(-most, most) * S

    def _prepare(self, rooms: list[str]) -> None:
        chance = self.random
        for room in rooms:
            found = []
            for day in range(2):
                at = self.begin + day * 24 * HOUR + chance.choice([4, 5, 6, 10]) * HOUR
                for _ in range(chance.randint(1, 5)):
                    length = chance.choice([15, 45, 90, 180]) * MINUTE
                    found.append(self._lesson(at, at + length))
                    at += length + chance.choice([0, 5, 9, 10, 12, 15, 20, 30, 60, 200]) * MINUTE
            self.centre.set_lessons(room, found)
        self.end = self.begin + 48 * HOUR
        for place in self.centre.places.values():
            for one in place.lessons:
                self._expect_people(place.id, one)
        at = self.begin
        while at < self.end:
            self.later(at, self.repeat_roster)
            at += REPEAT
        if self.calm:
            self.poke(self.begin)
            return
        self.site.skew = self._skew(25)
        if chance.random() < 0.15:
            self.site.skew = chance.choice([-3600, -300, -100, -50, 50, 300, 7200]) * S
        self.site.away = [self._some_time(90) for _ in range(chance.randint(0, 3))]
        self.down = [self._some_time(240) for _ in range(chance.randint(0, 2))]
        for _ in range(chance.randint(0, 4)):
            self.later(self._some_time(1)[0], self.site.crash)
        for _ in range(chance.randint(4, 24)):
            self.later(self._some_time(1)[0], self.something_changes)
        for device in self.site.laptops:
            for _ in range(chance.randint(0, 3)):
                begin, end = self._some_time(20)
                self.later(begin, lambda d=device, e=end: self.sit_down(d, e))  # type: ignore[misc]
        self.poke(self.begin)

    def _some_time(self, longest: float) -> tuple[datetime, datetime]:
        begin = self.begin + self.random.uniform(2, 44) * HOUR
        return begin, begin + self.random.uniform(0, longest) * MINUTE

    def _lesson(self, start: datetime, end: datetime) -> Lesson:
        self.lessons_made += 1
        return Lesson(self.lessons_made, start, end, wanted=self.random.random() < 0.95)

    # time

    def later(self, at: datetime, what: Callable[[], None]) -> None:
        self.number += 1
        heappush(self.queue, (max(at, self.now), self.number, what))

    def run(self) -> "Days":
        while self.queue and self.queue[0][0] <= self.end:
            self.now, _, what = heappop(self.queue)
            what()
        return self

    def poke(self, at: datetime) -> None:
        """The centre ticks by then at the latest."""
        if self.tick_at is not None and self.tick_at <= at:
            return
        self.tick_at = at

        def tick() -> None:
            if self.tick_at == at:
                self.tick_at = None
                self.tick()

        self.later(at, tick)

    def up(self) -> datetime:
        return max([self.now, *(end for begin, end in self.down if begin <= self.now < end)])

    # the centre

    def tick(self, change: Callable[[], None] | None = None) -> None:
        if self.up() > self.now:
            self.poke(self.up())
            return
        self.centre.expire(self.now)
        if self.calm or self.random.random() < 0.8:
            self.centre.plan(self.now)
        if change is None and self._due_room() and self.random.random() < self.unrest:
            change = self._some_change()
        if change:  # after the plan: the last gate has to see it
            change()
        self._poll()
        before = {run.device_id: run for run in self.centre.under_way(self.now)}
        for order in self.centre.claim(self.now):
            run = self.centre.runs[order.id.rpartition(".")[0]]
            self.oracle.order_sent(order, self.now, self._known(run, before))
            before[run.device_id] = run
            self.site.deliver(order)
        self._tell_agent()
        self._next_tick()

    def _known(self, run: ResetRun, before: dict[str, ResetRun]) -> Known:
        centre, device = self.centre, run.device_id
        room = device.partition("-")[0]
        place = centre.places[room]
        at, signed_in = centre.told[device]
        said = [
            ban.code for ban in centre.bans
            if ban.since <= self.now and (ban.until is None or self.now < ban.until)
            and ban.room in (None, room) and ban.device in (None, device)
        ]  # fmt: skip
        said += ["skip"] * any(c == run.course_id and d in (None, device) for c, d in centre.skips)
        assert run.course_start is not None
        then = frozenset(one.id for one in place.lessons if one.start == run.course_start)
        return Known(
            busy=[(one.start, one.end) for one in (*place.lessons, *place.blocks)],
            planned_for=run.course_start,
            courses=then,
            still_so=run.course_id in then,
            believed=place.trusted,
            said_against=said,
            signed_in=signed_in and self.now - at <= FRESH,
            in_service=device not in centre.away,
            quiet=place.quiet is not None and not 7 <= self.now.astimezone(ZONE).hour < 20,
            spot=self._spot(run),
            under_way=[self._spot(one) for one in before.values()],
        )  # fmt: skip

    def _spot(self, run: ResetRun) -> Spot:
        machine = self.centre.machine(run.device_id)
        return Spot(machine.id, machine.room, machine.uplink, run.tier.value)

    def _poll(self) -> None:
        for device, laptop in self.site.laptops.items():
            lag = self.random.uniform(1, 70) * S
            if not self.calm and self.random.random() < 0.1:
                lag = self.random.uniform(150, 2000) * S
            at = self.now - lag
            self.centre.told[device] = at, laptop.used(at)

    def _tell_agent(self, *, repeat: bool = False) -> None:
        roster = self.centre.roster(self.now, self.revision + 1)
        told = roster.model_dump_json(include={"busy", "holds", "plan_rev"}).encode()
        told += repr(sorted(roster.trusted_until)).encode()
        if repeat or told != self.last_told:
            self.revision, self.last_told = self.revision + 1, told
            self.site.deliver(roster)

    def repeat_roster(self) -> None:
        if self.up() == self.now:
            self._tell_agent(repeat=True)

    def _next_tick(self) -> None:
        open_runs = [run for run in self.centre.open if run.state in OPEN_STATES]
        moments = [run.deadline + S for run in open_runs]
        waiting = False
        for run in open_runs:
            if run.state is RunState.PLANNED:
                begin = max(run.next_try_at, run.not_before)
                waiting = waiting or begin <= self.now
                moments.append(begin)
        for machine in self.centre.machines:
            lessons = self.centre.places[machine.room].lessons
            moments += [one.start - machine.ahead for one in lessons]
        at = min((m for m in moments if m > self.now), default=self.end + HOUR)
        self.waited = self.waited + 1 if waiting else 0
        if waiting:
            at = min(at, self.now + self.random.uniform(3, 20) * S * min(self.waited, 15))
        self.poke(at + (self.random.uniform(0, 10) * S if not self.calm else timedelta(0)))

    def hear(self, told: Outcome) -> None:
        if self.up() > self.now:
            self.later(self.up(), lambda: self.hear(told))
            return
        self.centre.take_in(told, self.now)
        for run in self.centre.proved:
            assert run.course_start is not None
            assert run.course_id is not None
            done, name = run.order_id in self.site.done, run.order_id or ""
            self.oracle.believed_clean(name, done, run.device_id, run.course_start, run.course_id)
        self.centre.proved.clear()
        self.poke(self.now + self.random.uniform(0.1, 10) * S)

    # people

    def _expect_people(self, room: str, lesson: Lesson) -> None:
        def come() -> None:
            if lesson not in self.centre.places[room].lessons:
                return
            for device in self.site.laptops:
                if device.startswith(room + "-") and self.random.random() < 0.8:
                    stay = 0.0 if self.calm else self.random.choice([-5, 0, 0, 1, 8])
                    self.sit_down(device, lesson.end + stay * MINUTE)

        early = 0 if self.calm else self.random.choice([0, 0, 60, 180])
        self.later(lesson.start - early * S, come)

    def sit_down(self, device: str, until: datetime) -> None:
        laptop = self.site.laptops[device]
        begin = max(self.now, laptop.reset_until or self.now)  # nobody can sign in meanwhile
        if until <= begin:
            return
        laptop.sessions = [*laptop.sessions[-5:], (begin, until)]

        def noticed() -> None:
            if self.up() > self.now:
                self.later(self.up(), noticed)
                return
            self.centre.was_used(device, self.now)
            self.poke(self.now + 5 * S)

        self.later(begin, lambda: self.oracle.device_used(device, begin))
        self.later(begin + self.random.uniform(5, 70) * S, noticed)

    def something_changes(self) -> None:
        self.tick(self._some_change())
        self.poke(self.now + self.random.uniform(1, 40) * S)

    def _some_change(self) -> Callable[[], None]:
        return self.random.choice(
            [self.add, self.add, self.move, self.move, self.cancel, self.doubt, self.pause,
             self.skip, self.skip, self.repair, self.block]
        )  # fmt: skip

    def _due_room(self) -> str:
        """Where a reset is due just now: what changes there is felt."""
        for run in self.centre.due(self.now):
            return run.device_id.partition("-")[0]
        return ""

    def _room(self) -> Place:
        due = self._due_room()
        if due and self.random.random() < 0.8:
            return self.centre.places[due]
        return self.random.choice(list(self.centre.places.values()))

    def _coming(self, place: Place) -> list[Lesson]:
        return sorted((o for o in place.lessons if o.end > self.now), key=lambda o: o.start)[:2]

    def add(self) -> None:
        place, chance = self._room(), self.random
        start = self.now + chance.choice([-3, 1, 3, 6, 8, 12, 25, 60]) * MINUTE
        lesson = self._lesson(start, start + chance.choice([10, 45, 90]) * MINUTE)
        self.centre.set_lessons(place.id, [*place.lessons, lesson])
        self._expect_people(place.id, lesson)

    def move(self) -> None:
        place = self._room()
        for lesson in self._coming(place)[-1:]:
            by = self.random.choice([-60, -20, -5, 5, 30]) * MINUTE
            moved = replace(lesson, start=lesson.start + by, end=lesson.end + by)
            rest = [one for one in place.lessons if one.id != lesson.id]
            self.centre.set_lessons(place.id, [*rest, moved])
            self._expect_people(place.id, moved)

    def cancel(self) -> None:
        place = self._room()
        gone = self._coming(place)[-1:]
        self.centre.set_lessons(place.id, [one for one in place.lessons if one not in gone])

    def doubt(self) -> None:
        self._trust(self._room().id, trusted=False)

    def _trust(self, room: str, *, trusted: bool) -> None:
        self.centre.places[room] = replace(self.centre.places[room], trusted=trusted)
        if not trusted:
            again = self.now + self.random.uniform(1, 90) * MINUTE
            self.later(again, lambda: self._trust(room, trusted=True))
        self.poke(self.now + 10 * S)

    def pause(self) -> None:
        chance, place = self.random, self._room()
        until = chance.choice([None, self.now + chance.uniform(1, 90) * MINUTE])
        where = chance.choice(
            [{}, {"room": place.id}, {"device": chance.choice(self.centre.machines).id}]
        )
        ban = Ban(chance.choice(["paused", "maintenance"]), self.now, until, site=SITE, **where)
        self.centre.bans.append(ban)
        self.centre.say()

        def end() -> None:
            self.centre.bans.remove(ban)
            self.centre.say()
            self.poke(self.now + 5 * S)

        self.later(until or self.now + chance.uniform(5, 200) * MINUTE, end)

    def skip(self) -> None:
        place = self._room()
        for lesson in self._coming(place)[-1:]:
            here = [m.id for m in self.centre.machines if m.room == place.id]
            self.centre.skips.add((lesson.id, self.random.choice([None, *here])))
            self.centre.say()

    def repair(self) -> None:
        device = self.random.choice(self.centre.machines).id
        self.centre.away.add(device)
        at = self.now + self.random.uniform(5, 200) * MINUTE
        self.later(at, lambda: self.centre.away.discard(device))

    def block(self) -> None:
        place = self._room()
        since = self.now + self.random.choice([0, 10]) * MINUTE
        span = Span(since, since + self.random.choice([10, 120]) * MINUTE)
        self.centre.places[place.id] = replace(place, blocks=(*place.blocks, span))
        self.centre.say()

    # what came of it

    def course_days(self) -> int:
        """Courses that began while it was watched."""
        return sum(
            self.begin < one.start <= self.end
            for place in self.centre.places.values()
            for one in place.lessons
        )
