"""What may go wrong around a timetable: a room that is gone, a feed that we fail at ourselves, an
event that is dragged about."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet import timetable
from fleet.settings import Settings
from inventory import Course, Feed, Room
from inventory.db import reading, session
from tests.test_timetable import HOUR, LOOPBACK, courses, feed, ics, region, trusted
from tests.webserver import Server


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def settings() -> Settings:
    return Settings(calendar_networks=LOOPBACK, calendar_s=300)


def test_a_place_that_leads_to_a_room_that_is_gone_is_in_doubt(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    places = {"Keller": "r2", "Turm*": "r2"}
    region(engine, server.url(), room=None, options={"locations": places})
    server.pages["/kurse.ics"] = (
        200,
        {},
        ics("a 24 12 Keller", "b 24 12 Turmzimmer", "c 25 12 r1"),
    )
    with session(engine) as opened:
        opened.delete(opened.get_one(Room, "r2"))
    timetable.refresh(engine, settings, now)
    assert list(courses(engine)) == ["c"]
    assert (feed(engine).problem, trusted(engine, now)) == ("unknown_room", {})


def test_a_feed_that_we_fail_at_keeps_no_other_from_being_read(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url(), options={"zone": "Nirgendwo/Nirgends"})
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12"))
    with session(engine) as opened:
        for name in ("before", "g1", "g2", "g3", "g4", "g5"):
            opened.add(Feed(id=name, site_id="vhs", room_id="r2", url=server.url()))
    timetable.refresh(engine, settings, now)
    with reading(engine) as opened:
        problems = {each.id: each.problem for each in opened.exec(select(Feed))}
    assert problems.pop("f") == "not_taken_over"
    assert set(problems.values()) == {""}
    assert trusted(engine, now) == {"r2": now + 6 * HOUR}
    with session(engine) as opened:
        opened.get_one(Feed, "f").options = {}
    timetable.refresh(engine, settings, now + HOUR)
    assert trusted(engine, now + HOUR).keys() == {"r1", "r2"}


def test_an_event_dragged_to_another_day_is_followed_while_it_runs(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 22 12"))
    timetable.refresh(engine, settings, now - 19 * HOUR)
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 09"))
    timetable.refresh(engine, settings, now)
    longer = ics("a 23 09").replace(b"PT1H", b"PT3H")
    server.pages["/kurse.ics"] = (200, {}, longer)
    timetable.refresh(engine, settings, now + HOUR + timedelta(minutes=30))
    with reading(engine) as opened:
        held = opened.exec(select(Course).order_by(col(Course.start))).all()
    assert [(c.start.day, c.start.hour, c.end.hour) for c in held] == [(22, 12, 13), (23, 9, 12)]
