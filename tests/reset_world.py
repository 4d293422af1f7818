"""One centre on a real database; a calendar, a clock, a bus and an agent that do everything they
may do wrong; and what must hold of its resets all the while."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Engine
from sqlmodel import col, select

from agents.messages import Order, Outcome, Reading, Step
from fleet import intake, overrides, readiness, resets
from fleet.resets.gates import GATES, Gate
from fleet.settings import Settings
from inventory import (
    OPEN_STATES,
    Course,
    Feed,
    OverrideKind,
    Readiness,
    Recipe,
    ResetRun,
    RunState,
    Verdict,
)
from inventory.db import migrate, open_engine, reading, session
from tests.room import CLEAN, add_course, change, claim, furnish, heard, outcome, runs, say

S = Settings(
    reset_lead_s=1800, reset_ahead_s=1800, reset_per_day=100, reset_grace_s=60, reset_buffer_s=120
)
GRACE, BUFFER = timedelta(seconds=60), timedelta(seconds=120)
RUNTIME = timedelta(seconds=60)
LOOK = timedelta(seconds=5)
"""So long after the end of an act it is looked at."""
AT_IT = timedelta(minutes=3)
"""So long somebody who was signed in is believed to be still there."""
BEGIN = datetime(2026, 11, 23, 8, tzinfo=UTC)
ROOMS = ("r1", "r2")
UNDER_WAY = (RunState.ORDERED, RunState.ACTED)


@cache
def template() -> Path:
    path = Path(tempfile.mkdtemp(prefix="raumwart-invariants-")) / "template.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    fill(engine)
    engine.dispose()
    return path


def fill(engine: Engine) -> None:
    recipe = {"max_runtime_s": int(RUNTIME.total_seconds()), "settle_s": 5, "tries": 3}
    for room in ROOMS:
        furnish(engine, BEGIN, room=room, laptops=2, recipe=recipe, required={"laptop": 1})
    with session(engine) as opened:
        for feed in opened.exec(select(Feed)):
            feed.max_age_s = 10**6


@dataclass
class Sent:
    """An order, and the next course as it was known when it was claimed."""

    order: Order
    next_start: datetime | None


@dataclass(frozen=True)
class Act:
    order: str
    device: str
    begin: datetime
    end: datetime


class World(RuleBasedStateMachine):
    """One centre on a real database; an agent and a bus that do everything they may do wrong."""

    settings = S
    gates: Mapping[str, Gate] = GATES
    runtime = RUNTIME

    def __init__(self, engine: Engine | None = None) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="raumwart-world-"))
        if engine is None:
            shutil.copyfile(template(), self.folder / "fleet.db")
            engine = open_engine(f"sqlite:///{self.folder / 'fleet.db'}")
        self.engine = engine
        self.now = BEGIN
        self.wire: list[Sent] = []
        self.back: list[Outcome] = []
        self.acts: list[Act] = []
        self.done: set[str] = set()
        self.proved: set[str] = set()
        self.doubtful: set[str] = set()
        self.lent: set[str] = set()
        self.used: dict[str, datetime] = {}
        """Device → when somebody last sat at it."""
        self.frozen: dict[int, tuple[Verdict, datetime]] = {}
        self.ready = 0
        self.added = 0

    def teardown(self) -> None:
        for _ in range(3):
            self.now += timedelta(hours=3)
            self.plan()
            self.claim()
        self.now += timedelta(hours=3)
        self.plan()
        last = runs(self.engine)
        self.engine.dispose()
        shutil.rmtree(self.folder)
        assert not [run.state for run in last if run.state in OPEN_STATES]

    @initialize(first=st.integers(8, 40), second=st.integers(-20, 40))
    def a_day_with_courses(self, first: int, second: int) -> None:
        for room, start in zip(ROOMS, (first, second), strict=True):
            self.add(room, start, 45)
        self.plan()
        self.claim()

    def take_longer(self, runtime: timedelta) -> None:
        self.runtime = runtime
        change(self.engine, Recipe, "wipe", max_runtime_s=int(runtime.total_seconds()))

    # the centre

    @rule(chance=st.randoms(use_true_random=True))
    def some_time_passes(self, chance: Random) -> None:
        """Several things happen; one seed decides, for single draws hardly get past the start."""
        for _ in range(6):
            self.now += timedelta(seconds=chance.choice([1, 10, 30, 65, 130]))
            changed = chance.random() < 0.4
            if chance.random() < 0.8:
                self.plan()
                self.freeze()
                self.somebody_lets_it_go_on()
            if changed:  # often after the plan: the last gate has to see it
                self.calendar_changes(chance, chance.choice(ROOMS))
            self.before_the_orders(chance)
            self.claim()
            if chance.random() < 0.1:
                self.plan()
                self.planning_again_changes_nothing()
            self.now += timedelta(seconds=chance.choice([0, 1, 10, 60, 65]))
            self.orders_and_reports_travel(chance)

    def before_the_orders(self, chance: Random) -> None:
        """What else happens between plan and orders."""

    def plan(self) -> None:
        with session(self.engine) as opened:
            resets.expire(opened, self.now)
            resets.plan(opened, self.now, self.settings)

    def freeze(self) -> None:
        """I10: each course that has begun has one verdict for good, and a good one is true."""
        courses = self.courses()
        if {one.id for one in courses if one.start <= self.now} <= self.frozen.keys():
            return  # nothing begins
        heard(self.engine, self.now - timedelta(seconds=1))
        with session(self.engine) as opened:
            readiness.freeze(opened, self.now, self.settings)
        with reading(self.engine) as opened:
            rows = {row.course_id: row for row in opened.exec(select(Readiness))}
        assert {one.id for one in courses if one.start <= self.now} <= rows.keys()
        for course in courses:
            row = rows.get(course.id or 0)
            if row is None or course.id in self.frozen:
                continue
            assert row.judged_at == self.now
            if row.verdict is Verdict.READY:
                self.was_ready(course, [one for one in courses if one.room_id == course.room_id])
        for number, row in rows.items():
            kept = self.frozen.setdefault(number, (row.verdict, row.judged_at))
            assert kept == (row.verdict, row.judged_at)

    def was_ready(self, course: Course, here: list[Course]) -> None:
        """One laptop is enough: the last that was done to it proved it clean, after everybody had
        gone, and nobody sat at it since."""
        self.ready += 1
        gone = max([one.end for one in here if one.start < course.start], default=BEGIN - AT_IT)
        early = course.start - BUFFER

        def fit(device: str) -> bool:
            done = [act for act in self.acts if act.device == device]
            if not done:
                return False
            last = max(done, key=lambda act: act.end)
            used = self.used.get(device, BEGIN - AT_IT)
            since = last.end + LOOK
            return last.order in self.proved and gone <= since and not since <= used < early

        assert fit(f"{course.room_id}-l1") or fit(f"{course.room_id}-l2")

    def somebody_sits_down(self, device: str) -> None:
        """As the poller tells it, and the intake takes it in."""
        facts = {"sessions": 1, "used_since": True}
        told = Reading(device=device, taken_at=self.now, reachable=True, facts=facts)
        assert intake.apply(self.engine, [told], self.now, self.settings).stored
        self.used[device] = self.now

    def planning_again_changes_nothing(self) -> None:
        """Nor does a course that is not held."""
        self.add(ROOMS[0], 15, 10)
        with session(self.engine) as opened:
            last = opened.exec(select(Course).order_by(col(Course.id).desc())).first()
            assert last
            last.cancelled = True
        planned = {run.id: run.model_dump() for run in runs(self.engine)}
        self.plan()
        assert {run.id: run.model_dump() for run in runs(self.engine)} == planned

    def claim(self) -> None:
        courses = self.courses()
        under_way = {run.device_id for run in runs(self.engine) if run.state in UNDER_WAY}
        held = {(course.id, course.start) for course in courses}
        orders = self.orders()
        planned_for = {run.id: run for run in runs(self.engine)} if orders else {}
        for order in orders:
            run = planned_for[order.id.rpartition(".")[0]]
            self.nothing_speaks_against(order, run)
            assert (run.course_id, run.course_start) in held
            assert run.course_start is not None
            assert run.course_start > self.now, "what is past is not made up for"
            assert order.not_before <= self.now <= order.not_after, "dead before it is sent"
            assert order.room not in self.doubtful
            assert order.device not in self.lent
            assert order.device not in under_way, "a second order while one is under way"
            used = self.used.get(order.device, BEGIN)
            assert used == BEGIN or self.now - used > AT_IT, "somebody is signed in"
            under_way.add(order.device)
            following = None
            for course in courses:
                if course.room_id != order.room:
                    continue
                assert not course.start - BUFFER <= self.now < course.end + GRACE
                if course.start > self.now:
                    assert order.not_after + self.runtime + BUFFER <= course.start
                    following = min(following or course.start, course.start)
            assert order.next_start == following
            self.wire.append(Sent(order, following))

    def orders(self) -> list[Order]:
        return claim(self.engine, self.now, self.settings, self.gates)

    def nothing_speaks_against(self, order: Order, run: ResetRun) -> None:
        """What was said by hand, for who says something."""

    def somebody_lets_it_go_on(self) -> None:
        """Much fails here, so that the recipe would soon be stopped for good."""
        with session(self.engine) as opened:
            for said in overrides.in_force(opened, self.now, OverrideKind.STOP):
                overrides.end(opened, said.id or 0, self.now, "IT")

    def courses(self) -> list[Course]:
        with reading(self.engine) as opened:
            return list(opened.exec(select(Course).where(col(Course.cancelled).is_(False))))

    def add(self, room: str, start: int, length: int) -> None:
        self.added += 1
        at, long = self.now + timedelta(minutes=start), timedelta(minutes=length)
        add_course(self.engine, at, room=room, length=long, uid=str(self.added))

    def calendar_changes(self, chance: Random, room: str) -> None:
        what = chance.choice(["add", "add", "move", "move", "cancel", "doubt", "trust"])
        courses = [course for course in self.courses() if course.room_id == room]
        if what == "add":
            self.add(room, chance.choice([-3, -1, 3, 6, 12, 25]), chance.choice([1, 10]))
        elif what in ("doubt", "trust"):
            change(self.engine, Feed, f"f-{room}", problem="shrunk" if what == "doubt" else "")
            (self.doubtful.add if what == "doubt" else self.doubtful.discard)(room)
        elif courses and what == "cancel":
            change(self.engine, Course, chance.choice(courses).id, cancelled=True)
        elif courses:
            course = chance.choice(courses)
            by = timedelta(minutes=chance.choice([-20, -5, 5, 30]))
            moved = {"start": course.start + by, "end": course.end + by}
            change(self.engine, Course, course.id, **moved)
            with session(self.engine) as opened:
                overrides.reapply(opened, f"f-{room}")

    # bus and agent

    def orders_and_reports_travel(self, chance: Random) -> None:
        fates = [*["once"] * 5, "again", "later", "lost"]
        for sent in chance.sample(self.wire, len(self.wire)):
            fate = chance.choice(fates)
            if fate in ("once", "lost"):
                self.wire.remove(sent)
            if fate in ("once", "again") and sent.order.id not in self.done:
                self.done.add(sent.order.id)
                self.carry_out(chance, sent)
        due = [told for told in self.back if told.at <= self.now]
        for told in chance.sample(due, len(due)):
            fate = chance.choice(fates)
            if fate in ("once", "lost"):
                self.back.remove(told)
            if fate in ("once", "again"):
                say(self.engine, told, self.now)

    def carry_out(self, chance: Random, sent: Sent) -> None:
        order = sent.order
        how = chance.choice([*["clean"] * 4, "dirty", "refuse", "fail", "crash"])
        if self.now > order.not_after or how == "refuse":
            self.back.append(outcome(order, Step.REFUSED, self.now, reason="in_use"))
            return
        length = timedelta(seconds=chance.choice([1, 20, 60]))
        act = Act(order.id, order.device, self.now, self.now + length)
        if sent.next_start is not None:
            assert act.begin + self.runtime + BUFFER <= sent.next_start
        for other in self.acts:
            apart = other.end <= act.begin or act.end <= other.begin
            assert other.device != act.device or apart, "two resets at once"
        self.acts.append(act)
        self.report(chance, order, act, how)

    def report(self, chance: Random, order: Order, act: Act, how: str) -> None:
        """What the agent says afterwards. Nothing of it arrives before it happened."""
        self.back.append(outcome(order, Step.ACCEPTED, act.begin, started_at=act.begin))
        if how == "fail":
            self.back.append(outcome(order, Step.FAILED, act.end, started_at=act.begin))
        if how == "crash":
            told = outcome(order, Step.UNKNOWN, act.end, started_at=act.begin)
            self.back.append(told)
        if how in ("clean", "dirty"):
            self.back.append(outcome(order, Step.ACTED, act.end, finished_at=act.end))
            facts = {**CLEAN, "home_clean": how == "clean", "reset_id": order.id}
            # A look that is older than the end of the act proves nothing.
            old = chance.random() < 0.2
            at = act.end + timedelta(seconds=-1 if old else 5)
            told = outcome(order, Step.LOOKED, at, finished_at=act.end, facts=facts)
            self.back.append(told)
            if how == "clean" and not old:
                self.proved.add(order.id)

    # what always holds

    @invariant()
    def only_what_was_proved_is_verified(self) -> None:
        held = runs(self.engine)
        for run in held:
            if run.state is RunState.VERIFIED:
                assert run.order_id in self.proved
                assert run.acted_at is not None
                assert run.looked_at is not None
                assert run.looked_at >= run.acted_at
                assert any(a.order == run.order_id and a.end == run.acted_at for a in self.acts)
            assert (run.finished_at is None) == (run.state in OPEN_STATES)
            if run.state in OPEN_STATES:
                assert run.deadline >= run.planned_at
        alive = Counter(
            (run.course_id, run.device_id, run.course_start)
            for run in held
            if run.state is not RunState.DROPPED and run.used_at is None
        )
        assert all(count == 1 for count in alive.values())
