"""From a feed's contents to courses: nothing is lost, and nothing believed further than it was
read."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet import readiness, timetable
from fleet.settings import Settings
from inventory import Course, Feed, FeedKind, Readiness, Room, Site, Verdict
from inventory.db import reading, session
from tests.webserver import Server

LOOPBACK = ["127.0.0.0/8", "::1/128"]
HOUR = timedelta(hours=1)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def settings() -> Settings:
    return Settings(calendar_networks=LOOPBACK, calendar_s=300)


def ics(*lessons: str) -> bytes:
    """Each lesson: `uid day hour [location]`, in November 2026, UTC, one hour long."""
    events = []
    for lesson in lessons:
        uid, day, hour, *rest = lesson.split(maxsplit=3)
        events.append(
            f"BEGIN:VEVENT\r\nUID:{uid}\r\nSUMMARY:Kurs {uid}\r\n"
            f"DTSTART:202611{day}T{hour}0000Z\r\nDURATION:PT1H\r\n"
            f"LOCATION:{rest[0] if rest else ''}\r\nEND:VEVENT\r\n"
        )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{''.join(events)}END:VCALENDAR\r\n".encode()


def region(engine: Engine, url: str, *, room: str | None = "r1", **more: Any) -> None:
    with session(engine) as opened:
        opened.add(Site(id="vhs", name="VHS", municipality="Erlental"))
        opened.flush()
        opened.add(Room(id="r1", site_id="vhs", name="Raum 1"))
        opened.add(Room(id="r2", site_id="vhs", name="Großer Saal"))
        opened.flush()
        opened.add(Feed(id="f", site_id="vhs", room_id=room, url=url, **more))


def courses(engine: Engine) -> dict[str, Course]:
    with reading(engine) as opened:
        return {c.uid: c for c in opened.exec(select(Course).order_by(col(Course.start)))}


def feed(engine: Engine) -> Feed:
    with reading(engine) as opened:
        return opened.exec(select(Feed)).one()


def trusted(engine: Engine, now: datetime) -> dict[str, datetime]:
    with reading(engine) as opened:
        return timetable.trusted_until(opened, ["r1", "r2"], now)


def test_courses_come_move_and_go(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 12", "b 24 12", "c 25 12", "d 26 12"))
    timetable.refresh(engine, settings, now)
    before = courses(engine)
    assert [c.start.day for c in before.values()] == [23, 24, 25, 26]
    assert before["a"].end - before["a"].start == HOUR
    assert trusted(engine, now) == {"r1": now + 6 * HOUR}
    assert {c.known_at for c in before.values()} == {now}

    with session(engine) as opened:
        found = opened.get_one(Course, before["c"].id)
        opened.add(
            Readiness(course_id=found.id, room_id="r1", verdict=Verdict.READY, judged_at=now)
        )
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 14", "d 26 12"))
    timetable.refresh(engine, settings, now + HOUR)
    after = courses(engine)
    assert after["a"].id == before["a"].id
    assert after["a"].start.hour == 14
    assert (after["a"].known_at, after["d"].known_at) == (now + HOUR, now)
    assert "b" not in after
    assert after["c"].cancelled, "something refers to it, so it stays"
    assert not after["d"].cancelled


def test_what_is_over_or_running_is_not_rewritten(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("over 23 05", "runs 23 08", "next 23 12"))
    timetable.refresh(engine, settings, now)
    server.pages["/kurse.ics"] = (200, {}, ics("over 24 05", "next 23 12"))
    timetable.refresh(engine, settings, now + timedelta(minutes=30))
    with reading(engine) as opened:
        held = opened.exec(select(Course).order_by(col(Course.start))).all()
    assert [(c.uid, c.start.day, c.start.hour) for c in held] == [
        ("over", 23, 5),
        ("runs", 23, 8),
        ("next", 23, 12),
        ("over", 24, 5),
    ]
    assert not any(c.cancelled for c in held)
    server.pages["/kurse.ics"] = (200, {}, ics("over 24 06", "next 23 12"))
    timetable.refresh(engine, settings, now + timedelta(minutes=40))
    with reading(engine) as opened:
        held = opened.exec(select(Course).where(Course.uid == "over")).all()
    assert sorted((c.start.day, c.start.hour) for c in held) == [(23, 5), (24, 6)]


def test_nothing_changed_costs_nothing_but_is_read_whole_once_a_day(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {"ETag": '"1"'}, ics("a 24 12"))
    timetable.refresh(engine, settings, now)
    timetable.refresh(engine, settings, now + timedelta(seconds=10))
    assert len(server.asked) == 1, "not due yet"
    timetable.refresh(engine, settings, now + HOUR)
    assert server.asked[1][1]["If-None-Match"] == '"1"'
    assert feed(engine).good_at == now + HOUR
    timetable.refresh(engine, settings, now + 24 * HOUR)
    assert "If-None-Match" not in server.asked[2][1]


def test_two_processes_read_a_feed_once(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12"))
    both = [
        threading.Thread(target=timetable.refresh, args=(engine, settings, now)) for _ in range(2)
    ]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert len(server.asked) == 1
    assert len(courses(engine)) == 1


BROKEN = {
    "empty": (b"", "not_a_calendar"),
    "login": (b"<html>Bitte anmelden</html>", "not_a_calendar"),
    "cut": (ics("a 24 12", "b 25 12")[:-30], "unreadable"),
    "no events": (ics(), "shrunk"),
    "fewer": (ics("a 24 12"), "shrunk"),
    "bomb": (
        ics("a 24 12", "b 25 12", "c 26 12", "e 27 12").replace(
            b"UID:e\r\n", b"UID:e\r\nRRULE:FREQ=SECONDLY\r\n"
        ),
        "partly_unreadable",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_feed_keeps_what_was_known_and_is_in_doubt(
    engine: Engine, server: Server, settings: Settings, now: datetime, kind: str
) -> None:
    body, problem = BROKEN[kind]
    region(engine, server.url())
    whole = ics("a 24 12", "b 25 12", "c 26 12", "d 27 12")
    server.pages["/kurse.ics"] = (200, {"ETag": '"1"'}, whole)
    timetable.refresh(engine, settings, now)
    server.pages["/kurse.ics"] = (200, {"ETag": '"2"'}, body)
    timetable.refresh(engine, settings, now + HOUR)
    assert feed(engine).problem == problem
    assert list(courses(engine)) == ["a", "b", "c", "d"]
    assert trusted(engine, now + HOUR) == {}

    server.pages.clear()
    timetable.refresh(engine, settings, now + 2 * HOUR)
    assert feed(engine).problem == problem, "going away makes it no better"
    assert trusted(engine, now + 2 * HOUR) == {}
    server.pages["/kurse.ics"] = (200, {"ETag": '"2"'}, body)
    timetable.refresh(engine, settings, now + 3 * HOUR)
    assert feed(engine).problem == problem, "nor does being unchanged"

    server.pages["/kurse.ics"] = (200, {}, whole)
    timetable.refresh(engine, settings, now + 4 * HOUR)
    assert trusted(engine, now + 4 * HOUR) == {"r1": now + 10 * HOUR}


def test_a_new_course_in_a_feed_in_doubt_is_protected_too(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    broken = ics("a 24 12", "b 25 12").replace(b"UID:b\r\n", b"UID:b\r\nRRULE:FREQ=NIE\r\n")
    server.pages["/kurse.ics"] = (200, {}, broken)
    timetable.refresh(engine, settings, now)
    assert list(courses(engine)) == ["a"]
    assert trusted(engine, now) == {}
    with reading(engine) as opened:
        start = datetime(2026, 11, 24, 12, tzinfo=UTC)
        assert [c.uid for c in timetable.busy(opened, ["r1"], start, start + HOUR)] == ["a"]
        assert timetable.busy(opened, ["r1"], start - HOUR, start) == []
        assert timetable.busy(opened, ["r1"], start + HOUR, start + 2 * HOUR) == []


def test_a_server_that_is_away_is_believed_until_the_age(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url(), max_age_s=7200)
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12"))
    timetable.refresh(engine, settings, now)
    server.pages.clear()
    timetable.refresh(engine, settings, now + HOUR)
    assert feed(engine).problem == "http_error"
    assert trusted(engine, now + HOUR) == {"r1": now + 2 * HOUR}
    assert trusted(engine, now + 2 * HOUR) == {}


def test_a_feed_that_really_shrank_can_be_confirmed(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12", "b 25 12", "c 26 12", "d 27 12"))
    timetable.refresh(engine, settings, now)
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12"))
    timetable.refresh(engine, settings, now + HOUR)
    with session(engine) as opened:
        timetable.confirm(opened, "f")
    assert trusted(engine, now + HOUR) == {}, "not before it is read again"
    assert list(courses(engine)) == ["a", "b", "c", "d"], "nor is a course forgotten until then"
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12").replace(b"END:VCALENDAR", b""))
    timetable.refresh(engine, settings, now + HOUR + timedelta(seconds=1))
    assert list(courses(engine)) == ["a", "b", "c", "d"], "nor by a reading that is cut off"
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12"))
    with session(engine) as opened:
        opened.get_one(Feed, "f").tried_at = None
    timetable.refresh(engine, settings, now + HOUR + timedelta(seconds=1))
    assert list(courses(engine)) == ["a"]
    assert "r1" in trusted(engine, now + HOUR + timedelta(seconds=1))


def test_a_feed_for_the_whole_site_names_the_room(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url(), room=None)
    server.pages["/kurse.ics"] = (
        200,
        {},
        ics("a 24 12 RAUM  1", "b 24 12 r2", "c 25 12 großer saal"),
    )
    timetable.refresh(engine, settings, now)
    assert {uid: c.room_id for uid, c in courses(engine).items()} == {
        "a": "r1",
        "b": "r2",
        "c": "r2",
    }
    assert trusted(engine, now).keys() == {"r1", "r2"}

    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12 Keller", "b 24 12 r1", "c 25 12 r2"))
    timetable.refresh(engine, settings, now + HOUR)
    held = {uid: c.room_id for uid, c in courses(engine).items()}
    assert held == {"a": "r1", "b": "r1", "c": "r2"}, "what is not understood stays protected"
    assert feed(engine).problem == "unknown_room"
    assert "Keller" in feed(engine).detail
    assert trusted(engine, now + HOUR) == {}


def test_the_worst_of_several_feeds_decides(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12"))
    server.pages["/haus.ics"] = (200, {}, b"<html>")
    timetable.refresh(engine, settings, now)
    with session(engine) as opened:
        opened.add(Feed(id="house", site_id="vhs", url=server.url("/haus.ics")))
    assert trusted(engine, now) == {}, "never read"
    timetable.refresh(engine, settings, now + HOUR)
    assert trusted(engine, now + HOUR) == {}
    server.pages["/haus.ics"] = (200, {}, ics("z 24 12 r2"))
    timetable.refresh(engine, settings, now + 2 * HOUR)
    assert trusted(engine, now + 2 * HOUR).keys() == {"r1", "r2"}


def test_a_block_takes_the_room_but_nobody_waits_for_it(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url(), options={"all_day": "block"})
    day = (
        b"BEGIN:VEVENT\r\nUID:d\r\nSUMMARY:Ferien\r\nDTSTART;VALUE=DATE:20261123\r\nEND:VEVENT\r\n"
    )
    body = ics("a 24 12").replace(b"END:VCALENDAR", day + b"END:VCALENDAR")
    server.pages["/kurse.ics"] = (200, {}, body)
    timetable.refresh(engine, settings, now)
    assert courses(engine)["d"].block
    with reading(engine) as opened:
        assert [c.uid for c in timetable.busy(opened, ["r1"], now, now + HOUR)] == ["d"]
        assert readiness.room_status(opened, "r1", now, settings).course.uid == "a"
    with session(engine) as opened:
        readiness.freeze(opened, now, settings)
    with reading(engine) as opened:
        assert opened.exec(select(Readiness)).all() == []


def test_a_lesson_of_a_sheet_that_moves_keeps_its_row(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url("/kurse.csv"), kind=FeedKind.CSV)
    head = "Nummer;Datum;Von;Bis\n"
    lines = [f"N1;{day}.11.2026;09:00;10:00\n" for day in (24, 25, 26)]
    server.pages["/kurse.csv"] = (200, {}, (head + "".join(lines)).encode())
    timetable.refresh(engine, settings, now)
    with reading(engine) as opened:
        before = {c.start.day: c.id for c in opened.exec(select(Course))}
    lines[1] = "N1;27.11.2026;14:00;15:00\n"
    server.pages["/kurse.csv"] = (200, {}, (head + "".join(lines)).encode())
    timetable.refresh(engine, settings, now + HOUR)
    with reading(engine) as opened:
        after = {c.start.day: c.id for c in opened.exec(select(Course))}
    assert after == {24: before[24], 26: before[26], 27: before[25]}


@pytest.mark.parametrize("known", [1, 2])
def test_a_timetable_that_becomes_empty_is_not_believed(
    engine: Engine, server: Server, settings: Settings, now: datetime, known: int
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics(*["a 24 12", "b 25 12"][:known]))
    timetable.refresh(engine, settings, now)
    server.pages["/kurse.ics"] = (200, {}, ics())
    timetable.refresh(engine, settings, now + HOUR)
    assert (feed(engine).problem, len(courses(engine))) == ("shrunk", known)
    assert trusted(engine, now + HOUR) == {}


def test_a_timetable_that_never_held_a_course_is_confirmed(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics())
    timetable.refresh(engine, settings, now)
    assert feed(engine).problem == "empty"
    with session(engine) as opened:
        timetable.confirm(opened, "f")
    assert trusted(engine, now) == {}
    timetable.refresh(engine, settings, now + HOUR)
    assert (feed(engine).problem, feed(engine).confirmed) == ("", False)
    assert "r1" in trusted(engine, now + HOUR)
