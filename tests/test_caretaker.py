"""The form behind the code on a device: quick, without an account, and hard to abuse."""

import re
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import select

from dashboards import vendor, words
from fleet import auth
from inventory import Device, DeviceKind, Impact, Problem, Report, ReportState, Service
from inventory import report as report_module
from inventory.db import open_engine, reading, session
from tests.sample import HOSTILE, Clock, make_app, make_region

CODE = "ahlendorf1laptop2"


class Visitor:
    """Somebody who scanned a code: no account, no cookie."""

    def __init__(self, app: FastAPI, clock: Clock, address: str = "192.0.2.7") -> None:
        self.browser = TestClient(
            app,
            client=(address, 50000),
            headers={"accept-language": "de"},
            follow_redirects=False,
        )
        self.clock = clock

    def fields(self, code: str = CODE) -> dict[str, str]:
        """What the form hands out, a few seconds after it was opened."""
        page = self.browser.get(f"/m/{code}").text
        self.clock.wait(seconds=5)
        return dict(re.findall(r'name="(token|submission)" value="([^"]+)"', page))

    def report(self, code: str = CODE, **more: str) -> object:
        filled = {"problem": "wont_start", "impact": "blocked", **self.fields(code), **more}
        return self.browser.post(f"/m/{code}", data=filled)


class Form:
    """The pages, and how to look behind them."""

    def __init__(self, engine: Engine, now: datetime, home: Path) -> None:
        self.engine, self.clock = engine, Clock(now)
        make_region(engine, now)
        self.app = make_app(engine, self.clock, home)

    def visitor(self, address: str = "192.0.2.7") -> Visitor:
        return Visitor(self.app, self.clock, address)

    def reports(self, device: str = "ahlendorf-1-laptop-2") -> list[Report]:
        with reading(self.engine) as opened:
            return list(opened.exec(select(Report).where(Report.device_id == device)))


@pytest.fixture
def form(migrated_sqlite: Path, now: datetime, tmp_path: Path) -> Iterator[Form]:
    shutil.copyfile(migrated_sqlite, tmp_path / "fleet.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'fleet.db'}")
    yield Form(engine, now, tmp_path)
    engine.dispose()


@pytest.fixture
def form_anywhere(engine: Engine, now: datetime, tmp_path: Path) -> Form:
    """The same over either database."""
    return Form(engine, now, tmp_path)


def test_a_report_arrives_and_is_confirmed(form_anywhere: Form) -> None:
    visitor = form_anywhere.visitor()
    answer = visitor.report(text=f"  {HOSTILE}  ", contact="0999 45")
    assert answer.status_code == 303
    (report,) = form_anywhere.reports()
    assert (report.problem, report.impact) == (Problem.WONT_START, Impact.BLOCKED)
    assert (report.text, report.contact) == (HOSTILE, "0999 45")
    assert report.state == ReportState.RECEIVED
    assert answer.headers["location"] == f"/m/stand/{report.token}?neu=1"
    page = visitor.browser.get(answer.headers["location"]).text
    assert "Danke. Ihre Meldung ist angekommen." in page
    assert report.id in page
    assert "Laptop 2" in page
    for private in ("0999 45", "alert(1)"):
        assert private not in page, "what was written is for the IT, not for who has the link"


def test_the_status_page_follows_the_report(form: Form) -> None:
    visitor = form.visitor()
    for state, said in (
        (ReportState.RECEIVED, "eingegangen"),
        (ReportState.IN_PROGRESS, "Jemand kümmert sich darum."),
        (ReportState.DONE, "Die Störung ist behoben."),
    ):
        with session(form.engine) as opened:
            opened.get_one(Report, "M-AHL01").state = state
        page = visitor.browser.get("/m/stand/ahlendorf-token").text
        assert said in page
        assert "Meldung M-AHL01" in page
    assert visitor.browser.get("/m/stand/other").status_code == 404


def test_the_form_shows_only_what_is_on_the_device_anyway(form: Form) -> None:
    page = form.visitor().browser.get("/m/ahlendorf1beamer1")
    assert "set-cookie" not in page.headers
    for shown in ("Beamer 1", "Lernraum 1", "Bürgerhaus", "0123 456 78", "Schon gemeldet"):
        assert shown in page.text
    for hidden in ("ahlendorf-1-beamer-1", "127.0.0.1", "flackert", "0123 99", "M-AHL01<", "Lampe"):
        assert hidden not in page.text


@pytest.mark.parametrize("kind", list(DeviceKind))
def test_the_choices_fit_the_kind_of_device(form: Form, kind: DeviceKind) -> None:
    with session(form.engine) as opened:
        opened.get_one(Device, "ahlendorf-1-laptop-2").kind = kind
    page = form.visitor().browser.get(f"/m/{CODE}").text
    offered = re.findall(r'name="problem" value="(\w+)"', page)
    assert offered == [problem.value for problem in words.PROBLEMS_OF[kind]]
    assert re.findall(r'name="impact" value="(\w+)"', page) == [one.value for one in Impact]


def test_sending_twice_is_one_report(form_anywhere: Form) -> None:
    visitor = form_anywhere.visitor()
    filled = {"problem": "picture", "impact": "none", **visitor.fields()}
    first = visitor.browser.post(f"/m/{CODE}", data=filled)
    again = visitor.browser.post(f"/m/{CODE}", data={**filled, "token": ""})
    assert again.status_code == 303
    assert first.headers["location"] == again.headers["location"]
    assert len(form_anywhere.reports()) == 1


def test_sending_twice_at_once_is_one_report(form_anywhere: Form) -> None:
    visitors = [form_anywhere.visitor(f"192.0.2.{number}") for number in range(4)]
    filled = {"problem": "picture", "impact": "none", **visitors[0].fields()}
    places: list[str] = []

    def send(visitor: Visitor) -> None:
        answer = visitor.browser.post(f"/m/{CODE}", data=filled)
        places.append(answer.headers["location"])

    threads = [threading.Thread(target=send, args=(visitor,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(places) == 4
    assert len(set(places)) == 1
    assert len(form_anywhere.reports()) == 1


def test_a_number_that_is_taken_is_drawn_again(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter("AHL01AHL01NEW22")  # M-AHL01 is there already
    monkeypatch.setattr(report_module.secrets, "choice", lambda _letters: next(drawn))
    assert form.visitor().report().status_code == 303
    assert [report.id for report in form.reports()] == ["M-NEW22"]


def test_a_submission_of_another_device_opens_nothing(form: Form) -> None:
    """Who knows what another form was sent with learns nothing, and loses nothing."""
    visitor = form.visitor()
    known = visitor.fields("ahlendorf1laptop3")["submission"]
    first = visitor.report("ahlendorf1laptop3", submission=known)
    second = visitor.report(submission=known)
    assert second.status_code == 303
    assert first.headers["location"] != second.headers["location"]
    assert len(form.reports()) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"problem": ""}, "Wählen Sie, was kaputt ist."),
        ({"problem": "explosion"}, "Wählen Sie, was kaputt ist."),
        ({"impact": ""}, "Wählen Sie, ob der Kurs weitergehen kann."),
        ({"text": "x" * 501}, "Höchstens 500 Zeichen passen."),
        ({"contact": "x" * 201}, "Höchstens 200 Zeichen passen."),
        ({"token": ""}, "Bitte warten Sie kurz"),
        ({"token": "1.forged"}, "Bitte warten Sie kurz"),
        ({"website": "https://spam.example"}, "Bitte warten Sie kurz"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(
    form: Form, wrong: dict[str, str], said: str
) -> None:
    visitor = form.visitor()
    answer = visitor.report(**{"text": "Das war viel Arbeit.", **wrong})
    assert answer.status_code == 422
    assert f"<title>{'Fehler: Störung melden'}" in answer.text
    assert said in answer.text
    assert form.reports() == []
    if "text" not in wrong:
        assert "Das war viel Arbeit." in answer.text
    if not {"impact", "problem"} & set(wrong):
        assert re.search(r'value="blocked" checked', answer.text)


def test_every_error_is_on_top_and_at_its_field(form: Form) -> None:
    answer = form.visitor().report(problem="", impact="", text="x" * 501, contact="y" * 201)
    for name in ("problem", "impact", "text", "contact"):
        assert f'href="#{name}"' in answer.text
        assert f'id="{name}"' in answer.text
        assert f'id="{name}-error"' in answer.text


def test_a_machine_that_is_faster_than_a_person_is_asked_again(form: Form) -> None:
    visitor = form.visitor()
    page = visitor.browser.get(f"/m/{CODE}").text
    fields = dict(re.findall(r'name="(token|submission)" value="([^"]+)"', page))
    filled = {"problem": "picture", "impact": "none", **fields}
    assert visitor.browser.post(f"/m/{CODE}", data=filled).status_code == 422
    form.clock.wait(seconds=3)
    assert visitor.browser.post(f"/m/{CODE}", data=filled).status_code == 303


def test_a_token_of_another_form_does_not_fit(form: Form) -> None:
    visitor = form.visitor()
    other = visitor.fields("ahlendorf1beamer1")["token"]
    assert visitor.report(token=other).status_code == 422


def test_a_code_takes_five_reports_an_hour(form: Form) -> None:
    for number in range(5):
        assert form.visitor(f"203.0.{number}.1").report().status_code == 303
    refused = form.visitor("198.51.100.1").report(text="Der sechste.")
    assert refused.status_code == 429
    assert "Von hier kamen gerade sehr viele Meldungen." in refused.text
    assert "Der sechste." in refused.text
    assert form.visitor("198.51.100.1").report("ahlendorf1laptop3").status_code == 303
    form.clock.wait(minutes=61)
    assert form.visitor("198.51.100.1").report().status_code == 303


def test_a_network_takes_thirty_reports_an_hour(form: Form) -> None:
    codes = [
        f"{town}1laptop{number}" for town in ("ahlendorf", "cellberg") for number in range(1, 7)
    ]
    answers = [
        form.visitor(f"203.0.113.{number}").report(codes[number % len(codes)]).status_code
        for number in range(31)
    ]
    assert answers == [303] * 30 + [429]
    assert form.visitor("203.0.114.1").report("cellberg1tablet1").status_code == 303


def test_addresses_are_not_kept(form: Form) -> None:
    form.visitor("203.0.113.77").report()
    limits = form.app.state.limits
    kept = repr(vars(limits.per_network)) + repr(vars(limits.per_code)) + repr(vars(limits.me_too))
    assert "203.0.113" not in kept


def test_me_too_counts_a_network_once_an_hour(form_anywhere: Form) -> None:
    path = "/m/ahlendorf1beamer1"
    for address, expected in (("203.0.113.1", 3), ("203.0.113.2", 3), ("198.51.100.1", 4)):
        visitor = form_anywhere.visitor(address)
        data = {"report": "M-AHL01", "token": visitor.fields("ahlendorf1beamer1")["token"]}
        answer = visitor.browser.post(f"{path}/auch", data=data)
        assert answer.headers["location"] == f"{path}?hinweis=me_too"
        assert "Danke." in visitor.browser.get(answer.headers["location"]).text
        with reading(form_anywhere.engine) as opened:
            assert opened.get_one(Report, "M-AHL01").seconded == expected


def test_me_too_needs_the_right_form_and_an_open_report(form: Form) -> None:
    visitor = form.visitor()
    token = visitor.fields("ahlendorf1beamer1")["token"]
    wrong = {"report": "M-AHL01", "token": "1.forged"}
    assert visitor.browser.post("/m/ahlendorf1beamer1/auch", data=wrong).status_code == 422
    for report in ("M-OTTO1", "M-NONE1"):  # another device's, and none at all
        data = {"report": report, "token": token}
        assert visitor.browser.post("/m/ahlendorf1beamer1/auch", data=data).status_code == 303
    with reading(form.engine) as opened:
        assert opened.get_one(Report, "M-OTTO1").seconded == 0
        assert opened.get_one(Report, "M-AHL01").seconded == 2


def test_me_too_remembers_nothing_but_reports_that_there_are(form: Form) -> None:
    visitor = form.visitor()
    token = visitor.fields("ahlendorf1beamer1")["token"]
    for number in range(20):
        data = {"report": f"{number}" * 1000, "token": token}
        visitor.browser.post("/m/ahlendorf1beamer1/auch", data=data)
    assert len(repr(vars(form.app.state.limits.me_too))) < 1000


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_unknown_code_says_what_to_do(form: Form, method: str) -> None:
    with session(form.engine) as opened:
        opened.get_one(Device, "ahlendorf-1-laptop-3").service = Service.RETIRED
    browser = form.visitor().browser
    for code in (
        "nosuchcode",
        "ahlendorf1laptop3",
        "ahlendorf-1-laptop-2",
        "../x",
        "%00",
        "a" * 500,
    ):
        answer = browser.request(method, f"/m/{code}")
        assert answer.status_code in {404, 405}, code
        if answer.status_code == 404 and "/" not in code:
            assert "Diesen Code kennen wir nicht" in answer.text, code
            assert "Scannen Sie den Code noch einmal." in answer.text


def test_a_code_that_was_typed_in_capitals_is_known(form: Form) -> None:
    assert form.visitor().browser.get(f"/m/{CODE.upper()}").status_code == 200


def test_a_report_changes_nothing_but_itself(form: Form) -> None:
    """It never triggers anything destructive."""
    with reading(form.engine) as opened:
        before = opened.get_one(Device, "ahlendorf-1-laptop-2").model_dump()
    form.visitor().report()
    with reading(form.engine) as opened:
        assert opened.get_one(Device, "ahlendorf-1-laptop-2").model_dump() == before


def test_the_form_is_small(form: Form) -> None:
    """For poor reception: everything that the page needs, as it goes over the air."""
    if not vendor.STAMP.exists():
        pytest.skip("static/vendor is missing: python -m dashboards.vendor")
    browser = form.visitor().browser
    total = 0
    page = "/m/ahlendorf1beamer1"
    parts = [page, *re.findall(r'(?:href|src)="(/static/[^"]+)"', browser.get(page).text)]
    for part in parts:
        with browser.stream("GET", part, headers={"accept-encoding": "gzip"}) as answer:
            size = sum(len(piece) for piece in answer.iter_raw())
            total += size
    assert len(parts) == 5, parts
    assert total < 25_000, total


def test_the_form_of_a_signed_in_person_is_the_same(form: Form) -> None:
    """A caretaker who happens to be signed in sees no more here than anybody."""
    with session(form.engine) as opened:
        secret, _ = auth.open_session(opened, opened.get_one(auth.Account, 1), form.clock.now)
    browser = form.visitor().browser
    browser.cookies.set(auth.COOKIE, secret)
    page = browser.get(f"/m/{CODE}").text
    assert "Abmelden" not in page
    assert 'href="/heute"' not in page
