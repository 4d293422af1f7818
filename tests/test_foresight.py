"""Looking ahead and back: the week's forecast, the warning the day before, statistics, replay."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, event
from sqlmodel import select

from agents.messages import Step
from fleet import notify, readiness
from fleet.readiness import forecast, replay, statistics
from fleet.readiness.replay import NotUnderstood, day_of
from fleet.settings import Settings
from inventory import (
    Alarm,
    Course,
    DeviceState,
    Flip,
    Health,
    Readiness,
    Room,
    RunState,
    Site,
    Subject,
    Verdict,
)
from inventory.db import reading, session
from tests.alarms import climb, name_contacts, notices, spell_out, told
from tests.room import (
    HOUR,
    MINUTE,
    add_course,
    add_device,
    change,
    claim,
    furnish,
    heard,
    looked,
    outcome,
    plan,
    say,
)

S = Settings(reset_lead_s=3600, reset_grace_s=120, reset_buffer_s=300)
DAY = timedelta(days=1)


def ahead(engine: Engine, now: datetime, days: int = 7) -> list[tuple[str, list[str]]]:
    with reading(engine) as opened:
        found = forecast.foresee(opened, now, now + days * DAY, S)
    return [
        (each.judgement.verdict.value, [reason.code for reason in each.judgement.reasons])
        for each in found
    ]


def test_a_gap_that_no_reset_fits_into_is_known_days_before(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    first = now + 2 * DAY
    add_course(engine, first)
    # grace 120 s, run time 120 s, buffer 300 s: nine minutes are enough, eight are not
    add_course(engine, first + HOUR + 8 * MINUTE)
    assert ahead(engine, now) == [("ready", []), ("not_ready", ["too_few", "gap_too_short"])]
    change(engine, Course, 2, start=first + HOUR + 9 * MINUTE)
    assert ahead(engine, now) == [("ready", []), ("ready", [])]
    change(engine, Course, 1, cancelled=True)
    change(engine, Course, 2, start=first + 8 * MINUTE)
    assert ahead(engine, now) == [("ready", [])]
    assert ahead(engine, now, days=1) == []


def test_a_broken_device_is_counted_on_no_more(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    furnish(engine, now, room="r2", laptops=1)
    add_course(engine, now + 3 * DAY)
    add_course(engine, now + 4 * DAY, room="r2")
    change(engine, DeviceState, "r1-l1", health=Health.FAILED, reason="unreachable")
    assert ahead(engine, now) == [("not_ready", ["too_few", "device_failed"]), ("ready", [])]


def prove(engine: Engine, now: datetime, *, well: bool = True) -> None:
    """What is due is reset now; `well`: and found clean."""
    plan(engine, now, S)
    for order in claim(engine, now, S):
        facts = looked(order, now) if well else outcome(order, Step.FAILED, now, reason="bug")
        say(engine, facts, now + MINUTE)


def test_a_proved_device_is_counted_on_up_to_the_start(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    start = now + 30 * MINUTE
    add_course(engine, start)
    add_course(engine, start + 2 * HOUR)
    prove(engine, now)
    for before in (6, 5, 1):
        heard(engine, start - before * MINUTE)
        assert ahead(engine, start - before * MINUTE) == [("ready", [])] * 2


def test_a_reset_that_failed_for_good_is_foreseen_for_its_course_alone(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1, recipe={"tries": 1})
    for hours in (1, 4):
        add_course(engine, now + hours * HOUR)
    prove(engine, now, well=False)
    plan(engine, now + 2 * MINUTE, S)
    failed = ("not_ready", ["too_few", "reset_failed"])
    assert ahead(engine, now + 2 * MINUTE) == [failed, ("ready", [])]


def test_quiet_hours_up_to_the_course_are_foreseen_also_once_they_have_begun(
    engine: Engine, now: datetime
) -> None:
    """Quiet it is from eight in the evening to seven, and the course begins at six."""
    furnish(engine, now, laptops=1, recipe={"tiers": {"quick": {"noisy": True}}})
    change(engine, Room, "r1", quiet="20:00-07:00")
    add_course(engine, now + 21 * HOUR)
    late = ("not_ready", ["too_few", "reset_expired"])
    for hours, expected in ((10, ("ready", [])), (11, late), (13, late)):
        heard(engine, now + hours * HOUR)
        assert ahead(engine, now + hours * HOUR) == [expected], hours


def test_nobody_waits_for_the_devices_of_a_block(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    name_contacts(engine)
    block = add_course(engine, now + DAY)
    change(engine, Course, block, block=True)
    change(engine, DeviceState, "r1-l1", health=Health.FAILED)
    assert ahead(engine, now) == []
    warn(engine, now + 5 * HOUR)
    assert told(engine) == []


def test_what_is_said_of_a_course_is_said_of_one_that_begins_with_it(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    first = now + 2 * DAY
    add_course(engine, first)
    for uid in ("one", "other"):
        add_course(engine, first + HOUR + 8 * MINUTE, uid=uid)
    short = ("not_ready", ["too_few", "gap_too_short"])
    assert ahead(engine, now) == [("ready", []), short, short]


def test_the_forecast_asks_as_often_for_many_courses_as_for_one(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=2)
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    counts = []
    for number in range(1, 12, 10):
        for one in range(number):
            add_course(engine, now + DAY + one * 3 * HOUR, uid=f"{number}-{one}")
        asked.clear()
        ahead(engine, now)
        counts.append(len(asked))
    event.remove(engine, "before_cursor_execute", note)
    assert counts[0] == counts[1]


def warn(engine: Engine, at: datetime) -> None:
    heard(engine, at)
    with session(engine) as opened:
        notify.warn(opened, at, S, spell_out)


def test_the_day_before_people_are_warned_in_the_afternoon(engine: Engine, now: datetime) -> None:
    """Nine o'clock in Berlin; the afternoon begins four hours later."""
    furnish(engine, now, laptops=1)
    name_contacts(engine)
    start = now + DAY
    add_course(engine, start - 30 * MINUTE, length=30 * MINUTE)
    add_course(engine, start + 5 * MINUTE)
    add_course(engine, start + 2 * DAY)
    warn(engine, now + 4 * HOUR - MINUTE)
    assert told(engine) == []
    for later in (4 * HOUR, 5 * HOUR):
        warn(engine, now + later)
    assert told(engine) == [("day_before", "caretaker"), ("day_before", "office")]
    assert notices(engine)[0].subject == "day_before r1 2"
    change(engine, DeviceState, "r1-l1", health=Health.FAILED)
    for later in (5.5, 6):
        warn(engine, now + later * HOUR)
    assert [each.subject for each in notices(engine)[2:]] == ["day_before r1 1"] * 2
    heard(engine, start - 25 * MINUTE)
    climb(engine, start - 25 * MINUTE, S)
    assert told(engine)[4:] == [("caretaker", "caretaker")]


def test_a_warning_waits_for_the_end_of_quiet_hours(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    name_contacts(engine, quiet="12:00-15:00")
    add_course(engine, now + DAY)
    change(engine, DeviceState, "r1-l1", health=Health.FAILED)
    warn(engine, now + 4 * HOUR)
    assert {each.next_try_at for each in notices(engine)} == {now + 6 * HOUR}


# --- statistics -----------------------------------------------------------------------------


def verdict_on(
    engine: Engine, start: datetime, verdict: Verdict, *reasons: str, room: str = "r1"
) -> int:
    course = add_course(engine, start, room=room)
    with session(engine) as opened:
        opened.add(
            Readiness(
                course_id=course,
                room_id=room,
                verdict=verdict,
                reasons=[{"code": code, "kind": "laptop", "device": "d"} for code in reasons],
                judged_at=start,
            )
        )
    return course


def test_a_month_is_counted_as_it_is_in_germany(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=2)
    furnish(engine, now, room="r2", laptops=0)
    month = date(2026, 11, 1)
    first, last = statistics.span(month)
    assert (first.isoformat(), last.isoformat()) == (
        "2026-10-31T23:00:00+00:00",
        "2026-11-30T23:00:00+00:00",
    )
    verdict_on(engine, first - MINUTE, Verdict.NOT_READY, "no_devices")
    verdict_on(engine, first, Verdict.NOT_READY, "too_few", "device_failed", "device_failed")
    verdict_on(engine, first + DAY, Verdict.DEGRADED, "device_failed", "used_since")
    verdict_on(engine, first + 2 * DAY, Verdict.READY)
    verdict_on(engine, last, Verdict.UNKNOWN)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    for order in claim(engine, now, S):
        if order.device == "r1-l1":
            say(engine, looked(order, now), now + MINUTE)
    heard(engine, now + 2 * HOUR)
    plan(engine, now + 2 * HOUR, S)
    with reading(engine) as opened:
        one, other = statistics.by_room(opened, month, {"vhs"})
        room, site = opened.get_one(Room, "r1"), opened.get_one(Site, "vhs")
        year = statistics.by_month(opened, room, site, month, 2)
    assert (one.room.id, one.courses) == ("r1", 3)
    assert dict(one.verdicts) == {Verdict.NOT_READY: 1, Verdict.DEGRADED: 1, Verdict.READY: 1}
    assert one.reasons == [("device_failed", 2), ("used_since", 1)]
    assert (one.proved, one.resets) == (1, 2)
    assert one.worst == [("R1-L2", 1)]
    assert (other.room.id, other.courses, other.reasons) == ("r2", 0, [])
    assert [(each.isoformat(), told.courses) for each, told in year] == [
        ("2026-11-01", 3),
        ("2026-10-01", 1),
    ]
    head, line, _ = statistics.cells(month, [one, other])
    assert dict(zip(head, line, strict=True)) == {
        "month": "2026-11",
        "municipality": "Erlental",
        "site": "vhs",
        "room": "r1",
        "room_name": "r1",
        "courses": 3,
        "ready": 1,
        "degraded": 1,
        "not_ready": 1,
        "unknown": 0,
        "resets": 2,
        "resets_proved": 1,
        "reasons": "device_failed:2 used_since:1",
        "worst_devices": "R1-L2: 1",
    }


def test_nothing_is_counted_per_person() -> None:
    """No column of what is counted leads to somebody."""
    people = {"account", "person", "actor", "requested_by", "made_by", "contact", "reaction"}
    assert not people & set(statistics.COLUMNS)
    assert not people & set(statistics.RoomMonth.__dataclass_fields__)


# --- replay ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("2026-03-12", date(2026, 3, 12)),
        ("2026-03-12T09:00", date(2026, 3, 12)),
        ("12.3.2026", date(2026, 3, 12)),
        ("12. 3. 2026", date(2026, 3, 12)),
        ("12.3.", date(2026, 3, 12)),
        ("24.12.", date(2025, 12, 24)),
        ("31.2.2026", None),
        ("gestern", None),
        ("", None),
    ],
)
def test_days_as_people_write_them(now: datetime, said: str, expected: date | None) -> None:
    if expected is None:
        with pytest.raises(NotUnderstood):
            day_of(said, now)
    else:
        assert day_of(said, now) == expected


def test_the_last_leap_day_may_be_in_the_year_before() -> None:
    assert day_of("29.2.", datetime(2029, 1, 10, tzinfo=UTC)) == date(2028, 2, 29)


def test_a_verdict_on_the_room_that_a_course_has_left_is_told_as_such(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1)
    furnish(engine, now, room="r2", laptops=0)
    course = add_course(engine, now + HOUR)
    with session(engine) as opened:
        readiness.keep(opened, now, S)
    change(engine, Course, course, room_id="r2")
    with session(engine) as opened:
        readiness.keep(opened, now + 45 * MINUTE, S)
    with reading(engine) as opened:
        kept = replay.story(opened, opened.get_one(Course, course))
    assert [(one.point, one.elsewhere) for one in kept.verdicts] == [
        ("hour", "r1"),
        ("quarter", ""),
    ]
    assert any("hour: ready (r1)" in line for line in replay.lines(kept))


def test_why_a_room_was_not_ready_is_told_long_afterwards(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    name_contacts(engine)
    with session(engine) as opened:
        add_device(opened, "r1-spare", now, spare=True, name="Reserve 2", health=Health.FAILED)
        opened.add(
            Flip(
                subject=Subject.DEVICE,
                room_id="r1",
                device_id="r1-spare",
                at=now - HOUR,
                old="ok",
                new="failed",
                reason="unreachable",
            )
        )
    start = now + HOUR
    course = add_course(engine, start)
    plan(engine, now, S)
    for before in (60, 30, 15, 0):
        at = start - before * MINUTE
        heard(engine, at)
        with session(engine) as opened:
            readiness.keep(opened, at, S)
            readiness.freeze(opened, at, S)
        plan(engine, at, S)
        climb(engine, at, S)
    later = now + 100 * DAY
    change(engine, DeviceState, "r1-l1", health=Health.OK)
    with reading(engine) as opened:
        kept = replay.story(opened, opened.get_one(Course, course))
        by_day = replay.tell(opened, "r1", "2026-11-23", later)
        last = replay.tell(opened, "r1", "", later)
        with pytest.raises(LookupError, match="no room"):
            replay.tell(opened, "r9", "", later)
        with pytest.raises(LookupError, match="No course"):
            replay.tell(opened, "r1", "2026-11-25", later)
    assert [(each.point, each.verdict) for each in kept.verdicts] == [
        ("hour", Verdict.READY),
        ("quarter", Verdict.READY),
        ("start", Verdict.NOT_READY),
    ]
    assert ("R1-L1", RunState.EXPIRED) in {(device.name, run.state) for run, device in kept.runs}
    text = "\n".join(by_day)
    assert by_day == last
    assert "start: not_ready" in text
    assert "timetable f-r1 read 2026-11-23T09:00:00+00:00" in text
    assert "Reserve 2: ok -> failed unreachable" in text
    assert "reset of R1-L1: expired" in text
    assert "alarm: start" in text


def test_alarms_go_with_their_course(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + 30 * MINUTE)
    change(engine, DeviceState, "r1-l1", health=Health.FAILED)
    climb(engine, now, S)
    with session(engine) as opened:
        opened.delete(opened.get_one(Course, 1))
    with reading(engine) as opened:
        assert opened.exec(select(Alarm)).all() == []
