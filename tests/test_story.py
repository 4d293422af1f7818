"""The whole way once: a projector's socket, the driver, the bus, the database, a course from a
calendar file, a reset, its proof, the verdict, and what people and Prometheus read."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient
from icalendar import Calendar, Event
from sqlmodel import select

from agents.drivers import DRIVERS
from agents.simulator.pjlink import Projector
from fleet import auth
from fleet.app import create_app
from fleet.settings import Settings
from inventory import Account, Device, Readiness, Report, ResetRun, Role, RunState
from inventory.db import migrate, open_engine, reading, session
from inventory.importer import apply, read_region
from inventory.recipes import ensure_recipes


@pytest.fixture
def projector() -> Iterator[tuple[Projector, int]]:
    """A projector in standby, in an event loop of its own like a device of its own."""
    device = Projector(password="beamer-secret", serial="PJ-1", transition_s=0.5)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(device.start(), loop).result(5)
    yield device, port
    asyncio.run_coroutine_threadsafe(device.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def write_region(folder: Path, port: int, start: datetime) -> Path:
    secret = folder / "credentials/beamer.json"
    secret.touch(0o600)
    secret.write_text(json.dumps({"password": "beamer-secret"}))
    event = Event()
    event.add("uid", "k1@example")
    event.add("summary", "Fotos ordnen")
    event.add("dtstart", start)
    event.add("dtend", start + timedelta(hours=1))
    calendar = Calendar()
    calendar.add("prodid", "-//Kurse//DE")
    calendar.add("version", "2.0")
    calendar.add_component(event)
    feed = folder / "saal.ics"
    feed.write_bytes(calendar.to_ical())
    region = {
        "sites": [{"id": "erl", "name": "Bücherei", "municipality": "Erlental"}],
        "rooms": [{"id": "erl-saal", "site": "erl", "name": "Lesesaal"}],
        "recipes": [
            {
                "id": "beamer",
                "name": "Projektor bereit",
                "max_runtime_s": 10,
                "lead_s": 3600,
                "steps": {"power": "on", "input": "32", "mute": False},
                "expects": {"power": "on", "input": "32", "picture_muted": False},
            }
        ],
        "feeds": [{"id": "saal", "site": "erl", "room": "erl-saal", "url": feed.as_uri()}],
        "devices": [
            {
                "id": "erl-beamer",
                "room": "erl-saal",
                "name": "Projektor",
                "kind": "projector",
                "driver": "pjlink",
                "address": "127.0.0.1",
                "port": port,
                "credential": "beamer",
                "recipe": "beamer",
            }
        ],
    }
    path = folder / "region.yaml"
    path.write_text(yaml.safe_dump(region, allow_unicode=True))
    return path


def until(what: Callable[[], object], limit_s: float = 60) -> object:
    """Wait until it is true, and return it."""
    deadline = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(0.1)
    return found


def test_from_a_projectors_socket_to_the_verdict(
    tmp_path: Path, projector: tuple[Projector, int]
) -> None:
    device, port = projector
    start = datetime.now(UTC) + timedelta(minutes=3)
    (tmp_path / "credentials").mkdir()
    settings = Settings(
        home=tmp_path,
        credentials=tmp_path / "credentials",
        poll_s=1,
        reset_grace_s=0,
        reset_buffer_s=1,
        calendar_s=10,
    )
    engine = open_engine(settings.database_url)
    migrate(engine)
    with session(engine) as opened:
        ensure_recipes(opened)
        apply(opened, read_region(write_region(tmp_path, port, start), drivers=DRIVERS))
        ida = Account(name="ida", role=Role.MUNICIPAL_IT, municipality="Erlental", created_at=start)
        opened.add(ida)
        opened.flush()
        secret, _ = auth.open_session(opened, ida, datetime.now(UTC))
        code = opened.get_one(Device, "erl-beamer").code

    def run() -> ResetRun | None:
        with reading(engine) as opened:
            return opened.exec(select(ResetRun)).first()

    def frozen() -> Readiness | None:
        with reading(engine) as opened:
            return opened.exec(select(Readiness)).first()

    ahead = timedelta()
    app = create_app(settings, clock=lambda: datetime.now(UTC) + ahead)
    with TestClient(app, client=("127.0.0.1", 50000), follow_redirects=False) as browser:
        assert browser.get("/").status_code == 303, "nothing is open without signing in"
        metrics = until(lambda: "raumwart_device_up{" in (m := browser.get("/metrics").text) and m)
        assert 'device="erl-beamer"' in str(metrics)

        browser.cookies.set(auth.COOKIE, secret)
        assert "Lesesaal" in browser.get("/").text

        # The reset before the course really switched the real (simulated) projector on.
        proved = until(lambda: (r := run()) and r.state == RunState.VERIFIED and r)
        assert isinstance(proved, ResetRun)
        assert proved.acted_at
        assert proved.looked_at
        assert proved.acted_at <= proved.looked_at <= start
        assert proved.evidence["power"] == "on"
        assert device.input == "32"
        assert device.received.count("%1POWR 1") == 1

        # A fault on the socket arrives on the pages and in the metrics.
        device.errors["lamp"] = 2
        until(lambda: "raumwart_device_lamp_state{" in browser.get("/metrics").text)
        until(lambda: "Lampe" in browser.get("/geraet/erl-beamer").text)

        # At the start the verdict is frozen, with its reason. (The service's clock goes ahead.)
        ahead = start - datetime.now(UTC)
        verdict = until(frozen)
        assert isinstance(verdict, Readiness)
        assert verdict.verdict != "ready"
        assert any(reason["device"] == "erl-beamer" for reason in verdict.reasons)
        assert verdict.judged_at >= start

        # Karim finds the code on the device and tells what he sees, without signing in.
        browser.cookies.clear()
        form = browser.get(f"/m/{code}").text
        assert "Projektor" in form
        assert "beamer-secret" not in form
        with reading(engine) as opened:
            assert opened.exec(select(Report)).first() is None
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.name != "beamer.json":
            assert b"beamer-secret" not in file.read_bytes(), f"a secret lies in {file.name}"
