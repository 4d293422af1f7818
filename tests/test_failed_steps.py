"""The step at which a reset breaks, from the device's own script to the pages and the metrics."""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text
from sqlmodel import select

from agents.agent import CLOCK
from agents.credentials import Credentials
from agents.drivers import freekiosk, headwind, kiosk
from agents.drivers.ssh import Ssh
from agents.journal import Journal
from agents.messages import Order, Outcome, Roster, Step, Target
from agents.pjlink import ensure
from agents.simulator.laptop_folder import SCRIPTS
from agents.simulator.ssh import Laptop
from agents.steps import LAPTOP, STEPS, STEPS_OF
from agents.worker import Worker
from dashboards import words
from fleet import evidence, intake, retention
from fleet.readiness import replay
from fleet.settings import Settings
from inventory import DeviceKind, Evidence, ResetRun, RunState
from inventory.db import MIGRATIONS, open_engine, reading, session
from tests.room import HOUR, MINUTE, add_course, claim, furnish, outcome, plan, runs, say
from tests.sample import House
from tests.test_metrics import scrape

pytest_plugins = ["tests.house"]
SETTINGS = Settings()
DAY = timedelta(days=1)
SECRET = "a laptop's password"
NORTH = {"site": "vhs", "kind": "laptop"}


def test_every_step_has_a_name_and_a_word() -> None:
    sys.path.insert(0, str(SCRIPTS))
    try:
        import room_run  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(SCRIPTS))
    told = {step for tier in room_run.TIERS.values() for step in tier}
    assert told | {"canary", "countdown", "start", "resume"} == set(LAPTOP)
    drivers = (kiosk, freekiosk, headwind, ensure)
    assert {step for one in drivers for step in one.STEP_OF.values()} < STEPS
    assert set(STEPS_OF) <= set(DeviceKind)
    assert set(words.STEP) == STEPS
    everything = kiosk.Steps(
        clear=["cookies", "webstorage", "cache"], webview=True, start_page=True, lock=True,
        settings={"a": True, "b": "x"},
    )  # fmt: skip
    assert {command for command, _ in everything.commands()} == set(kiosk.STEP_OF)
    free = freekiosk.Steps(clear=["cache"], start_page=True, restart=True)
    assert {command for command, _ in free.commands("http://a")} == set(freekiosk.STEP_OF)
    assert set(headwind.Steps(refresh=True, restart=True).messages()) == set(headwind.STEP_OF)


@pytest.fixture
def sqlite(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    path = tmp_path / "fleet.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    opened = open_engine(f"sqlite:///{path}")
    yield opened
    opened.dispose()


async def carry_out(order: Order, laptop: Laptop, folder: Path) -> list[Outcome]:
    """What a whole agent's worker answers to it."""
    now = datetime.now(UTC)
    target = Target(
        device=order.device, room=order.room, kind="laptop", driver="ssh", address="127.0.0.1",
        port=await laptop.start(), credential="laptop", serial="PF-0001",
    )  # fmt: skip
    roster = Roster(
        site="vhs", revision=1, sent_at=now, targets=[target], busy=[],
        trusted_until={order.room: now + HOUR}, plan_rev=order.plan_rev,
    )  # fmt: skip
    answers: list[Outcome] = []
    driver, journal = Ssh(Credentials(None), folder / "state"), Journal(folder / "journal.db")
    worker = Worker(
        {"ssh": driver}, lambda _: roster, lambda _, answer: answers.append(answer),
        defaultdict(asyncio.Lock), journal, CLOCK,
    )  # fmt: skip

    async def acknowledged() -> None:
        pass

    try:
        await worker.handle(order, acknowledged)
    finally:
        await driver.close()
        await laptop.stop()
        journal.close()
    return answers


def test_a_step_that_really_fails_is_known_to_everybody(
    sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = {"user": "raumwart", "password": SECRET}
    monkeypatch.setenv("RAUMWART_SECRET_LAPTOP", json.dumps(secret))
    now = datetime.now(UTC)
    furnish(sqlite, now, laptops=1, recipe={"steps": {"tier": "quick"}, "tries": 1})
    course = add_course(sqlite, now + HOUR)
    plan(sqlite, now, SETTINGS)
    (order,) = claim(sqlite, now, SETTINGS)
    laptop = Laptop(tmp_path / "laptop", seed=1, serial="PF-0001", password=SECRET)
    trash = tmp_path / "laptop" / "trash"
    trash.mkdir()
    trash.chmod(0o755)  # where others can reach it, no new home may be built

    answers = asyncio.run(carry_out(order, laptop, tmp_path))
    assert [(one.step, one.broke_at) for one in answers] == [
        (Step.ACCEPTED, ""),
        (Step.FAILED, "prepare"),
    ]
    intake.apply(sqlite, answers, now + MINUTE, SETTINGS)

    (run,) = runs(sqlite)
    assert (run.state, run.reason, run.step) == (RunState.FAILED, "reset_failed", "prepare")
    told = scrape(sqlite, now)
    failed = NORTH | {"reason": "reset_failed"}
    assert told.one("reset_failures_total", **failed, step="prepare") == 1
    assert told.one("reset_failures_total", **failed, step="home") == 0
    assert told.one("resets_total", **NORTH, tier="quick", result="failed") == 1
    with reading(sqlite) as opened:
        assert opened.exec(select(Evidence.step)).all() == ["prepare"]
        said = "\n".join(replay.tell(opened, "r1", (now + HOUR).date().isoformat(), now))
    assert "failed reset_failed at prepare" in said
    assert course


@pytest.mark.parametrize(
    ("step", "kept", "counted"),
    [
        ("residue", "residue", "residue"),
        ("polish_screen", "polish_screen", "other"),
        ("Idas Brief.odt", "", ""),
        ("a" * 64, "", ""),
    ],
)
def test_what_a_device_calls_its_steps_makes_no_label(
    sqlite: Engine, now: datetime, step: str, kept: str, counted: str
) -> None:
    furnish(sqlite, now, laptops=1, recipe={"tries": 1})
    add_course(sqlite, now + HOUR)
    plan(sqlite, now, SETTINGS)
    (order,) = claim(sqlite, now, SETTINGS)
    said: dict[str, Any] = {"reason": "reset_failed", "broke_at": step}
    say(sqlite, outcome(order, Step.FAILED, now, **said), now)
    assert [run.step for run in runs(sqlite)] == [kept]
    broken = NORTH | {"reason": "reset_failed"}
    assert scrape(sqlite, now).one("reset_failures_total", **broken, step=counted) == 1


def test_a_step_is_forgotten_with_its_reason(sqlite: Engine, now: datetime) -> None:
    furnish(sqlite, now, laptops=1)
    add_course(sqlite, now + HOUR)
    plan(sqlite, now, SETTINGS)
    (order,) = claim(sqlite, now, SETTINGS)
    said = {"reason": "reset_failed", "broke_at": "home"}
    say(sqlite, outcome(order, Step.FAILED, now, **said), now)
    assert [(run.state, run.step) for run in runs(sqlite)] == [(RunState.PLANNED, "home")]
    later = now + 2 * MINUTE
    claim(sqlite, later, SETTINGS)
    assert [(run.state, run.step) for run in runs(sqlite)] == [(RunState.ORDERED, "")]


def test_a_run_that_expires_keeps_the_step_that_held_it_up(sqlite: Engine, now: datetime) -> None:
    furnish(sqlite, now, laptops=1)
    add_course(sqlite, now + HOUR)
    plan(sqlite, now, SETTINGS)
    (order,) = claim(sqlite, now, SETTINGS)
    said = {"reason": "reset_failed", "broke_at": "home"}
    say(sqlite, outcome(order, Step.FAILED, now, **said), now)
    plan(sqlite, now + HOUR, SETTINGS)
    assert [(run.state, run.step) for run in runs(sqlite)] == [(RunState.EXPIRED, "home")]


def test_what_was_recorded_and_counted_before_stays_true(engine: Engine, now: datetime) -> None:
    """Without a step, by a version that knew none."""
    furnish(engine, now, laptops=1)
    run = ResetRun(
        id="old", device_id="r1-l1", recipe_id="wipe", state=RunState.FAILED, reason="not_clean",
        planned_at=now, not_before=now, not_after=now, deadline=now, next_try_at=now,
    )  # fmt: skip
    with session(engine) as opened:
        opened.add(run)
        evidence.record(opened, run, now)
    retention.forget(engine, now + DAY)
    before = scrape(engine, now)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    command.downgrade(config, "0010")
    with engine.begin() as opened:
        labels = opened.execute(text("SELECT labels FROM tally WHERE counter = 'failures'"))
        assert [row.labels for row in labels] == ["vhs\nlaptop\nnot_clean"]
    command.upgrade(config, "head")
    told = scrape(engine, now)
    assert told.one("reset_failures_total", **NORTH, reason="not_clean", step="") == 1
    assert told.one("resets_total", **NORTH, tier="", result="failed") == 1
    assert before.one("resets_total", **NORTH, tier="quick", result="failed") == 1
    with reading(engine) as opened:
        assert evidence.check(opened, now + DAY) == (1, [])


def test_people_read_at_which_step_it_broke(house: House) -> None:
    with session(house.engine) as opened:
        run = opened.exec(select(ResetRun).where(ResetRun.state == RunState.FAILED)).first()
        assert run
        run.reason, run.step, device = "reset_failed", "sessions", run.device_id
    german = house.browser("ida").get(f"/geraet/{device}").text
    assert "Ein Schritt schlug fehl. Schritt: Gast abmelden." in german
    english = house.browser("ida", "en").get(f"/geraet/{device}").text
    assert "Step: signing the guest out." in english
