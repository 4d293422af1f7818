"""Who may see and do what on the pages, and what doing it does."""

import pytest
from sqlmodel import select

from dashboards.places import PLACES
from inventory import (
    Device,
    Report,
    ReportState,
    ResetRun,
    RunState,
    Service,
)
from inventory.db import reading
from tests.sample import House

pytest_plugins = ["tests.house"]


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


def test_a_reset_by_hand_is_planned_and_shown(anywhere: House) -> None:
    browser, csrf = anywhere.browser("anna"), anywhere.people["anna"].csrf
    path = "/geraet/cellberg-1-laptop-1"
    answer = browser.post(f"{path}/zuruecksetzen", data={"csrf": csrf})
    assert answer.status_code == 303
    page = browser.get(answer.headers["location"]).text
    assert "Die Zurücksetzung ist geplant." in page
    assert "von Hand (anna)" in page
    with reading(anywhere.engine) as opened:
        run = opened.exec(select(ResetRun).where(ResetRun.device_id == "cellberg-1-laptop-1")).one()
        assert run.state == RunState.PLANNED
        assert run.requested_by == "anna"
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


def test_more_leads_only_to_what_one_may_see(house: House) -> None:
    for name in ("anna", "ida", "karim", "vera"):
        browser = house.browser(name)
        page = browser.get("/mehr").text
        assert ("/kontakte" in page) == (name in ("anna", "ida"))
        for address, *_ in PLACES:
            shown = f'href="{address}"' in page
            assert not shown or browser.get(address).status_code == 200, (name, address)
