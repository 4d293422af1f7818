"""The verdict on a room, from its devices and their proofs: pure, and always with its reasons."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.readiness.verdict import REASONS, Candidate, Lesson, Proof, Reason, judge_room
from inventory import DeviceKind, Health, RunState, Verdict

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
LESSON = Lesson(NOW + HOUR, None, 5 * MINUTE)
VERIFIED = Proof(RunState.VERIFIED, "", False, NOW, None, True)
PLANNED = Proof(RunState.PLANNED, "", True, None, None, False)
ENDS = {
    "failed": replace(VERIFIED, state=RunState.FAILED, reason="denied"),
    "unknown": replace(VERIFIED, state=RunState.UNKNOWN),
    "expired": replace(VERIFIED, state=RunState.EXPIRED, reason="too_late"),
    "gap": replace(VERIFIED, state=RunState.EXPIRED, reason="gap_too_short"),
    "used": replace(VERIFIED, clean=False),
    "used early": replace(VERIFIED, used_at=NOW),
    "late": replace(PLANNED, in_time=False),
}


def laptop(number: int, **more: Any) -> Candidate:
    told: dict[str, Any] = {"kind": DeviceKind.LAPTOP, "spare": False, "health": Health.OK}
    told |= {"health_reason": "", "lead": HOUR, "run": VERIFIED}
    return Candidate(id=f"l{number}", name=f"Laptop {number}", **(told | more))


def verdict(*devices: Candidate, required: Any = None, now: datetime = NOW) -> Verdict:
    return judge_room(required or {}, devices, LESSON, now).verdict


def room_of(good: int, bad: int = 0, unknown: int = 0, spare: int = 0) -> list[Candidate]:
    groups = [
        *[{}] * good,
        *[{"health": Health.FAILED}] * bad,
        *[{"health": Health.UNKNOWN}] * unknown,
        *[{"spare": True}] * spare,
    ]
    return [laptop(number, **more) for number, more in enumerate(groups)]


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (room_of(10), "ready"),
        (room_of(9, bad=1), "degraded"),
        (room_of(8, bad=2), "degraded"),
        (room_of(7, bad=3), "not_ready"),
        (room_of(7, bad=3, spare=1), "degraded"),
        (room_of(9, bad=1, spare=1), "degraded"),
        (room_of(1), "ready"),
        (room_of(0, bad=1), "not_ready"),
        (room_of(0, bad=1, spare=1), "degraded"),
        (room_of(9, unknown=1), "degraded"),
        (room_of(8, bad=1, unknown=1), "degraded"),
        (room_of(7, unknown=3), "unknown"),
        (room_of(5, bad=3, unknown=2), "not_ready"),
        (room_of(0, unknown=2), "unknown"),
    ],
)
def test_how_many_are_enough(room: list[Candidate], expected: str) -> None:
    assert verdict(*room) == expected


def test_a_room_may_ask_for_fewer_or_more() -> None:
    assert verdict(*room_of(5, bad=5), required={"laptop": 5}) == "ready"
    assert (
        verdict(*room_of(5, bad=5), required={"laptop": {"wanted": 10, "least": 5}}) == "degraded"
    )
    assert verdict(*room_of(8), required={"laptop": 10}) == "degraded"
    assert verdict(*room_of(2, bad=1), required={"laptop": 0}) == "ready"
    assert verdict(*room_of(2), required={"projector": 1}) == "not_ready"
    for odd in ("x", -1, True, None, {"wanted": "x", "least": []}, {"least": 99}):
        assert verdict(*room_of(2), required={"laptop": odd, "toaster": 3}) == "ready"


def test_the_worst_kind_decides_and_the_gravest_reason_comes_first() -> None:
    projector = laptop(10, kind=DeviceKind.PROJECTOR, health=Health.FAILED, health_reason="too_hot")
    room = [*room_of(9, bad=1), projector]
    judged = judge_room({}, room, LESSON, NOW)
    assert judged.verdict is Verdict.NOT_READY
    assert judged.reasons == [
        Reason("too_few", "laptop", have=9, need=10),
        Reason("too_few", "projector", have=0, need=1),
        Reason("device_failed", "laptop", "l9", name="Laptop 9"),
        Reason("device_failed", "projector", "l10", detail="too_hot", name="Laptop 10"),
    ]
    assert judged.counts == {"laptop": (9, 10, 10), "projector": (0, 1, 1)}
    assert judge_room({}, room[::-1], LESSON, NOW).reasons == judged.reasons


def test_a_spare_that_must_be_swapped_in_is_said() -> None:
    judged = judge_room({}, room_of(9, bad=1, spare=1), LESSON, NOW)
    assert judged.reasons[0] == Reason("spare_needed", "laptop", have=9, need=10)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("failed", "reset_failed"),
        ("unknown", "reset_unknown"),
        ("expired", "reset_expired"),
        ("gap", "gap_too_short"),
        ("used", "used_since"),
        ("used early", "used_since"),
        ("late", "not_proved"),
    ],
)
def test_without_proof_no_device_counts(end: str, code: str) -> None:
    judged = judge_room({}, [laptop(1, run=ENDS[end])], LESSON, NOW)
    assert (judged.verdict, judged.reasons[-1].code) == (Verdict.NOT_READY, code)
    assert (judged.proved, judged.to_prove, judged.preparing) == (0, 1, False)


def test_before_the_start_it_is_a_forecast_and_from_then_on_only_proof_counts() -> None:
    room = [laptop(1), laptop(2, run=PLANNED)]
    before = judge_room({}, room, LESSON, LESSON.start - timedelta(seconds=1))
    assert (before.verdict, before.preparing, before.proved) == (Verdict.READY, True, 1)
    at = judge_room({}, room, LESSON, LESSON.start)
    assert (at.verdict, at.preparing) == (Verdict.NOT_READY, False)
    assert at.reasons[-1].code == "not_proved"
    early = judge_room({}, [laptop(1, run=None)], LESSON, NOW - MINUTE)
    assert (early.verdict, early.preparing) == (Verdict.READY, False)
    never = judge_room({}, [laptop(1, run=None)], LESSON, LESSON.start - 5 * MINUTE)
    assert never.verdict is Verdict.NOT_READY


def test_participants_who_come_early_do_not_spoil_the_room() -> None:
    close, early = LESSON.start - 4 * MINUTE, LESSON.start - 6 * MINUTE
    for used_at, expected in ((close, Verdict.READY), (early, Verdict.NOT_READY)):
        run = replace(VERIFIED, used_at=used_at, clean=False)
        assert verdict(laptop(1, run=run), now=LESSON.start + MINUTE) is expected


def test_a_proof_from_before_the_last_course_is_none() -> None:
    lesson = replace(LESSON, previous_end=NOW + MINUTE)
    judged = judge_room({}, [laptop(1)], lesson, NOW + 2 * MINUTE)
    assert judged.reasons[-1].code == "not_proved"
    at_its_end = replace(LESSON, previous_end=NOW)
    for now in (NOW, LESSON.start):
        assert judge_room({}, [laptop(1)], at_its_end, now).verdict is Verdict.READY


def test_a_reset_that_is_about_to_be_planned_is_counted_on() -> None:
    last = LESSON.start - LESSON.buffer
    room = [laptop(1, run=None)]
    assert verdict(*room, now=last - timedelta(seconds=1)) is Verdict.READY
    assert verdict(*room, now=last) is Verdict.NOT_READY


def test_a_reset_by_hand_counts_if_it_is_not_too_old() -> None:
    failed = ENDS["failed"]
    assert verdict(laptop(1, run=failed, by_hand=(VERIFIED,))) is Verdict.READY
    old = replace(VERIFIED, looked_at=NOW - MINUTE)
    assert verdict(laptop(1, run=failed, by_hand=(old,))) is Verdict.NOT_READY
    assert verdict(laptop(1, run=failed, by_hand=(ENDS["used"],))) is Verdict.NOT_READY


def test_what_needs_no_reset_needs_no_proof() -> None:
    for health in (Health.OK, Health.OFF, Health.WARNING):
        assert verdict(laptop(1, lead=None, run=None, health=health)) is Verdict.READY
    judged = judge_room({}, [laptop(1, run=None)], None, NOW)
    assert (judged.verdict, [r.code for r in judged.reasons]) == (Verdict.READY, ["no_course"])
    assert judge_room({}, [], LESSON, NOW).verdict is Verdict.UNKNOWN


FITNESS = st.builds(
    laptop,
    st.integers(0, 99),
    health=st.sampled_from(Health),
    spare=st.booleans(),
    run=st.sampled_from([VERIFIED, PLANNED, None, *ENDS.values()]),
    kind=st.sampled_from([DeviceKind.LAPTOP, DeviceKind.PROJECTOR]),
)


@given(
    st.lists(FITNESS, max_size=8, unique_by=lambda each: each.id),
    st.integers(-90, 30),
    st.sampled_from([{}, {"laptop": 2}, {"laptop": {"wanted": 3, "least": 1}}]),
)
def test_ready_means_proved_and_worse_devices_never_make_it_better(
    room: list[Candidate], minutes: int, required: dict[str, Any]
) -> None:
    now = LESSON.start + minutes * MINUTE
    judged = judge_room(required, room, LESSON, now)
    assert judged == judge_room(required, room[::-1], LESSON, now)
    assert all(reason.code in REASONS for reason in judged.reasons)
    rank = [Verdict.READY, Verdict.DEGRADED, Verdict.UNKNOWN, Verdict.NOT_READY]
    for place, device in enumerate(room):
        worse = [*room[:place], replace(device, health=Health.FAILED), *room[place + 1 :]]
        after = judge_room(required, worse, LESSON, now).verdict
        assert rank.index(after) >= rank.index(judged.verdict) or after is Verdict.DEGRADED
        assert after is not Verdict.READY or judged.verdict is Verdict.READY
    if judged.verdict is Verdict.READY and minutes >= 0 and not required:
        assert all(d.spare or (d.run and d.run.state is RunState.VERIFIED) for d in room)
