"""The pages, the API and the CSV that look back and ahead."""

import csv
from io import StringIO

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from fleet import api, notify, readiness
from fleet.settings import Settings
from inventory import Course
from inventory.db import reading, session
from tests.alarms import spell_out
from tests.room import heard
from tests.sample import HOSTILE, House

pytest_plugins = ["tests.house"]


def live_through(house: House, minutes: int) -> None:
    """Everything that the clockwork does for verdicts and alarms, minute by minute."""
    for _ in range(minutes):
        house.clock.wait(minutes=1)
        heard(house.engine, house.clock())
        with session(house.engine) as opened:
            readiness.keep(opened, house.clock(), Settings())
            readiness.freeze(opened, house.clock(), Settings())
            notify.climb(opened, house.clock(), Settings(), spell_out)


def course_of(house: House, title: str) -> Course:
    with reading(house.engine) as opened:
        return opened.exec(select(Course).where(Course.title == title)).one()


def test_the_week_names_the_courses_that_would_fail(house: House) -> None:
    text = house.browser("ida").get("/woche").text
    assert "Bei 2 Kursen der Woche würde etwas fehlen" in text
    assert "Deutsch digital" in text
    assert "Die Lampe ist kaputt." in text
    assert "Fotos ordnen" not in text
    everything = house.browser("anna").get("/woche?alle=1").text
    assert "Fotos ordnen" in everything
    assert "Malkurs" not in everything, "it is called off"
    assert "In den nächsten sieben Tagen" in house.browser("otto").get("/woche").text


def test_why_is_told_from_what_was_kept(house: House) -> None:
    browser = house.browser("ida")
    assert "Bisher war der Raum" in browser.get("/raum/ahlendorf-1/warum").text
    live_through(house, 23)
    text = browser.get("/raum/ahlendorf-1/warum").text
    assert "Smartphone für Einsteiger" in text
    for said in ("Eine Viertelstunde vorher", "Zu Beginn", "Worauf das Urteil beruht"):
        assert said in text
    assert "Nachricht an die Hausmeisterei" in text
    assert browser.get("/raum/ahlendorf-1/warum?tag=23.11.2026").text.count("Zu Beginn") == 1
    assert "schon gelöscht" in browser.get("/raum/ahlendorf-1/warum?tag=12.3.").text
    wrong = browser.get("/raum/ahlendorf-1/warum?tag=<b>gestern</b>")
    assert wrong.status_code == 422
    assert "<b>gestern" not in wrong.text
    assert house.browser("otto").get("/raum/ahlendorf-1/warum").status_code == 404
    other = course_of(house, HOSTILE)
    text = browser.get(f"/raum/ahlendorf-1/warum?kurs={other.id}").text
    assert HOSTILE not in text
    assert "alert(1)" not in text, "it is another room's"


def test_statistics_as_page_and_as_csv(house: House) -> None:
    live_through(house, 23)
    text = house.browser("ida").get("/statistik").text
    assert "1 nicht bereit" in text
    assert "Werkraum" not in text, "it is another municipality's"
    for month in ("2026-13", "20٢٦-01"):
        assert house.browser("ida").get(f"/statistik?monat={month}").status_code == 404
    assert 'value="2025-12"' in text
    assert 'value="2025-11"' not in text, "half of it is forgotten"
    answer = house.browser("anna").get("/statistik.csv?monat=2026-11")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    lines = list(csv.DictReader(StringIO(answer.text.lstrip("\ufeff")), delimiter=";"))
    assert (lines[0]["room"], lines[0]["not_ready"]) == ("ahlendorf-1", "1")
    assert "die letzten Monate" in house.browser("ida").get("/raum/ahlendorf-1/statistik").text
    assert house.browser("otto").get("/raum/ahlendorf-1/statistik").status_code == 404
    assert house.browser().get("/statistik.csv").status_code == 303


def test_no_name_becomes_a_formula(house: House) -> None:
    from inventory import Room
    from tests.room import change

    change(house.engine, Room, "ahlendorf-1", name="=1+1")
    assert ";'=1+1;" in house.browser("ida").get("/statistik.csv").text


def test_the_same_for_scripts(house: House) -> None:
    from fleet import api

    house.app.include_router(api.router)
    live_through(house, 23)
    client: TestClient = house.browser("ida")
    (month,) = client.get("/api/v1/statistics?month=2026-11").json()
    assert month["verdicts"] == {"ready": 0, "degraded": 0, "not_ready": 1, "unknown": 0}
    assert client.get("/api/v1/statistics?month=2026-00").status_code == 422
    course = course_of(house, "Smartphone für Einsteiger").id
    told = client.get(f"/api/v1/courses/{course}/why").json()
    assert [each["point"] for each in told["verdicts"]] == ["quarter", "start"]
    assert told["verdicts"][1]["evidence"]["counts"]["projector"] == [0, 1, 1]
    levels = dict.fromkeys(alarm["level"] for alarm in told["alarms"])
    assert list(levels) == ["caretaker", "duty", "start"]
    assert house.browser("otto").get(f"/api/v1/courses/{course}/why").status_code == 404
    failing = client.get("/api/v1/forecast?failing=true").json()
    assert [each["course"]["title"] for each in failing] == ["Deutsch digital"]
    assert failing[0]["verdict"] == "not_ready"
    assert house.browser("otto").get("/api/v1/forecast").json() == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/raum/ahlendorf-1/warum?tag=0001-01-01", 422),
        ("/raum/ahlendorf-1/warum?tag=9999-12-31", 422),
        ("/raum/ahlendorf-1/warum?tag=31.12.9999", 422),
        (f"/raum/ahlendorf-1/eingreifen/ausfall?kurs={10**30}", 404),
        (f"/api/v1/courses/{10**30}/why", 404),
    ],
)
def test_a_day_or_a_course_that_cannot_be_is_none(house: House, path: str, status: int) -> None:
    house.app.include_router(api.router)
    header = {"authorization": f"Bearer {house.people['ida'].cookie}"}
    assert house.browser("ida").get(path, headers=header).status_code == status
