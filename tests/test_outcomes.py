"""What agents say of orders, lost, doubled, late and out of order; and what they never say."""

from datetime import datetime, timedelta
from itertools import product
from threading import Thread

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from agents.messages import Order, Step
from fleet import resets
from fleet.health.judging import lock_devices
from fleet.settings import Settings
from inventory import Course, DeviceState, ResetRun, RunState
from inventory.db import reading, session
from tests.room import (
    CLEAN,
    HOUR,
    MINUTE,
    add_course,
    change,
    claim,
    furnish,
    looked,
    outcome,
    plan,
    runs,
    say,
    states,
)

S = Settings(reset_lead_s=3600, reset_ahead_s=3600, reset_grace_s=120, reset_buffer_s=300)
SECOND = timedelta(seconds=1)


@pytest.fixture
def order(engine: Engine, now: datetime) -> Order:
    furnish(engine, now, laptops=1)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    return claim(engine, now, S)[0]


def run(engine: Engine) -> ResetRun:
    return runs(engine)[0]


def proof(engine: Engine) -> str | None:
    with reading(engine) as opened:
        return opened.exec(select(DeviceState.clean_run_id)).one()


def test_the_way_of_a_good_reset(engine: Engine, order: Order, now: datetime) -> None:
    say(engine, outcome(order, Step.ACCEPTED, now), now)
    assert run(engine).state is RunState.ORDERED
    ended = now + 30 * SECOND
    say(engine, outcome(order, Step.ACTED, ended, finished_at=ended), ended)
    assert (run(engine).state, proof(engine)) == (RunState.ACTED, None)
    told = looked(order, ended, facts={**CLEAN, "reset_id": order.id, "name": "Annas PC"})
    say(engine, told, ended + MINUTE)
    done = run(engine)
    assert (done.state, done.looked_at, done.acted_at) == (RunState.VERIFIED, told.at, ended)
    assert done.finished_at == ended + MINUTE
    assert done.evidence == {**CLEAN, "reset_id": order.id}
    assert proof(engine) == done.id


def test_an_order_given_up_waits_for_the_intake_that_is_writing_the_device(
    engine: Engine, order: Order, now: datetime
) -> None:
    late = now + HOUR

    def give_up() -> None:
        with session(engine) as opened:
            resets.expire(opened, late)

    other = Thread(target=give_up)
    with session(engine) as opened:
        lock_devices(opened, [order.device])
        other.start()
        other.join(0.5)
        waited = other.is_alive()
    other.join(10)
    assert waited
    assert run(engine).state is RunState.UNKNOWN


def test_any_order_of_arrival_and_any_repetition_ends_the_same(
    engine: Engine, order: Order, now: datetime
) -> None:
    ended = now + 30 * SECOND
    said = [
        outcome(order, Step.ACCEPTED, now),
        outcome(order, Step.ACTED, ended, finished_at=ended),
        looked(order, ended),
    ]
    begun = run(engine).model_dump()
    for sequence in product(said, repeat=3):
        with session(engine) as opened:
            opened.get_one(ResetRun, begun["id"]).sqlmodel_update(begun)
        for each in sequence:
            say(engine, each, now + MINUTE)
        expected = [RunState.ORDERED]
        expected += [RunState.ACTED] if said[1] in sequence else []
        expected += [RunState.VERIFIED] if said[2] in sequence else []
        assert run(engine).state is expected[-1]


def test_a_look_before_the_end_of_the_act_proves_nothing(
    engine: Engine, order: Order, now: datetime
) -> None:
    ended = now + 30 * SECOND
    say(engine, outcome(order, Step.ACTED, ended, finished_at=ended), ended)
    say(engine, looked(order, ended, at=ended - SECOND), ended)
    assert (run(engine).state, run(engine).reason) == (RunState.PLANNED, "look_too_old")
    assert proof(engine) is None


@pytest.mark.parametrize(("acted", "told"), [(0, 10), (10, 0)])
def test_the_later_of_two_ends_that_were_told_counts(
    engine: Engine, order: Order, now: datetime, acted: int, told: int
) -> None:
    ended = now + 30 * SECOND
    first, second = ended - acted * SECOND, ended - told * SECOND
    say(engine, outcome(order, Step.ACTED, ended, finished_at=first), ended)
    say(engine, looked(order, second, at=ended - SECOND), ended)
    assert (run(engine).state, run(engine).reason) == (RunState.PLANNED, "look_too_old")
    assert proof(engine) is None


def test_a_look_without_an_act_proves_nothing(engine: Engine, order: Order, now: datetime) -> None:
    say(engine, looked(order, now, finished_at=None), now + MINUTE)
    assert (run(engine).state, run(engine).reason) == (RunState.PLANNED, "look_too_old")


def test_a_device_that_is_not_clean_is_tried_again_and_then_failed(
    engine: Engine, order: Order, now: datetime
) -> None:
    facts = {"home_clean": False, "residue": 2, "residue_places": ["trash"], "reset_id": order.id}
    at = now
    for attempt, pause in ((1, 0), (2, 60), (3, None)):
        facts["reset_id"] = order.id
        say(engine, looked(order, at, facts=dict(facts)), at)
        held = run(engine)
        assert (held.reason, held.detail) == ("not_clean", "home_clean, residue")
        assert held.evidence == facts
        if pause is None:
            break
        assert held.state is RunState.PLANNED
        assert held.next_try_at == at + pause * SECOND
        if pause:
            assert claim(engine, held.next_try_at - SECOND, S) == []
        at = held.next_try_at
        (order,) = claim(engine, at, S)
        assert order.id == f"{held.id}.{attempt + 1}"
    assert held.state is RunState.FAILED
    assert held.attempts == 3


def test_another_resets_proof_is_none(engine: Engine, order: Order, now: datetime) -> None:
    say(engine, looked(order, now, facts={**CLEAN, "reset_id": "older.1"}), now)
    assert run(engine).detail == "reset_id"
    assert proof(engine) is None


def test_an_earlier_attempt_has_nothing_more_to_say(
    engine: Engine, order: Order, now: datetime
) -> None:
    say(engine, outcome(order, Step.FAILED, now, reason="reset_failed"), now)
    (second,) = claim(engine, now, S)
    for late in (
        looked(order, now),
        outcome(order, Step.FAILED, now, permanent=True),
        outcome(order, Step.ACTED, now),
    ):
        say(engine, late, now)
        assert run(engine).state is RunState.ORDERED
    other = looked(second, now).model_copy(update={"device": "somebody-else"})
    say(engine, other, now)
    say(engine, looked(second.model_copy(update={"id": "nobody.1"}), now), now)
    assert run(engine).state is RunState.ORDERED
    say(engine, looked(second, now), now)
    assert run(engine).state is RunState.VERIFIED


def test_what_cannot_help_is_not_tried_again(engine: Engine, order: Order, now: datetime) -> None:
    denied = outcome(order, Step.FAILED, now, reason="host_key_changed", permanent=True)
    say(engine, denied, now)
    assert (run(engine).state, run(engine).reason) == (RunState.FAILED, "host_key_changed")


def test_a_refusal_costs_no_try(engine: Engine, order: Order, now: datetime) -> None:
    at = now
    for _ in range(6):
        say(engine, outcome(order, Step.REFUSED, at, reason="in_use"), at)
        held = run(engine)
        assert (held.state, held.reason) == (RunState.PLANNED, "in_use")
        assert held.next_try_at >= at + MINUTE
        at = held.next_try_at
        (order,) = claim(engine, at, S)
    end = now + 53 * MINUTE
    say(engine, outcome(order, Step.REFUSED, end, reason="in_use"), end)
    assert (run(engine).state, run(engine).reason) == (RunState.EXPIRED, "in_use")


def test_an_end_that_is_never_heard(engine: Engine, order: Order, now: datetime) -> None:
    at = now
    for _ in range(3):
        due = run(engine).deadline
        plan(engine, due, S)
        assert run(engine).state is RunState.ORDERED
        at = due + SECOND
        plan(engine, at, S)
        if run(engine).state is RunState.PLANNED:
            at = run(engine).next_try_at
            (order,) = claim(engine, at, S)
    assert (run(engine).state, run(engine).reason) == (RunState.UNKNOWN, "no_answer")
    say(engine, outcome(order, Step.FAILED, at), at)
    say(engine, looked(order, at, facts={}), at)
    assert run(engine).state is RunState.UNKNOWN
    say(engine, looked(order, at - MINUTE), at + HOUR)
    assert run(engine).state is RunState.VERIFIED, "the uplink was down, the reset was not"
    assert proof(engine) == run(engine).id


def test_what_may_still_be_running_is_not_begun_again(
    engine: Engine, order: Order, now: datetime
) -> None:
    lost = outcome(order, Step.UNKNOWN, now + 9 * SECOND, reason="no_end", started_at=now)
    say(engine, lost, now + 9 * SECOND)
    assert run(engine).next_try_at == now + 120 * SECOND
    assert claim(engine, now + 119 * SECOND, S) == []
    (order,) = claim(engine, now + 120 * SECOND, S)
    say(engine, outcome(order, Step.UNKNOWN, now + 3 * MINUTE), now + 3 * MINUTE)
    assert run(engine).next_try_at == now + 5 * MINUTE, "order valid for one, running for two"


def test_a_wrong_clock_at_the_site_begins_nothing_too_early(
    engine: Engine, order: Order, now: datetime
) -> None:
    """It began nine seconds ago, whatever the agent's clock calls that moment."""
    wrong = now - 20 * SECOND
    lost = outcome(order, Step.UNKNOWN, wrong + 9 * SECOND, reason="no_end", started_at=wrong)
    say(engine, lost, now + 9 * SECOND)
    assert run(engine).next_try_at == now + 120 * SECOND


def test_an_act_without_a_look(engine: Engine, order: Order, now: datetime) -> None:
    near = now + 52 * MINUTE
    say(engine, outcome(order, Step.ACTED, near), near)
    plan(engine, near + 2 * MINUTE, S)
    assert run(engine).state is RunState.ACTED
    plan(engine, near + 3 * MINUTE, S)
    assert (run(engine).state, run(engine).reason) == (RunState.UNKNOWN, "no_answer")


def test_a_late_proof_waits_for_no_second_reset(
    engine: Engine, order: Order, now: datetime
) -> None:
    plan(engine, now + 10 * MINUTE, S)
    assert run(engine).state is RunState.PLANNED
    say(engine, looked(order, now + MINUTE), now + 10 * MINUTE)
    assert run(engine).state is RunState.VERIFIED
    assert claim(engine, now + 10 * MINUTE, S) == []


def test_what_is_under_way_ends_by_itself_when_its_course_is_cancelled(
    engine: Engine, order: Order, now: datetime
) -> None:
    change(engine, Course, run(engine).course_id, cancelled=True)
    plan(engine, now, S)
    assert states(engine) == ["ordered"]
    say(engine, outcome(order, Step.FAILED, now), now)
    assert claim(engine, now, S) == []
    plan(engine, now, S)
    assert states(engine) == ["dropped"]


def test_a_newer_order_ends_the_proof_before_it(
    engine: Engine, order: Order, now: datetime
) -> None:
    say(engine, looked(order, now), now)
    first = proof(engine)
    assert first
    with session(engine) as opened:
        resets.request(opened, "r1-l1", now + MINUTE, S, "IT")
    (second,) = claim(engine, now + MINUTE, S)
    say(engine, outcome(second, Step.REFUSED, now + MINUTE, reason="in_use"), now + MINUTE)
    assert proof(engine) == first, "nothing was touched"
    (second,) = claim(engine, now + 2 * MINUTE, S)
    say(engine, outcome(second, Step.UNKNOWN, now + 2 * MINUTE), now + 2 * MINUTE)
    assert proof(engine) is None
    plan(engine, now + 2 * MINUTE, S)
    assert run(engine).used_at == now + 2 * MINUTE
    say(engine, looked(order, now), now + 2 * MINUTE)
    assert proof(engine) is None, "the old proof does not come back"


def test_a_device_never_heard_of_is_proved_too(engine: Engine, order: Order, now: datetime) -> None:
    with session(engine) as opened:
        opened.delete(opened.exec(select(DeviceState)).one())
    say(engine, looked(order, now), now)
    assert proof(engine) == run(engine).id
