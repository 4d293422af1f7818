"""Every page as people meet it: axe-core, narrow and wide, light and dark, keyboard, no script."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import Engine

from fleet.security import Guard
from inventory import DeviceState, Health, Report
from inventory.db import open_engine, session
from tests.browser import AXE, axe, chromium, served, visit
from tests.parts import need
from tests.sample import Clock, Person, make_app, make_region

need("chromium")
if not AXE.exists():
    pytest.skip("axe-core is missing: python -m dashboards.vendor", allow_module_level=True)

PAGES = (
    "/",
    "/?q=nirgends",
    "/raum/ahlendorf-1",
    "/geraet/ahlendorf-1-beamer-1",
    "/geraet/ahlendorf-1-laptop-1?hinweis=reset_requested",
    "/geraet/ahlendorf-1-beamer-1/etikett",
    "/geraet/ahlendorf-1-laptop-1/trotzdem",
    "/heute",
    "/eingreifen",
    "/raum/ahlendorf-1/eingreifen/sperren",
    "/woche?alle=1",
    "/statistik",
    "/raum/ahlendorf-1/statistik",
    "/raum/ahlendorf-1/warum",
    "/stoerungen",
    "/mehr",
    "/selbsttest",
    "/meldungen?status=all",
    "/stundenplaene",
    "/stundenplan/ahlendorf-1",
    "/kalender?raum=ahlendorf-1",
    "/gefunden",
    "/kontakte",
    "/kennwort",
    "/barrierefreiheit",
    "/gibt-es-nicht",
    "/anmelden",
    "/einladung/abc",
    "/m/ahlendorf1beamer1",
    "/m/stand/ahlendorf-token?neu=1",
    "/m/unbekannt",
)
FORM = "/m/ahlendorf1laptop2"


@dataclass
class House:
    """The running pages, a browser, and who may look."""

    address: str
    browser: Browser
    people: dict[str, Person]
    clock: Clock
    engine: Engine


@pytest.fixture(scope="module")
def house(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("house")
    shutil.copyfile(migrated_sqlite, home / "fleet.db")
    engine = open_engine(f"sqlite:///{home / 'fleet.db'}")
    clock = Clock(datetime(2026, 11, 23, 8, 0, tzinfo=UTC))
    people = make_region(engine, clock.now)
    app = make_app(engine, clock, home)
    app.add_middleware(Guard, https=False)
    with served(app) as address, chromium() as browser:
        yield House(address, browser, people, clock, engine)
    engine.dispose()


def too_wide(page: Page) -> int:
    """By how many CSS pixels the page must be scrolled sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.mark.parametrize(
    ("language", "width", "scheme"),
    [
        ("de", 320, "light"),
        ("de", 1280, "dark"),
        ("en", 360, "dark"),
        ("en", 1280, "light"),
    ],
)
def test_no_page_breaks_a_rule(house: House, language: str, width: int, scheme: str) -> None:
    """320 CSS pixels: a small phone, or 1280 pixels at 400 % (WCAG 1.4.10)."""
    problems = []
    with visit(
        house.browser,
        house.address,
        house.people["anna"],
        locale=f"{language}-DE",
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
    ) as context:
        page = context.new_page()
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else 0)
        for path in PAGES:
            page.goto(path)
            assert page.get_attribute("html", "lang") == language
            for closed in page.query_selector_all("details"):
                closed.evaluate("one => one.open = true")
            problems += [f"{path} {line}" for line in axe(page)]
            if too_wide(page) > 0:
                problems.append(f"{path} is {too_wide(page)} px too wide")
    # The browser itself reports every answer with 404; that is not the page's fault.
    assert [line for line in problems if "status of 404" not in line] == []


def test_a_broken_page_would_be_noticed(house: House) -> None:
    """The check above can fail: an image without a text is found."""
    with visit(house.browser, house.address) as context:
        page = context.new_page()
        page.goto("/anmelden")
        page.evaluate("document.querySelector('main').append(new Image())")
        assert any(line.startswith("image-alt") for line in axe(page))


def test_large_text_keeps_everything_on_the_page(house: House) -> None:
    """Text at 200 % (WCAG 1.4.4)."""
    with visit(
        house.browser, house.address, house.people["anna"], viewport={"width": 640, "height": 800}
    ) as context:
        page = context.new_page()
        for path in ("/", "/raum/ahlendorf-1", "/heute", "/meldungen", FORM):
            page.goto(path)
            page.evaluate("document.documentElement.style.fontSize = '200%'")
            assert too_wide(page) <= 0, path


def test_targets_of_the_caretaker_form_are_large(house: House) -> None:
    with visit(
        house.browser, house.address, viewport={"width": 360, "height": 740}, has_touch=True
    ) as context:
        page = context.new_page()
        page.goto("/m/ahlendorf1beamer1")
        for target in page.query_selector_all("main button, .choice, main input[type=text]"):
            box = target.bounding_box()
            if box and box["x"] >= 0:  # the trap for machines stands off the page
                assert box["height"] >= 48, target.inner_html()


def press_until(page: Page, key: str, wanted: str, most: int = 40) -> None:
    """Press the key until the focus is on the wanted element."""
    for _ in range(most):
        page.keyboard.press(key)
        if page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
            return
    raise AssertionError(f"{wanted} is not reached with {key}")


def test_the_caretaker_form_by_keyboard_alone(house: House) -> None:
    with visit(house.browser, house.address) as context:
        page = context.new_page()
        page.goto(FORM)
        house.clock.wait(seconds=5)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        press_until(page, "Tab", "[name=problem]")
        outline = "getComputedStyle(document.activeElement.closest('.choice')).outlineStyle"
        assert page.evaluate(outline) == "solid"
        page.keyboard.press("ArrowDown")
        press_until(page, "Tab", "[name=impact]")
        page.keyboard.press("Space")
        press_until(page, "Tab", "textarea")
        page.keyboard.type("Der Bildschirm bleibt schwarz.")
        press_until(page, "Tab", "button")
        page.keyboard.press("Enter")
        page.wait_for_url("**/m/stand/**")
        assert "Danke" in page.inner_text("h1")
        assert axe(page) == []


@pytest.mark.parametrize("script", [True, False])
def test_mistakes_are_named_on_top_and_at_the_field(house: House, script: bool) -> None:
    with visit(house.browser, house.address, java_script_enabled=script) as context:
        page = context.new_page()
        page.goto(FORM)
        house.clock.wait(seconds=5)
        page.click("main form[data-draft] button")
        page.wait_for_selector("#errors")
        assert page.title().startswith("Fehler:")
        assert page.inner_text("#problem-error").strip() == "Wählen Sie, was kaputt ist."
        assert page.get_attribute("#problem-group", "aria-describedby") == "problem-error"
        page.set_viewport_size({"width": 360, "height": 740})
        assert too_wide(page) <= 0
        page.click("#errors a >> nth=0")
        assert page.url.endswith("#problem")
        if script:
            assert axe(page) == []


def test_the_error_summary_gets_the_focus(house: House) -> None:
    with visit(house.browser, house.address) as context:
        page = context.new_page()
        page.goto("/anmelden")
        page.click("main button")
        page.wait_for_selector("#errors")
        assert page.evaluate("document.activeElement.id") == "errors"


def test_a_report_works_without_script(house: House) -> None:
    with visit(house.browser, house.address, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/m/cellberg1tablet1")
        house.clock.wait(seconds=5)
        page.check("[name=problem] >> nth=1")
        page.check("[name=impact] >> nth=2")
        page.fill("textarea", "Ohne JavaScript.")
        page.click("main form button")
        assert "Danke" in page.inner_text("h1")


def test_a_report_without_reception_is_kept_and_sent_later(house: House) -> None:
    with visit(house.browser, house.address) as context:
        page = context.new_page()
        page.goto("/m/cellberg1tablet2")
        house.clock.wait(seconds=5)
        page.check("[name=problem] >> nth=0")
        page.check("[name=impact] >> nth=0")
        page.fill("textarea", "Kein Empfang im Keller.")
        context.set_offline(True)
        page.click("main form button")
        page.wait_for_selector("#waiting:not(:empty)")
        assert "Noch nicht gesendet" in page.inner_text("#waiting")
        context.set_offline(False)
        page.wait_for_url("**/m/stand/**")
        assert "Danke" in page.inner_text("h1")
        kept = page.evaluate("Object.keys(localStorage).length")
        assert kept == 0, "what was sent must not stay on a shared phone"


def test_a_draft_outlives_a_closed_tab(house: House) -> None:
    with visit(house.browser, house.address) as context:
        page = context.new_page()
        page.goto("/m/cellberg1tablet3")
        page.check("[name=problem] >> nth=2")
        page.fill("textarea", "Noch nicht fertig.")
        page.close()
        page = context.new_page()
        page.goto("/m/cellberg1tablet3")
        assert page.input_value("textarea") == "Noch nicht fertig."
        assert page.is_checked("[name=problem] >> nth=2")


def refresh(page: Page) -> None:
    page.evaluate("document.body.dispatchEvent(new Event('refresh'))")


def test_pages_refresh_without_taking_focus_or_place(house: House) -> None:
    with visit(
        house.browser,
        house.address,
        house.people["anna"],
        viewport={"width": 360, "height": 500},
    ) as context:
        page = context.new_page()
        page.goto("/meldungen?status=all")
        page.wait_for_selector("#pause:visible")
        page.focus("#reload")
        page.evaluate("document.getElementById('reload').mark = 'the very same'")
        page.evaluate("scrollTo({top: 40, behavior: 'instant'})")
        with session(house.engine) as opened:
            opened.get_one(Report, "M-OTTO1").seconded = 7
        refresh(page)
        page.wait_for_selector("text=7 Personen")
        assert page.evaluate("document.activeElement.mark") == "the very same"
        assert page.evaluate("scrollY") == 40
        assert page.is_visible("#pause"), "what only the script made is still there"


def test_a_changed_verdict_is_said_once_and_politely(house: House) -> None:
    device = "cellberg-1-wlan-1"
    with visit(house.browser, house.address, house.people["anna"]) as context:
        page = context.new_page()
        page.goto(f"/geraet/{device}")
        page.wait_for_selector("#pause:visible")
        assert page.get_attribute("#news", "aria-live") == "polite"
        refresh(page)
        page.wait_for_timeout(300)
        assert page.inner_text("#news") == "", "nothing has changed yet"
        with session(house.engine) as opened:
            opened.get_one(DeviceState, device).health = Health.FAILED
        refresh(page)
        page.wait_for_selector("#news:not(:empty)", state="attached")
        assert page.inner_text("#news") == "WLAN 1: gestört"


def test_a_lost_connection_is_said_and_taken_back(house: House) -> None:
    with visit(house.browser, house.address, house.people["anna"]) as context:
        page = context.new_page()
        page.goto("/heute")
        page.wait_for_selector("#pause:visible")
        context.set_offline(True)
        refresh(page)
        page.wait_for_selector("#offline:not(:empty)")
        assert page.inner_text("#offline").startswith("Keine Verbindung. Sie sehen den Stand von")
        context.set_offline(False)  # the browser tells the page, which asks again by itself
        page.wait_for_selector("#offline:empty", state="attached")


def test_updates_can_be_paused(house: House) -> None:
    with visit(house.browser, house.address, house.people["anna"]) as context:
        page = context.new_page()
        asked: list[str] = []
        page.goto("/heute")
        page.on("request", lambda request: asked.append(request.url))
        page.click("#pause")
        assert page.inner_text("#pause") == "Automatik fortsetzen"
        page.evaluate("dispatchEvent(new Event('online'))")
        page.wait_for_timeout(200)
        assert [url for url in asked if url.endswith("/heute")] == []
        page.reload()
        page.wait_for_selector("#pause:visible")
        assert page.inner_text("#pause") == "Automatik fortsetzen", "it stays paused"


def test_a_session_that_ended_leads_to_the_sign_in(house: House) -> None:
    """Not an error on the wall for ever, and not a sign-in page inside another page."""
    with visit(house.browser, house.address, house.people["vera"]) as context:
        page = context.new_page()
        page.goto("/heute")
        page.wait_for_selector("#pause:visible")
        context.clear_cookies()
        refresh(page)
        page.wait_for_url("**/anmelden**")


def test_the_label_prints_alone(house: House) -> None:
    with visit(house.browser, house.address, house.people["anna"]) as context:
        page = context.new_page()
        page.goto("/geraet/ahlendorf-1-beamer-1/etikett")
        page.emulate_media(media="print")
        assert page.is_visible(".label")
        assert not page.is_visible("header")
        assert not page.is_visible("h1")
        assert not page.is_visible("footer")
