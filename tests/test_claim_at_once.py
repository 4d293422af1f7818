"""Several centres claim, plan and are told things at the very same moment, each over connections of
its own: no order goes out twice, no limit is passed, and what was said by hand holds from its
commit on."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from math import inf
from random import Random
from threading import Barrier

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from agents.messages import Order, Step
from fleet import overrides, resets
from fleet.overrides import OverrideRefused, Scope
from fleet.settings import Settings
from inventory import Course, Device, DeviceKind, OverrideKind, Recipe, RunState
from inventory.db import open_engine, session
from tests.room import (
    HOUR,
    MINUTE,
    add_course,
    add_device,
    furnish,
    looked,
    outcome,
    plan,
    runs,
    say,
)

S = Settings(
    reset_ahead_s=3 * 3600, reset_grace_s=120, reset_buffer_s=300, reset_starts=30,
    reset_per_day=100,
)  # fmt: skip
ROOMS = ("r1", "r2", "r3")
BEHIND = {"r1": "ap1", "r2": "ap1", "r3": "ap2"}
BOOTS = 6
"""So many may start up at once in one room and behind one access point."""
UNDER_WAY = (RunState.ORDERED, RunState.ACTED)
CENTRES = 5


@pytest.fixture
def centres(engine: Engine, now: datetime) -> Iterator[list[Engine]]:
    """They have nothing in common but the database: three rooms of eight laptops that all start
    up for it, two of the rooms on one access point."""
    for room in ROOMS:
        furnish(engine, now, room=room, laptops=8)
        add_course(engine, now + 3 * HOUR, room=room, uid=room)
    with session(engine) as opened:
        opened.get_one(Recipe, "wipe").tiers = {"quick": {"boots": True}}
        for point in sorted(set(BEHIND.values())):
            kind = DeviceKind.ACCESS_POINT
            add_device(opened, point, now, kind=kind, driver="snmp", recipe_id=None)
        for device in opened.exec(select(Device).where(Device.kind == DeviceKind.LAPTOP)):
            device.uplink_id = BEHIND[device.room_id]
    plan(engine, now, S)
    url = engine.url.render_as_string(hide_password=False)
    opened_here = [open_engine(url) for _ in range(CENTRES)]
    yield opened_here
    for one in opened_here:
        one.dispose()


# --- of two transactions that meet the later one waits for the earlier one, and knows of it ---

Doing = Callable[[Session, datetime], list[Order]]


def claims(opened: Session, now: datetime) -> list[Order]:
    return resets.claim(opened, now, S)


def plans(opened: Session, now: datetime) -> list[Order]:
    resets.plan(opened, now, S)
    return []


def pauses(opened: Session, now: datetime) -> list[Order]:
    overrides.say(opened, OverrideKind.PAUSE, Scope(room="r3"), now, "Ida")
    return []


def cancels(opened: Session, now: datetime) -> list[Order]:
    course = opened.exec(select(Course.id).where(Course.room_id == "r3")).one()
    overrides.say(opened, OverrideKind.CANCEL, Scope(course=course), now, "Karim")
    return []


def moved_and_planned(opened: Session, now: datetime) -> list[Order]:
    course = opened.exec(select(Course).where(Course.room_id == "r3")).one()
    course.start -= 5 * MINUTE
    resets.plan(opened, now, S)
    return []


@pytest.mark.parametrize(
    ("earlier", "later", "rooms"),
    [
        (claims, claims, {"ap1": BOOTS, "ap2": BOOTS}),
        (claims, plans, {"ap1": BOOTS, "ap2": BOOTS}),
        (claims, pauses, {"ap1": BOOTS, "ap2": BOOTS}),
        (pauses, claims, {}),
        (cancels, claims, {}),
        (moved_and_planned, claims, {"ap1": BOOTS, "ap2": BOOTS}),
    ],
)
def test_who_comes_later_waits_and_knows_of_it(
    centres: list[Engine], now: datetime, earlier: Doing, later: Doing, rooms: dict[str, int]
) -> None:
    def other() -> list[Order]:
        with session(centres[1]) as opened:
            return later(opened, now)

    with ThreadPoolExecutor(1) as pool:
        with session(centres[0]) as opened:
            orders = earlier(opened, now)
            waiting = pool.submit(other)
            time.sleep(0.15)
            assert not waiting.done(), "it goes on although the other is not at its end"
        orders += waiting.result(20)
    assert Counter(BEHIND[order.room] for order in orders) == rooms
    assert len({order.id for order in orders}) == len(orders)


# --- and whatever happens at the same moment, again and again ---


@dataclass
class Claim:
    """What one centre took; `late`: a moment at which its transaction was not yet at its end."""

    orders: list[Order]
    late: float


@dataclass
class Said:
    """In force for certain from `begins` (it is committed) to `ends` (it is about to be taken
    back)."""

    kind: OverrideKind
    scope: Scope
    number: int
    begins: float
    ends: float = inf

    def forbids(self, order: Order, course: int | None) -> bool:
        if self.scope.course is not None:
            return self.scope.course == course and self.scope.device in (None, order.device)
        return self.scope.room in (None, order.room) and self.scope.device in (None, order.device)


class Rush:
    """Three centres claim, one plans, and somebody says things: all at once, round after round."""

    def __init__(self, centres: list[Engine], now: datetime) -> None:
        self.engine, self.now, self.random = centres[0], now, Random(7)
        self.together = Barrier(CENTRES)
        self.claims: list[Claim] = []
        self.said: list[Said] = []
        self.reasons: set[str] = set()
        self.tasks = [
            *(lambda engine=one: self.claim(engine) for one in centres[:3]),
            lambda: plan(centres[3], self.now, S),
            lambda: self.somebody_speaks(centres[4]),
        ]

    def claim(self, engine: Engine) -> None:
        with session(engine) as opened:
            orders = resets.claim(opened, self.now, S)
            late = time.perf_counter()
        self.claims.append(Claim(orders, late))

    def somebody_speaks(self, engine: Engine) -> None:
        for one in [one for one in self.said if one.ends == inf and self.random.random() < 0.5]:
            one.ends = time.perf_counter()
            with session(engine) as opened:
                overrides.end(opened, one.number, self.now, "Ida")
        chance = self.random
        room = chance.choice(ROOMS)
        device, course = f"{room}-l{chance.randint(1, 8)}", ROOMS.index(room) + 1
        kind, scope = chance.choice([
            (OverrideKind.PAUSE, Scope(room=room)),
            (OverrideKind.MAINTENANCE, Scope(device=device)),
            (OverrideKind.BLOCK, Scope(room=room)),
            (OverrideKind.COURSE, Scope(room=room)),
            (OverrideKind.SKIP, Scope(course=course, device=device)),
            (OverrideKind.CANCEL, Scope(course=course)),
        ])  # fmt: skip
        needed = kind in overrides.LONGEST
        try:
            with session(engine) as opened:
                until = self.now + HOUR if needed else None
                number = overrides.say(opened, kind, scope, self.now, "Ida", until=until).id or 0
        except OverrideRefused:  # it is called off already
            return
        self.said.append(Said(kind, scope, number, time.perf_counter()))

    def round(self, pool: ThreadPoolExecutor) -> None:
        def begin(task: Callable[[], None]) -> None:
            self.together.wait(20)
            task()

        for done in [pool.submit(begin, task) for task in self.tasks]:
            done.result(30)

    def check(self) -> None:
        held = runs(self.engine)
        self.reasons |= {run.reason for run in held}
        orders = [order for one in self.claims for order in one.orders]
        assert max(Counter(order.id for order in orders).values(), default=0) <= 1
        assert {order.id for order in orders} >= {r.order_id for r in held if r.order_id}
        busy = [run.device_id for run in held if run.state in UNDER_WAY]
        assert len(set(busy)) == len(busy)
        rooms = Counter(device.partition("-")[0] for device in busy)
        points = Counter(BEHIND[device.partition("-")[0]] for device in busy)
        assert max([*rooms.values(), *points.values(), 0]) <= BOOTS
        courses = {run.id: run.course_id for run in held}
        for claim in self.claims:
            for order in claim.orders:
                course = courses[order.id.partition(".")[0]]
                here = [one for one in self.said if one.begins < claim.late < one.ends]
                assert not [one for one in here if one.forbids(order, course)]

    def answers(self) -> None:
        """Some are proved, some refused, some not heard of yet; and the plan knows of all of it."""
        for order in [order for one in self.claims[-3:] for order in one.orders]:
            how = self.random.random()
            if how < 0.4:
                say(self.engine, looked(order, self.now), self.now)
            elif how < 0.8:
                told = outcome(order, Step.REFUSED, self.now, reason="in_use")
                say(self.engine, told, self.now)
        self.now += 2 * MINUTE
        plan(self.engine, self.now, S)


WAITED_FOR = {"uplink_busy", "room_busy", "in_use"}


def test_whatever_happens_at_the_same_moment(centres: list[Engine], now: datetime) -> None:
    rush = Rush(centres, now)
    with ThreadPoolExecutor(CENTRES) as pool:
        for number in range(60):
            rush.round(pool)
            rush.check()
            rush.answers()
            # Which thread comes first decides what is waited for: until all was.
            if number >= 12 and rush.reasons >= WAITED_FOR:
                break
    # It would prove nothing if hardly anything were sent, said, or waited for.
    assert sum(len(one.orders) for one in rush.claims) > 25
    assert len(rush.said) > 8
    assert rush.reasons >= WAITED_FOR
