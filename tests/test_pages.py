"""The pages: what they say, how they are made, and with how many queries."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from sqlmodel import select

from dashboards import vendor, view
from inventory import (
    DeviceState,
    Feed,
    Readiness,
    ResetRun,
    Room,
    Site,
    Verdict,
)
from inventory.db import reading, session
from inventory.recipes import ensure_recipes
from tests.sample import HOSTILE, TOWNS, Clock, House, make_app, make_course, make_site, people

pytest_plugins = ["tests.house"]
HERE = Path(view.__file__).parent


def test_the_overview_says_what_needs_attention_first(anywhere: House) -> None:
    text = anywhere.browser("anna").get("/").text
    assert text.index("Werkraum 1") < text.index("Lernraum 1") < text.index("Lesesaal 1")
    assert "2 Räume brauchen Sie." in text
    assert "Montag, 23. November · 3 Räume, 1 bereit" in text
    assert "in 23 Min." in text
    assert "nicht bereit" in text
    assert "4 von 11 geprüft" in text
    assert "Beamer 1 ist gestört. Die Lampe ist kaputt." in text
    assert "Standort meldete sich vor 20 Sekunden" in text
    assert "Stundenplan gelesen vor 4 Minuten" in text
    assert 'Stand <time datetime="2026-11-23T09:00:00+01:00">09:00</time> Uhr' in text


def test_a_course_whose_start_nobody_saw_needs_nobody(house: House) -> None:
    down = {"code": "service_was_down"}
    with session(house.engine) as opened:
        lesson = make_course(opened, "cellberg-1", "Basteln", house.clock.now - timedelta(hours=1))
        opened.add(
            Readiness(
                course_id=lesson.id,
                room_id="cellberg-1",
                verdict=Verdict.UNKNOWN,
                reasons=[down],
                judged_at=house.clock.now,
            )
        )
    text = house.browser("anna").get("/").text
    assert "2 Räume brauchen Sie." in text
    assert text.index("Lernraum 1</a>") < text.index("Kurs läuft schon") < text.index("Lesesaal 1")
    with session(house.engine) as opened:
        for number in range(2):
            site = TOWNS[number][0]
            opened.delete(opened.get_one(Site, site))
    alone = house.browser("anna").get("/").text
    assert "Kein Raum braucht Sie." in alone


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
    assert "2 Räume brauchen Sie." in page
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
    marks = re.findall(r'class="device__mark[^"]*">\s*<svg.*?</svg>\s*([^<]*)<', text, re.S)
    assert {"geprüft 08:44", "nicht bewiesen", "wird gerade zurückgesetzt"} <= set(marks)


def test_the_room_page_says_what_is_tried_again(house: House) -> None:
    with session(house.engine) as opened:
        run = opened.exec(
            select(ResetRun).where(ResetRun.device_id == "ahlendorf-1-tablet-1")
        ).one()
        run.reason, run.attempts = "in_use", 1
    text = house.browser("ida").get("/raum/ahlendorf-1").text
    assert text.count("noch nicht bewiesen, wird wiederholt") == 1
    assert text.count("wird noch zurückgesetzt") == 2


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
    assert text.count("<rect") == 2 + 5 + 5


def test_today_shows_courses_their_resets_and_why(anywhere: House) -> None:
    text = anywhere.browser("anna").get("/heute").text
    assert "4 Kurse heute" in text
    assert text.index("08:30") < text.index("09:23") < text.index("14:00") < text.index("17:00")
    assert "Das Ende wurde nie gemeldet." in text
    assert "fällt aus" in text
    assert text.count("Voraussichtlich:") == 2
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
    assert few < 30


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
    assert text.count("noch nicht beobachtet") == 4
    assert "unbekannt 100" not in text


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


def test_incidents_and_what_is_to_come(house: House) -> None:
    text = house.browser("ida").get("/stoerungen").text
    assert "1 Störung" in text
    assert "Die Lampe ist kaputt." in text
    assert "Keines der Geräte ist erreichbar." in text
    assert "Der Datenträger läuft voll." in text
    assert "in 2 Wochen" in text
    with session(house.engine) as opened:
        state = opened.get_one(DeviceState, "ahlendorf-1-laptop-2")
        state.cause, state.reason = "ahlendorf-1-wlan-1", "cut_off"
    text = house.browser("ida").get("/geraet/ahlendorf-1-laptop-2").text
    assert "Voraussichtlich in 2 Wochen: Der Datenträger läuft voll." in text
    assert 'href="/geraet/ahlendorf-1-wlan-1"' in text
    other = house.browser("otto").get("/stoerungen").text
    assert "Keine Störung" in other
    assert "Lampe" not in other
