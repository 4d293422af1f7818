"""What takes away that a device counts as proved clean, beside a new order: every look can."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from fleet import intake
from inventory import DeviceState, ResetRun, RunState
from inventory.db import session
from tests.rows import make_region
from tests.test_intake import SETTINGS, said, seconds, state_of


@pytest.mark.parametrize(
    ("facts", "clean"),
    [
        ({"reset_id": "run1.1", "script_hash": "a" * 64}, True),
        ({}, True),
        ({"reset_id": "run2.1"}, False),
        ({"script_hash": "b" * 64}, False),
        ({"reset_id": "run1.1", "script_hash": "b" * 64}, False),
        ({"home_hash": "c" * 64}, True),
    ],
)
def test_another_reset_and_other_scripts_take_the_clean_state_away(
    engine: Engine, now: datetime, facts: dict[str, Any], clean: bool
) -> None:
    make_region(engine)
    intake.apply(engine, [said(now - seconds(600))], now, SETTINGS)
    proof = {"reset_id": "run1.1", "script_hash": "a" * 64, "residue": 0}
    with session(engine) as opened:
        opened.add(
            ResetRun(
                id="run1", device_id="laptop-1", recipe_id="laptop-reset", evidence=proof,
                state=RunState.VERIFIED, planned_at=now, not_before=now, not_after=now,
                deadline=now, next_try_at=now,
            )
        )  # fmt: skip
        state = opened.get_one(DeviceState, "laptop-1")
        state.clean_run_id, state.clean_at = "run1", now - seconds(300)
    intake.apply(engine, [said(now - seconds(301), **facts)], now, SETTINGS)
    assert state_of(engine).clean_run_id == "run1"
    intake.apply(engine, [said(now - seconds(30), **facts)], now, SETTINGS)
    assert (state_of(engine).clean_run_id == "run1") is clean


def test_use_between_two_looks_of_one_batch_is_not_overlooked(
    engine: Engine, now: datetime
) -> None:
    make_region(engine)
    intake.apply(engine, [said(now - seconds(600))], now, SETTINGS)
    with session(engine) as opened:
        state = opened.get_one(DeviceState, "laptop-1")
        state.clean_run_id, state.clean_at = "run1", now - seconds(300)
    looks = [said(now - seconds(60), sessions=1), said(now - seconds(30), sessions=0)]
    intake.apply(engine, looks[::-1], now, SETTINGS)
    assert state_of(engine).clean_run_id is None
