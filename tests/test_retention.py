"""What is forgotten when, and what must not be."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, SQLModel, select

from fleet import retention
from fleet.metrics import tally
from inventory import (
    Account,
    Course,
    Flip,
    Impact,
    OneTimeLink,
    Override,
    OverrideKind,
    Problem,
    Readiness,
    Reading,
    Report,
    ReportState,
    ResetRun,
    Role,
    RunState,
    SignIn,
    Subject,
    Verdict,
)
from inventory.db import reading, session
from tests.rows import make_region

DAY = timedelta(days=1)


def left(engine: Engine, table: type[SQLModel]) -> int:
    with reading(engine) as opened:
        return len(opened.exec(select(table)).all())


def flip(at: datetime, device: str | None = "laptop-1", new: str = "ok") -> Flip:
    subject = Subject.DEVICE if device else Subject.ROOM
    return Flip(subject=subject, room_id="library", device_id=device, at=at, old="", new=new)


def report(id_: str, state: ReportState, closed_at: datetime | None, at: datetime) -> Report:
    return Report(
        id=id_,
        device_id="laptop-1",
        submission=id_,
        problem=Problem.OTHER,
        impact=Impact.NONE,
        text="The lid is loose.",
        contact="0123",
        state=state,
        reported_at=at,
        closed_at=closed_at,
    )


def run(id_: str, at: datetime, state: RunState, took: int | None = None) -> ResetRun:
    return ResetRun(
        id=id_,
        device_id="laptop-1",
        recipe_id="laptop-reset",
        state=state,
        planned_at=at,
        not_before=at,
        not_after=at,
        deadline=at,
        next_try_at=at,
        ordered_at=at,
        acted_at=None if took is None else at + timedelta(seconds=took),
    )


def test_readings_and_flips(engine: Engine, now: datetime) -> None:
    make_region(engine)
    with session(engine) as opened:
        for days in (1, 89, 91, 400):
            opened.add(Reading(device_id="laptop-1", taken_at=now - days * DAY, reachable=True))
        opened.add_all(
            [
                flip(now - 500 * DAY),
                flip(now - 400 * DAY, new="failed"),
                flip(now - 364 * DAY),
                # The last word on these two: they are as they were then.
                flip(now - 500 * DAY, "ap-1"),
                flip(now - 500 * DAY, None),
            ]
        )
    assert retention.forget(engine, now) == {"readings": 2, "flips": 2}
    assert left(engine, Reading) == 2
    with reading(engine) as opened:
        flips = opened.exec(select(Flip)).all()
    assert {(f.device_id, f.at) for f in flips} == {
        ("laptop-1", now - 364 * DAY),
        ("ap-1", now - 500 * DAY),
        (None, now - 500 * DAY),
    }
    assert retention.forget(engine, now) == {}


def test_reports_lose_persons_first(engine: Engine, now: datetime) -> None:
    make_region(engine)
    done, open_ = ReportState.DONE, ReportState.IN_PROGRESS
    with session(engine) as opened:
        opened.add(report("M-1", done, now - 13 * DAY, now - 20 * DAY))
        opened.add(report("M-2", done, now - 15 * DAY, now - 20 * DAY))
        opened.add(report("M-3", done, now - 366 * DAY, now - 400 * DAY))
        opened.add(report("M-4", open_, None, now - 400 * DAY))
    retention.forget(engine, now)
    with reading(engine) as opened:
        reports = {r.id: (bool(r.contact), bool(r.text)) for r in opened.exec(select(Report))}
    assert reports == {
        "M-1": (True, True),
        "M-2": (False, True),
        "M-3": (False, False),
        "M-4": (True, True),
    }


def test_sign_ins_and_links(engine: Engine, now: datetime) -> None:
    with session(engine) as opened:
        account = Account(name="ida", role=Role.VIEWER, created_at=now)
        opened.add(account)
        opened.flush()
        assert account.id is not None
        for name, expires in (("a", now - DAY), ("b", now + DAY)):
            opened.add(
                SignIn(token_hash=name, account_id=account.id, csrf="x", started_at=now,
                       expires_at=expires)
            )  # fmt: skip
            opened.add(OneTimeLink(token_hash=name, account_id=account.id, expires_at=expires))
    assert retention.forget(engine, now) == {"sign-ins": 1, "one-time links": 1}
    with reading(engine) as opened:
        assert opened.get(SignIn, "b")
        assert opened.get(OneTimeLink, "b")
        assert opened.get(Account, account.id)


def test_courses_take_their_verdict_and_runs_along(engine: Engine, now: datetime) -> None:
    make_region(engine)
    with session(engine) as opened:
        for id_, end in ((1, now - 366 * DAY), (2, now - 364 * DAY)):
            start = end - timedelta(hours=1)
            opened.add(Course(id=id_, room_id="library", uid=str(id_), start=start, end=end))
            opened.flush()
            opened.add(
                Readiness(course_id=id_, room_id="library", verdict=Verdict.READY, judged_at=start)
            )
            planned = run(f"r{id_}", start, RunState.VERIFIED)
            planned.course_id, planned.course_start = id_, start
            opened.add(planned)
    retention.forget(engine, now)
    assert [left(engine, table) for table in (Course, Readiness, ResetRun)] == [1, 1, 1]


def test_open_runs_stay(engine: Engine, now: datetime) -> None:
    make_region(engine)
    with session(engine) as opened:
        opened.add(run("old", now - 400 * DAY, RunState.ACTED))
    assert retention.forget(engine, now) == {}
    assert left(engine, ResetRun) == 1


@pytest.mark.parametrize("rows", [2500])
def test_in_small_transactions(
    engine: Engine, now: datetime, rows: int, caplog: pytest.LogCaptureFixture
) -> None:
    make_region(engine)
    with session(engine) as opened:
        old = now - 100 * DAY
        opened.bulk_save_objects(
            Reading(device_id="laptop-1", taken_at=old, reachable=True) for _ in range(rows)
        )
    assert retention.forget(engine, now) == {"readings": rows}
    assert left(engine, Reading) == 0


def counters(session: Session) -> dict[tuple[str, ...], float]:
    return {key: value for key, value in tally.totals(session).items() if value}


def test_counters_never_go_backwards(engine: Engine, now: datetime) -> None:
    make_region(engine)
    with session(engine) as opened:
        opened.add(run("a", now - 400 * DAY, RunState.VERIFIED, took=20))
        opened.add(run("b", now - 399 * DAY, RunState.FAILED, took=100))
        opened.add(run("c", now - 10 * DAY, RunState.VERIFIED, took=40))
        opened.add(run("d", now - DAY, RunState.VERIFIED, took=5))
        opened.add(run("e", now, RunState.ORDERED))
    with reading(engine) as opened:
        before = counters(opened)
    assert before["results", "north", "laptop", "verified", "quick"] == 3
    assert before["results", "north", "laptop", "failed", "quick"] == 1
    assert before["duration", "laptop", "quick", "5"] == 1
    assert before["duration", "laptop", "quick", "30"] == 2
    assert before["duration", "laptop", "quick", "+Inf"] == 4
    assert before["duration_sum", "laptop", "quick"] == pytest.approx(165, abs=0.01)
    assert retention.forget(engine, now) == {"reset runs": 2}
    for moment in (now, now + DAY, now + 5 * DAY):
        retention.forget(engine, moment)
        with reading(engine) as opened:
            assert counters(opened) == pytest.approx(before, abs=0.01)
    assert left(engine, ResetRun) == 3
    with session(engine) as opened:
        opened.get_one(ResetRun, "e").state = RunState.FAILED
    retention.forget(engine, now + 6 * DAY)
    with reading(engine) as opened:
        assert counters(opened)["results", "north", "laptop", "failed", "quick"] == 2


def test_a_late_proof_is_counted_as_proof(engine: Engine, now: datetime) -> None:
    make_region(engine)
    with session(engine) as opened:
        opened.add(run("lost", now - DAY, RunState.UNKNOWN))
        opened.add(run("done", now - DAY / 2, RunState.VERIFIED, took=20))
    retention.forget(engine, now)
    with session(engine) as opened:
        opened.get_one(ResetRun, "lost").state = RunState.VERIFIED
    retention.forget(engine, now + DAY)
    with reading(engine) as opened:
        told = counters(opened)
    assert told["results", "north", "laptop", "verified", "quick"] == 2


def test_a_reset_in_a_running_course_is_counted(engine: Engine, now: datetime) -> None:
    make_region(engine)
    hour = timedelta(hours=1)
    with session(engine) as opened:
        opened.add(Course(room_id="library", uid="x", start=now - hour, end=now))
        opened.add(Course(room_id="hall", uid="y", start=now, end=now + hour))
        opened.add(run("before", now - hour - timedelta(seconds=60), RunState.VERIFIED, took=59))
        opened.add(run("after", now, RunState.VERIFIED, took=60))
    with reading(engine) as opened:
        assert tally.totals(opened)["violations",] == 0
    with session(engine) as opened:
        opened.add(run("into", now - hour - timedelta(seconds=60), RunState.FAILED, took=61))
    with reading(engine) as opened:
        assert tally.totals(opened)["violations",] == 1


def test_what_was_said_by_hand_is_kept_for_a_year_after_its_end(
    engine: Engine, now: datetime
) -> None:
    make_region(engine)
    long, lately = now - 366 * DAY, now - 364 * DAY
    with session(engine) as opened:
        held = Course(room_id="library", uid="x", start=now, end=now + DAY)
        opened.add(held)
        opened.flush()
        for reason, kind, values in (
            ("ran out", OverrideKind.BLOCK, {"until": long}),
            ("ran out lately", OverrideKind.BLOCK, {"until": lately}),
            ("taken back", OverrideKind.PAUSE, {"ended_at": long}),
            ("taken back lately", OverrideKind.PAUSE, {"ended_at": lately, "until": now + DAY}),
            ("still paused", OverrideKind.PAUSE, {}),
            ("called off", OverrideKind.CANCEL, {"course_id": held.id}),
            ("called off, course forgotten", OverrideKind.CANCEL, {}),
        ):
            opened.add(
                Override(
                    kind=kind, since=long, made_at=long, made_by="it", reason=reason, **values
                )
            )  # fmt: skip
    assert retention.forget(engine, now)["what was said by hand"] == 3
    with reading(engine) as opened:
        kept = set(opened.exec(select(Override.reason)))
    assert kept == {"ran out lately", "taken back lately", "still paused", "called off"}
