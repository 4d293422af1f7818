"""A reset by hand is as good for the next course as the planned one that it takes the place of."""

from datetime import datetime

import pytest
from sqlalchemy import Engine

from agents.messages import Step
from fleet import readiness, resets
from fleet.settings import Settings
from inventory import Verdict
from inventory.db import reading, session
from tests.room import HOUR, MINUTE, add_course, claim, furnish, heard, looked, outcome, plan, say

S = Settings()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_hours_before_the_course(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + 13 * HOUR)
    plan(engine, now, S)
    (planned,) = claim(engine, now, S)
    say(engine, looked(planned, now + MINUTE), now + 2 * MINUTE)
    later = now + HOUR
    heard(engine, later)
    with session(engine) as opened:
        resets.request(opened, "r1-l1", later, S, "IT")
    (by_hand,) = claim(engine, later, S)
    ended = later + MINUTE
    say(engine, outcome(by_hand, Step.ACTED, ended, finished_at=ended), ended)
    say(engine, looked(by_hand, ended), ended + MINUTE)
    for at in (ended + 2 * MINUTE, now + 12 * HOUR):
        heard(engine, at)
        plan(engine, at, S)
        assert claim(engine, at, S) == [], "what proves it clean is newer"
        with reading(engine) as opened:
            (room,) = readiness.overview(opened, at, S)
        assert (room.verdict, room.reasons) == (Verdict.READY, [])
