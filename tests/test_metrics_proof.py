"""What Prometheus is told of proof: failures, slack, canaries, wakes, verdicts, messages, feeds."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from agents.messages import Step, Wake
from fleet import evidence, intake, retention
from fleet.settings import Settings
from inventory import (
    Course,
    Device,
    Feed,
    Impact,
    Problem,
    Readiness,
    Report,
    ResetRun,
    RunState,
    Service,
    Verdict,
)
from inventory.contact import Channel
from inventory.course import FeedSnapshot
from inventory.db import session
from inventory.notice import Level, Notice, NoticeState
from inventory.tally import add
from tests.room import HOUR, MINUTE, add_course, claim, looked, outcome, plan, say
from tests.room import furnish as furnish_room
from tests.test_canary import NIGHT, a_night, furnish
from tests.test_metrics import scrape

SETTINGS = Settings()
DAY = timedelta(days=1)
SITE = {"site": "vhs"}


def test_every_counter_begins_at_0(engine: Engine, now: datetime) -> None:
    furnish_room(engine, now)
    told = scrape(engine, now)
    laptop = SITE | {"kind": "laptop"}
    assert told.one("reset_failures_total", **laptop, reason="not_clean") == 0
    assert told.one("reset_gate_refusals_total", **SITE, gate="course_running") == 0
    assert told.one("wakes_total", **SITE, method="magic_packet", result="woken") == 0
    assert told.one("course_verdicts_total", **SITE, verdict="not_ready") == 0
    assert told.one("canary_failures_total", **SITE) == 0
    assert told.one("notifications_total", channel="mail", result="failed") == 0
    assert told.one("reset_slack_seconds_count", tier="quick") == 0
    assert told.one("reset_duration_seconds_count", kind="laptop", tier="quick") == 0
    assert told.one("reset_watchdog_seconds", kind="laptop", tier="quick") == 120
    assert told.one("canary_state", room="r1", state="waiting") == 1
    assert told.one("canary_last_success_timestamp_seconds", room="r1") == 0


def test_how_resets_end_and_how_early(engine: Engine, now: datetime) -> None:
    furnish_room(engine, now)
    add_course(engine, now + HOUR)
    plan(engine, now, SETTINGS)
    first, second = claim(engine, now, SETTINGS)
    say(engine, looked(first, now + MINUTE), now + 2 * MINUTE)
    denied = outcome(second, Step.FAILED, now, reason="host_key_changed", permanent=True)
    say(engine, denied, now + MINUTE)
    told = scrape(engine, now)
    laptop = SITE | {"kind": "laptop"}
    assert told.one("reset_failures_total", **laptop, reason="host_key_changed") == 1
    assert told.one("reset_failures_total", **laptop, reason="not_clean") == 0
    slack = (HOUR - MINUTE).total_seconds() - 10
    assert told.one("reset_slack_seconds_sum", tier="quick") == pytest.approx(slack, abs=0.01)
    assert told.one("reset_slack_seconds_bucket", tier="quick", le="1800") == 0
    assert told.one("reset_slack_seconds_bucket", tier="quick", le="3600") == 1


def test_a_reason_that_is_no_code_is_counted_as_other(engine: Engine, now: datetime) -> None:
    furnish_room(engine, now)
    with session(engine) as opened:
        for number, reason in enumerate(("Idas Brief.odt", "x" * 60, 'a"}', "")):
            opened.add(
                ResetRun(
                    id=str(number), device_id="r1-l1", recipe_id="wipe", state=RunState.FAILED,
                    reason=reason, planned_at=now, not_before=now, not_after=now, deadline=now,
                    next_try_at=now,
                )
            )  # fmt: skip
    told = scrape(engine, now)
    assert told.one("reset_failures_total", kind="laptop", reason="other") == 4


def test_canaries(engine: Engine) -> None:
    furnish(engine)
    furnish(engine, room="r2")
    furnish(engine, room="r3", laptops=1)
    with session(engine) as opened:
        opened.get_one(Device, "r3-l1").recipe_id = None
    a_night(engine, NIGHT)
    told = scrape(engine, NIGHT + HOUR)
    assert told.one("canary_last_success_timestamp_seconds", room="r1") == NIGHT.timestamp()
    assert told.one("canary_state", room="r1", state="ok") == 1
    assert told.one("canary_state", room="r3", state="none") == 1
    assert told.one("canary_last_success_timestamp_seconds", room="r3") is None
    a_night(engine, NIGHT + DAY, residue=1)
    told = scrape(engine, NIGHT + DAY + HOUR)
    assert told.one("canary_failures_total", site="vhs") == 2
    assert told.one("canary_state", room="r1", state="failed") == 1
    assert told.one("canary_state", room="r1", state="ok") == 0


def test_each_try_to_wake_is_counted_once(engine: Engine, now: datetime) -> None:
    furnish_room(engine, now)
    add_course(engine, now + HOUR)
    plan(engine, now, SETTINGS)
    first, second = claim(engine, now, SETTINGS)
    woken = Wake(method="magic_packet", result="woken", seconds=20)
    answer = outcome(first, Step.ACTED, now + MINUTE, finished_at=now + MINUTE, wake=woken)
    for _ in range(3):
        say(engine, answer, now + 2 * MINUTE)
    asleep = Wake(method="magic_packet", result="asleep")
    say(engine, outcome(second, Step.REFUSED, now, reason="asleep", wake=asleep), now + MINUTE)
    told = scrape(engine, now)
    assert told.one("wakes_total", **SITE, method="magic_packet", result="woken") == 1
    assert told.one("wakes_total", **SITE, method="magic_packet", result="asleep") == 1
    assert told.one("wakes_total", **SITE, method="none", result="switched_off") == 0


def some_of_all(opened: Any, now: datetime) -> None:
    """A verdict, a message that arrived and one that did not, a gate that was shut."""
    course = Course(room_id="r1", uid="x", start=now - HOUR, end=now)
    opened.add(course)
    opened.flush()
    opened.add(
        Readiness(course_id=course.id, room_id="r1", verdict=Verdict.DEGRADED, judged_at=now - HOUR)
    )
    for state in (NoticeState.SENT, NoticeState.FAILED, NoticeState.WAITING):
        opened.add(
            Notice(
                id=state.value, bundle=state.value, site_id="vhs", room_id="r1",
                level=Level.CARETAKER,
                channel=Channel.MAIL, subject="s", text="t", state=state,
                made_at=now - (HOUR if state is not NoticeState.WAITING else timedelta(0)),
                next_try_at=now, expires_at=now,
            )
        )  # fmt: skip
    add(opened, {("gate_refusals", "vhs", "course_running"): 3})


def test_verdicts_messages_and_gates_are_never_counted_backwards(
    engine: Engine, now: datetime
) -> None:
    furnish_room(engine, now)
    with session(engine) as opened:
        some_of_all(opened, now)

    def counts() -> list[float | None]:
        told = scrape(engine, now)
        return [
            told.one("course_verdicts_total", **SITE, verdict="degraded"),
            told.one("notifications_total", channel="mail", result="sent"),
            told.one("notifications_total", channel="mail", result="failed"),
            told.one("notifications_total", channel="log", result="sent"),
            told.one("reset_gate_refusals_total", **SITE, gate="course_running"),
        ]

    assert counts() == [1, 1, 1, 0, 3]
    for later in (3 * DAY, 10 * DAY, 500 * DAY, 900 * DAY):
        retention.forget(engine, now + later)
        assert counts() == [1, 1, 1, 0, 3]


def test_messages_that_wait_are_seen_before_they_fail(engine: Engine, now: datetime) -> None:
    furnish_room(engine, now)
    told = scrape(engine, now)
    assert told.one("notifications_waiting", channel="mail") == 0
    oldest = "notification_oldest_waiting_timestamp_seconds"
    assert told.one(oldest, channel="mail") is None
    with session(engine) as opened:
        some_of_all(opened, now)
    told = scrape(engine, now)
    assert told.one("notifications_waiting", channel="mail") == 1
    assert told.one(oldest, channel="mail") == now.timestamp()


def test_reports_are_counted_by_kind_for_ever(engine: Engine, now: datetime) -> None:
    furnish_room(engine, now)
    mouse = SITE | {"kind": "laptop", "impact": "with_spare"}
    assert scrape(engine, now).one("reports_total", **mouse) == 0
    with session(engine) as opened:
        opened.add(
            Report(
                device_id="r1-l1", submission="1", problem=Problem.INPUT,
                impact=Impact.WITH_SPARE, reported_at=now,
            )
        )  # fmt: skip
    assert scrape(engine, now).one("reports_total", **mouse) == 1
    retention.forget(engine, now + DAY)
    with session(engine) as opened:
        opened.delete(opened.get_one(Device, "r1-l1"))
    assert scrape(engine, now + DAY).one("reports_total", **mouse) == 1


def test_a_device_of_which_nobody_expects_anything_is_told_as_away(
    engine: Engine, now: datetime
) -> None:
    furnish_room(engine, now)
    assert list(scrape(engine, now).all("device_away")) == []
    with session(engine) as opened:
        opened.get_one(Device, "r1-l1").service = Service.LENT
    intake.rejudge(engine, now + MINUTE, SETTINGS)
    ((labels, value),) = scrape(engine, now).all("device_away")
    assert (labels["device"], labels["reason"], value) == ("r1-l1", "lent", 1)


def test_a_message_that_still_waits_is_counted_when_it_ends(engine: Engine, now: datetime) -> None:
    furnish_room(engine, now)
    with session(engine) as opened:
        some_of_all(opened, now)
    retention.forget(engine, now + 5 * DAY)
    with session(engine) as opened:
        opened.get_one(Notice, "waiting").state = NoticeState.SENT
    retention.forget(engine, now + 6 * DAY)
    assert scrape(engine, now).one("notifications_total", channel="mail", result="sent") == 2


def test_what_was_read_in_a_timetable_and_what_was_mended(engine: Engine, now: datetime) -> None:
    furnish_room(engine, now)
    with session(engine) as opened:
        opened.add(Feed(id="new", site_id="vhs", url="file:///x"))
        opened.flush()
        for coming, warnings in ((40, {"no_zone": 2}), (12, {"no_end": 1})):
            opened.add(
                FeedSnapshot(
                    feed_id="f-r1", taken_at=now, seen_at=now, coming=coming, warnings=warnings
                )
            )
    told = scrape(engine, now)
    assert told.one("feed_occurrences", feed="f-r1") == 12
    assert told.one("feed_warnings", feed="f-r1", kind="no_end") == 1
    assert told.one("feed_warnings", feed="f-r1", kind="no_zone") == 0
    assert told.one("feed_occurrences", feed="new") is None


def test_when_evidence_was_sealed(engine: Engine, now: datetime) -> None:
    furnish_room(engine, now)
    assert scrape(engine, now).one("evidence_sealed_timestamp_seconds") is None
    run = ResetRun(
        id="r", device_id="r1-l1", recipe_id="wipe", state=RunState.FAILED, planned_at=now,
        not_before=now, not_after=now, deadline=now, next_try_at=now,
    )  # fmt: skip
    with session(engine) as opened:
        opened.add(run)
        evidence.record(opened, run, now)
        opened.flush()
        evidence.seal(opened, now)
    assert scrape(engine, now).one("evidence_sealed_timestamp_seconds") == now.timestamp()
