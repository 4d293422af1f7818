"""What an order tells the device beside its recipe: the profile of the course, and when to wake."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from fleet.settings import Settings
from inventory import Course, CourseKind
from inventory.db import session
from tests.room import HOUR, MINUTE, add_course, change, claim, furnish, plan

S = Settings(reset_lead_s=1800, reset_grace_s=60, reset_buffer_s=120)
LAPTOP = {"steps": {"tier": "quick", "profile": "standard"}}


def ordered(engine: Engine, now: datetime, title: str, **recipe: Any) -> dict[str, Any]:
    """The steps of the order before a course of this title."""
    furnish(engine, now, laptops=1, recipe=recipe or LAPTOP)
    with session(engine) as opened:
        opened.add(CourseKind(id="scratch", title="Scratch", profile="kinder"))
        opened.add(CourseKind(id="own", site_id="vhs", title="scratch", profile="scratch"))
        opened.add(CourseKind(id="large", title="Smartphone", profile="gross"))
        opened.add(CourseKind(id="long", title="smartphone  für", profile="sehr-gross"))
        opened.add(CourseKind(id="none", title="Unterwegs", thresholds={"laptop": {}}))
    course = add_course(engine, now + 20 * MINUTE)
    change(engine, Course, course, title=title)
    add_course(engine, now + 26 * HOUR)
    plan(engine, now, S)
    (order,) = claim(engine, now, S)
    return order.steps


@pytest.mark.parametrize(
    ("title", "profile"),
    [
        ("SCRATCH: Programmieren", "scratch"),
        ("Das Smartphone", "gross"),
        ("Smartphone\tfür Einsteiger", "sehr-gross"),
        ("Unterwegs lernen", "standard"),
        ("Deutsch", "standard"),
        ("", "standard"),
    ],
)
def test_the_course_chooses_the_profile(
    engine: Engine, now: datetime, title: str, profile: str
) -> None:
    assert ordered(engine, now, title)["profile"] == profile


def test_a_device_without_profiles_is_told_none(engine: Engine, now: datetime) -> None:
    assert ordered(engine, now, "Scratch", steps={"power": "on"}) == {"power": "on"}


def test_a_laptop_wakes_itself_for_the_course_after_the_next(engine: Engine, now: datetime) -> None:
    steps = ordered(engine, now, "Deutsch")
    wake = datetime.fromisoformat(steps["wake_at"])
    assert wake == now + 26 * HOUR - timedelta(seconds=1800) - 10 * MINUTE
