"""What is said by hand on the pages, by the API and in the shell: who may, and what follows."""

from datetime import UTC, timedelta

import pytest
from sqlmodel import col, select
from typer.testing import CliRunner

from dashboards.view import local
from fleet import api, overrides
from fleet.cli import main
from inventory import Course, DeviceState, Override, OverrideKind, ResetRun
from inventory.db import open_engine, reading, session
from tests.sample import House, make_course

pytest_plugins = ["tests.house"]
ROOM = "/raum/ahlendorf-1"
API = "/api/v1/overrides"
HOUR = timedelta(hours=1)


def said(house: House) -> list[Override]:
    with reading(house.engine) as opened:
        return list(opened.exec(select(Override).order_by(col(Override.id))).all())


def press(house: House, name: str, path: str, **fields: object) -> int:
    form = {"csrf": house.people[name].csrf} | {key: str(value) for key, value in fields.items()}
    return house.browser(name).post(path, data=form).status_code


def test_a_caretaker_says_that_a_course_is_held_now(anywhere: House) -> None:
    with session(anywhere.engine) as opened:
        for course in opened.exec(select(Course).where(Course.room_id == "ahlendorf-1")):
            course.cancelled = True
    browser = anywhere.browser("karim")
    assert f"{ROOM}/eingreifen/kurs" in browser.get(ROOM).text
    page = browser.get(f"{ROOM}/eingreifen/kurs").text
    assert "Im Raum beginnt sofort ein Kurs" in page
    assert press(anywhere, "karim", f"{ROOM}/eingreifen/kurs", bis="2", grund="Chor") == 303
    now = anywhere.clock.now
    with reading(anywhere.engine) as opened:
        course = opened.exec(select(Course).where(Course.title == "Chor")).one()
        assert (course.room_id, course.start, course.end) == ("ahlendorf-1", now, now + 2 * HOUR)
    page = browser.get(f"{ROOM}?hinweis=override_said").text
    assert "Das gilt ab sofort." in page
    assert "Kurs außer der Reihe" in page
    (one,) = said(anywhere)
    anywhere.clock.now += timedelta(minutes=5)
    assert press(anywhere, "karim", f"/eingriff/{one.id}/aufheben", raum="ahlendorf-1") == 303
    assert said(anywhere)[0].ended_by == "karim"


def test_a_course_is_called_off_and_another_not_prepared(anywhere: House) -> None:
    with session(anywhere.engine) as opened:
        made = make_course(opened, "ahlendorf-1", "Basteln", anywhere.clock.now + 30 * HOUR)
        course = made.id
    browser = anywhere.browser("ida")
    assert f"{ROOM}/eingreifen/ausfall?kurs={course}" in browser.get(ROOM).text
    assert "Basteln" in browser.get(f"{ROOM}/eingreifen/ausfall?kurs={course}").text
    assert press(anywhere, "ida", f"{ROOM}/eingreifen/auslassen", kurs=course) == 303
    assert press(anywhere, "ida", f"{ROOM}/eingreifen/ausfall", kurs=course) == 303
    with reading(anywhere.engine) as opened:
        assert opened.get_one(Course, course).cancelled
    assert press(anywhere, "ida", f"{ROOM}/eingreifen/ausfall", kurs=course) == 409
    assert press(anywhere, "ida", f"{ROOM}/eingreifen/ausfall", kurs=99999) == 404


@pytest.mark.parametrize(
    ("name", "deed", "status"),
    [
        ("karim", "sperren", 303), ("karim", "ausfall", 403), ("karim", "pause", 403),
        ("karim", "zuruecksetzen", 403), ("vera", "kurs", 403), ("ida", "pause", 303),
        ("ida", "wartung", 303), ("ida", "sonstwas", 404),
    ],
)  # fmt: skip
def test_who_may_do_what(house: House, name: str, deed: str, status: int) -> None:
    got = house.browser(name).get(f"{ROOM}/eingreifen/{deed}").status_code
    assert got == (200 if status == 303 else status)
    assert press(house, name, f"{ROOM}/eingreifen/{deed}", bis="1") == status
    assert len(said(house)) == (status == 303)


def test_forms_that_are_forged_or_nonsense(house: House) -> None:
    path = f"{ROOM}/eingreifen/sperren"
    assert house.browser("ida").post(path, data={"csrf": "x", "bis": "1"}).status_code == 403
    for bis in ("", "99999", "x", "-1"):
        assert press(house, "ida", path, bis=bis) == 409
    assert press(house, "ida", "/raum/nowhere/eingreifen/sperren", bis="1") == 404
    assert press(house, "ida", "/eingriff/999999999999/aufheben") == 404
    assert press(house, "ida", "/eingreifen/anhalten") == 403
    assert said(house) == []


def test_only_the_region_stops_everything(house: House) -> None:
    admin = "anna"
    assert "Alles anhalten" in house.browser(admin).get("/eingreifen").text
    assert press(house, admin, "/eingreifen/anhalten", grund="Fehler im Skript") == 303
    page = house.browser("ida").get("/eingreifen").text
    assert "Fehler im Skript" in page
    assert "/aufheben" not in page, "only who may stop it may let it go on"


@pytest.mark.parametrize(("hour", "offered"), [(21, True), (22, False), (23, False)])
def test_this_evening_is_offered_while_it_is_still_to_come(
    house: House, hour: int, *, offered: bool
) -> None:
    house.clock.now = local(house.clock.now).replace(hour=hour, minute=0).astimezone(UTC)
    for name, path in (("anna", "/eingreifen"), ("ida", f"{ROOM}/eingreifen/pause")):
        assert ("bis heute Abend" in house.browser(name).get(path).text) is offered
    # A page that was opened at ten to ten: it is refused, and says why.
    status = press(house, "anna", "/eingreifen/anhalten", bis="evening")
    assert (status, len(said(house))) == ((303, 1) if offered else (409, 0))


@pytest.mark.parametrize(("hour", "hours"), [(1, 6), (6, 1), (7, 24), (23, 8)])
def test_the_next_morning_is_the_next_one(house: House, hour: int, hours: int) -> None:
    house.clock.now = local(house.clock.now).replace(hour=hour, minute=0).astimezone(UTC)
    assert press(house, "anna", "/eingreifen/anhalten", bis="morning") == 303
    assert [one.until for one in said(house)] == [house.clock.now + hours * HOUR]


def test_the_same_by_the_api(house: House) -> None:
    house.app.include_router(api.router)
    browser = house.browser()
    header = {"authorization": f"Bearer {house.people['ida'].cookie}"}
    until = (house.clock.now + HOUR).isoformat()
    made = browser.post(
        API, json={"kind": "block", "room": "ahlendorf-1", "until": until}, headers=header
    )
    assert made.status_code == 201, made.text
    number = made.json()["id"]
    assert [one["id"] for one in browser.get(API, headers=header).json()["items"]] == [number]
    bad = [
        ({"kind": "block", "room": "ahlendorf-1"}, 409),
        ({"kind": "block", "room": "nowhere", "until": until}, 404),
        ({"kind": "pause"}, 403),
        ({"kind": "pause", "site": "ahlendorf", "more": 1}, 422),
        ({"kind": "dance"}, 422),
    ]
    for body, status in bad:
        assert browser.post(API, json=body, headers=header).status_code == status, body
    assert len(said(house)) == 1
    ended = browser.delete(f"{API}/{number}", headers=header)
    assert (ended.status_code, ended.json()["ended_by"]) == (200, "ida")
    assert browser.get(API, headers=header).json()["total"] == 0
    assert browser.get(f"{API}?ended=true", headers=header).json()["total"] == 1


def test_the_shell_pauses_and_resumes(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    shell = CliRunner()
    done = shell.invoke(main, ["pause", "--reason", "Umzug", "--hours", "2"])
    assert done.exit_code == 0, done.output
    assert "everywhere" in done.output
    assert shell.invoke(main, ["pause", "--site", "nowhere"]).exit_code == 1
    engine = open_engine(f"sqlite:///{tmp_path}/fleet.db")
    with reading(engine) as opened:
        (one,) = opened.exec(select(Override)).all()
        assert (one.kind, one.reason, one.site_id) == (OverrideKind.PAUSE, "Umzug", None)
    assert "1 taken back" in shell.invoke(main, ["resume"]).output
    assert "Nothing was paused" in shell.invoke(main, ["resume"]).output
    with session(engine) as opened:
        assert overrides.in_force(opened, one.since) == []
    engine.dispose()


def test_a_room_that_is_not_reset_as_a_whole_says_which_devices_and_why(house: House) -> None:
    path = "/raum/cellberg-1/eingreifen/zuruecksetzen"
    busy = "cellberg-1-laptop-1"
    with session(house.engine) as opened:
        state = opened.get_one(DeviceState, busy)
        state.facts, state.facts_at = {**state.facts, "sessions": 1}, house.clock.now
    browser, csrf = house.browser("anna"), house.people["anna"].csrf
    assert "hx-get" not in browser.get(path).text, "a form stays as it is"
    told = browser.post(path, data={"csrf": csrf})
    assert told.status_code == 200
    assert "Geräte werden gleich zurückgesetzt." in told.text
    assert "Diese Geräte nicht" in told.text
    assert f'Jemand ist am Gerät angemeldet. <a class="link" href="/geraet/{busy}">' in told.text
    again = browser.post(path, data={"csrf": csrf})
    assert again.status_code == 409
    assert "Kein Gerät wird zurückgesetzt." in again.text
    assert "Eine Zurücksetzung ist schon geplant oder läuft." in again.text
    with session(house.engine) as opened:
        opened.get_one(DeviceState, busy).facts = {}
        for run in opened.exec(select(ResetRun)):
            opened.delete(run)
    assert browser.post(path, data={"csrf": csrf}).status_code == 303
