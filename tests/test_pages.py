"""The pages: what they say, to whom, in which language, and with how many queries."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event
from sqlmodel import select

from agents.facts import FACTS
from dashboards import reasons, units, vendor, view, words
from dashboards.finding import in_order
from dashboards.history import WIDTH, strip
from fleet import auth, health, readiness, resets, timetable
from inventory import (
    Account,
    Device,
    DeviceKind,
    DeviceState,
    Feed,
    Flip,
    Health,
    Report,
    ReportState,
    ResetRun,
    Role,
    Room,
    RunState,
    Service,
    SignIn,
    Site,
    Subject,
)
from inventory.db import open_engine, reading, session
from inventory.recipes import BUILT_IN, ensure_recipes
from tests.sample import HOSTILE, Clock, Person, make_app, make_region, make_site, people

HERE = Path(view.__file__).parent


@dataclass
class House:
    """The pages over a seeded database."""

    app: FastAPI
    engine: Engine
    clock: Clock
    people: dict[str, Person]

    def browser(self, name: str = "", language: str = "de") -> TestClient:
        """A browser of this person, or of nobody."""
        cookies = self.people[name].cookies if name else None
        return TestClient(
            self.app,
            cookies=cookies,
            headers={"accept-language": language},
            follow_redirects=False,
            raise_server_exceptions=False,
        )


def open_house(engine: Engine, now: datetime, home: Path) -> House:
    clock = Clock(now)
    return House(make_app(engine, clock, home), engine, clock, make_region(engine, now))


@pytest.fixture
def house(migrated_sqlite: Path, now: datetime, tmp_path: Path) -> Iterator[House]:
    shutil.copyfile(migrated_sqlite, tmp_path / "fleet.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'fleet.db'}")
    yield open_house(engine, now, tmp_path)
    engine.dispose()


@pytest.fixture
def anywhere(engine: Engine, now: datetime, tmp_path: Path) -> House:
    """The same over either database."""
    return open_house(engine, now, tmp_path)


# --- what the pages say ---------------------------------------------------------------------


def test_the_overview_says_what_needs_attention_first(anywhere: House) -> None:
    text = anywhere.browser("anna").get("/").text
    assert text.index("Werkraum 1") < text.index("Lernraum 1") < text.index("Lesesaal 1")
    assert "2 von 3 Räumen brauchen Sie." in text
    assert "in 23 Min." in text
    assert "nicht bereit" in text
    assert "4 von 11 geprüft" in text
    assert "Beamer 1 ist gestört. Die Lampe ist kaputt." in text
    assert "Standort meldete sich vor 20 Sekunden" in text
    assert "Stundenplan gelesen vor 4 Minuten" in text
    assert 'Stand <time datetime="2026-11-23T09:00:00+01:00">09:00</time> Uhr' in text


def test_a_timetable_in_doubt_is_said(house: House) -> None:
    with session(house.engine) as opened:
        opened.get_one(Feed, "cellberg-1").problem = "shrunk"
    text = house.browser("anna").get("/raum/cellberg-1").text
    assert "Mehr als die Hälfte der Kurse ist auf einmal weg." in text
    assert "unbekannt" in text


def test_the_overview_can_be_filtered(house: House) -> None:
    browser = house.browser("anna")
    for query, there, gone in (
        ("gemeinde=Birkental", "Werkraum 1", "Lernraum 1"),
        ("status=ready", "Lesesaal 1", "Werkraum 1"),
        ("q=smartphone", "Lernraum 1", "Lesesaal 1"),
        ("q=BÜRGERHAUS", "Lernraum 1", "Werkraum 1"),
    ):
        text = browser.get(f"/?{query}").text
        assert there in text, query
        assert gone not in text, query
    assert "Kein Raum passt zu Ihrer Auswahl." in browser.get("/?q=nirgends").text


def test_a_county_is_shown_from_its_most_urgent_rooms(house: House) -> None:
    with session(house.engine) as opened:
        for number in range(3, 26):
            make_site(opened, number, house.clock.now, rooms=3)
    browser = house.browser("anna")
    page = browser.get("/?gemeinde=&q=").text
    assert "2 von 72 Räumen brauchen Sie." in page
    assert "Gezeigt werden die 60 dringendsten von 72 Räumen." in page
    assert page.count('class="room ') == 60
    assert page.index("Lernraum 1</a>") < page.index("Bereit</h2>")
    assert browser.get("/?alle=1").text.count('class="room ') == 72
    assert "dringendsten" not in browser.get("/?gemeinde=Birkental").text


def test_an_empty_region_says_how_to_begin(engine: Engine, now: datetime, tmp_path: Path) -> None:
    with session(engine) as opened:
        found = people(opened, now)
    empty = House(make_app(engine, Clock(now), tmp_path), engine, Clock(now), found)
    browser = empty.browser("anna")
    assert "Noch keine Räume" in browser.get("/").text
    assert "Heute ist kein Kurs." in browser.get("/heute").text
    assert "Keine offene Meldung" in browser.get("/meldungen").text


def test_the_room_page_shows_every_reason_device_and_reset(anywhere: House) -> None:
    text = anywhere.browser("ida").get("/raum/ahlendorf-1").text
    assert "Smartphone für Einsteiger beginnt in 23 Minuten (09:23–10:53)" in text
    assert "Laptop 5: Zurücksetzen fehlgeschlagen. Ein Schritt schlug fehl." in text
    assert "5 nutzbar, 6 nötig" in text
    assert "Bild fehlt oder ist schlecht" in text
    for number in range(1, 7):
        assert f"/geraet/ahlendorf-1-laptop-{number}" in text
    assert "morgen, 11:00–12:30" in text


def test_the_device_page_shows_facts_in_human_units(house: House) -> None:
    text = house.browser("ida").get("/geraet/ahlendorf-1-laptop-1").text
    for shown in ("86 %", "148 GB", "41 °C", "1,5 Std.", "Debian 13", "Am Netzteil"):
        assert shown in text, shown
    assert "Zurückgesetzt und geprüft: 08:44" in text
    beamer = house.browser("ida", "en").get("/geraet/ahlendorf-1-beamer-1").text
    for shown in ("1,000 h", "Digital 1", "The lamp is broken.", "faulty"):
        assert shown in beamer, shown


def test_the_history_has_the_same_as_text(anywhere: House) -> None:
    text = anywhere.browser("ida").get("/geraet/ahlendorf-1-beamer-1").text
    assert "in Ordnung 50 %, aus 17 %, Hinweis 17 %, unbekannt 8 %, gestört 8 %" in text
    assert "5 Wechsel in 7 Tagen" in text
    assert text.count("<rect") == 5 + 6


def test_today_shows_courses_their_resets_and_why(anywhere: House) -> None:
    text = anywhere.browser("anna").get("/heute").text
    assert "4 Kurse heute" in text
    assert text.index("08:30") < text.index("09:23") < text.index("14:00") < text.index("17:00")
    assert "Das Ende wurde nie gemeldet." in text
    assert "fällt aus" in text
    assert text.count("läuft jetzt") == 1
    anywhere.clock.wait(hours=2)
    later = anywhere.browser("anna").get("/heute").text
    assert later.count("läuft jetzt") == 0
    assert later.index("Vorbei") < later.index("08:30")
    only = anywhere.browser("anna").get("/heute?gemeinde=Cellberg").text
    assert "Fotos ordnen" in only
    assert "Smartphone" not in only


def test_what_people_wrote_is_shown_as_text(house: House) -> None:
    browser = house.browser("anna")
    for path in ("/", "/heute", "/meldungen", "/raum/birkental-1", "/geraet/birkental-1-laptop-2"):
        text = browser.get(path).text
        assert "&lt;script&gt;alert(1)" in text, path
        assert HOSTILE not in text, path


def test_no_page_carries_inline_code(house: House) -> None:
    """The security policy allows none, so it would not even run."""
    browser = house.browser("anna")
    for path in (
        "/",
        "/raum/ahlendorf-1",
        "/geraet/ahlendorf-1-beamer-1",
        "/geraet/ahlendorf-1-beamer-1/etikett",
        "/heute",
        "/meldungen",
        "/m/ahlendorf1beamer1",
        "/anmelden",
    ):
        text = browser.get(path).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\bsrc=)", text), path


def test_every_input_is_written_in_one_place() -> None:
    for template in (HERE / "templates").glob("*.html"):
        if template.name != "_field.html":
            assert not re.search(r"<(input|select|textarea)\b", template.read_text()), template.name


# --- who may see and do what ----------------------------------------------------------------


FOREIGN = (
    "/raum/birkental-1",
    "/geraet/birkental-1-laptop-1",
    "/geraet/birkental-1-laptop-1/etikett",
)


def test_what_belongs_to_others_does_not_exist(anywhere: House) -> None:
    for name in ("ida", "karim", "vera"):
        browser = anywhere.browser(name)
        for path in FOREIGN:
            assert browser.get(path).status_code == 404, (name, path)
        for path in ("/", "/heute", "/meldungen?status=all", "/barrierefreiheit"):
            text = browser.get(path).text
            assert "Werkraum" not in text, (name, path)
            assert "M-OTTO1" not in text, (name, path)
            assert "Birkental" not in text, (name, path)
    otto = anywhere.browser("otto")
    assert "Werkraum" in otto.get("/").text
    assert otto.get("/raum/ahlendorf-1").status_code == 404
    assert anywhere.browser("anna").get("/raum/birkental-1").status_code == 200


def test_nothing_of_others_can_be_changed(house: House) -> None:
    browser, csrf = house.browser("ida"), house.people["ida"].csrf
    for path, data in (
        ("/geraet/birkental-1-laptop-1/zuruecksetzen", {}),
        ("/geraet/birkental-1-laptop-1/einsatz", {"service": "repair"}),
        ("/meldungen/M-OTTO1", {"state": "done"}),
    ):
        assert browser.post(path, data={"csrf": csrf, **data}).status_code == 404, path
    with reading(house.engine) as opened:
        assert opened.get_one(Device, "birkental-1-laptop-1").service == Service.ACTIVE
        assert opened.get_one(Report, "M-OTTO1").state == ReportState.RECEIVED


@pytest.mark.parametrize("name", ["karim", "vera"])
def test_a_role_that_may_not_reset_is_refused(house: House, name: str) -> None:
    browser, csrf = house.browser(name), house.people[name].csrf
    path = "/geraet/ahlendorf-1-laptop-1"
    page = browser.get(path).text
    assert "Jetzt zurücksetzen" not in page
    for action, data in (("zuruecksetzen", {}), ("einsatz", {"service": "lent"})):
        assert browser.post(f"{path}/{action}", data={"csrf": csrf, **data}).status_code == 403


def test_a_viewer_sees_reports_without_contact_and_moves_none(house: House) -> None:
    viewer, caretaker = house.browser("vera"), house.browser("karim")
    assert "Hausmeisterei 0123 99" in caretaker.get("/meldungen").text
    page = viewer.get("/meldungen").text
    assert "Das Bild flackert" in page
    assert "Hausmeisterei 0123 99" not in page
    data = {"csrf": house.people["vera"].csrf, "state": "done"}
    assert viewer.post("/meldungen/M-AHL01", data=data).status_code == 403


def test_nothing_is_open_without_signing_in(house: House) -> None:
    browser = house.browser()
    for path in ("/", "/heute", "/meldungen", "/raum/ahlendorf-1", "/geraet/ahlendorf-1-wlan-1"):
        answer = browser.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/anmelden?weiter={path}"


def test_a_form_from_elsewhere_does_nothing(house: House) -> None:
    browser = house.browser("ida")
    for csrf in ("", "wrong", house.people["anna"].csrf):
        data = {"csrf": csrf, "service": "retired"}
        assert browser.post("/geraet/ahlendorf-1-wlan-1/einsatz", data=data).status_code == 403
    with reading(house.engine) as opened:
        assert opened.get_one(Device, "ahlendorf-1-wlan-1").service == Service.ACTIVE


# --- acting ---------------------------------------------------------------------------------


def test_a_reset_by_hand_is_planned_and_shown(anywhere: House) -> None:
    browser, csrf = anywhere.browser("ida"), anywhere.people["ida"].csrf
    with session(anywhere.engine) as opened:
        opened.get_one(Account, _account(opened, "ida")).municipality = "Cellberg"
    path = "/geraet/cellberg-1-laptop-1"
    answer = browser.post(f"{path}/zuruecksetzen", data={"csrf": csrf})
    assert answer.status_code == 303
    page = browser.get(answer.headers["location"]).text
    assert "Die Zurücksetzung ist geplant." in page
    assert "von Hand (ida)" in page
    with reading(anywhere.engine) as opened:
        run = opened.exec(select(ResetRun).where(ResetRun.device_id == "cellberg-1-laptop-1")).one()
        assert run.state == RunState.PLANNED
        assert run.requested_by == "ida"
    again = browser.post(f"{path}/zuruecksetzen", data={"csrf": csrf})
    assert again.status_code == 409
    assert "Eine Zurücksetzung ist schon geplant oder läuft." in again.text


def test_no_reset_by_hand_into_a_running_course(house: House) -> None:
    browser, csrf = house.browser("otto"), house.people["otto"].csrf
    answer = browser.post("/geraet/birkental-1-laptop-3/zuruecksetzen", data={"csrf": csrf})
    assert answer.status_code == 409
    assert "Ein Kurs läuft, ist gerade vorbei oder beginnt gleich." in answer.text
    with reading(house.engine) as opened:
        assert not opened.exec(
            select(ResetRun).where(ResetRun.device_id == "birkental-1-laptop-3")
        ).first()


def test_the_service_state_is_changed(house: House) -> None:
    browser, csrf = house.browser("ida"), house.people["ida"].csrf
    path = "/geraet/ahlendorf-1-laptop-3"
    data = {"csrf": csrf, "service": "repair"}
    answer = browser.post(f"{path}/einsatz", data=data)
    assert answer.status_code == 303
    assert "in Reparatur" in browser.get(answer.headers["location"]).text
    wrong = browser.post(f"{path}/einsatz", data={"csrf": csrf, "service": "vanished"})
    assert wrong.status_code == 422
    assert "Diese Angaben passen nicht" in wrong.text


def test_a_report_is_moved_on(anywhere: House) -> None:
    browser, csrf = anywhere.browser("karim"), anywhere.people["karim"].csrf
    for state, closed in (("in_progress", False), ("done", True), ("in_progress", False)):
        answer = browser.post("/meldungen/M-AHL01", data={"csrf": csrf, "state": state})
        assert answer.headers["location"] == "/meldungen?hinweis=report_set"
        with reading(anywhere.engine) as opened:
            report = opened.get_one(Report, "M-AHL01")
            assert report.state == state
            assert (report.closed_at == anywhere.clock.now) is closed
    assert "M-AHL01" not in browser.get("/meldungen?status=done").text
    assert "M-AHL01" in browser.get("/meldungen?status=in_progress").text


def test_the_label_carries_the_address_of_the_form(house: House) -> None:
    house.app.state.settings.url = "https://raumwart.example"
    text = house.browser("ida").get("/geraet/ahlendorf-1-beamer-1/etikett").text
    assert "QR-Code mit der Adresse https://raumwart.example/m/ahlendorf1beamer1" in text
    assert '<svg class="qr"' in text or 'class="qr"' in text
    assert "Telefon 0123 456 78" in text


# --- signing in -----------------------------------------------------------------------------


def _account(opened: object, name: str) -> int:
    found = opened.exec(select(Account.id).where(Account.name == name)).one()  # type: ignore[attr-defined]
    assert isinstance(found, int)
    return found


def with_password(house: House, name: str, password: str) -> None:
    with session(house.engine) as opened:
        auth.set_password(opened.get_one(Account, _account(opened, name)), password)


def test_signing_in_leads_where_one_wanted_to_go(house: House) -> None:
    with_password(house, "ida", "ein langer Satz")
    browser = house.browser()
    page = browser.get("/anmelden?weiter=/heute").text
    assert 'value="/heute"' in page
    data = {"name": "ida", "password": "ein langer Satz", "weiter": "/heute"}
    answer = browser.post("/anmelden", data=data)
    assert answer.headers["location"] == "/heute"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert browser.get("/heute").status_code == 200


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_never_leads_elsewhere(house: House, target: str) -> None:
    with_password(house, "ida", "ein langer Satz")
    data = {"name": "ida", "password": "ein langer Satz", "weiter": target}
    assert house.browser().post("/anmelden", data=data).headers["location"] == "/"
    page = house.browser().get("/anmelden", params={"weiter": target}).text
    assert '<input type="hidden" name="weiter" value="/">' in page


def test_a_wrong_password_is_said_and_limited(house: House) -> None:
    with_password(house, "ida", "ein langer Satz")
    browser = house.browser()
    for _ in range(10):
        answer = browser.post("/anmelden", data={"name": "ida", "password": "geraten"})
        assert answer.status_code == 422
    assert "Name oder Kennwort stimmt nicht." in answer.text
    assert "<title>Fehler: Anmelden" in answer.text
    right = {"name": "ida", "password": "ein langer Satz"}
    assert browser.post("/anmelden", data=right).status_code == 429
    house.clock.wait(minutes=16)
    assert browser.post("/anmelden", data=right).status_code == 303


def test_another_site_cannot_sign_somebody_in(house: House) -> None:
    with_password(house, "ida", "ein langer Satz")
    data = {"name": "ida", "password": "ein langer Satz"}
    answer = house.browser().post("/anmelden", data=data, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


def test_signing_out_ends_the_session(house: House) -> None:
    browser, csrf = house.browser("ida"), house.people["ida"].csrf
    assert browser.post("/abmelden", data={"csrf": "wrong"}).status_code == 403
    answer = browser.post("/abmelden", data={"csrf": csrf})
    assert answer.headers["location"] == "/anmelden?hinweis=signed_out"
    assert house.browser("ida").get("/").status_code == 303, (
        "the secret is void, not just forgotten"
    )


def test_an_invitation_signs_in_once_and_asks_for_a_password(house: House) -> None:
    with session(house.engine) as opened:
        account = Account(name="nora", role=Role.VIEWER, created_at=house.clock.now)
        opened.add(account)
        opened.flush()
        token = auth.invite(opened, account, house.clock.now)
    browser = house.browser()
    assert "Jetzt anmelden" in browser.get(f"/einladung/{token}").text
    assert browser.get("/").status_code == 303, "looking at the link does not use it up"
    page = browser.post(f"/einladung/{token}").text
    assert "Neues Kennwort" in page
    assert "Bisheriges Kennwort" not in page
    fields = dict(re.findall(r'name="(csrf|proof)" value="([^"]+)"', page))
    house.clock.wait(seconds=5)
    short = browser.post("/kennwort", data={**fields, "password": "kurz"})
    assert short.status_code == 422
    assert "zu kurz" in short.text
    done = browser.post("/kennwort", data={**fields, "password": "Regen auf dem Dach"})
    assert done.headers["location"] == "/?hinweis=password_set"
    assert house.browser().post(f"/einladung/{token}").status_code == 410
    data = {"name": "nora", "password": "Regen auf dem Dach"}
    assert house.browser().post("/anmelden", data=data).status_code == 303


def test_a_new_password_needs_the_old_one_and_ends_other_sessions(anywhere: House) -> None:
    with_password(anywhere, "ida", "ein langer Satz")
    browser, csrf = anywhere.browser("ida"), anywhere.people["ida"].csrf
    data = {"csrf": csrf, "password": "Wind in den Weiden"}
    wrong = browser.post("/kennwort", data={**data, "current": "geraten"})
    assert "Das bisherige Kennwort stimmt nicht." in wrong.text
    foreign = auth.form_token(anywhere.app.state.key, "password|1|", anywhere.clock.now)
    anywhere.clock.wait(seconds=5)
    assert browser.post("/kennwort", data={**data, "proof": foreign}).status_code == 422
    done = browser.post("/kennwort", data={**data, "current": "ein langer Satz"})
    assert done.status_code == 303
    assert anywhere.browser("ida").get("/").status_code == 303, "the old session is over"
    assert browser.get("/").status_code == 200, "this one goes on"
    with reading(anywhere.engine) as opened:
        account = _account(opened, "ida")
        assert len(opened.exec(select(SignIn).where(SignIn.account_id == account)).all()) == 1


# --- language -------------------------------------------------------------------------------


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


def marked_texts() -> set[str | tuple[str, ...]]:
    """Every text in the code and the templates that is marked for translation."""
    found = extract_from_dir(
        HERE,
        method_map=[("**.py", "python"), ("templates/**.html", "jinja2")],
        keywords={"_": None, "gettext": None, "ngettext": (1, 2), "N_": None},
        directory_filter=lambda folder: "node_modules" not in str(folder),
    )
    return {message for _, _, message, _, _ in found}


def test_every_text_is_translated_and_nothing_else() -> None:
    texts = marked_texts()
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
        (resets.REFUSALS, reasons.REFUSAL),
        (timetable.PROBLEMS, reasons.TIMETABLE),
    ):
        assert set(codes) <= set(sentences)


def test_every_reason_of_a_run_has_a_sentence() -> None:
    """The codes that reset runs carry, read from where they are written."""
    root = HERE.parent
    written: set[str] = set()
    for path in (
        *(root / "fleet").glob("*.py"),
        *(root / "agents").glob("**/*.py"),
        *(root / "ansible/roles/room_laptop/files").glob("*.py"),
    ):
        text = path.read_text()
        written |= set(re.findall(r'(?<!Reset)Refus(?:ed|al)\(\s*"(\w+)"', text))
        written |= set(re.findall(r'^    code = "(\w+)"', text, re.MULTILINE))
        if path.name in {"worker.py", "outcomes.py", "resets.py", "dispatch.py", "runs.py"}:
            written |= set(re.findall(r'reason="(\w+)"', text))
    written |= set(re.findall(r'yield "(\w+)"', (root / "agents/checks.py").read_text()))
    assert len(written) > 25
    assert written - set(reasons.DOMAINS["run"]) == set()


def test_every_word_of_the_tables_can_be_said() -> None:
    assert set(FACTS) == set(words.FACT)
    values = {value for fact in FACTS.values() for value in fact.values}
    assert values <= set(words.FACT_VALUES)
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


# --- history --------------------------------------------------------------------------------


def test_a_strip_covers_the_whole_time_and_counts_it_once(now: datetime) -> None:
    def flip(hours: float, old: Health, new: Health) -> Flip:
        at = now - timedelta(hours=hours)
        return Flip(subject=Subject.DEVICE, room_id="r", at=at, old=old, new=new)

    flips = [flip(30, Health.OK, Health.OFF), flip(12, Health.OFF, Health.FAILED)]
    day = strip(flips, "failed", now, 1)
    assert [(span.health, span.x, span.width) for span in day.spans] == [
        ("off", 0.0, 500.0),
        ("failed", 500.0, 500.0),
    ]
    week = strip(flips, "failed", now, 7)
    assert [span.health for span in week.spans] == ["ok", "off", "failed"]
    assert sum(span.width for span in week.spans) == pytest.approx(WIDTH, abs=0.1)
    quiet = strip([], "ok", now, 1)
    assert quiet.shares == [("ok", 100)]


# --- cost -----------------------------------------------------------------------------------


def count_queries(house: House, path: str) -> int:
    asked: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            asked.append(statement)

    browser = house.browser("anna")
    event.listen(house.engine, "before_cursor_execute", listen)
    try:
        assert browser.get(path).status_code == 200
    finally:
        event.remove(house.engine, "before_cursor_execute", listen)
    return len(asked)


@pytest.mark.parametrize("path", ["/", "/heute", "/meldungen", "/raum/ahlendorf-1"])
def test_more_rooms_do_not_mean_more_queries(anywhere: House, path: str) -> None:
    few = count_queries(anywhere, path)
    with session(anywhere.engine) as opened:
        for number in range(3, 22):
            make_site(opened, number, anywhere.clock.now, rooms=3)
    with reading(anywhere.engine) as opened:
        assert len(opened.exec(select(Room)).all()) == 60
    assert count_queries(anywhere, path) == few
    assert few < 25


# --- static files and errors ----------------------------------------------------------------


def test_static_files_are_kept_for_ever_by_their_hash(house: House) -> None:
    text = house.browser("anna").get("/").text
    found = re.findall(r'(?:href|src)="(/static/[^"]+)"', text)
    assert any("kern.css" in address for address in found)
    for address in found:
        answer = house.browser().get(address)
        assert answer.status_code == 200, address
        assert "immutable" in answer.headers["cache-control"]
    plain = house.browser().get("/static/style.css")
    assert plain.headers["cache-control"] == "no-cache"
    assert plain.headers["content-encoding"] == "gzip"
    assert house.browser().get("/static/../view.py").status_code == 404


def test_pages_with_secrets_are_not_compressed(house: House) -> None:
    assert "content-encoding" not in house.browser("anna").get("/").headers


def test_the_design_system_is_pruned_to_what_is_used() -> None:
    css = """@charset "UTF-8";
    :root{--kern-a:1px;--kern-b:var(--kern-a);--kern-idle:2px}
    *{margin:0} .kern-used{width:var(--kern-b)} .kern-other,.kern-used:not(.x,.y){color:red}
    .kern-icon--x{mask:url(data:image/svg)} @media print{.kern-other{top:0}.kern-used{top:1px}}
    @media screen{.kern-other{top:0}}"""
    kept = re.sub(r"\s+", "", vendor.prune(css, {"kern-used"}))
    assert kept == (
        ":root{--kern-a:1px;--kern-b:var(--kern-a);}*{margin:0}.kern-used{width:var(--kern-b)}"
        ".kern-used:not(.x,.y){color:red}@mediaprint{.kern-used{top:1px}}"
    )


def test_the_built_style_has_every_class_that_pages_use() -> None:
    if not (vendor.VENDOR / "kern.css").exists():
        pytest.skip("static/vendor is missing: python -m dashboards.vendor")
    assert vendor.STAMP.read_text() == vendor.stamp(), "run python -m dashboards.vendor again"
    built = (vendor.VENDOR / "kern.css").read_text()
    for name in ("btn--primary", "badge--danger", "form-input__input", "alert__body", "fieldset"):
        assert f".kern-{name}" in built
    assert "--kern-color-feedback-danger:" in built
    assert "prefers-color-scheme: dark" in built
    assert "url(" not in built


def test_errors_look_like_the_other_pages(house: House) -> None:
    answer = house.browser("ida", "en").get("/nowhere")
    assert answer.status_code == 404
    assert "There is no such page" in answer.text
    assert "Raumwart" in answer.text
    script = house.browser("ida").get("/api/v1/nowhere")
    assert script.status_code == 404
    assert script.json()["status"] == 404


def test_a_fault_of_ours_tells_nothing_about_the_inside(house: House) -> None:
    @house.app.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret detail")

    answer = house.browser("ida").get("/broken")
    assert answer.status_code == 500
    assert "Etwas ist schiefgegangen" in answer.text
    assert "secret detail" not in answer.text


def test_a_device_that_was_never_heard_of_has_a_page(house: House) -> None:
    with session(house.engine) as opened:
        opened.delete(opened.get_one(DeviceState, "ahlendorf-1-tablet-2"))
    text = house.browser("ida").get("/geraet/ahlendorf-1-tablet-2").text
    assert "Von diesem Gerät hat noch niemand etwas gehört." in text
    assert "Noch keine Werte." in text


def test_a_site_with_nothing_known_has_pages(house: House) -> None:
    with session(house.engine) as opened:
        ensure_recipes(opened)
        opened.add(Site(id="leer", name="Leer", municipality="Leer"))
        opened.flush()
        opened.add(Room(id="leer-1", site_id="leer", name="Leerer Raum"))
    browser = house.browser("anna")
    assert "Leerer Raum" in browser.get("/").text
    text = browser.get("/raum/leer-1").text
    assert "Im Raum steht kein Gerät." in text
    assert "Standort hat sich noch nie gemeldet" in text
    assert "Für den Raum gibt es keinen Stundenplan." in text
