"""A reset against a doubt, a pause or maintenance: by page, API and shell, with role and reason."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select
from typer.testing import CliRunner

from fleet import overrides
from fleet.cli import main
from fleet.overrides import Scope
from inventory import Course, DeviceState, OverrideKind, ResetRun, Tier
from inventory.db import reading, session
from tests.sample import House

pytest_plugins = ("tests.house",)

DEVICE = "cellberg-1-laptop-1"
PATH = f"/geraet/{DEVICE}"


@pytest.fixture
def paused(house: House) -> House:
    with session(house.engine) as opened:
        overrides.say(opened, OverrideKind.PAUSE, Scope(), house.clock.now, "IT")
    return house


def occupy(house: House, device: str = DEVICE) -> None:
    with session(house.engine) as opened:
        state = opened.get_one(DeviceState, device)
        state.facts, state.facts_at = {**state.facts, "sessions": 1}, house.clock.now


def asked(engine: Engine) -> list[ResetRun]:
    with reading(engine) as opened:
        return list(opened.exec(select(ResetRun).where(ResetRun.device_id == DEVICE)))


def test_who_insists_says_why_and_is_asked_once_more(paused: House) -> None:
    browser, csrf = paused.browser("anna"), paused.people["anna"].csrf
    refused = browser.post(f"{PATH}/zuruecksetzen", data={"csrf": csrf})
    assert refused.status_code == 409
    assert f'href="{PATH}/trotzdem"' in refused.text
    assert f'hx-get="{PATH}"' in refused.text, "what is refreshed can be read"
    assert f"weiter={PATH}" in refused.text
    page = browser.get(f"{PATH}/trotzdem").text
    assert "gründlich (höchstens 6 Minuten)" in page
    form = {"csrf": csrf, "tier": "standard", "grund": "  "}
    silent = browser.post(f"{PATH}/trotzdem", data=form)
    assert (silent.status_code, "Bitte geben Sie einen Grund an." in silent.text) == (409, True)
    form["grund"] = "Prüfung <b>beginnt</b>"
    sure = browser.post(f"{PATH}/trotzdem", data=form)
    assert sure.status_code == 200
    assert "hx-get" not in sure.text, "the question stays until it is answered"
    assert "Wie gründlich: gründlich (höchstens 6 Minuten)" in sure.text
    assert "Ja, trotzdem zurücksetzen" in sure.text
    assert "Prüfung &lt;b&gt;beginnt" in sure.text
    assert asked(paused.engine) == [], "nothing is done before the second yes"
    done = browser.post(f"{PATH}/trotzdem", data={**form, "sicher": "true"})
    assert done.status_code == 303
    (run,) = asked(paused.engine)
    assert (run.forced, run.why, run.tier) == (True, "Prüfung <b>beginnt</b>", Tier.STANDARD)
    shown = browser.get(PATH).text
    assert "Trotzdem: Prüfung &lt;b&gt;beginnt" in shown
    assert "· gründlich" in shown
    again = browser.post(f"{PATH}/trotzdem", data={**form, "sicher": "true"})
    assert (again.status_code, "schon geplant" in again.text) == (409, True)


def test_only_who_may_edit_can_insist(paused: House) -> None:
    for name, status in (("karim", 403), ("vera", 403), ("ida", 404)):
        browser, csrf = paused.browser(name), paused.people[name].csrf
        form = {"csrf": csrf, "grund": "x", "sicher": "true"}
        assert browser.get(f"{PATH}/trotzdem").status_code == status, name
        assert browser.post(f"{PATH}/trotzdem", data=form).status_code == status, name
    assert asked(paused.engine) == []


def test_nobody_can_insist_against_a_course(house: House) -> None:
    browser, csrf = house.browser("anna"), house.people["anna"].csrf
    refused = browser.post("/geraet/birkental-1-laptop-3/zuruecksetzen", data={"csrf": csrf})
    assert "/trotzdem" not in refused.text
    form = {"csrf": csrf, "grund": "x", "sicher": "true"}
    insisted = browser.post("/geraet/birkental-1-laptop-3/trotzdem", data=form)
    assert insisted.status_code == 409
    assert "Ein Kurs läuft, ist gerade vorbei oder beginnt gleich." in insisted.text


def test_somebody_signed_in_is_only_counted_down_when_that_is_chosen(house: House) -> None:
    occupy(house)
    browser, csrf = house.browser("anna"), house.people["anna"].csrf
    refused = browser.post(f"{PATH}/zuruecksetzen", data={"csrf": csrf})
    assert "Jemand ist am Gerät angemeldet." in refused.text
    assert f'href="{PATH}/trotzdem"' in refused.text
    page = browser.get(f"{PATH}/trotzdem").text
    assert "Das spricht gerade dagegen:" in page
    assert "Jemand ist am Gerät angemeldet." in page
    assert "<legend" in page
    assert 'value="bleibt" checked' in page
    form = {"csrf": csrf, "grund": "Virus", "sicher": "true"}
    stays = browser.post(f"{PATH}/trotzdem", data=form)
    assert (stays.status_code, asked(house.engine)) == (409, [])
    form |= {"angemeldet": "countdown"}
    sure = browser.post(f"{PATH}/trotzdem", data={**form, "sicher": ""}).text
    assert "auch wenn jemand daran arbeitet?" in sure
    assert "sieht 60 Sekunden lang einen Hinweis" in sure
    assert 'name="angemeldet" value="countdown"' in sure
    assert browser.post(f"{PATH}/trotzdem", data=form).status_code == 303
    (run,) = asked(house.engine)
    assert (run.countdown, run.forced, run.why) == (True, True, "Virus")
    assert "mit 60 Sekunden Zeit zum Speichern" in browser.get(PATH).text
    assert browser.post(f"{PATH}/trotzdem", data={**form, "angemeldet": "x"}).status_code == 422


def test_a_tablet_offers_no_countdown(house: House) -> None:
    tablet = "cellberg-1-tablet-1"
    occupy(house, tablet)
    browser, csrf = house.browser("anna"), house.people["anna"].csrf
    refused = browser.post(f"/geraet/{tablet}/zuruecksetzen", data={"csrf": csrf})
    assert "Jemand ist am Gerät angemeldet." in refused.text
    assert "/trotzdem" not in refused.text, "it would not help"
    page = browser.get(f"/geraet/{tablet}/trotzdem").text
    assert "countdown" not in page
    assert "Auch nicht, solange jemand angemeldet ist." in page
    form = {"csrf": csrf, "grund": "x", "sicher": "true", "angemeldet": "countdown"}
    forged = browser.post(f"/geraet/{tablet}/trotzdem", data=form)
    assert "kann vorher keinen Hinweis auf dem Bildschirm" in forged.text


def test_a_pause_of_everything_is_overruled_only_by_an_admin(paused: House) -> None:
    with session(paused.engine) as opened:
        for course in opened.exec(select(Course)):
            course.cancelled = True
    path = "/geraet/ahlendorf-1-laptop-1"
    browser, csrf = paused.browser("ida"), paused.people["ida"].csrf
    refused = browser.post(f"{path}/zuruecksetzen", data={"csrf": csrf})
    assert "Dagegen kann nur die Verwaltung der Region zurücksetzen." in refused.text
    assert "/trotzdem" not in refused.text
    english = paused.browser("ida", "en").get(f"{path}/trotzdem").text
    assert "All sites are stopped. Only the region&#39;s administration can reset" in english
    form = {"csrf": csrf, "grund": "x", "sicher": "true"}
    insisted = browser.post(f"{path}/trotzdem", data=form)
    assert insisted.status_code == 409
    assert "Dagegen kann nur die Verwaltung der Region" in insisted.text
    admin, csrf = paused.browser("anna"), paused.people["anna"].csrf
    assert admin.post(f"{path}/trotzdem", data={**form, "csrf": csrf}).status_code == 303
    with reading(paused.engine) as opened:
        run = opened.exec(select(ResetRun).where(ResetRun.why == "x")).one()
    assert (run.requested_by, run.forced, run.over_all) == ("anna", True, True)


def test_the_tier_is_chosen_on_the_page_of_the_device(house: House) -> None:
    browser, csrf = house.browser("anna"), house.people["anna"].csrf
    assert "vollständig (höchstens 61 Minuten)" in browser.get(PATH).text
    assert "vollständig" not in browser.get("/geraet/ahlendorf-1-beamer-1").text, "one way only"
    wrong = browser.post(f"{PATH}/zuruecksetzen", data={"csrf": csrf, "tier": "gold"})
    assert wrong.status_code == 422
    browser.post(f"{PATH}/zuruecksetzen", data={"csrf": csrf, "tier": "standard"})
    (run,) = asked(house.engine)
    assert (run.tier, run.forced, run.why) == (Tier.STANDARD, False, "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--force"], "Whoever insists has to say why."),
        (["--force", "--why", "Prüfung"], "There is no such device."),
        (["--countdown"], "A countdown is only for who insists on the reset."),
        (["--tier", "gold"], "Invalid value for '--tier'"),
    ],
)
def test_insisting_from_a_shell(
    house: House, monkeypatch: Any, options: list[str], words: str
) -> None:
    monkeypatch.setenv("FLEET_DB", str(house.engine.url))
    device = DEVICE if "--why" not in options else "nobody"
    answer = CliRunner().invoke(main, ["reset", device, "--no-wait", *options])
    assert answer.exit_code != 0
    assert words in " ".join((answer.output + answer.stderr).replace("│", " ").split())


def test_a_shell_overrules_a_pause_of_everything_and_counts_down(
    house: House, monkeypatch: Any
) -> None:
    monkeypatch.setenv("FLEET_DB", str(house.engine.url))
    now = datetime.now(UTC)
    with session(house.engine) as opened:
        overrides.say(opened, OverrideKind.PAUSE, Scope(), now, "admin")
        for course in opened.exec(select(Course).where(Course.end > now)):
            course.cancelled = True
    options = ["--no-wait", "--force", "--countdown", "--why", "Prüfung"]
    answer = CliRunner().invoke(main, ["reset", DEVICE, *options])
    assert answer.exit_code == 0, answer.output + answer.stderr
    (run,) = asked(house.engine)
    assert (run.over_all, run.countdown, run.why) == (True, True, "Prüfung")
