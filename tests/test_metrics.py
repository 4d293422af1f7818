"""The page for Prometheus: true, complete, well formed, and the same from every process."""

import gzip
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from agents.messages import Heartbeat, Reading
from fleet import intake, metrics
from fleet.metrics.exposition import Family, labels, number
from fleet.settings import Settings
from inventory import (
    Course,
    Device,
    DeviceState,
    Feed,
    Impact,
    Problem,
    Report,
    ReportState,
    ResetRun,
    RunState,
    Service,
)
from inventory.db import open_engine, session
from tests.parts import need
from tests.rows import device, make_region

SETTINGS = Settings()
Sample = tuple[str, dict[str, str], float]


class Scrape:
    """What Prometheus' own client library makes of the page."""

    def __init__(self, page: bytes) -> None:
        self.families = {f.name: f for f in text_string_to_metric_families(page.decode())}

    def all(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == f"raumwart_{name}":
                    yield sample.labels, sample.value

    def one(self, name: str, **wanted: str) -> float | None:
        """The value of the only sample with these labels; None: there is none."""
        found = [v for told, v in self.all(name) if wanted.items() <= told.items()]
        assert len(found) <= 1, (name, wanted, found)
        return found[0] if found else None


def scrape(engine: Engine, now: datetime) -> Scrape:
    return Scrape(metrics.render(engine, now, SETTINGS))


def say(engine: Engine, now: datetime, device_id: str, /, **facts: Any) -> None:
    intake.apply(
        engine,
        [Reading(device=device_id, taken_at=now, reachable=True, facts=facts)],
        now,
        SETTINGS,
    )


def fail(engine: Engine, now: datetime, name: str, times: int = 2) -> None:
    for n in range(times, 0, -1):
        at = now - timedelta(seconds=n)
        look = Reading(device=name, taken_at=at, reachable=False, problem="unreachable")
        intake.apply(engine, [look], now, SETTINGS)


def make_everything(engine: Engine, now: datetime) -> None:
    """A region in which every metric has something to say."""
    make_region(engine, device("old", "library", service=Service.RETIRED))
    say(
        engine, now - timedelta(seconds=20), "projector-1", power="on", lamp_s=3600, input="31",
        sound_muted=False, temperature_c=41.5, model='Acme "X"\\1\nB', serial="S1",
    )  # fmt: skip
    say(engine, now, "laptop-1", cpu_ratio=0.25, plugged=True, uptime_s=99, failed_units=0)
    fail(engine, now, "ap-1")
    intake.apply(
        engine,
        [Heartbeat(site="north", at=now, version="1.2", targets=3, polls=70, late=1)],
        now,
        SETTINGS,
    )
    with session(engine) as opened:
        opened.get_one(DeviceState, "laptop-1").clean_run_id = "r1"
        opened.get_one(DeviceState, "laptop-1").clean_at = now - timedelta(seconds=60)
        opened.add(Feed(id="f", site_id="north", url="file:///x", good_at=now))
        opened.add(Feed(id="never", site_id="south", url="file:///x"))
        start = now + timedelta(hours=2)
        opened.add(Course(room_id="library", uid="c", start=start, end=start + timedelta(hours=1)))
        for id_, state in (("r1", RunState.VERIFIED), ("r2", RunState.FAILED),
                           ("r3", RunState.PLANNED)):  # fmt: skip
            opened.add(
                ResetRun(
                    id=id_, device_id="laptop-1", recipe_id="laptop-reset", state=state,
                    planned_at=now, not_before=now, not_after=now, deadline=now, next_try_at=now,
                    ordered_at=now if state is RunState.VERIFIED else None,
                    acted_at=now + timedelta(seconds=50) if state is RunState.VERIFIED else None,
                )
            )  # fmt: skip
        for number_, progress in enumerate(ReportState):
            opened.add(
                Report(
                    id=f"M-{number_}", device_id="laptop-1", submission=str(number_),
                    state=progress,
                    problem=Problem.SOUND, impact=Impact.BLOCKED, contact="Ida", text="Ida sagt",
                    reported_at=now - timedelta(seconds=number_),
                )
            )  # fmt: skip


def test_devices(engine: Engine, now: datetime) -> None:
    make_everything(engine, now)
    told = scrape(engine, now)
    projector = {"site": "north", "room": "library", "device": "projector-1", "kind": "projector"}
    assert told.one("device_up", **projector) == 1
    assert told.one("device_power", **projector, state="on") == 1
    assert told.one("device_input", **projector, state="31") == 1
    assert told.one("device_sound_muted", **projector) == 0
    assert told.one("device_lamp_seconds_total", **projector) == 3600
    assert told.one("device_temperature_celsius", **projector) == 41.5
    assert told.one("device_info", **projector, model='Acme "X"\\1\nB', serial="S1") == 1
    seen = told.one("device_last_seen_timestamp_seconds", **projector)
    assert seen == now.timestamp() - 20
    assert told.one("device_cpu_ratio", device="laptop-1") == 0.25
    assert told.one("device_plugged", device="laptop-1") == 1
    assert told.one("device_uptime_seconds_total", device="laptop-1") == 99
    assert told.one("device_clean", device="laptop-1") == 1
    assert told.one("device_clean", device="projector-1") == 0
    verified = told.one("device_last_verified_reset_timestamp_seconds", device="laptop-1")
    assert verified == now.timestamp() - 60
    assert told.one("device_up", device="old") is None


def test_health_is_a_set_of_states(engine: Engine, now: datetime) -> None:
    make_everything(engine, now)
    told = scrape(engine, now)

    def health(name: str) -> dict[str, float]:
        return {at["health"]: v for at, v in told.all("device_health") if at["device"] == name}

    others = {"ok": 0, "off": 0, "warning": 0, "failed": 0, "unknown": 0}
    assert health("laptop-1") == others | {"ok": 1}
    assert health("ap-1") == others | {"failed": 1}
    # Never heard of: there, and unknown.
    assert health("laptop-2") == others | {"unknown": 1}
    assert told.one("device_up", device="laptop-2") == 0
    assert told.one("device_last_seen_timestamp_seconds", device="laptop-2") is None


def test_what_is_no_longer_true_is_not_told(engine: Engine, now: datetime) -> None:
    make_region(engine)
    say(engine, now, "ap-1", clients=7, model="A")
    assert scrape(engine, now).one("device_clients", device="ap-1") == 7
    later = now + timedelta(seconds=60)
    say(engine, later, "ap-1", clients=8)
    assert scrape(engine, later).one("device_clients", device="ap-1") == 8
    # The agent falls silent: no flat line.
    silent = later + timedelta(hours=1)
    intake.rejudge(engine, silent, SETTINGS)
    told = scrape(engine, silent)
    assert told.one("device_clients", device="ap-1") is None
    assert told.one("device_health", device="ap-1", health="unknown") == 1
    # Back, then unreachable.
    say(engine, silent, "ap-1", clients=9, model="A")
    assert scrape(engine, silent).one("device_clients", device="ap-1") == 9
    fail(engine, silent + timedelta(seconds=90), "ap-1")
    told = scrape(engine, silent)
    assert told.one("device_clients", device="ap-1") is None
    assert told.one("device_up", device="ap-1") == 0
    assert told.one("device_info", device="ap-1", model="A") == 1


def test_the_inventory_changes(engine: Engine, now: datetime) -> None:
    make_region(engine)
    say(engine, now, "ap-1", clients=7)
    scrape(engine, now)
    with session(engine) as opened:
        opened.get_one(Device, "ap-1").room_id = "hall"
        opened.delete(opened.get_one(Device, "laptop-2"))
        opened.get_one(Device, "laptop-1").service = Service.RETIRED
    told = scrape(engine, now)
    assert told.one("device_clients", device="ap-1", site="south", room="hall") == 7
    assert told.one("device_clients", device="ap-1", site="north") is None
    assert {at["device"] for at, _ in told.all("device_up")} == {"ap-1", "projector-1"}


def test_rooms_resets_reports_agents_feeds(engine: Engine, now: datetime) -> None:
    make_everything(engine, now)
    told = scrape(engine, now)
    verdicts = {at["verdict"]: v for at, v in told.all("room_readiness") if at["room"] == "library"}
    assert set(verdicts) == {"ready", "degraded", "not_ready", "unknown"}
    assert sum(verdicts.values()) == 1
    start = told.one("room_next_course_start_timestamp_seconds", site="north", room="library")
    assert start == now.timestamp() + 7200
    assert told.one("room_next_course_start_timestamp_seconds", room="hall") is None
    assert told.one("room_course_active", room="library") == 0
    north = {"site": "north", "kind": "laptop"}
    assert told.one("resets_total", **north, result="verified") == 1
    assert told.one("resets_total", **north, result="failed") == 1
    assert told.one("resets_total", **north, result="expired") == 0
    assert told.one("resets_total", result="planned") is None
    assert told.one("resets_open", site="north", state="planned") == 1
    assert told.one("reset_duration_seconds_bucket", kind="laptop", le="45") == 0
    assert told.one("reset_duration_seconds_bucket", kind="laptop", le="60") == 1
    assert told.one("reset_duration_seconds_bucket", kind="laptop", le="+Inf") == 1
    assert told.one("reset_duration_seconds_sum", kind="laptop") == pytest.approx(50, abs=0.01)
    assert told.one("reset_safety_violations_total") == 0
    assert told.one("reports_open", site="north", impact="blocked") == 2
    assert told.one("reports_open", site="south", impact="blocked") == 0
    assert told.one("report_oldest_open_timestamp_seconds", site="north") == now.timestamp() - 1
    assert told.one("agent_last_contact_timestamp_seconds", site="north") == now.timestamp()
    assert told.one("agent_polls_total", site="north") == 70
    assert told.one("agent_info", site="north", version="1.2") == 1
    assert told.one("feed_last_success_timestamp_seconds", feed="f") == now.timestamp()
    assert told.one("feed_last_success_timestamp_seconds", feed="never") == 0
    assert told.one("build_info", version=metrics.VERSION) == 1


def test_never_a_person(engine: Engine, now: datetime) -> None:
    make_everything(engine, now)
    say(engine, now, "laptop-1", name="Idas Laptop", reset_id="r1", home_hash="abc")
    page = metrics.render(engine, now, SETTINGS)
    assert b"Ida" not in page
    assert b"abc" not in page


def test_promtool_finds_nothing_to_complain_about(engine: Engine, now: datetime) -> None:
    promtool = need("promtool")
    make_everything(engine, now)
    say(engine, now, "ap-1", clients=3, channel_2g=6, channel_5g="36", noise_dbm=-90.5, in_bytes=5)
    page = metrics.render(engine, now, SETTINGS)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, timeout=30, check=False
    )
    # Lint of the Python client's own counters of its garbage collector is not ours.
    complaints = [line for line in done.stderr.decode().splitlines() if "raumwart_" in line]
    assert complaints == []
    assert done.returncode in (0, 3), done.stderr
    assert b"error while linting" not in done.stderr


def test_every_process_says_the_same(engine: Engine, now: datetime) -> None:
    make_everything(engine, now)

    def storage(page: bytes) -> bytes:
        return page[: page.index(b"# HELP python_gc")]

    ours = storage(metrics.render(engine, now, SETTINGS))
    assert storage(metrics.render(engine, now, SETTINGS)) == ours
    other = open_engine(engine.url.render_as_string(hide_password=False))
    assert storage(metrics.render(other, now, SETTINGS)) == ours
    other.dispose()


def test_zipped(engine: Engine, now: datetime) -> None:
    make_region(engine)
    plain, headers = metrics.answer(engine, now, False, SETTINGS)
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "Content-Encoding" not in headers
    zipped, headers = metrics.answer(engine, now, True, SETTINGS)
    assert headers["Content-Encoding"] == "gzip"
    assert len(zipped) < len(plain) / 3
    assert b"raumwart_device_up" in gzip.decompress(zipped)


def test_numbers_and_labels() -> None:
    told = [number(v) for v in (True, 3, 0.25, 1e300, float("nan"), float("-inf"), 5.0, -0.0)]
    assert told == ["1", "3", "0.25", "1e+300", "NaN", "-Inf", "5", "0"]
    assert labels({"a": 'x"y\\z\n', "b": 1}) == 'a="x\\"y\\\\z\\n",b="1"'
    assert Family("x", "gauge", "a\\b\nc").head() == "# HELP x a\\\\b\\nc\n# TYPE x gauge\n"
