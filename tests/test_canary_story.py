"""The canary on a laptop behind a real SSH server, by the laptop's own scripts; and that nothing a
guest left there is ever told to anybody."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient
from sqlmodel import select

from agents.bus_local import LocalBus
from agents.drivers import DRIVERS
from agents.simulator.ssh import Laptop
from fleet import auth, canary, evidence
from fleet.app import create_app
from fleet.settings import Settings
from inventory import Account, DeviceState, Evidence, ResetRun, Role, RunState
from inventory.db import migrate, open_engine, reading, session
from inventory.importer import apply, read_region
from inventory.recipes import ensure_recipes
from tests.test_story import until

WORDS = (
    "Quittenbaum",
    "zacharias",
    "Kuendigung",
    "geheimer-brief",
    "Krankenkasse",
)
"""Stand in names and contents of what the guest leaves."""
CALENDAR = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Kurse//DE\r\nBEGIN:VEVENT\r\nUID:k1\r\n"
    "DTSTAMP:20260101T000000Z\r\nDTSTART:{0:%Y%m%dT%H%M%SZ}\r\nDTEND:{1:%Y%m%dT%H%M%SZ}\r\n"
    "SUMMARY:Schach\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[tuple[Laptop, int]]:
    folder = tmp_path / "laptop"
    folder.mkdir()
    device = Laptop(folder, seed=1, serial="L-1", password="kurs-secret")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(device.start(), loop).result(5)
    yield device, port
    asyncio.run_coroutine_threadsafe(device.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@pytest.fixture
def home(tmp_path: Path, laptop: tuple[Laptop, int]) -> Settings:
    """A service's folder with a region of one room and one laptop; the next course is in days."""
    folder = tmp_path / "service"
    (folder / "credentials").mkdir(parents=True)
    secret = folder / "credentials/kurs.json"
    secret.touch(0o600)
    secret.write_text(json.dumps({"user": "raumwart", "password": "kurs-secret"}))
    start = datetime.now(UTC) + timedelta(days=5)
    feed = folder / "saal.ics"
    feed.write_text(CALENDAR.format(start, start + timedelta(hours=1)))
    device = {
        "id": "erl-l1", "room": "saal", "name": "Laptop 1", "kind": "laptop", "driver": "ssh",
        "address": "127.0.0.1", "port": laptop[1], "serial": "L-1", "credential": "kurs",
        "recipe": "laptop-reset",
    }  # fmt: skip
    region = {
        "sites": [{"id": "erl", "name": "Bücherei", "municipality": "Erlental"}],
        "rooms": [{"id": "saal", "site": "erl", "name": "Lesesaal"}],
        "feeds": [{"id": "saal", "site": "erl", "room": "saal", "url": feed.as_uri()}],
        "devices": [device],
    }
    (folder / "region.yaml").write_text(yaml.safe_dump(region, allow_unicode=True))
    settings = Settings(
        home=folder, credentials=folder / "credentials", poll_s=1, calendar_s=10, reset_grace_s=0
    )
    engine = open_engine(settings.database_url)
    migrate(engine)
    with session(engine) as opened:
        ensure_recipes(opened)
        apply(opened, read_region(folder / "region.yaml", drivers=DRIVERS))
        opened.add(Account(name="ida", role=Role.REGION_ADMIN, created_at=datetime.now(UTC)))
        opened.add_all(_tried_in_vain(n) for n in range(canary.TRIES))
    engine.dispose()
    return settings


def _tried_in_vain(number: int) -> ResetRun:
    """With these the service itself plants nothing tonight, should the test run at night."""
    now = datetime.now(UTC)
    return ResetRun(
        id=f"vain-{number}", device_id="erl-l1", recipe_id=canary.CANARY, state=RunState.EXPIRED,
        reason="unreachable", planned_at=now, not_before=now, not_after=now, deadline=now,
        next_try_at=now,
    )  # fmt: skip


def fleet(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from fleet.cli import main; main()", *arguments],
        env={"FLEET_HOME": str(settings.home), "PATH": "/usr/bin:/bin", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def leave_traces(laptop: Laptop) -> None:
    """A guest's letters, history and temporary files, all with words that can be looked for."""
    laptop.plant_traces()
    (laptop.home / "Downloads" / "Kuendigung Zacharias Quittenbaum.odt").write_text("Quittenbaum")
    (laptop.home / "zacharias").mkdir()
    (laptop.home / "zacharias" / "geheimer-brief").write_text("an die Krankenkasse")
    (laptop.home / ".bash_history").write_text("ssh zacharias@quittenbaum.example\n")
    (laptop.home.parent / "places/tmp" / "geheimer-brief von zacharias.pdf").write_text(
        "Quittenbaum"
    )


def test_a_canary_passes_and_a_guest_stays_unnamed(
    home: Settings,
    laptop: tuple[Laptop, int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    device, _ = laptop
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    publish = LocalBus.publish

    async def listened(self: LocalBus, subject: str, data: bytes) -> None:
        told.append(f"{subject} {data.decode()}")
        await publish(self, subject, data)

    monkeypatch.setattr(LocalBus, "publish", listened)
    engine = open_engine(home.database_url)
    with session(engine) as opened:
        ida = opened.exec(select(Account)).one()
        secret, _ = auth.open_session(opened, ida, datetime.now(UTC))
    with TestClient(create_app(home), client=("127.0.0.1", 50000)) as browser:
        browser.cookies.set(auth.COOKIE, secret)

        def seen() -> bool:
            with reading(engine) as opened:
                state = opened.get(DeviceState, "erl-l1")
                return state is not None and state.reachable

        until(seen)
        leave_traces(device)
        done = fleet(home, "canary", "erl-l1")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "verified" in done.stdout
        assert not (device.home / "zacharias").exists()
        assert device.victim.read_text() == "not a guest's\n"

        # A laptop whose reset leaves something behind: told loudly.
        device.dirty = True
        leave_traces(device)
        failed = fleet(home, "canary", "erl-l1")
        assert failed.returncode == 1
        assert "failed not_clean" in failed.stdout
        with reading(engine) as opened:
            now = datetime.now(UTC)
            assert canary.doubts(opened, ["saal"], now) == {"saal": "canary_failed"}
            count, broken = evidence.check(opened, now)
            good, bad = opened.exec(select(Evidence).order_by(Evidence.number)).all()  # type: ignore[arg-type]
        assert (count, broken) == (2, [])
        assert (good.verdict, bad.verdict) == ("verified", "failed")
        assert good.counts["canary_unseen"] == 0
        assert good.counts["canary_planted"] >= 3
        assert all((good.script_hash, good.skeleton_hash, good.home_hash))
        assert bad.counts["residue"] > 0

        paths = ("/", "/raum/saal", "/geraet/erl-l1", "/heute", "/metrics", "/api/v1/rooms")
        pages = [browser.get(path).text for path in paths]
        assert "Lesesaal" in pages[0]
    checked = fleet(home, "evidence", "verify")
    assert checked.returncode == 0, checked.stderr
    assert "2 records" in checked.stdout
    engine.dispose()

    assert any("canary_planted" in message for message in told)
    kept = [file.read_bytes().decode("latin-1") for file in home.home.rglob("*") if file.is_file()]
    said = [done.stdout, done.stderr, failed.stdout, failed.stderr]
    for text in (*told, *pages, *said, *kept, caplog.text):
        assert not [word for word in WORDS if word.lower() in text.lower()]


def test_the_command_says_what_is_wrong(home: Settings) -> None:
    assert "no such device" in fleet(home, "canary", "nothing").stderr
    engine = open_engine(home.database_url)
    now = datetime.now(UTC)
    with session(engine) as opened:
        row = {
            "device_id": "erl-l1", "number": 2, "recorded_at": now, "reset_id": "x", "attempt": 1,
            "recipe": "r", "tier": "quick", "counts": {}, "verdict": "verified", "previous": "",
            "hash": "0" * 64,
        }  # fmt: skip
        opened.add(Evidence.model_validate(row))
    engine.dispose()
    checked = fleet(home, "evidence", "verify")
    assert checked.returncode == 1
    assert "erl-l1 2: it was changed" in checked.stdout
