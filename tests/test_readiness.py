"""Readiness from the database: live, frozen at each start, and honest about what is not known."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlmodel import col, select

from agents.messages import Order, Step
from fleet import readiness, resets
from fleet.readiness import RoomStatus
from fleet.settings import Settings
from inventory import (
    AgentContact,
    Course,
    Device,
    DeviceState,
    Feed,
    Flip,
    Health,
    Impact,
    Problem,
    Readiness,
    Report,
    ReportState,
    Room,
    Verdict,
)
from inventory.db import reading, session
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
    states,
)

S = Settings(reset_lead_s=3600, reset_ahead_s=3600, reset_grace_s=120, reset_buffer_s=300)


def live(engine: Engine, now: datetime, room: str = "r1") -> RoomStatus:
    with reading(engine) as opened:
        return readiness.room_status(opened, room, now, S)


def codes(status: RoomStatus) -> list[str]:
    return [reason.code for reason in status.reasons]


def prove(engine: Engine, orders: list[Order], now: datetime) -> None:
    for order in orders:
        say(engine, looked(order, now), now + MINUTE)


def freeze(engine: Engine, now: datetime) -> dict[int, Readiness]:
    with session(engine) as opened:
        readiness.freeze(opened, now, S)
    with reading(engine) as opened:
        return {row.course_id: row for row in opened.exec(select(Readiness))}


def test_the_room_from_plan_to_course(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=2)
    course = add_course(engine, now + HOUR)
    plan(engine, now, S)
    status = live(engine, now)
    assert (status.verdict, status.preparing, status.running) == (Verdict.READY, True, False)
    assert (status.course and status.course.id, status.site.id) == (course, "vhs")
    assert (status.proved, status.to_prove) == (0, 2)
    assert status.counts == {"laptop": (2, 2, 2)}
    prove(engine, claim(engine, now, S), now)
    assert (live(engine, now).proved, live(engine, now).preparing) == (2, False)

    change(engine, DeviceState, "r1-l2", clean_run_id=None)
    assert codes(live(engine, now + MINUTE)) == ["too_few", "used_since"]
    plan(engine, now + MINUTE, S)
    start = now + HOUR
    heard(engine, start)
    frozen = freeze(engine, start + MINUTE)[course]
    assert frozen.verdict is Verdict.NOT_READY
    assert [reason["code"] for reason in frozen.reasons] == ["too_few", "used_since"]
    assert live(engine, start).running

    with session(engine) as opened:
        resets.request(opened, "r1-l2", now + 2 * MINUTE, S, "IT")
    prove(engine, claim(engine, now + 2 * MINUTE, S), now + 2 * MINUTE)
    assert live(engine, now + 3 * MINUTE).verdict is Verdict.READY
    assert freeze(engine, start + 2 * MINUTE)[course].verdict is Verdict.NOT_READY, "never changed"


def test_use_in_the_course_does_not_spoil_it(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    add_course(engine, now + HOUR)
    plan(engine, now, S)
    prove(engine, claim(engine, now, S), now)
    at = now + HOUR - 4 * MINUTE
    heard(engine, at)
    change(engine, DeviceState, "r1-l1", clean_run_id=None)
    assert live(engine, at).verdict is Verdict.READY
    plan(engine, at, S)
    heard(engine, now + HOUR + 20 * MINUTE)
    assert live(engine, now + HOUR + 20 * MINUTE).verdict is Verdict.READY


def test_a_course_put_in_after_the_proof_uses_it_up_also_where_nobody_sat_down(
    engine: Engine, now: datetime
) -> None:
    """Else the device would be reset no more, and count as not proved for the later course."""
    early = Settings(reset_grace_s=120, reset_buffer_s=300)
    furnish(engine, now, laptops=1)
    later = now + 5 * HOUR
    add_course(engine, later)
    plan(engine, now, early)
    (order,) = claim(engine, now, early)
    say(engine, looked(order, now), now + MINUTE)
    add_course(engine, now + 3 * MINUTE)  # too soon for a reset of its own
    plan(engine, now + 2 * MINUTE, early)
    assert states(engine) == ["expired", "verified"]
    heard(engine, now + 4 * MINUTE)
    plan(engine, now + 4 * MINUTE, early)
    plan(engine, now + 5 * MINUTE, early)
    assert states(engine) == ["expired", "verified", "planned"]
    after = now + HOUR + 20 * MINUTE
    heard(engine, after)
    plan(engine, after, early)
    (order,) = claim(engine, after, early)
    say(engine, looked(order, after), after + MINUTE)
    with reading(engine) as opened:
        assert readiness.room_status(opened, "r1", after + MINUTE, early).proved == 1
    plan(engine, later - MINUTE, early)
    assert states(engine) == ["expired", "verified", "verified"], "once is enough"


def test_a_device_leaves_its_resets_behind_when_it_goes_to_another_room(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=1, recipe={"tries": 1})
    furnish(engine, now, room="r2", laptops=0)
    add_course(engine, now + 50 * MINUTE)
    add_course(engine, now + 26 * HOUR, room="r2")
    plan(engine, now, S)
    (order,) = claim(engine, now, S)
    say(engine, outcome(order, Step.FAILED, now, reason="bug"), now)
    change(engine, Device, "r1-l1", room_id="r2")
    with reading(engine) as opened:
        alone = readiness.room_status(opened, "r2", now, S)
        (among,) = (one for one in readiness.overview(opened, now, S) if one.room.id == "r2")
    assert (among.verdict, among.reasons) == (alone.verdict, alone.reasons) == (Verdict.READY, [])


def test_every_course_gets_one_verdict_also_after_downtime(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    furnish(engine, now, room="r2", laptops=0)
    missed = add_course(engine, now - HOUR)
    cancelled = add_course(engine, now - 2 * HOUR)
    change(engine, Course, cancelled, cancelled=True)
    begun = [add_course(engine, now - MINUTE, uid=uid) for uid in "ab"]
    other = add_course(engine, now, room="r2")
    later = add_course(engine, now + 3 * HOUR)
    frozen = freeze(engine, now)
    assert frozen.keys() == {missed, *begun, other}
    assert [r["code"] for r in frozen[missed].reasons] == ["service_was_down"]
    assert frozen[missed].verdict is Verdict.UNKNOWN
    assert {frozen[course].verdict for course in begun} == {Verdict.NOT_READY}
    assert frozen[other].reasons[0]["code"] == "no_devices"
    assert freeze(engine, now + MINUTE) == frozen
    assert later in freeze(engine, now + 3 * HOUR)


def test_doubt_is_said_and_is_never_green(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    assert live(engine, now).verdict is Verdict.READY
    assert codes(live(engine, now)) == ["no_course"]
    change(engine, Feed, "f-r1", problem="shrunk")
    status = live(engine, now)
    assert (status.verdict, codes(status)[0]) == (Verdict.UNKNOWN, "calendar_in_doubt")
    assert status.reasons[0].detail == "shrunk"
    with session(engine) as opened:
        opened.delete(opened.get_one(Feed, "f-r1"))
    assert live(engine, now).reasons[0].detail == "no_feed"


def test_a_silent_agent_turns_its_rooms_grey_by_itself(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    later = now + 4 * MINUTE
    assert codes(live(engine, later))[:1] == ["agent_silent"]
    assert live(engine, later).verdict is Verdict.UNKNOWN
    with session(engine) as opened:
        opened.add(AgentContact(site_id="vhs", at=later))
    assert codes(live(engine, later)) == ["too_few", "device_unknown", "no_course"]


def test_a_caretakers_report_counts_until_it_is_done(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    with session(engine) as opened:
        told = {"device_id": "r1-l1", "problem": Problem.DAMAGED, "reported_at": now}
        opened.add(Report(id="M-1", submission="a", impact=Impact.NONE, **told))
        opened.flush()
    assert live(engine, now).verdict is Verdict.READY
    change(engine, Report, "M-1", impact=Impact.BLOCKED)
    assert "reported_broken" in codes(live(engine, now))
    change(engine, Report, "M-1", state=ReportState.DONE)
    assert live(engine, now).verdict is Verdict.READY


def test_the_overview_shows_first_what_needs_attention(engine: Engine, now: datetime) -> None:
    hours = {"late-bad": 30, "soon-good": 1, "soon-bad": 2, "sooner-bad": 1, "unknown": 3}
    for room, hour in hours.items():
        furnish(engine, now, room=room, laptops=1)
        add_course(engine, now + hour * HOUR + MINUTE, room=room)
        if room.endswith("bad"):
            change(engine, DeviceState, f"{room}-l1", health=Health.FAILED)
    change(engine, Feed, "f-unknown", problem="unreadable")
    with reading(engine) as opened:
        shown = readiness.overview(opened, now, S)
        assert readiness.overview(opened, now, S, sites=[]) == []
    assert [status.room.id for status in shown] == [
        "sooner-bad", "soon-bad", "unknown", "late-bad", "soon-good",
    ]  # fmt: skip


def test_the_number_of_queries_does_not_grow(engine: Engine, now: datetime) -> None:
    def queries() -> int:
        asked: list[str] = []

        def note(*arguments: Any) -> None:
            asked.append(arguments[2])

        event.listen(engine, "before_cursor_execute", note)
        with reading(engine) as opened:
            readiness.overview(opened, now, S)
        event.remove(engine, "before_cursor_execute", note)
        return len(asked)

    furnish(engine, now, room="r0", laptops=1)
    few = queries()
    for number in range(1, 8):
        furnish(engine, now, room=f"r{number}", laptops=5)
        add_course(engine, now + HOUR, room=f"r{number}")
    assert queries() == few


def test_a_change_of_the_verdict_is_a_flip(engine: Engine, now: datetime) -> None:
    furnish(engine, now, laptops=1)
    with session(engine) as opened:
        opened.add(Room(id="empty", site_id="vhs", name="Empty"))

    def flips() -> list[tuple[str, str, str]]:
        for _ in range(2):
            with session(engine) as opened:
                readiness.tick_rooms(opened, now, S)
        with reading(engine) as opened:
            return [
                (f.old, f.new, f.reason) for f in opened.exec(select(Flip).order_by(col(Flip.id)))
            ]

    assert flips() == [("unknown", "ready", "no_course")]
    change(engine, DeviceState, "r1-l1", health=Health.FAILED)
    assert flips()[1:] == [("ready", "not_ready", "too_few")]
    with session(engine) as opened:
        add_device(opened, "r1-l9", now, spare=True, recipe_id=None)
    assert flips()[2:] == [("not_ready", "degraded", "spare_needed")]
    with session(engine) as opened:
        opened.delete(opened.get_one(Device, "r1-l1"))
    assert flips()[3:] == [("degraded", "ready", "no_course")]


def test_an_unknown_room(engine: Engine, now: datetime) -> None:
    with pytest.raises(LookupError):
        live(engine, now, "nowhere")
