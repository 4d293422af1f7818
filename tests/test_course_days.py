"""Thousands of course days with everything going wrong that can: no reset ever meets a course or a
person. And with any one gate taken out, one does: this test would notice."""

from datetime import timedelta

import pytest

from fleet.resets.gates import GATES
from fleet.resets.planner import NO_WINDOW, coming
from inventory import RunState
from tests.days import HOUR, Days, Missing

PARTS, EACH = 5, 20
"""Two rooms and a half for two days: about eighteen course days each."""
BROKEN = {
    "G1": "I1", "G2": "I2", "G3": "I6", "G4": "I3", "G5": "I8", "G6": "I5 device", "G7": "I14",
    "G8": "service",
}  # fmt: skip
"""A gate → the rule that nobody keeps without it."""
PASSED = {
    "site": "I5 site", "fleet": "I5 fleet", "boots_room": "I5 room", "boots_uplink": "I5 uplink",
    "heavy_site": "I5 line", "starts": "I5 starts", "per_day": "I5 day",
}  # fmt: skip
"""A limit of `Rules` → the rule that counts what lies beyond it."""
ENOUGH = 60
WAY_THERE = timedelta(seconds=30)
"""From the plan over the bus to the device."""


@pytest.mark.parametrize("part", range(PARTS))
def test_no_reset_meets_a_course_or_a_person(part: int) -> None:
    course_days = acts = proved = refused = 0
    for seed in range(part * EACH, (part + 1) * EACH):
        days = Days(seed).run()
        assert days.oracle.violations == [], seed
        course_days += days.course_days()
        acts += len(days.oracle.acts)
        proved += sum(run.state is RunState.VERIFIED for run in days.centre.runs.values())
        refused += sum(days.site.refused.values())
    # It would prove nothing if hardly anything were sent, done, refused and proved.
    assert course_days >= 300
    assert acts > 150
    assert proved > 100
    assert refused > 100


@pytest.mark.parametrize("gate", GATES)
def test_without_any_one_gate_something_goes_wrong(gate: str) -> None:
    missing = Missing(gates={name: one for name, one in GATES.items() if name != gate})
    found = (Days(seed, missing).run().oracle.by_rule() for seed in range(ENOUGH))
    assert any(BROKEN[gate] in broken for broken in found)


@pytest.mark.parametrize("limit", PASSED)
def test_without_any_one_limit_it_is_passed(limit: str) -> None:
    missing = Missing(limits=frozenset({limit}))
    found = (Days(seed, missing).run().oracle.by_rule() for seed in range(ENOUGH))
    assert any(PASSED[limit] in broken for broken in found)


def test_who_is_there_and_idle_is_reset_before_the_latest_start() -> None:
    """I15: on days on which nothing goes wrong each device that can be reset in time is."""
    assert sum(_reset_in_time(Days(seed, calm=True).run()) for seed in range(6)) > 50


def _reset_in_time(days: Days) -> int:
    assert days.oracle.violations == []
    runs = {(run.device_id, run.course_id): run for run in days.centre.runs.values()}
    sent = {order.rpartition(".")[0]: at for order, (_, at, _) in days.oracle.sent.items()}
    verified = 0
    for machine in days.centre.machines:
        place = days.centre.places[machine.room]
        for lesson in coming(place, days.begin + machine.ahead):
            if lesson.start > days.end - HOUR:
                continue
            run = runs[machine.id, lesson.id]
            if run.reason not in NO_WINDOW and run.not_after - run.not_before > WAY_THERE:
                assert run.state is RunState.VERIFIED, run
                assert sent[run.id] <= run.not_after
                verified += 1
    return verified
