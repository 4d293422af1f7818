"""FLEET_RESET_STARTS: how many resets begin within five minutes, whatever becomes of them."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from agents.messages import Order, Step
from fleet import resets
from fleet.resets.storm import STARTS, STORM
from fleet.settings import Settings
from inventory import RunState, Tally
from inventory.db import reading, session
from tests.room import HOUR, MINUTE, add_course, claim, furnish, outcome, plan, runs, say

S = Settings(reset_starts=2)
SECONDS = timedelta(seconds=1)


def region(engine: Engine, now: datetime, laptops: int) -> None:
    furnish(engine, now, laptops=laptops)
    add_course(engine, now + HOUR)
    plan(engine, now, S)


def fail(engine: Engine, order: Order, now: datetime, **said: str) -> None:
    step = Step.FAILED if said.get("reason", "reset_failed") != "asleep" else Step.REFUSED
    say(engine, outcome(order, step, now, **({"reason": "reset_failed"} | said)), now)


def waits(engine: Engine) -> list[str]:
    return [run.reason for run in runs(engine) if run.state is RunState.PLANNED]


def test_a_retry_begins_once_more(engine: Engine, now: datetime) -> None:
    """It cannot hide behind its first attempt, nor does that hold it up for longer than others."""
    region(engine, now, laptops=1)
    (first,) = claim(engine, now, S)
    fail(engine, first, now + 10 * SECONDS)
    (second,) = claim(engine, now + 20 * SECONDS, S)
    fail(engine, second, now + 30 * SECONDS)
    assert claim(engine, now + 2 * MINUTE, S) == [], "two began, though of one run"
    assert waits(engine) == ["storm"]
    assert claim(engine, now + STORM - SECONDS, S) == []
    (third,) = claim(engine, now + STORM, S)
    assert third.id.endswith(".3")


@pytest.mark.parametrize("reason", ["asleep", "unreachable"])
def test_who_sleeps_keeps_nobody_waiting(engine: Engine, now: datetime, reason: str) -> None:
    """An attempt that touched nothing gives its place back; the one that finds it awake counts."""
    region(engine, now, laptops=4)
    asleep = claim(engine, now, S)
    assert len(asleep) == 2
    assert claim(engine, now + 5 * SECONDS, S) == []
    for order in asleep:
        for _ in range(2):  # told twice, counted once
            fail(engine, order, now + 10 * SECONDS, reason=reason)
    awake = claim(engine, now + 15 * SECONDS, S)
    assert not {order.device for order in awake} & {order.device for order in asleep}
    assert len(awake) == 2
    assert claim(engine, now + 2 * MINUTE, S) == []
    again = claim(engine, now + 15 * SECONDS + STORM, S)
    assert {order.device for order in again} == {order.device for order in asleep}


def test_an_order_that_never_left_did_not_begin(engine: Engine, now: datetime) -> None:
    region(engine, now, laptops=2)
    for n in range(5):
        at = now + n * 10 * SECONDS
        orders = claim(engine, at, S)
        assert len(orders) == 2
        with session(engine) as opened:
            resets.give_back(opened, orders, at)


def test_what_somebody_asked_for_neither_counts_nor_waits(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=5)
    for number in range(1, 4):
        with session(engine) as opened:
            resets.request(opened, f"r1-l{number}", now, S, "IT")
    assert len(claim(engine, now, S)) == 3
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    assert len(claim(engine, now, S)) == 2


def test_what_is_over_is_forgotten(engine: Engine, now: datetime) -> None:
    region(engine, now, laptops=1)
    for n in range(6):
        at = now + n * STORM
        for order in claim(engine, at, S):
            fail(engine, order, at + SECONDS)
    with reading(engine) as opened:
        kept = opened.exec(select(Tally).where(col(Tally.counter) == STARTS)).all()
    assert [one.value for one in kept] == [1]
