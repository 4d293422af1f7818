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


def test_a_course_that_goes_on_after_its_end_takes_the_room_again(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 07"))
    timetable.refresh(engine, settings, now - HOUR)
    assert courses(engine)["a"].end == now, "which is when somebody lets it go on"
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 07").replace(b"PT1H", b"PT3H"))
    timetable.refresh(engine, settings, now + timedelta(minutes=5))
    assert used(engine, "r1", now + timedelta(minutes=5)) == ["07-10"]


def test_an_event_dragged_to_where_it_runs_by_now_takes_the_room(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 05"))
    timetable.refresh(engine, settings, now - 4 * HOUR)
    for minute, hours in ((5, 3), (15, 3), (65, 4)):
        at = now + timedelta(minutes=minute)
        moved = ics("a 23 08").replace(b"PT1H", f"PT{hours}H".encode())
        server.pages["/kurse.ics"] = (200, {}, moved)
        timetable.refresh(engine, settings, at)
        assert used(engine, "r1", at) == [f"08-{8 + hours:02}"]
    with reading(engine) as opened:
        assert len(opened.exec(select(Course)).all()) == 2, "and the one that is over stays"


def test_a_running_course_that_moves_to_another_room_takes_that_one(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url(), room=None)
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 07 r1").replace(b"PT1H", b"PT3H"))
    timetable.refresh(engine, settings, now - 2 * HOUR)
    for minute, hours in ((5, 3), (15, 4), (25, 4)):
        at = now + timedelta(minutes=minute)
        moved = ics("a 23 07 r2").replace(b"PT1H", f"PT{hours}H".encode())
        server.pages["/kurse.ics"] = (200, {}, moved)
        timetable.refresh(engine, settings, at)
        assert used(engine, "r2", at) == [f"07-{7 + hours}"]
        assert used(engine, "r1", at) == ["07-10"], "who stayed behind is not disturbed either"
    over = now + 6 * HOUR
    timetable.refresh(engine, settings, over)
    with reading(engine) as opened:
        assert len(opened.exec(select(Course)).all()) == 2


def test_what_is_over_and_told_in_another_room_stays_where_it_was(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url(), room=None)
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 06 r1"))
    timetable.refresh(engine, settings, now - 3 * HOUR)
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 06 r2"))
    timetable.refresh(engine, settings, now)
    assert courses(engine)["a"].room_id == "r1"
    assert used(engine, "r2", now - 2 * HOUR) == []


def used(engine: Engine, room: str, now: datetime) -> list[str]:
    with reading(engine) as opened:
        found = timetable.busy(opened, [room], now, now + timedelta(minutes=1))
        return [f"{one.start:%H}-{one.end:%H}" for one in found]
