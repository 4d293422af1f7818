"""The worker: an order is checked, done at most once, looked at again, and always answered."""

import asyncio
import sqlite3
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.messages import Outcome, Step
from agents.worker import Worker
from tests.virtual_clock import VirtualClock, settle, until
from tests.worker_bench import NOW, Bench, a_bench, a_roster, an_order, busy, minutes, on_bench


@on_bench
async def test_an_order_is_accepted_acted_and_looked_at(bench: Bench) -> None:
    sent = bench.send(an_order(settle_s=30))
    await until(lambda: len(bench.answers) == 2)
    assert bench.device.looks == 0
    await bench.time.advance(30)
    await sent
    accepted, acted, looked = bench.answers
    assert [one.step for one in bench.answers] == [Step.ACCEPTED, Step.ACTED, Step.LOOKED]
    assert accepted.started_at == NOW
    assert acted.finished_at == NOW
    assert looked.at == NOW + timedelta(seconds=30)
    assert looked.facts == {"serial": "S1", "power": "on", "reset_id": "7.1"}
    assert bench.device.resets == ["7.1"]
    assert bench.acks == 1


@on_bench
async def test_the_same_order_again_is_answered_from_memory(bench: Bench) -> None:
    await bench.send(an_order())
    first = list(bench.answers)
    await bench.send(an_order())
    await bench.crash()
    bench.answers.clear()
    bench.start()
    bench.time.seconds = 3600  # long dead, and yet answered with what it became
    bench.answers.clear()
    await bench.send(an_order())
    assert bench.answers == first
    assert bench.device.resets == ["7.1"]
    assert bench.acks == 3


@on_bench
async def test_a_refusal_is_remembered_too(bench: Bench) -> None:
    await bench.send(an_order(not_before=minutes(1)))
    bench.time.seconds = 120
    await bench.send(an_order(not_before=minutes(1)))
    assert bench.steps == [("refused", "too_early")] * 2
    assert bench.device.resets == []


@on_bench
async def test_a_second_reset_of_a_device_is_refused_while_one_runs(bench: Bench) -> None:
    bench.device.gate.clear()
    running = bench.send(an_order())
    await bench.device.began.wait()
    await bench.send(an_order())  # the same one again: neither refused nor repeated
    assert bench.steps == [("accepted", "")]
    await bench.send(an_order(id="8.1"))
    assert bench.steps[-1] == ("refused", "busy")
    bench.device.gate.set()
    await running
    assert bench.device.resets == ["7.1"]


@on_bench
async def test_devices_are_reset_side_by_side_up_to_the_limit(bench: Bench) -> None:
    bench.start(at_once=3)
    bench.device.gate.clear()
    sent = [bench.send(an_order(id=f"{n}.1", device=f"d{n}")) for n in range(1, 6)]
    await until(lambda: len(bench.device.resets) == 3)
    await asyncio.sleep(0.05)
    assert len(bench.device.resets) == 3
    bench.device.gate.set()
    await asyncio.gather(*sent)
    assert len(bench.device.resets) == 5
    assert bench.device.most_connected == 3


@on_bench
async def test_an_order_that_waited_too_long_is_refused_after_all(bench: Bench) -> None:
    async with bench.locks["d1"]:  # the poller is looking
        sent = bench.send(an_order())
        await settle()
        bench.time.seconds = 601
    await sent
    assert bench.steps == [("refused", "expired")]
    assert bench.device.resets == []


@on_bench
async def test_a_course_that_appears_while_an_order_waits_is_respected(bench: Bench) -> None:
    async with bench.locks["d1"]:
        sent = bench.send(an_order())
        await settle()
        bench.roster = a_roster(bench.device.port, busy=[busy(0, 60)])
    await sent
    assert bench.steps == [("refused", "course_running")]


@on_bench
async def test_a_bus_that_is_slow_to_take_the_acknowledgement_delays_no_reset_into_a_course(
    bench: Bench,
) -> None:
    async def slowly() -> None:
        bench.time.seconds += 45

    order = an_order(not_after=minutes(0.5))
    await bench.worker.handle(order, slowly)
    await bench.worker.handle(order, slowly)  # and it comes again
    assert bench.steps == [("accepted", ""), ("refused", "expired")] * 2
    assert bench.device.resets == []


@on_bench
async def test_the_poller_is_kept_out_until_the_look_is_done(bench: Bench) -> None:
    bench.device.gate.clear()
    sent = bench.send(an_order(settle_s=10))
    await bench.device.began.wait()
    assert bench.locks["d1"].locked()
    bench.device.gate.set()
    await until(lambda: bench.steps[-1] == ("acted", ""))
    assert bench.locks["d1"].locked()
    await bench.time.advance(10)
    await sent
    assert not bench.locks["d1"].locked()


@pytest.mark.parametrize(
    ("mood", "steps", "permanent"),
    [
        ("in use", [("refused", "in_use")], False),
        ("fails", [("failed", "reset_failed")], False),
        ("no end", [("unknown", "no_end")], False),
        ("denied", [("failed", "denied")], True),
        ("off", [("failed", "unreachable")], False),
    ],
)
def test_what_a_device_may_answer(
    tmp_path: Path, mood: str, steps: list[tuple[str, str]], permanent: bool
) -> None:
    async def run() -> None:
        async with a_bench(tmp_path) as bench:
            bench.device.mood = mood
            if mood == "off":
                await bench.device.stop()
            await bench.send(an_order())
            assert bench.steps == [("accepted", ""), *steps]
            assert bench.answers[-1].permanent == permanent
            assert bench.answers[-1].started_at == NOW

    asyncio.run(run())


@on_bench
async def test_a_device_that_never_ends_is_unknown_when_the_next_course_begins(
    bench: Bench,
) -> None:
    bench.device.gate.clear()
    order = an_order(max_runtime_s=0, next_start=NOW + timedelta(seconds=0.2))
    began = asyncio.get_running_loop().time()
    await bench.send(order)
    assert asyncio.get_running_loop().time() - began < 2  # not the five seconds of grace
    assert bench.steps == [("accepted", ""), ("unknown", "timed_out")]


@on_bench
async def test_a_bug_in_a_driver_is_unknown_and_not_fatal(bench: Bench) -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    bench.drivers["line"].act = broken  # type: ignore[method-assign, assignment]
    await bench.send(an_order())
    assert bench.steps == [("accepted", ""), ("unknown", "bug")]


@on_bench
async def test_a_device_just_coming_back_is_looked_at_again(bench: Bench) -> None:
    bench.device.mood = "garbage"
    sent = bench.send(an_order())
    await until(lambda: bench.device.looks == 1)
    await asyncio.sleep(0.02)
    bench.device.mood = "ok"
    await bench.time.advance(5)
    await until(sent.done)
    assert bench.steps[-1] == ("looked", "")
    assert bench.answers[-1].at == NOW + timedelta(seconds=5)


@on_bench
async def test_without_a_good_look_nothing_is_proved(bench: Bench) -> None:
    bench.device.mood = "garbage"
    sent = bench.send(an_order())
    for look in range(1, 4):
        await until(lambda look=look: bench.device.looks == look)  # type: ignore[misc]
        await asyncio.sleep(0.02)
        await bench.time.advance(5)
    await sent
    assert bench.steps == [("accepted", ""), ("acted", ""), ("unknown", "garbled")]


@on_bench
async def test_another_devices_serial_number_proves_nothing(bench: Bench) -> None:
    roster = a_roster(bench.device.port)
    other = roster.targets[0].model_copy(update={"serial": "S2"})
    bench.roster = roster.model_copy(update={"targets": [other]})
    await bench.send(an_order())
    assert bench.steps[-1] == ("unknown", "wrong_device")
    assert bench.answers[-1].permanent


@on_bench
async def test_an_agent_killed_in_the_middle_answers_unknown_and_never_acts_again(
    bench: Bench,
) -> None:
    bench.device.gate.clear()
    bench.send(an_order())
    await bench.device.began.wait()
    await bench.crash()
    bench.answers.clear()
    bench.start()
    assert ("unknown", "interrupted") in bench.steps
    await bench.send(an_order())
    assert bench.steps[-2:] == [("accepted", ""), ("unknown", "interrupted")]
    assert bench.device.resets == ["7.1"]


@on_bench
async def test_answers_that_no_courier_took_are_sent_after_a_restart(bench: Bench) -> None:
    await bench.send(an_order())
    bench.journal.sent(bench.answers[0])
    await bench.crash()
    bench.answers.clear()
    bench.start()
    assert bench.steps == [("acted", ""), ("looked", "")]


@on_bench
async def test_a_journal_that_cannot_be_written_means_no_reset(bench: Bench) -> None:
    other = sqlite3.connect(bench.folder / "orders.db", isolation_level=None)
    other.execute("DROP TABLE known")
    other.close()
    await bench.send(an_order())
    assert bench.steps == [("refused", "no_journal")]
    assert bench.device.resets == []


@on_bench
async def test_what_was_refused_for_want_of_a_journal_is_not_carried_out_later(
    bench: Bench,
) -> None:
    other = sqlite3.connect(bench.folder / "orders.db", isolation_level=None)
    other.execute("ALTER TABLE answer RENAME TO gone")
    await bench.send(an_order())
    assert bench.steps == [("refused", "no_journal")]
    assert bench.acks == 1  # else the courier brings it again and again
    other.execute("ALTER TABLE gone RENAME TO answer")
    other.close()
    await bench.send(an_order(id="7.2"))
    assert bench.device.resets == ["7.2"]


def full(bench: Bench) -> None:
    """From now on the journal takes nothing more, as on a full disk."""
    other = sqlite3.connect(bench.folder / "orders.db", isolation_level=None)
    for table, what in (("answer", "INSERT"), ("answer", "DELETE"), ("known", "DELETE")):
        refuse = "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        other.execute(f"CREATE TRIGGER {table}{what} BEFORE {what} ON {table} {refuse}")
    other.execute("INSERT INTO known VALUES ('0.1', 's', 'd', '2000')")
    other.close()


@on_bench
async def test_what_was_done_is_not_called_refused_because_the_disk_is_full(bench: Bench) -> None:
    await bench.send(an_order())
    full(bench)
    bench.answers.clear()
    await bench.send(an_order())
    assert bench.steps == [("accepted", ""), ("acted", ""), ("looked", "")]
    await bench.send(an_order(id="8.1"))
    assert bench.steps[-1] == ("refused", "no_journal")
    assert bench.device.resets == ["7.1"]


@on_bench
async def test_an_agent_killed_in_the_middle_starts_again_on_a_full_disk(bench: Bench) -> None:
    bench.device.gate.clear()
    bench.send(an_order())
    await bench.device.began.wait()
    await bench.crash()
    full(bench)
    bench.answers.clear()
    bench.start()
    assert bench.steps[0] == ("unknown", "interrupted")


@on_bench
async def test_an_answer_of_another_version_stops_no_agent(bench: Bench) -> None:
    await bench.send(an_order())
    await bench.crash()
    other = sqlite3.connect(bench.folder / "orders.db", isolation_level=None)
    other.execute("UPDATE answer SET body = replace(body, 'looked', 'admired')")
    other.close()
    bench.answers.clear()
    bench.start()
    assert bench.steps == [("accepted", ""), ("acted", "")]


def test_an_agent_without_a_journal_refuses_everything() -> None:
    async def run() -> None:
        answers: list[Outcome] = []
        worker = Worker(
            {},
            lambda _: a_roster(),
            lambda _, outcome: answers.append(outcome),
            defaultdict(asyncio.Lock),
            None,
            VirtualClock().clock,
        )

        async def ack() -> None: ...

        worker.recover()
        await worker.handle(an_order(), ack)
        assert [one.reason for one in answers] == ["no_journal"]

    asyncio.run(run())
