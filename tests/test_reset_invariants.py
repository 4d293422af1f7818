"""Whatever calendar, clock, bus and agent do: no reset meets a course, and nothing is believed
that was not proved."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from agents.messages import Order, Step
from fleet import overrides, resets
from fleet.resets.gates import GATES, Gate
from fleet.settings import Settings
from inventory import Device, OverrideKind, ResetRun, Service
from inventory.db import session
from tests.reset_world import GRACE, ROOMS, RUNTIME, S, Sent, World, fill
from tests.room import change, claim, runs

ENOUGH = 150
"""Days after which the lack of a gate must have shown."""


class Crash(Exception):
    """The process dies here."""


@dataclass(frozen=True)
class Said:
    """Our own note of what somebody said."""

    kind: OverrideKind
    room: str | None = None
    device: str | None = None
    course: int | None = None
    until: datetime | None = None

    def forbids(self, order: Order, run: ResetRun, now: datetime) -> bool:
        if self.until is not None and now >= self.until + GRACE * (self.kind == "block"):
            return False
        if self.course is not None:
            return run.course_id == self.course and self.device in (None, order.device)
        return self.room in (None, order.room) and self.device in (None, order.device)


class SaidByHand(World):
    """The same, and people say things at the last moment and take them back; the process dies in
    the middle of a plan or of orders, is down for hours, and is not alone."""

    settings = Settings(**(S.model_dump() | {"reset_starts": 3}))

    def __init__(self, engine: Engine | None = None) -> None:
        super().__init__(engine)
        self.said: dict[int, Said] = {}
        self.started = self.now - timedelta(hours=1)
        self.begun: dict[str, datetime] = {}
        self.refused: set[str] = set()

    def before_the_orders(self, chance: Random) -> None:
        if chance.random() < 0.3:
            self.somebody_says(chance)
        elif self.said and chance.random() < 0.4:
            with session(self.engine) as opened:
                number = chance.choice(sorted(self.said))
                overrides.end(opened, number, self.now, "IT")
                del self.said[number]
        if chance.random() < 0.1:
            self.the_process_dies(chance)
        if chance.random() < 0.08:
            self.somebody_sits_down(f"{chance.choice(ROOMS)}-l{chance.randint(1, 2)}")
        if chance.random() < 0.1:
            device = f"{chance.choice(ROOMS)}-l{chance.randint(1, 2)}"
            self.lent ^= {device}
            service = Service.LENT if device in self.lent else Service.ACTIVE
            change(self.engine, Device, device, service=service)

    def somebody_says(self, chance: Random) -> None:
        room = chance.choice(ROOMS)
        device = f"{room}-l{chance.randint(1, 2)}"
        soon = self.now + timedelta(minutes=chance.choice([1, 4, 15]))
        said = [
            Said(OverrideKind.PAUSE, until=soon),
            Said(OverrideKind.PAUSE, room=room, until=chance.choice([None, soon])),
            Said(OverrideKind.MAINTENANCE, device=device, until=chance.choice([None, soon])),
            Said(OverrideKind.BLOCK, room=room, until=soon),
        ]
        coming = [one for one in self.courses() if one.room_id == room and one.start > self.now]
        if coming:
            course = min(coming, key=lambda one: one.start).id
            said.append(Said(OverrideKind.SKIP, device=device, course=course))
            said.append(Said(OverrideKind.CANCEL, course=course))
        one = chance.choice(said)
        scope = overrides.Scope(room=one.room, device=one.device, course=one.course)
        with session(self.engine) as opened:
            made = overrides.say(opened, one.kind, scope, self.now, "Ida", until=one.until)
            self.said[made.id or 0] = one

    def the_process_dies(self, chance: Random) -> None:
        """Before the commit: nothing of it is there afterwards, and the next one goes on."""
        before = {run.id: run.model_dump() for run in runs(self.engine)}
        with suppress(Crash), session(self.engine) as opened:
            resets.expire(opened, self.now)
            resets.plan(opened, self.now, self.settings)
            if chance.random() < 0.5:
                resets.claim(opened, self.now, self.settings, started=self.started)
            raise Crash
        assert {run.id: run.model_dump() for run in runs(self.engine)} == before

    @rule(minutes=st.sampled_from([5, 40, 200]))
    def the_service_is_down(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self.started = self.now
        self.plan()
        self.claim()

    def orders(self) -> list[Order]:
        with session(self.engine) as opened:
            found = resets.claim(
                opened, self.now, self.settings, started=self.started, gates=self.gates
            )
        assert not found or self.now - self.started >= timedelta(minutes=2)
        # A second process, which has been there for long.
        again = claim(self.engine, self.now, self.settings, self.gates)
        assert not {order.device for order in found} & {order.device for order in again}
        found += again
        self.begun |= {order.id: self.now for order in found}
        lately = [
            order
            for order, at in self.begun.items()
            if at > self.now - timedelta(minutes=5) and order not in self.refused
        ]
        assert len(lately) <= self.settings.reset_starts, "each attempt counts"
        return found

    def carry_out(self, chance: Random, sent: Sent) -> None:
        super().carry_out(chance, sent)
        if self.back[-1].step is Step.REFUSED:
            self.refused.add(self.back[-1].order)

    def nothing_speaks_against(self, order: Order, run: ResetRun) -> None:
        assert not [one for one in self.said.values() if one.forbids(order, run, self.now)]


for machine, examples in ((World, 4), (SaidByHand, 9)):  # the second does all that the first does
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=10,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],  # one seed holds many steps: there is little to shrink
        suppress_health_check=list(HealthCheck),
    )
TestWorld = pytest.mark.timeout(300)(World.TestCase)
TestSaidByHand = pytest.mark.timeout(300)(SaidByHand.TestCase)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
def test_it_holds_on_either_database(engine: Engine, seed: int) -> None:
    fill(engine)
    day = SaidByHand(engine)
    day.a_day_with_courses(first=20 + seed, second=9)
    for turn in range(4):
        day.some_time_passes(Random(10 * seed + turn))
        day.only_what_was_proved_is_verified()
    day.the_service_is_down(40)
    day.teardown()


def goes_wrong(seed: int, gates: Mapping[str, Gate], runtime: timedelta) -> bool:
    day = SaidByHand()
    day.gates = gates
    day.take_longer(runtime)
    try:
        day.a_day_with_courses(first=12 + seed % 9, second=-5 + seed % 16)
        for turn in range(4):
            day.some_time_passes(Random(10 * seed + turn))
            day.only_what_was_proved_is_verified()
    except (AssertionError, IntegrityError):  # some things the database forbids, too
        return True
    finally:
        day.engine.dispose()
        shutil.rmtree(day.folder)
    return False


@pytest.mark.thorough
@pytest.mark.parametrize("gate", GATES)
def test_without_any_one_gate_something_goes_wrong(gate: str) -> None:
    without = {name: one for name, one in GATES.items() if name != gate}
    # What is over in a moment always ends in the time before a course that G1 keeps free.
    runtime = timedelta(minutes=10) if gate == "G2" else RUNTIME
    seed = next(seed for seed in range(ENOUGH) if goes_wrong(seed, without, runtime))
    assert not goes_wrong(seed, GATES, runtime)
