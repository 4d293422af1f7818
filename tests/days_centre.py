"""A centre in memory: the real plan, the real gates, the real orders and steps of a run, around a
timetable and runs that are plain values. What writes them into the database is tested there."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from random import Random
from types import SimpleNamespace

from agents.messages import Busy, Hold, Order, Outcome, Roster, Step, Target
from fleet.resets import loading
from fleet.resets.due import DAY, FRESH
from fleet.resets.gates import GATES, Gate
from fleet.resets.load import Load, Seat
from fleet.resets.orders import make_order
from fleet.resets.planner import Add, Change, Close, Reopen, plan
from fleet.resets.proof import verify
from fleet.resets.runs import ANSWER_MARGIN, answer_due, look_due, move, retry
from fleet.resets.starts import Due, decide
from fleet.resets.storm import STORM
from fleet.resets.ways import way_of, ways
from fleet.resets.world import Ban, Known, Lesson, Machine, Place, Rules, World
from fleet.settings import Settings
from inventory import OPEN_STATES, Recipe, ResetRun, RunState
from inventory.recipes import BUILT_IN

SITE = "vhs"
S = Settings(reset_grace_s=120, reset_buffer_s=300)
RECIPE: Recipe = BUILT_IN["laptop-reset"]
WAYS = ways(RECIPE)
UNDER_WAY = (RunState.ORDERED, RunState.ACTED)
PROVABLE = (*UNDER_WAY, RunState.PLANNED, RunState.UNKNOWN)
BELIEVED_FOR = timedelta(hours=6)


@lru_cache(maxsize=1000)
def _busy(room: str, start: datetime, end: datetime) -> Busy:
    return Busy(room=room, start=start, end=end)


@dataclass
class Centre:
    """What one process of the centre knows and does, tick by tick."""

    rules: Rules
    places: dict[str, Place]
    machines: list[Machine]
    random: Random
    gates: Mapping[str, Gate] = field(default_factory=lambda: GATES)
    runs: dict[str, ResetRun] = field(default_factory=dict)
    skips: set[tuple[int, str | None]] = field(default_factory=set)
    bans: list[Ban] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    """Devices in repair or lent."""
    clean: dict[str, str | None] = field(default_factory=dict)
    told: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    """Device → when it was last looked at, and whether somebody was signed in."""
    plan_rev: int = 0
    planned_at: datetime | None = None
    proved: list[ResetRun] = field(default_factory=list)
    """Newly, for who wants to know."""
    open: list[ResetRun] = field(default_factory=list)
    """Those that are not at their end."""
    lost: dict[str, ResetRun] = field(default_factory=dict)
    """Those of which perhaps something is still at work on the device."""
    ended: dict[str, Known] = field(default_factory=dict)
    """Those that are, as the planner sees them: kept, because they hardly ever change."""

    def __post_init__(self) -> None:
        self.targets = [
            Target(device=one.id, room=one.room, kind="laptop", driver="ssh", address="x")
            for one in self.machines
        ]

    # what is planned

    def plan(self, now: datetime) -> None:
        actions = plan(now, self.world())
        if any(isinstance(a, Close) or (isinstance(a, Change) and a.moved) for a in actions):
            self.plan_rev += 1
        for each in actions:
            if isinstance(each, Close):
                move(self.runs[each.run.id], each.state, now, reason=each.reason)
            elif isinstance(each, Change):
                run = self.runs[each.run.id]
                run.tier = each.tier
                if (run.not_before, run.not_after) != (
                    each.window.not_before,
                    each.window.not_after,
                ):
                    run.not_before, run.not_after = each.window.not_before, each.window.not_after
                    run.deadline = run.not_after
                    run.next_try_at = max(run.not_before, now)
            elif isinstance(each, Reopen):
                del self.runs[each.run.id]
                self.ended.pop(each.run.id, None)
            elif isinstance(each, Add):
                self._add(each, now)
        for run in self.open:
            if run.state is RunState.PLANNED:
                run.plan_rev = self.plan_rev
        self.planned_at = now

    def _add(self, each: Add, now: datetime) -> None:
        window, name = each.window, f"r{len(self.runs)}x{self.random.randrange(10**9)}"
        self.runs[name] = run = ResetRun(
            id=name, device_id=each.machine.id, course_id=each.lesson.id,
            course_start=each.lesson.start, recipe_id=RECIPE.id, tier=each.tier,
            state=RunState.EXPIRED if each.reason else RunState.PLANNED, planned_at=now,
            not_before=window.not_before, not_after=window.not_after, deadline=window.not_after,
            next_try_at=max(window.not_before, now), reason=each.reason, plan_rev=self.plan_rev,
        )  # fmt: skip
        if not each.reason:
            self.open.append(run)
        else:
            self.ended[name] = self._known(run)

    def world(self) -> World:
        machines = [each for each in self.machines if each.id not in self.away]
        self._sort()
        return World(
            places=self.places,
            machines=machines,
            rules=self.rules,
            runs=[*self.ended.values(), *(self._known(run) for run in self.open)],
            skips=frozenset(self.skips),
            bans=self.bans,
            planned_at=self.planned_at,
        )

    def _sort(self) -> None:
        for run in self.open:
            if run.state not in OPEN_STATES and run.state is not RunState.DROPPED:
                self.ended[run.id] = self._known(run)
        self.open = [run for run in self.open if run.state in OPEN_STATES]

    def _touched(self, device: str) -> None:
        """What proved it before may prove nothing any more."""
        for name, known in self.ended.items():
            if known.device == device:
                self.ended[name] = self._known(self.runs[name])

    def _known(self, run: ResetRun) -> Known:
        assert run.course_id is not None
        assert run.course_start is not None
        used = run.used_at if self.clean.get(run.device_id) is None else None
        return Known(
            run.id, run.device_id, run.course_id, run.course_start, run.recipe_id, run.tier,
            run.tier_limit, run.state, run.reason, run.attempts, run.not_before, run.not_after,
            used,
        )  # fmt: skip

    # what is sent

    def claim(self, now: datetime) -> list[Order]:
        due = self.due(now)
        if not due:
            return []
        decisions = decide(now, [self._due(r, now) for r in due], self._load(now), self.rules,
                           self.gates)  # fmt: skip
        orders = []
        for one in decisions:
            run = self.runs[one.due.id]
            if one.code:
                run.reason = one.code
                continue
            row = SimpleNamespace(
                id=run.id, attempts=run.attempts, site_id=SITE, device_id=run.device_id,
                room_id=one.due.room, not_before=run.not_before, not_after=run.not_after,
                plan_rev=run.plan_rev, course_start=run.course_start, forced=False,
                over_all=False, title=None,
            )  # fmt: skip
            order = make_order(row, one, [], now, S)  # type: ignore[arg-type]
            move(run, RunState.ORDERED, now)
            run.tier, run.attempts, run.order_id = one.way.tier, run.attempts + 1, order.id
            run.ordered_at, run.acted_at, run.looked_at, run.busy_until = now, None, None, None
            run.deadline = answer_due(order.not_after, one.way)
            orders.append(order)
        return orders

    def due(self, now: datetime) -> list[ResetRun]:
        found = [run for run in self.open if run.state is RunState.PLANNED]
        return [r for r in found if max(r.next_try_at, r.not_before) <= now <= r.not_after]

    def machine(self, device: str) -> Machine:
        return next(each for each in self.machines if each.id == device)

    def _due(self, run: ResetRun, now: datetime) -> Due:
        assert run.course_start is not None
        machine = self.machine(run.device_id)
        place = self.places[machine.room]
        at, signed_in = self.told.get(run.device_id, (now, False))
        names = (SITE, place.id, machine.id, machine.recipe)
        return Due(
            id=run.id, device=machine.id, room=place.id, site=SITE, uplink=machine.uplink,
            start=run.course_start, share=1.0, ways=machine.ways, tier=run.tier,
            busy=(*place.lessons, *place.blocks), trusted=place.trusted,
            signed_in=signed_in and now - at <= FRESH,
            held_by=loading.held_by(self.bans, now, names, automatic=True), quiet=place.quiet,
            current=self.still_so(run) and run.plan_rev == self.plan_rev,
            in_service=machine.id not in self.away, automatic=True,
        )  # fmt: skip

    def still_so(self, run: ResetRun) -> bool:
        room = self.machine(run.device_id).room
        return any(
            (one.id, one.start) == (run.course_id, run.course_start)
            for one in self.places[room].lessons
        )

    def _load(self, now: datetime) -> Load:
        load = Load()
        for run in self.under_way(now):
            machine = self.machine(run.device_id)
            way = way_of(RECIPE, run.tier) if run.state in UNDER_WAY else WAYS[-1]
            seat = Seat(machine.id, machine.room, SITE, machine.uplink, way)
            load.take(seat, begins=False)
        lately = [r for r in self.runs.values() if r.ordered_at and r.ordered_at > now - DAY]
        load.begun = sum(r.ordered_at > now - STORM for r in lately if r.ordered_at)
        touched: Counter[str] = load.touched
        for run in lately:
            touched[run.device_id] += run.failures + (run.state is RunState.VERIFIED)
        return load

    def under_way(self, now: datetime) -> list[ResetRun]:
        """Also what may be, for its end was not heard."""
        self.lost = {run.id: run for run in self.lost.values() if (run.busy_until or now) > now}
        begun = (run for run in self.open if run.state in UNDER_WAY)
        return [*begun, *self.lost.values()]

    # what comes back

    def take_in(self, told: Outcome, now: datetime) -> None:
        run = self.runs.get(told.order.rpartition(".")[0])
        if run is None or run.order_id != told.order:
            return
        if told.step is Step.ACTED and run.state is RunState.ORDERED:
            move(run, RunState.ACTED, now)
            run.acted_at = told.finished_at or told.at
            run.deadline = look_due(now, way_of(RECIPE, run.tier))
            self.clean[run.device_id] = None
        elif told.step is Step.LOOKED and run.state in (
            *UNDER_WAY,
            RunState.PLANNED,
            RunState.UNKNOWN,
        ):
            self._judge(run, told, now)
        elif told.step is Step.REFUSED and run.state is RunState.ORDERED:
            retry(run, RECIPE, now, otherwise=RunState.EXPIRED, reason=told.reason, counts=False)
        elif told.step in (Step.FAILED, Step.UNKNOWN) and run.state in UNDER_WAY:
            self.clean[run.device_id] = None
            earliest = None
            if told.step is Step.UNKNOWN and run.state is RunState.ORDERED:
                length = way_of(RECIPE, run.tier).length
                earliest = run.deadline - ANSWER_MARGIN
                if told.started_at:
                    earliest = min(now - (told.at - told.started_at) + length, earliest)
            final = RunState.UNKNOWN if told.step is Step.UNKNOWN else RunState.FAILED
            retry(run, RECIPE, now, otherwise=final, reason=told.reason, earliest=earliest)
            self.lost |= {run.id: run} if earliest else {}
        self._touched(run.device_id)

    def _judge(self, run: ResetRun, told: Outcome, now: datetime) -> None:
        acts = [each for each in (told.finished_at, run.acted_at) if each is not None]
        newer = bool(acts) and told.at >= max(acts)
        if newer and not verify(RECIPE.expects, told.facts, told.order):
            move(run, RunState.VERIFIED, now)
            run.looked_at, run.busy_until = told.at, None
            self.clean[run.device_id] = run.id
            self.proved.append(run)
        elif run.state in UNDER_WAY:
            retry(run, RECIPE, now, otherwise=RunState.FAILED, reason="not_clean")

    def expire(self, now: datetime) -> None:
        for run in self.open:
            if run.state not in OPEN_STATES or run.deadline >= now:
                continue
            if run.state is RunState.PLANNED:
                move(run, RunState.EXPIRED, now, reason=run.reason or "not_sent")
            else:
                self.clean[run.device_id] = None
                retry(run, RECIPE, now, otherwise=RunState.UNKNOWN, reason="no_answer")
                self._touched(run.device_id)
        for known in list(self.ended.values()):
            unproved = self.clean.get(known.device) is None and known.state is RunState.VERIFIED
            if unproved and known.used_at is None:
                self.was_used(known.device, now)

    def was_used(self, device: str, now: datetime) -> None:
        self.clean[device] = None
        for run in self.runs.values():
            if run.device_id == device and run.state is RunState.VERIFIED and run.used_at is None:
                run.used_at = now
        self._touched(device)

    # what its agent is told

    def roster(self, now: datetime, revision: int) -> Roster:
        busy, trust = [], {}
        for place in self.places.values():
            if place.trusted:
                trust[place.id] = now + BELIEVED_FOR
            for one in (*place.lessons, *place.blocks):
                if one.end + self.rules.grace > now:
                    busy.append(_busy(place.id, one.start, one.end))
        return Roster(
            site=SITE, revision=revision, sent_at=now, busy=busy, trusted_until=trust,
            targets=self.targets,
            holds=[Hold(room=b.room or "", device=b.device or "", start=b.since, end=b.until,
                        reason=b.code) for b in self.bans if b.until is None or b.until > now],
            plan_rev=self.plan_rev,
        )  # fmt: skip

    # what people and feeds change; what is said by hand makes a new plan

    def set_lessons(self, room: str, lessons: list[Lesson]) -> None:
        self.places[room] = replace(self.places[room], lessons=tuple(lessons))

    def say(self) -> None:
        self.plan_rev += 1
