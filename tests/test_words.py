"""What the pages call things, in both languages, and how they draw a history."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from agents.facts import FACTS
from dashboards import fact_words, reasons, units, view, words
from dashboards.catalogue import extract
from dashboards.finding import in_order
from dashboards.history import WIDTH, strip
from fleet import delivery, health, incidents, overrides, readiness, resets, timetable
from fleet.health import trends
from fleet.resets import forecast
from inventory import (
    Device,
    DeviceKind,
    Flip,
    Health,
    Subject,
)
from inventory.recipes import BUILT_IN
from tests.sample import House

pytest_plugins = ["tests.house"]
HERE = Path(view.__file__).parent


def test_the_language_follows_the_browser_and_then_the_choice(house: House) -> None:
    for wish, language in (("", "de"), ("fr, en;q=0.5", "en"), ("pl", "de"), ("en-GB", "en")):
        text = house.browser("ida", wish).get("/").text
        assert f'<html lang="{language}">' in text, wish
    browser = house.browser("ida", "de")
    answer = browser.get("/sprache/en?weiter=/heute")
    assert answer.headers["location"] == "/heute"
    assert "Monday, 23 November" in browser.get("/heute").text
    assert browser.get("/sprache/xx").status_code == 404
    assert browser.get("/sprache/de?weiter=//evil.example").headers["location"] == "/"


def catalogue(language: str) -> Catalog:
    with (HERE / "locale" / language / "LC_MESSAGES" / "raumwart.po").open("rb") as file:
        return read_po(file, locale=language)


def test_every_text_is_translated_and_nothing_else() -> None:
    texts = {message.id for message in extract() if message.id}
    assert len(texts) > 300
    for language in view.LANGUAGES:
        entries = {entry.id: entry for entry in catalogue(language) if entry.id}
        assert set(entries) == texts, language
    for entry in catalogue("en"):
        if entry.id:
            texts_of = entry.string if isinstance(entry.string, tuple) else (entry.string,)
            assert all(texts_of), f"not translated: {entry.id}"
            holes = set(re.findall(r"%\(\w+\)s|\{\w+\}", str(entry.id)))
            assert set(re.findall(r"%\(\w+\)s|\{\w+\}", " ".join(texts_of))) == holes, entry.id


def test_every_reason_has_a_sentence() -> None:
    for codes, sentences in (
        (health.REASONS, reasons.HEALTH),
        (readiness.REASONS, reasons.READINESS),
        (incidents.SITE_REASONS, reasons.INCIDENT),
        ({trend.code for trend in trends.TRENDS}, reasons.TREND),
        (resets.REFUSALS, reasons.REFUSAL),
        (overrides.REFUSALS, reasons.REFUSAL),
        (timetable.PROBLEMS, reasons.TIMETABLE),
        (delivery.PROBLEMS, reasons.DELIVERY),
        (readiness.REASONS, reasons.CAUSE),
        (timetable.WARNINGS, reasons.FEED_WARNING),
    ):
        assert set(codes) <= set(sentences)


def test_every_reason_of_a_run_has_a_sentence() -> None:
    """The codes that reset runs carry, read from where they are written."""
    root = HERE.parent
    written: set[str] = set()
    for path in (
        *(root / "fleet/resets").glob("*.py"),
        *(root / "agents").glob("**/*.py"),
        *(root / "ansible/roles/room_laptop/files").glob("*.py"),
    ):
        text = path.read_text()
        written |= set(re.findall(r'(?<!Reset)(?<!Override)Refus(?:ed|al)\(\s*"(\w+)"', text))
        written |= set(re.findall(r'^    code = "(\w+)"', text, re.MULTILINE))
        if path.name in {"worker.py", "outcomes.py", "resets.py", "dispatch.py", "runs.py"}:
            written |= set(re.findall(r'reason="(\w+)"', text))
    written |= set(re.findall(r'yield "(\w+)"', (root / "agents/checks.py").read_text()))
    gates, load = (root / f"fleet/resets/{name}.py" for name in ("gates", "load"))
    written |= set(re.findall(r'(?:return|or \(?) ?"(\w+)"', gates.read_text()))
    written |= set(re.findall(r'\(\s*"(\w+_\w+|busy|storm)",\s', load.read_text()))
    written |= set(forecast.REASONS)
    assert len(written) > 45
    assert written - set(reasons.DOMAINS["run"]) == set()


def test_every_word_of_the_tables_can_be_said() -> None:
    assert set(FACTS) == set(fact_words.FACT)
    values = {value for fact in FACTS.values() for value in fact.values}
    assert values <= set(fact_words.FACT_VALUES)
    assert {recipe.name for recipe in BUILT_IN.values()} == set(words.RECIPE)
    for kind in DeviceKind:
        assert kind in words.KIND
        assert kind in words.KINDS
        assert words.PROBLEMS_OF[kind]


def test_a_reason_is_one_sentence_whatever_things_are_called() -> None:
    texts = view.translations("de")
    reason = readiness.Reason("device_failed", "laptop", "x", name="{have} %s", detail="disk_full")
    assert reasons.reason(reason, texts) == "{have} %s ist gestört. Der Datenträger ist voll."
    frozen = {"code": "too_few", "kind": "laptop", "have": 3, "need": 5, "future": True}
    assert reasons.reason(frozen, texts) == "Laptops: 3 nutzbar, 5 nötig."
    assert reasons.reason({"code": "not_yet_known"}, texts) == "not_yet_known"


@pytest.mark.parametrize(
    ("name", "value", "german", "english"),
    [
        ("battery_ratio", 0.425, "42 %", "42 %"),
        ("round_trip_s", 0.0031, "3,1 ms", "3.1 ms"),
        ("uptime_s", 90, "1,5 Min.", "1.5 min"),
        ("uptime_s", 4 * 86400, "4 Tage", "4 days"),
        ("lamp_s", 3_605_000, "1.001 Std.", "1,001 h"),
        ("in_bytes", 1_500_000_000, "1,5 GB", "1.5 GB"),
        ("noise_dbm", -95, "-95 dBm", "-95 dBm"),
        ("plugged", False, "nein", "no"),
        ("power", "warming", "wärmt auf", "warming up"),
        ("input", "31", "Digital 1", "Digital 1"),
        ("input", "9Z", "9Z", "9Z"),
        ("model", "on", "an", "on"),
        ("strange", 5, "5", "5"),
        ("clock_offset_s", -0.02, "0 s", "0 s"),
        (
            "step_times",
            ["lock:40", "updates:90000", "x"],
            "Anmeldung sperren: 0 s, Updates einspielen: 1,5 Min., x",
            "locking the sign-in: 0 s, installing updates: 1.5 min, x",
        ),
    ],
)
def test_units(name: str, value: object, german: str, english: str) -> None:
    for language, expected in (("de", german), ("en", english)):
        said = units.human(name, value, language, view.translations(language).gettext)
        assert said.replace("\xa0", " ") == expected


def test_devices_stand_in_the_order_in_which_people_count() -> None:
    names = ["Laptop 10", "laptop 2", "Beamer", "Laptop 1", "10", "Laptop"]
    devices = [Device(id=name, room_id="r", name=name, kind="laptop") for name in names]
    ordered = [device.name for _, device in in_order((None, device) for device in devices)]
    assert ordered == ["Beamer", "Laptop", "Laptop 1", "laptop 2", "Laptop 10", "10"]


def test_a_strip_covers_the_whole_time_and_counts_it_once(now: datetime) -> None:
    def flip(hours: float, old: Health, new: Health) -> Flip:
        at = now - timedelta(hours=hours)
        return Flip(subject=Subject.DEVICE, room_id="r", at=at, old=old, new=new)

    flips = [flip(30, Health.OK, Health.OFF), flip(12, Health.OFF, Health.FAILED)]
    first = now - timedelta(days=90)
    day = strip(flips, "failed", now, 1, first)
    assert [(span.health, span.x, span.width) for span in day.spans] == [
        ("off", 0.0, 500.0),
        ("failed", 500.0, 500.0),
    ]
    week = strip(flips, "failed", now, 7, first)
    assert [span.health for span in week.spans] == ["ok", "off", "failed"]
    assert sum(span.width for span in week.spans) == pytest.approx(WIDTH, abs=0.1)
    quiet = strip([], "ok", now, 1, first)
    assert quiet.shares == [("ok", 100)]


def test_time_before_a_device_was_known_is_no_time_of_not_knowing(now: datetime) -> None:
    first = now - timedelta(hours=6)

    def flip(at: datetime, old: Health, new: Health) -> Flip:
        return Flip(subject=Subject.DEVICE, room_id="r", at=at, old=old, new=new)

    flips = [
        flip(first, Health.UNKNOWN, Health.OK),
        flip(now - timedelta(hours=3), Health.OK, Health.UNKNOWN),
    ]
    day = strip(flips, "unknown", now, 1, first)
    assert day.seen_x == 750.0
    assert day.shares == [("ok", 50), ("unknown", 50)]
    assert [(span.health, span.x, span.width) for span in day.spans] == [
        ("ok", 750.0, 125.0),
        ("unknown", 875.0, 125.0),
    ]
    never = strip([], "unknown", now, 1, None)
    assert (never.spans, never.shares) == ([], [])
