"""The chain of evidence: complete, never with a guest's words, and every way to tamper is found."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DatabaseError
from sqlmodel import col

from agents.messages import Step
from fleet import evidence, intake, resets, retention
from fleet.settings import Settings
from inventory import Evidence, EvidenceSeal, ResetRun, RunState
from inventory.db import reading, session
from inventory.upsert import table_of
from tests.room import HOUR, MINUTE, add_course, claim, furnish, heard, looked, outcome, plan, say

SETTINGS = Settings()
DAY = timedelta(days=1)
HASHES = {"script_hash": "a" * 64, "skeleton_hash": "b" * 64, "home_hash": "c" * 64}


def records(engine: Engine) -> list[Evidence]:
    with reading(engine) as opened:
        rows = opened.execute(select(Evidence).order_by(col(Evidence.id)))
        return list(rows.scalars())


def broken(engine: Engine, now: Any) -> list[tuple[str, int, str]]:
    with reading(engine) as opened:
        return [(b.chain, b.number, b.what) for b in evidence.check(opened, now)[1]]


def chain(engine: Engine, now: Any, *, length: int = 4, sealed: bool = True) -> None:
    """`length` proved resets of two laptops, a day apart."""
    furnish(engine, now)
    with session(engine) as opened:
        for number in range(length):
            for device in ("r1-l1", "r1-l2"):
                at = now + number * DAY
                run = ResetRun(
                    id=f"{device}-{number}", device_id=device, recipe_id="wipe", attempts=1,
                    state=RunState.VERIFIED, planned_at=at, not_before=at, not_after=at,
                    deadline=at, next_try_at=at, ordered_at=at, acted_at=at, looked_at=at,
                    evidence=HASHES | {"residue": 0, "home_clean": True},
                )  # fmt: skip
                opened.add(run)
                evidence.record(opened, run, at)
            if sealed:
                opened.flush()
                evidence.seal(opened, now + number * DAY)


def tamper(engine: Engine, statement: str, **values: Any) -> None:
    """What somebody with all rights on the database can do."""
    with engine.begin() as opened:
        for table in ("evidence", "evidence_seal"):
            on = f" ON {table}" if engine.dialect.name == "postgresql" else ""
            opened.execute(text(f"DROP TRIGGER {table}_stays{on}"))
        opened.execute(text(statement), values)


def test_the_proof_and_its_record_are_one_transaction(engine: Engine, now: Any) -> None:
    furnish(engine, now)
    add_course(engine, now + HOUR)
    plan(engine, now, SETTINGS)
    first, second = claim(engine, now, SETTINGS)
    facts = {"home_clean": True, "residue": 0, "reset_id": first.id, **HASHES, "battery_ratio": 0.5}
    facts |= {"residue_counts": ["tmp:0", "shm:0", "Bewerbung.odt:1"]}
    say(engine, looked(first, now + MINUTE, facts=facts), now + 2 * MINUTE)
    say(engine, looked(first, now + MINUTE, facts=facts), now + 3 * MINUTE)
    denied = outcome(second, Step.FAILED, now + MINUTE, reason="host_key_changed", permanent=True)
    say(engine, denied, now + MINUTE)
    good, bad = records(engine)
    assert (good.device_id, good.number, good.verdict, good.attempt) == ("r1-l1", 1, "verified", 1)
    assert (good.recipe, good.tier, good.reset_id) == ("wipe", "quick", first.id.split(".")[0])
    assert (good.started, good.finished) == (now, now + MINUTE)
    assert good.verified == now + MINUTE + timedelta(seconds=10)
    assert {name: getattr(good, name) for name in HASHES} == HASHES
    assert good.counts == {"home_clean": True, "residue": 0, "traces.shm": 0, "traces.tmp": 0}
    assert (bad.verdict, bad.reason, bad.verified, bad.counts) == (
        "failed", "host_key_changed", None, {},
    )  # fmt: skip
    with session(engine) as opened:
        evidence.record(opened, opened.get_one(ResetRun, good.reset_id), now)
        opened.rollback()
    assert len(records(engine)) == 2
    assert broken(engine, now) == []


def test_an_end_that_is_never_heard_is_recorded_and_its_late_proof_too(
    engine: Engine, now: Any
) -> None:
    furnish(engine, now, laptops=1, recipe={"tries": 1})
    add_course(engine, now + HOUR)
    plan(engine, now, SETTINGS)
    (order,) = claim(engine, now, SETTINGS)
    later = now + 50 * MINUTE
    heard(engine, later)
    with session(engine) as opened:
        resets.expire(opened, later)
    say(engine, looked(order, now + MINUTE), later + MINUTE)
    assert [(r.number, r.verdict, r.reason) for r in records(engine)] == [
        (1, "unknown", "no_answer"),
        (2, "verified", ""),
    ]
    assert broken(engine, later) == []


def test_what_only_waits_or_never_left_leaves_no_record(engine: Engine, now: Any) -> None:
    furnish(engine, now)
    add_course(engine, now + HOUR)
    plan(engine, now, SETTINGS)
    for order in claim(engine, now, SETTINGS):
        say(engine, outcome(order, Step.REFUSED, now, reason="in_use"), now)
    assert records(engine) == []


def test_nobody_changes_a_record_by_mistake(engine: Engine, now: Any) -> None:
    chain(engine, now)
    for table in (table_of(Evidence), table_of(EvidenceSeal)):
        with pytest.raises(DatabaseError, match="evidence is never changed"), session(engine) as o:
            o.execute(table.update().values(hash="0" * 64))
    assert broken(engine, now) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE evidence SET verdict = 'failed' WHERE number = 2 AND device_id = 'r1-l1'",
         [("r1-l1", 2, "it was changed")]),
        ("UPDATE evidence SET counts = '{\"residue\": 7}' WHERE number = 2 AND device_id = 'r1-l1'",
         [("r1-l1", 2, "it was changed")]),
        ("UPDATE evidence SET step = 'home' WHERE number = 2 AND device_id = 'r1-l1'",
         [("r1-l1", 2, "it was changed")]),
        ("DELETE FROM evidence WHERE number = 2 AND device_id = 'r1-l1'",
         [("r1-l1", 3, "a record before it is gone"), ("r1-l1", 2, "the sealed record is gone")]),
        ("DELETE FROM evidence WHERE number = 1 AND device_id = 'r1-l1'",
         [("r1-l1", 2, "what was before it is gone")]),
        ("DELETE FROM evidence WHERE number = 4 AND device_id = 'r1-l1'",
         [("r1-l1", 4, "the sealed record is gone")]),
        ("DELETE FROM evidence WHERE device_id = 'r1-l2'",
         [("r1-l2", n, "the sealed record is gone") for n in (1, 2, 3, 4)]),
        ("DELETE FROM evidence_seal WHERE number = 2", [("", 3, "a record before it is gone")]),
        ("UPDATE evidence_seal SET heads = '{}' WHERE number = 2", [("", 2, "it was changed")]),
        ("UPDATE evidence SET number = number + 1 WHERE number = 4 AND device_id = 'r1-l1'",
         [("r1-l1", 5, "it was changed"), ("r1-l1", 4, "the sealed record is gone")]),
    ],
)  # fmt: skip
def test_tampering_is_found_and_where(
    engine: Engine, now: Any, statement: str, found: list[tuple[str, int, str]]
) -> None:
    chain(engine, now)
    assert broken(engine, now + 5 * DAY) == []
    tamper(engine, statement)
    assert broken(engine, now + 5 * DAY) == found


def test_a_record_that_was_written_anew_with_a_right_hash_is_found(
    engine: Engine, now: Any
) -> None:
    """Who also computes the hash must write every record after it anew, and all seals."""
    chain(engine, now)
    with reading(engine) as opened:
        row = dict(
            opened.execute(
                select(table_of(Evidence)).where(
                    col(Evidence.number) == 4, col(Evidence.device_id) == "r1-l1"
                )
            )
            .mappings()
            .one()
        )
    forged = evidence.digest(row | {"verdict": "failed"})
    tamper(
        engine,
        "UPDATE evidence SET verdict = 'failed', hash = :hash "
        "WHERE number = 4 AND device_id = 'r1-l1'",
        hash=forged,
    )
    assert broken(engine, now + 5 * DAY) == [("r1-l1", 4, "another record was sealed")]


def test_what_is_old_goes_and_the_rest_can_still_be_checked(engine: Engine, now: Any) -> None:
    chain(engine, now, length=5)
    later = now + evidence.KEPT + 2 * DAY + HOUR
    retention.forget(engine, later)
    assert sorted((r.device_id, r.number) for r in records(engine)) == [
        (device, number) for device in ("r1-l1", "r1-l2") for number in (3, 4, 5)
    ]
    assert broken(engine, later) == []
    # What went by its age does not hide what is taken away now.
    tamper(engine, "DELETE FROM evidence WHERE number <= 4")
    assert broken(engine, later)[0] == ("r1-l1", 5, "what was before it is gone")


def test_a_chain_goes_on_after_everything_was_old(engine: Engine, now: Any) -> None:
    chain(engine, now, length=2)
    later = now + 2 * evidence.KEPT
    retention.forget(engine, later)
    assert [r.number for r in records(engine)] == [2, 2]
    with session(engine) as opened:
        run = ResetRun(
            id="new", device_id="r1-l1", recipe_id="wipe", state=RunState.FAILED, planned_at=later,
            not_before=later, not_after=later, deadline=later, next_try_at=later,
        )  # fmt: skip
        evidence.record(opened, run, later)
    assert sorted(r.number for r in records(engine)) == [2, 2, 3]
    assert broken(engine, later) == []


def test_an_hourly_seal_of_nothing_new_writes_nothing(engine: Engine, now: Any) -> None:
    chain(engine, now, length=1)
    for hours in range(5):
        with session(engine) as opened:
            evidence.seal(opened, now + hours * HOUR)
    with reading(engine) as opened:
        assert opened.scalar(select(func.count()).select_from(EvidenceSeal)) == 1


def test_many_proofs_at_once_leave_one_unbroken_chain_each(engine: Engine, now: Any) -> None:
    """Several processes take in what agents say, also twice."""
    furnish(engine, now, laptops=12)
    add_course(engine, now + HOUR)
    plan(engine, now, SETTINGS)
    orders = claim(engine, now, SETTINGS)
    said = [looked(order, now + MINUTE) for order in orders]
    failures: list[BaseException] = []

    def take_in(part: list[Any]) -> None:
        try:
            intake.apply(engine, part, now + 2 * MINUTE, SETTINGS)
            with session(engine) as opened:
                evidence.seal(opened, now + 2 * MINUTE)
        except BaseException as error:  # noqa: BLE001 (told below, in the test's own thread)
            failures.append(error)

    parts = [said[:8], said[4:], said[::-1], said[::2]]
    threads = [threading.Thread(target=take_in, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [r.number for r in records(engine)] == [1] * 12
    assert broken(engine, now) == []


TEXTS = st.text(max_size=60) | st.sampled_from(["Bewerbung Ida.odt", "ida@example.org", "a:1\n"])


@given(
    facts=st.dictionaries(
        st.sampled_from(["residue", "home_hash", "script_hash", "residue_counts", "name", "x"]),
        TEXTS | st.lists(TEXTS, max_size=3) | st.integers() | st.booleans() | st.floats(),
    )
)
def test_no_text_of_a_look_gets_into_the_counts(facts: dict[str, Any]) -> None:
    told = evidence.counts(facts)
    assert all(isinstance(value, int) for value in told.values())
    for name in told.keys() - facts.keys():
        assert evidence.COUNT.fullmatch(name.removeprefix("traces.") + ":0")
