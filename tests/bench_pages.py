"""How long the pages take with 10,000 devices in 500 rooms, as a signed-in visitor gets them."""

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median

from fastapi.testclient import TestClient

from fleet import auth, intake
from fleet.app import create_app
from fleet.settings import Settings
from inventory import Account, Role
from inventory.db import session
from tests.bench_fleet import NOW, looks, make

DEVICES = 10_000
ROUNDS = 7
PAGES = {
    "overview of the region": "/",
    "one room": "/raum/r7",
    "one device": "/geraet/d150",
    "today's courses and resets": "/heute",
    "reports": "/meldungen",
    "devices, 100 as JSON": "/api/v1/devices?limit=100",
    "rooms, 100 as JSON": "/api/v1/rooms?limit=100",
}


def bench() -> list[tuple[str, float, str]]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        app = create_app(settings, clock=lambda: NOW + timedelta(seconds=30))
        make(app.state.engine, DEVICES)
        readings = looks(DEVICES, NOW)
        for start in range(0, DEVICES, 500):
            intake.apply(app.state.engine, readings[start : start + 500], NOW, settings)
        with session(app.state.engine) as opened:
            admin = Account(name="anna", role=Role.REGION_ADMIN, created_at=NOW)
            opened.add(admin)
            opened.flush()
            secret, _ = auth.open_session(opened, admin, NOW)
        # Without entering it the clockwork and the agents stand still: only pages are measured.
        browser = TestClient(app, client=("127.0.0.1", 50000))
        browser.cookies.set(auth.COOKIE, secret)
        return [(name, median(_times(browser, path)) * 1000, "ms") for name, path in PAGES.items()]


def _times(browser: TestClient, path: str) -> list[float]:
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        answer = browser.get(path)
        times.append(time.perf_counter() - begun)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
    return times
