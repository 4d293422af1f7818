"""What people say by hand beats the timetable, survives its next reading and reaches the agents."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update
from sqlmodel import col, select

from agents.checks import refusal
from agents.messages import Roster
from fleet import overrides, roster, timetable
from fleet.overrides import OverrideRefused, Scope
from fleet.settings import Settings
from inventory import Course, Feed, Override, OverrideKind, Room, Site
from inventory.db import reading, session
from tests.room import HOUR, MINUTE, add_course, furnish
from tests.test_timetable import courses, ics, region
from tests.worker_bench import NOW, a_roster, an_order, minutes

S = Settings(reset_grace_s=120)
WEEK = timedelta(days=7)


def say(engine: Engine, kind: OverrideKind, scope: Scope, now: datetime, **more: Any) -> int:
    with session(engine) as opened:
        said = overrides.say(opened, kind, scope, now, "IT", **more)
        assert said.id is not None
        return said.id


def take_back(engine: Engine, said: int, now: datetime) -> None:
    with session(engine) as opened:
        overrides.end(opened, said, now, "IT")


def busy(engine: Engine, now: datetime, room: str = "r1") -> list[tuple[datetime, datetime]]:
    with reading(engine) as opened:
        found = timetable.busy(opened, [room], now, now + WEEK)
        return [(one.start, one.end) for one in found]


def told(engine: Engine, now: datetime) -> Roster:
    with reading(engine) as opened:
        return roster.build(opened, "vhs", now, S)


def revision(engine: Engine, site: str = "vhs") -> int:
    with reading(engine) as opened:
        return opened.get_one(Site, site).plan_rev


def test_a_course_that_is_held_now_is_a_course(engine: Engine, now: datetime) -> None:
    furnish(engine, now)
    said = say(
        engine, OverrideKind.COURSE, Scope(room="r1"), now, until=now + HOUR, reason="Nachholtermin"
    )
    assert busy(engine, now) == [(now, now + HOUR)]
    assert [(one.room, one.end) for one in told(engine, now).busy] == [("r1", now + HOUR)]
    take_back(engine, said, now + 20 * MINUTE)
    assert busy(engine, now + 21 * MINUTE) == []
    mistake = say(engine, OverrideKind.COURSE, Scope(room="r1"), now, until=now + HOUR)
    take_back(engine, mistake, now)
    assert busy(engine, now + 21 * MINUTE) == []
    with reading(engine) as opened:
        row = opened.get_one(Override, mistake)
        assert (row.ended_at, row.ended_by, row.made_by) == (now, "IT", "IT")


def test_a_course_called_off_stays_so_whatever_the_feed_says(
    engine: Engine, now: datetime, tmp_path: Path
) -> None:
    file = tmp_path / "a.ics"
    region(engine, file.as_uri())

    def read(at: datetime, *lessons: str) -> dict[str, Course]:
        file.write_bytes(ics(*lessons))
        timetable.refresh(engine, S, at)
        return courses(engine)

    first = read(now, "a 24 10", "b 24 12")
    said = say(engine, OverrideKind.CANCEL, Scope(course=first["a"].id), now)
    with pytest.raises(OverrideRefused) as refused:
        say(engine, OverrideKind.CANCEL, Scope(course=first["a"].id), now)
    assert refused.value.code == "already_cancelled"
    for hour, lessons in enumerate((["a 24 10", "b 24 12"], ["a 24 11", "b 24 12"]), 1):
        found = read(now + hour * HOUR, *lessons)
        assert (found["a"].cancelled, found["b"].cancelled) == (True, False)
    assert "a" not in read(now + 3 * HOUR, "b 24 12")
    assert read(now + 4 * HOUR, "a 24 11", "b 24 12")["a"].cancelled, "it came back"
    with reading(engine) as opened:
        assert opened.get_one(Override, said).course_id == courses(engine)["a"].id
    take_back(engine, said, now + 5 * HOUR)
    assert not courses(engine)["a"].cancelled
    assert courses(engine)["a"].known_at == now + 5 * HOUR
    assert not read(now + 6 * HOUR, "a 24 11", "b 24 12")["a"].cancelled


def test_after_it_is_taken_back_the_feed_is_read_again_as_a_whole(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now)
    course = add_course(engine, now + HOUR)
    with session(engine) as opened:
        opened.execute(update(Feed).values(etag="x", modified="y", tried_at=now))
    take_back(engine, say(engine, OverrideKind.CANCEL, Scope(course=course), now), now)
    with reading(engine) as opened:
        feed = opened.exec(select(Feed)).one()
        assert (feed.etag, feed.modified, feed.tried_at) == ("", "", None)


def test_a_blocked_room_is_in_use_and_holds_no_course(engine: Engine, now: datetime) -> None:
    furnish(engine, now)
    furnish(engine, now, room="r2")
    add_course(engine, now + 2 * HOUR)
    said = say(engine, OverrideKind.BLOCK, Scope(room="r1"), now, until=now + HOUR)
    assert busy(engine, now) == [(now, now + HOUR), (now + 2 * HOUR, now + 3 * HOUR)]
    assert busy(engine, now + HOUR) == [(now + 2 * HOUR, now + 3 * HOUR)]
    assert busy(engine, now, "r2") == []
    with reading(engine) as opened:
        assert len(opened.exec(select(Course)).all()) == 1
    assert next((one.room, one.start) for one in told(engine, now).busy) == ("r1", now)
    take_back(engine, said, now)
    assert busy(engine, now) == [(now + 2 * HOUR, now + 3 * HOUR)]


@pytest.mark.parametrize(
    ("kind", "scope", "more", "code"),
    [
        (OverrideKind.BLOCK, Scope(room="none"), {"until": 60}, "unknown_place"),
        (OverrideKind.BLOCK, Scope(site="vhs"), {"until": 60}, "unknown_place"),
        (OverrideKind.BLOCK, Scope(room="r1"), {}, "end_needed"),
        (OverrideKind.BLOCK, Scope(room="r1"), {"until": 0}, "ends_before_it_begins"),
        (OverrideKind.BLOCK, Scope(room="r1"), {"until": 60, "since": 90}, "ends_before_it_begins"),
        (OverrideKind.COURSE, Scope(room="r1"), {"until": 60 * 25}, "too_long"),
        (OverrideKind.COURSE, Scope(), {"until": 60}, "unknown_place"),
        (OverrideKind.CANCEL, Scope(course=999), {}, "unknown_place"),
        (OverrideKind.SKIP, Scope(room="r1"), {}, "unknown_place"),
        (OverrideKind.SKIP, Scope(course=1, device="r2-l1"), {}, "unknown_place"),
        (OverrideKind.PAUSE, Scope(site="nowhere"), {}, "unknown_place"),
        (OverrideKind.STOP, Scope(recipe="none"), {}, "unknown_place"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    engine: Engine, now: datetime, kind: OverrideKind, scope: Scope, more: dict[str, int], code: str
) -> None:
    furnish(engine, now)
    furnish(engine, now, room="r2")
    assert add_course(engine, now + HOUR) == 1
    times = {name: now + value * MINUTE for name, value in more.items()}
    with pytest.raises(OverrideRefused) as refused:
        say(engine, kind, scope, now, **times)
    assert refused.value.code == code
    assert revision(engine) == 0
    with reading(engine) as opened:
        assert opened.exec(select(Override)).all() == []
        assert len(opened.exec(select(Course)).all()) == 1


def test_a_course_that_is_over_cannot_be_called_off(engine: Engine, now: datetime) -> None:
    furnish(engine, now)
    course = add_course(engine, now - 2 * HOUR)
    with pytest.raises(OverrideRefused, match="already over"):
        say(engine, OverrideKind.CANCEL, Scope(course=course), now)


def test_whatever_is_said_makes_a_new_plan_of_its_sites(engine: Engine, now: datetime) -> None:
    furnish(engine, now)
    with session(engine) as opened:
        opened.add(Site(id="other", name="O", municipality="O"))
        opened.flush()
        opened.add(Room(id="o1", site_id="other", name="O"))
    here = say(engine, OverrideKind.PAUSE, Scope(site="vhs"), now)
    assert (revision(engine), revision(engine, "other")) == (1, 0)
    everywhere = say(engine, OverrideKind.PAUSE, Scope(), now)
    assert (revision(engine), revision(engine, "other")) == (2, 1)
    for said in (here, everywhere, everywhere):
        take_back(engine, said, now)
    assert (revision(engine), revision(engine, "other")) == (4, 2), "ending twice is once"


def test_the_agents_copy_carries_it(engine: Engine, now: datetime) -> None:
    furnish(engine, now)
    say(engine, OverrideKind.PAUSE, Scope(site="vhs"), now, until=now + HOUR)
    say(engine, OverrideKind.MAINTENANCE, Scope(device="r1-l1"), now)
    say(engine, OverrideKind.PAUSE, Scope(), now - 2 * HOUR, until=now - HOUR)
    message = told(engine, now)
    assert message.plan_rev == revision(engine) == 3
    assert [(h.room, h.device, h.end, h.reason) for h in message.holds] == [
        ("", "", now + HOUR, "paused"),
        ("r1", "r1-l1", None, "maintenance"),
    ]
    say(engine, OverrideKind.PAUSE, Scope(), now)
    assert told(engine, now).holds[-1].reason == "paused_everywhere"


HOLD = {"start": minutes(-5), "end": minutes(5)}
ALL = HOLD | {"reason": "paused_everywhere"}


@pytest.mark.parametrize(
    ("order", "roster", "reason"),
    [
        ({}, {"holds": [HOLD]}, "paused"),
        ({}, {"holds": [HOLD | {"end": None}]}, "paused"),
        ({}, {"holds": [HOLD | {"room": "r1"}]}, "paused"),
        ({}, {"holds": [HOLD | {"room": "r1", "device": "d1"}]}, "paused"),
        ({}, {"holds": [HOLD | {"reason": "maintenance"}]}, "maintenance"),
        ({}, {"holds": [HOLD | {"reason": "something new"}]}, "paused"),
        ({}, {"holds": [HOLD | {"room": "r2"}]}, ""),
        ({}, {"holds": [HOLD | {"room": "r1", "device": "d2"}]}, ""),
        ({}, {"holds": [HOLD | {"end": minutes(0)}]}, ""),
        ({}, {"holds": [HOLD | {"start": minutes(0.01)}]}, ""),
        ({"force": True}, {"holds": [HOLD]}, ""),
        ({"force": True}, {"holds": [HOLD, ALL]}, "paused_everywhere"),
        ({"force": True, "force_all": True}, {"holds": [ALL]}, ""),
        ({"force_all": True}, {"holds": [HOLD]}, "paused"),
        ({"force": True}, {"trusted_until": {}}, ""),
        ({"plan_rev": 4}, {"plan_rev": 4}, ""),
        ({"plan_rev": 5}, {"plan_rev": 4}, ""),
        ({"plan_rev": 3}, {"plan_rev": 4}, "plan_changed"),
        ({"plan_rev": 3, "force": True}, {"plan_rev": 4}, "plan_changed"),
        ({"force": True}, {"busy": [{"room": "r1", "start": minutes(-9), "end": minutes(9)}]},
         "course_running"),
    ],
)  # fmt: skip
def test_the_agent_refuses_by_its_own_copy(
    order: dict[str, Any], roster: dict[str, Any], reason: str
) -> None:
    assert refusal(an_order(**order), a_roster(**roster), NOW) == reason


def test_a_lesson_put_in_for_one_that_was_called_off_is_another_course(
    engine: Engine, now: datetime, tmp_path: Path
) -> None:
    file = tmp_path / "kurse.csv"
    region(engine, file.as_uri(), kind="csv")

    def read(at: datetime, *days: int) -> list[tuple[int, bool]]:
        rows = "".join(f"Yoga;{day}.11.2026;09:00\n" for day in days)
        file.write_text(f"Titel;Datum;Von\n{rows}")
        timetable.refresh(engine, S, at)
        with reading(engine) as opened:
            held = opened.exec(select(Course).order_by(col(Course.start))).all()
            return [(one.start.day, one.cancelled) for one in held]

    read(now, 24, 25, 26)
    with reading(engine) as opened:
        first = opened.exec(select(Course.id).order_by(col(Course.start))).first()
    said = say(engine, OverrideKind.CANCEL, Scope(course=first), now)
    assert read(now + HOUR, 25, 26, 27) == [(25, False), (26, False), (27, False)]
    with reading(engine) as opened:
        assert opened.get_one(Override, said).course_id is None, "nobody called off the 27th"
    assert read(now + 2 * HOUR, 24, 25, 26, 27)[0] == (24, True), "it came back"


def test_what_the_feed_calls_off_by_now_is_seen_after_it_is_taken_back(
    engine: Engine, now: datetime, tmp_path: Path
) -> None:
    file = tmp_path / "a.ics"
    region(engine, file.as_uri())
    file.write_bytes(ics("a 24 10", "b 24 12"))
    timetable.refresh(engine, S, now)
    said = say(engine, OverrideKind.CANCEL, Scope(course=courses(engine)["a"].id), now)
    off = ics("a 24 10", "b 24 12").replace(b"UID:a", b"STATUS:CANCELLED\r\nUID:a")
    file.write_bytes(off)
    timetable.refresh(engine, S, now + HOUR)
    take_back(engine, said, now + 2 * HOUR)
    timetable.refresh(engine, S, now + 2 * HOUR + MINUTE)
    assert courses(engine)["a"].cancelled
