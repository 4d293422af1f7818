"""Agent and laptop check each order by themselves. Whatever orders, rosters and clocks they meet,
what they let through is harmless; and with any one of their checks taken out, something is not."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from agents.checks import _complaints
from agents.messages import Busy, Hold, Order, Roster, Target
from tests.days_site import Desk, Laptop, config
from tests.reset_machine import FILES
from tests.virtual_clock import START as NOW

sys.path.insert(0, str(FILES))
from room_gates import Job, Refusal, check

S, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
ORDERS = 4000
CHECKS = (
    "expired", "too_early", "roster_old", "clock_in_doubt", "unknown_device", "wrong_room",
    "plan_changed", "paused", "calendar_in_doubt", "course_running", "too_late",
)  # fmt: skip

"""Not `maintenance` and `paused_everywhere`: they only give another name to what `paused` keeps."""


def some(chance: Random) -> tuple[Order, Roster]:
    """An order and what its agent knows; mostly one or two things are wrong with them."""
    near = [-3 * HOUR, -10 * MINUTE, -S, S, 100 * S, 10 * MINUTE, 3 * HOUR]

    def odd(usual: Any, *others: Any) -> Any:
        return chance.choice(others) if chance.random() < 0.08 else usual

    order = Order(
        id="7.1", site=odd("north", "south"), device=odd("d1", "d2", "d9"),
        room=odd("r1", "r2"), not_before=NOW - odd(MINUTE, -MINUTE, -S),
        not_after=NOW + odd(MINUTE, -MINUTE, -S), max_runtime_s=chance.choice([60, 120, 300]),
        settle_s=chance.choice([0, 30]), plan_rev=odd(3, 2, 4), force=odd(False, True),
        force_all=odd(False, True), steps=chance.choice([{}, {"tier": "quick"}]),
        next_start=odd(None, *(NOW + each for each in near)),
    )  # fmt: skip
    busy = []
    for room in ("r1", "r2"):
        if chance.random() < 0.2:
            start = NOW + chance.choice(near)
            busy.append(Busy(room=room, start=start, end=start + chance.choice(near[4:])))
    holds = []
    if chance.random() < 0.1:
        holds.append(Hold(
            room=chance.choice(["", "r1", "r2"]), device=chance.choice(["", "d1", "d2"]),
            start=NOW + chance.choice(near), end=chance.choice([None, NOW + MINUTE, NOW - S]),
            reason=chance.choice(["paused", "maintenance", "paused_everywhere"]),
        ))  # fmt: skip
    trust = {"r1": NOW + odd(HOUR, -S), "r2": NOW + odd(HOUR, -S)}
    roster = Roster(
        site="north", revision=1, sent_at=NOW - odd(5 * MINUTE, 49 * HOUR, -2 * MINUTE),
        targets=[Target(device=d, room=r, kind="laptop", driver="ssh", address="x",
                        serves=odd([], ["r1", "r2"])) for d, r in (("d1", "r1"), ("d2", "r2"))],
        busy=busy, trusted_until=odd(trust, {"r2": NOW + HOUR}), holds=holds, plan_rev=3,
    )  # fmt: skip
    return order, roster


def harm(order: Order, roster: Roster) -> Iterator[str]:
    """What is wrong with carrying it out now: told by the check that should have seen it."""
    places = {"d1": "r1", "d2": "r2"}
    room = places.get(order.device, "")
    end = NOW + (order.max_runtime_s + order.settle_s) * S
    served = [each for one in roster.targets if one.device == order.device for each in one.serves]
    felt = {room, *(served if order.steps else ())}
    starts = [one.start for one in roster.busy if one.room in felt]
    if order.next_start is not None:
        starts.append(order.next_start)
    yield from ["expired"] * (order.not_after < NOW)
    yield from ["too_early"] * (order.not_before > NOW)
    yield from ["roster_old"] * (roster.sent_at < NOW - 48 * HOUR)
    yield from ["clock_in_doubt"] * (roster.sent_at > NOW + MINUTE)
    yield from ["unknown_device"] * (not room or order.site != "north")
    yield from ["wrong_room"] * (bool(room) and order.room != room)
    yield from ["plan_changed"] * (order.plan_rev < roster.plan_rev)
    for one in roster.holds:
        holds = one.start <= NOW and (one.end is None or one.end > NOW)
        if holds and one.room in ("", room) and one.device in ("", order.device):
            overruled = order.force_all or one.reason != "paused_everywhere"
            yield from [] if order.force and overruled else [one.reason]
    for each in felt if room and not order.force else ():
        if roster.trusted_until.get(each, NOW - S) < NOW:
            yield "calendar_in_doubt"
    for one in roster.busy:
        if one.room in felt and one.start - MINUTE <= NOW < one.end:
            yield "course_running"
    # `next_start` in the past: it was ordered before a course that has begun by now.
    passed = order.next_start is not None and order.next_start <= NOW
    yield from ["too_late"] * (passed or any(NOW < start < end for start in starts))


def let_through(seed: int, without: str) -> Iterator[set[str]]:
    chance = Random(seed)
    for _ in range(ORDERS):
        order, roster = some(chance)
        said = [code for code, wrong in _complaints(order, roster, NOW) if wrong]
        if not [code for code in said if code != without]:
            yield set(harm(order, roster))


def test_what_the_agent_lets_through_does_no_harm() -> None:
    passed = list(let_through(1, ""))
    assert not set().union(*passed)
    assert ORDERS / 10 < len(passed) < ORDERS * 0.9


@pytest.mark.parametrize("missing", CHECKS)
def test_without_any_one_check_of_the_agent_something_goes_wrong(missing: str) -> None:
    assert {missing} in let_through(1, missing)


# --- the laptop: each of its checks is opened by what of the job and the machine it looks at ---


def a_job(chance: Random) -> Job:
    def odd(usual: Any, *others: Any) -> Any:
        return chance.choice(others) if chance.random() < 0.15 else usual

    return Job(
        reset_id="7.1", sent_at=NOW + odd(timedelta(0), -31 * S, 31 * S),
        not_before=NOW - odd(MINUTE, -S), not_after=NOW + odd(MINUTE, -S),
        next_start=NOW + odd(HOUR, 119 * S, -S), max_runtime_s=120,
        profile=odd("standard", "nobody"), serial=odd("PF-1", "PF-2"),
        end_sessions=odd(False, True), countdown_s=0, canary=False, tier="quick", wake_at=None,
    )  # fmt: skip


OPEN: dict[str, Callable[[Job], Job]] = {
    "wrong_device": lambda job: replace(job, serial=""),
    "clock_in_doubt": lambda job: replace(job, sent_at=NOW),
    "too_early": lambda job: replace(job, not_before=NOW),
    "expired": lambda job: replace(job, not_after=NOW),
    "too_late": lambda job: replace(job, next_start=None),
    "unknown_profile": lambda job: replace(job, profile="standard"),
    "in_use": lambda job: replace(job, end_sessions=True),
}


def harm_on_it(job: Job, laptop: Laptop) -> Iterator[str]:
    yield from ["wrong_device"] * (job.serial != "PF-1")
    yield from ["clock_in_doubt"] * (abs((job.sent_at - NOW).total_seconds()) > 30)
    yield from ["too_early"] * (job.not_before > NOW)
    yield from ["expired"] * (job.not_after < NOW)
    yield from ["too_late"] * (job.next_start is not None and job.next_start < NOW + 2 * MINUTE)
    yield from ["unknown_profile"] * (job.profile != "standard")
    yield from ["in_use"] * (laptop.used(NOW) and not job.end_sessions)


def let_through_there(seed: int, without: str) -> Iterator[set[str]]:
    chance = Random(seed)
    for _ in range(1500):
        job, used = a_job(chance), chance.random() < 0.2
        laptop = Laptop(timedelta(0), [(NOW - HOUR, NOW + HOUR)] if used else [])
        seen = OPEN[without](job) if without else job
        try:
            check(seen, config(), Desk(used), NOW)
        except Refusal:
            continue
        yield set(harm_on_it(job, laptop))


def test_what_a_laptop_lets_through_does_no_harm() -> None:
    passed = list(let_through_there(1, ""))
    assert not set().union(*passed)
    assert 100 < len(passed) < 1400


@pytest.mark.parametrize("missing", OPEN)
def test_without_any_one_check_of_the_laptop_something_goes_wrong(missing: str) -> None:
    assert {missing} in let_through_there(1, missing)


@pytest.mark.parametrize("told", [None, []])
def test_a_laptop_that_cannot_tell_who_is_signed_in_refuses(told: list[Any] | None) -> None:
    class Unsure(Desk):
        def sessions(self) -> Any:
            return told

    code = ""
    try:
        check(replace(a_job(Random(0)), serial="PF-1"), config(), Unsure(used=False), NOW)
    except Refusal as refusal:
        code = refusal.reason
    assert code == ("sessions_unknown" if told is None else "")
