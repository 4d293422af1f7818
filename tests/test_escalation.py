"""Who is told when: the ladder by itself, and on a real database with services that come and go."""

import shutil
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Engine
from sqlmodel import select

from fleet import escalation, readiness
from fleet.escalation import Case, Raised, decide, send_from
from fleet.readiness import Reason
from fleet.settings import Settings
from inventory import (
    Contact,
    Course,
    DeviceState,
    Feed,
    Health,
    Level,
    NoticeState,
    Readiness,
    Verdict,
)
from inventory.db import migrate, open_engine, reading, session
from tests.alarms import alarms, climb, name_contacts, notices, told
from tests.room import HOUR, MINUTE, add_course, change, furnish, heard

S = Settings()
BROKEN = (Reason("device_failed", "laptop", "l1"),)
OTHER = (Reason("device_failed", "laptop", "l2"),)


def case(now: datetime, verdict: Verdict = Verdict.NOT_READY, **more: Any) -> Case:
    """A course at eight o'clock UTC."""
    return Case(now, now + HOUR, verdict, more.pop("reasons", BROKEN), **more)


def raised(level: Level, reasons: Any = BROKEN) -> Raised:
    return Raised(level, escalation.keys(reasons))


@pytest.mark.parametrize(
    ("before", "verdict", "expected"),
    [
        (45, "not_ready", []),
        (31, "not_ready", []),
        (30, "not_ready", ["caretaker"]),
        (30, "degraded", ["caretaker"]),
        (30, "unknown", ["caretaker"]),
        (30, "ready", []),
        (15, "not_ready", ["caretaker", "duty"]),
        (15, "degraded", ["caretaker"]),
        (0, "not_ready", []),
        (-61, "not_ready", []),
    ],
)
def test_the_ladder(now: datetime, before: int, verdict: str, expected: list[str]) -> None:
    assert decide(case(now, Verdict(verdict)), now - before * MINUTE) == expected


def test_nothing_is_said_twice_and_only_what_is_new(now: datetime) -> None:
    said = [raised(Level.CARETAKER)]
    at = now - 20 * MINUTE
    assert decide(case(now, raised=said), at) == []
    assert decide(case(now, raised=said, reasons=BROKEN + OTHER), at) == ["caretaker"]
    both = [raised(Level.CARETAKER, BROKEN + OTHER)]
    assert decide(case(now, raised=both, reasons=OTHER), at) == [], "less is nothing new"
    worse = (Reason("reset_failed", "laptop", "l1"),)
    assert decide(case(now, raised=said, reasons=worse), at) == [], "it is the same laptop"
    higher = [raised(Level.CARETAKER), raised(Level.DUTY)]
    assert decide(case(now, raised=higher, reasons=OTHER), now - 9 * MINUTE) == ["duty"]


def test_recovery_is_said_once_and_is_the_end(now: datetime) -> None:
    said = [raised(Level.CARETAKER)]
    at = now - 20 * MINUTE
    assert decide(case(now, Verdict.READY), at) == [], "nobody was told of anything"
    assert decide(case(now, Verdict.READY, raised=said, preparing=True), at) == [], "only hoped for"
    assert decide(case(now, Verdict.READY, raised=said), at) == ["recovered"]
    over = [*said, raised(Level.RECOVERED, ())]
    assert decide(case(now, raised=over, reasons=OTHER), at) == []
    warned = [raised(Level.DAY_BEFORE)]
    assert decide(case(now, Verdict.READY, raised=warned), at) == []
    assert decide(case(now, raised=warned), at) == ["caretaker"]


def test_the_start_is_shown_once(now: datetime) -> None:
    begun = case(now, frozen=Verdict.NOT_READY)
    assert decide(begun, now) == ["start"]
    assert decide(case(now, frozen=Verdict.UNKNOWN), now) == []
    shown = [raised(Level.START)]
    assert decide(case(now, frozen=Verdict.NOT_READY, raised=shown), now + MINUTE) == []
    assert decide(begun, now + 2 * HOUR) == []


@pytest.mark.parametrize(
    ("quiet", "hours", "waits"),
    [
        ("", 10, 0),
        ("18:00-07:00", 10, 0),  # nine in the morning
        ("08:00-12:00", 10, 3),
        ("08:00-12:00", 1, 0),  # the course begins within the hour
        ("08:00-20:00", 5, 4),  # at the latest an hour before the course
    ],
)
def test_quiet_hours(now: datetime, quiet: str, hours: int, waits: int) -> None:
    assert send_from(quiet, now + hours * HOUR, now) == now + waits * HOUR


def test_quiet_hours_follow_the_clock_on_the_wall() -> None:
    evening = datetime(2026, 10, 24, 20, tzinfo=UTC)  # the clocks are changed in this night
    assert send_from("20:00-07:00", evening + 24 * HOUR, evening) == datetime(
        2026, 10, 25, 6, tzinfo=UTC
    )


def spoil(engine: Engine, device: str) -> None:
    change(engine, DeviceState, device, health=Health.FAILED, reason="unreachable")


def mend(engine: Engine, device: str) -> None:
    change(engine, DeviceState, device, health=Health.OK, reason="")


def furnished(engine: Engine, now: datetime) -> None:
    """A room whose laptops need no reset: what fails is the device."""
    furnish(engine, now, laptops=0)
    with session(engine) as opened:
        from tests.room import add_device

        for number in (1, 2):
            add_device(opened, f"r1-l{number}", now, recipe_id=None)
    name_contacts(engine)


def step(engine: Engine, now: datetime) -> None:
    heard(engine, now)
    with session(engine) as opened:
        readiness.freeze(opened, now, S)
    climb(engine, now, S)


def test_a_morning_with_a_broken_laptop(engine: Engine, now: datetime) -> None:
    furnished(engine, now)
    start = now + HOUR
    add_course(engine, start)
    spoil(engine, "r1-l1")
    for before in (45, 31, 30, 29, 16):
        step(engine, start - before * MINUTE)
    assert told(engine) == [("caretaker", "caretaker")]
    step(engine, start - 15 * MINUTE)
    assert told(engine)[1:] == [("duty", "duty"), ("duty", "office")]
    step(engine, start)
    assert [alarm.level for alarm in alarms(engine)] == ["caretaker", "duty", "start"]
    assert len(notices(engine)) == 3, "the pages show the start"
    for notice in notices(engine):
        change(engine, type(notice), notice.id, state=NoticeState.SENT)
    mend(engine, "r1-l1")
    step(engine, start + 5 * MINUTE)
    spoil(engine, "r1-l2")
    step(engine, start + 6 * MINUTE)
    assert sorted(told(engine)[3:]) == [
        ("recovered", "caretaker"), ("recovered", "duty"), ("recovered", "office")
    ]  # fmt: skip


def test_who_heard_of_no_trouble_hears_of_no_recovery(engine: Engine, now: datetime) -> None:
    furnished(engine, now)
    add_course(engine, now + 30 * MINUTE)
    spoil(engine, "r1-l1")
    step(engine, now)
    mend(engine, "r1-l1")
    step(engine, now + MINUTE)
    assert [(each.level, each.state) for each in notices(engine)] == [("caretaker", "dropped")]


def test_a_message_that_was_on_its_way_does_not_follow_the_recovery(
    engine: Engine, now: datetime
) -> None:
    furnished(engine, now)
    add_course(engine, now + 30 * MINUTE)
    spoil(engine, "r1-l1")
    step(engine, now)
    (warning,) = notices(engine)
    change(engine, type(warning), warning.id, state=NoticeState.SENDING)
    mend(engine, "r1-l1")
    step(engine, now + MINUTE)
    change(engine, type(warning), warning.id, state=NoticeState.WAITING)  # it did not arrive
    step(engine, now + 2 * MINUTE)
    assert {each.level: each.state for each in notices(engine)} == {
        "caretaker": "dropped", "recovered": "waiting"
    }  # fmt: skip


def test_what_is_told_of_an_incident_is_no_matter_of_courses(engine: Engine, now: datetime) -> None:
    furnished(engine, now)
    add_course(engine, now + 30 * MINUTE)
    spoil(engine, "r1-l1")
    step(engine, now)
    (one,) = notices(engine)
    fault = {"id": "fault", "bundle": "incident-1", "level": Level.FAULT}
    with session(engine) as opened:
        opened.add(type(one)(**(one.model_dump() | fault)))
    step(engine, now + MINUTE)
    assert {each.state for each in notices(engine)} == {"waiting"}


def test_two_courses_of_a_room_are_one_message(engine: Engine, now: datetime) -> None:
    furnished(engine, now)
    for uid in "ab":
        add_course(engine, now + 30 * MINUTE, uid=uid)
    spoil(engine, "r1-l1")
    step(engine, now)
    assert [each.subject for each in notices(engine)] == ["caretaker r1 1,2"]
    assert len({alarm.bundle for alarm in alarms(engine)}) == 1


@pytest.mark.parametrize("how", ["cancelled", "moved"])
def test_a_course_that_goes_away_takes_its_messages_along(
    engine: Engine, now: datetime, how: str
) -> None:
    furnished(engine, now)
    start = now + 30 * MINUTE
    course = add_course(engine, start)
    spoil(engine, "r1-l1")
    step(engine, now)
    gone = {"cancelled": True} if how == "cancelled" else {"start": start + HOUR}
    change(engine, Course, course, end=start + 2 * HOUR, **gone)
    step(engine, now + MINUTE)
    assert [each.state for each in notices(engine)] == ["dropped"]
    if how == "moved":
        step(engine, start + 30 * MINUTE)
        assert told(engine) == [("caretaker", "caretaker")] * 2


def test_without_contacts_the_it_and_then_the_log(engine: Engine, now: datetime) -> None:
    furnished(engine, now)
    with session(engine) as opened:
        for contact in opened.exec(select(Contact)):
            opened.delete(contact)
    add_course(engine, now + 30 * MINUTE)
    spoil(engine, "r1-l1")
    step(engine, now)
    assert [(each.contact_id, each.channel) for each in notices(engine)] == [(None, "log")]
    name_contacts(engine, audience="it")
    step(engine, now + 15 * MINUTE)
    assert told(engine)[1:] == [("duty", "caretaker"), ("duty", "duty"), ("duty", "office")]


# --- I10 and I16: whatever happens, and however long the service is down --------------------

BEGIN = datetime(2026, 11, 23, 8, tzinfo=UTC)


@cache
def template() -> Path:
    path = Path(tempfile.mkdtemp(prefix="raumwart-alarms-")) / "template.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    furnished(engine, BEGIN)
    with session(engine) as opened:
        for feed in opened.exec(select(Feed)):
            feed.max_age_s = 10**6
    engine.dispose()
    return path


class Days(RuleBasedStateMachine):
    """Courses come, move and go, laptops break and are mended, two services tick or are down."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="raumwart-days-"))
        shutil.copyfile(template(), self.folder / "fleet.db")
        self.engine = open_engine(f"sqlite:///{self.folder / 'fleet.db'}")
        self.now = BEGIN
        self.frozen: dict[int, Any] = {}
        self.ticks: list[datetime] = []
        self.number = 0

    @initialize()
    def a_course(self) -> None:
        self.add(40)

    @rule(minutes=st.integers(1, 120))
    def add(self, minutes: int) -> None:
        self.number += 1
        uid = f"c{self.number}"
        add_course(self.engine, self.now + minutes * MINUTE, uid=uid, length=40 * MINUTE)

    @rule(pick=st.integers(0, 9), minutes=st.integers(-30, 90))
    def move(self, pick: int, minutes: int) -> None:
        course = self.coming(pick)
        if course:
            start = max(course.start + minutes * MINUTE, self.now + MINUTE)
            change(self.engine, Course, course.id, start=start, end=start + 40 * MINUTE)

    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        course = self.coming(pick)
        if course:
            change(self.engine, Course, course.id, cancelled=True)

    def coming(self, pick: int) -> Course | None:
        with reading(self.engine) as opened:
            query = select(Course).where(Course.start > self.now).order_by("id")
            found = list(opened.exec(query))
        return found[pick % len(found)] if found else None

    @rule(laptop=st.sampled_from(["r1-l1", "r1-l2"]), broken=st.booleans())
    def breaks(self, laptop: str, broken: bool) -> None:
        (spoil if broken else mend)(self.engine, laptop)

    @rule()
    def messages_arrive(self) -> None:
        for notice in notices(self.engine):
            if notice.state is NoticeState.WAITING:
                change(self.engine, type(notice), notice.id, state=NoticeState.SENT)

    @rule(minutes=st.lists(st.integers(1, 9), min_size=1, max_size=8))
    def time_passes(self, minutes: list[int]) -> None:
        for some in minutes:
            self.now += some * MINUTE
            self.tick()

    @rule(minutes=st.integers(10, 200))
    def the_service_is_down(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        self.tick()

    def tick(self) -> None:
        self.ticks.append(self.now)
        step(self.engine, self.now)
        climb(self.engine, self.now, S)  # a second service, at the same moment

    @invariant()
    def every_course_has_exactly_one_verdict_that_never_changes(self) -> None:
        """I10."""
        if not self.ticks:
            return
        with reading(self.engine) as opened:
            begun = opened.exec(select(Course).where(Course.start <= self.ticks[-1])).all()
            rows = {row.course_id: row for row in opened.exec(select(Readiness))}
        expected = {course.id for course in begun if not course.cancelled}
        assert expected == set(rows)
        for course in begun:
            if course.cancelled or course.id is None:
                continue
            row = rows[course.id]
            first = next(at for at in self.ticks if at >= course.start)
            assert row.judged_at == first, "never later than one tick after the start"
            late = first - course.start > timedelta(minutes=5)
            assert not late or row.verdict is Verdict.UNKNOWN
            kept = (row.verdict, row.reasons, row.evidence, row.judged_at)
            assert self.frozen.setdefault(course.id, kept) == kept

    @invariant()
    def the_ladder_is_climbed_once(self) -> None:
        """I16."""
        order = list(Level)
        of: dict[tuple[int, datetime], list[Any]] = {}
        for alarm in alarms(self.engine):
            of.setdefault((alarm.course_id, alarm.course_start), []).append(alarm)
        for raised_here in of.values():
            same = Counter((alarm.level, alarm.reason_key) for alarm in raised_here)
            assert set(same.values()) == {1}
            messages = [alarm.level for alarm in raised_here if alarm.level is not Level.START]
            assert messages == sorted(messages, key=order.index), "monotone"
            assert messages.count(Level.RECOVERED) <= 1
            for alarm in raised_here:
                if alarm.level in (Level.CARETAKER, Level.DUTY):
                    assert alarm.raised_at < alarm.course_start
        bundles = Counter((notice.bundle, notice.contact_id) for notice in notices(self.engine))
        assert not bundles or set(bundles.values()) == {1}

    def teardown(self) -> None:
        self.now += 24 * HOUR
        self.tick()
        self.every_course_has_exactly_one_verdict_that_never_changes()
        self.the_ladder_is_climbed_once()
        self.engine.dispose()
        shutil.rmtree(self.folder)


TestDays = Days.TestCase
TestDays.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
