"""The agent's own look at an order, and its memory of those it has had."""

from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.checks import refusal
from agents.journal import Journal
from agents.messages import Outcome, Step
from tests.worker_bench import NOW, a_roster, an_order, busy, minutes


@pytest.mark.parametrize(
    ("order", "roster", "reason"),
    [
        ({}, {}, ""),
        ({"not_after": minutes(0)}, {}, ""),
        ({"not_after": minutes(-0.01)}, {}, "expired"),
        ({"not_before": minutes(0)}, {}, ""),
        ({"not_before": minutes(0.01)}, {}, "too_early"),
        ({}, {"sent_at": NOW - timedelta(hours=48)}, ""),
        ({}, {"sent_at": NOW - timedelta(hours=48, seconds=1)}, "roster_old"),
        ({}, {"sent_at": NOW + timedelta(seconds=61)}, "clock_in_doubt"),
        ({"device": "d9"}, {}, "unknown_device"),
        ({"site": "south"}, {}, "unknown_device"),
        ({"room": "r2"}, {}, "wrong_room"),
        ({}, {"trusted_until": {}}, "calendar_in_doubt"),
        ({}, {"trusted_until": {"r2": minutes(20)}}, "calendar_in_doubt"),
        ({}, {"trusted_until": {"r1": minutes(-0.01)}}, "calendar_in_doubt"),
        ({}, {"busy": [busy(-30, 30)]}, "course_running"),
        ({}, {"busy": [busy(0, 30)]}, "course_running"),
        ({}, {"busy": [busy(1, 30)]}, "course_running"),
        ({}, {"busy": [busy(-30, 0)]}, ""),
        ({}, {"busy": [busy(-30, 30, room="r2")]}, ""),
        ({}, {"busy": [busy(1.9, 30)]}, "too_late"),
        ({}, {"busy": [busy(2, 30)]}, ""),
        ({"settle_s": 30}, {"busy": [busy(2.4, 30)]}, "too_late"),
        ({"settle_s": 30}, {"busy": [busy(2.5, 30)]}, ""),
        ({"next_start": minutes(1.9)}, {}, "too_late"),
        ({"next_start": minutes(-1)}, {}, "too_late"),
        ({"next_start": minutes(2)}, {}, ""),
    ],
)
def test_the_agents_own_look_at_clock_roster_and_calendar(
    order: dict[str, Any], roster: dict[str, Any], reason: str
) -> None:
    assert refusal(an_order(**order), a_roster(**roster), NOW) == reason


def test_without_a_roster_nothing_is_done() -> None:
    assert refusal(an_order(), None, NOW) == "no_roster"


def test_the_journal_forgets_only_what_is_long_dead(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "orders.db")
    order = an_order()
    done = Outcome(order=order.id, device="d1", step=Step.LOOKED, at=NOW)
    journal.note(done, order)
    journal.forget(order.not_after + timedelta(hours=48))
    assert journal.answers(order.id) == [done]
    journal.forget(order.not_after + timedelta(hours=48, seconds=1))
    assert not journal.knows(order.id)
    assert journal.answers(order.id) == []
    assert order.not_after.tzinfo is UTC
    journal.close()
