"""Courses and reset windows for a calendar program: complete, stable, and only what is allowed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from icalendar import Calendar, Event
from sqlmodel import col, select

from fleet import api, auth
from inventory import Account, CalendarLink, Course, RunState
from inventory.db import reading, session
from tests.sample import House, make_course, make_run

pytest_plugins = ["tests.house"]
HOUR = timedelta(hours=1)
API = "/api/v1/calendar.ics"


@pytest.fixture(autouse=True)
def _with_api(request: pytest.FixtureRequest) -> None:
    name = "anywhere" if "anywhere" in request.fixturenames else "house"
    request.getfixturevalue(name).app.include_router(api.router)


def entries(text: str) -> dict[str, Event]:
    """By UID; every entry must be whole, and its times in UTC."""
    calendar = Calendar.from_ical(text)
    assert calendar["VERSION"] == "2.0"
    found = {}
    for event in calendar.walk("VEVENT"):
        assert not event.errors
        for key in ("UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY"):
            assert key in event, key
        assert event["DTSTART"].dt.tzinfo is not None
        assert event["DTSTART"].to_ical().endswith(b"Z")
        assert event["DTSTART"].dt < event["DTEND"].dt
        assert event["UID"] not in found
        found[str(event["UID"])] = event
    return found


def a_course(house: House, room: str, title: str, hours: float, **more: Any) -> Course:
    with session(house.engine) as opened:
        return make_course(opened, room, title, house.clock.now + timedelta(hours=hours), **more)


def address(house: House, name: str, scope: str, language: str = "de") -> str:
    browser = house.browser(name, language)
    form = {"csrf": house.people[name].csrf, "scope": scope}
    text = browser.post("/kalender", data=form).text
    return text.split('class="address">')[1].split("<")[0].partition("/kalender/")[2]


def subscribed(house: House, path: str, **headers: str) -> Any:
    """As a calendar program asks: without any cookie."""
    browser = house.browser("ida")
    browser.cookies.clear()
    return browser.get(f"/kalender/{path}", headers=headers)


def test_courses_and_their_reset_windows(anywhere: House) -> None:
    course = a_course(anywhere, "ahlendorf-1", "Häkeln, für Anfänger; leicht", 50)
    gone = a_course(anywhere, "ahlendorf-1", "Yoga", 60, cancelled=True)
    with session(anywhere.engine) as opened:
        make_run(opened, course, "ahlendorf-1-laptop-1", RunState.VERIFIED)
        make_run(opened, course, "ahlendorf-1-laptop-2", RunState.FAILED)
    answer = anywhere.browser("ida").get(f"{API}?room=ahlendorf-1")
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    found = entries(answer.text)
    mine = found[f"course-{course.id}@127.0.0.1"]
    assert str(mine["SUMMARY"]) == "Häkeln, für Anfänger; leicht"
    assert (mine["DTSTART"].dt, mine["DTEND"].dt) == (course.start, course.end)
    reset = found[f"reset-{course.id}@127.0.0.1"]
    assert reset["DTSTART"].dt == course.start - 16 * HOUR
    assert reset["DTEND"].dt == course.start - timedelta(minutes=5)
    assert reset["TRANSP"] == "TRANSPARENT"
    assert str(reset["DESCRIPTION"]) == "1 von 2 Geräten geprüft zurückgesetzt"
    off = found[f"course-{gone.id}@127.0.0.1"]
    assert (off["STATUS"], str(off["SUMMARY"])) == ("CANCELLED", "Abgesagt: Yoga")
    assert f"reset-{gone.id}@127.0.0.1" not in found


def test_of_too_many_courses_those_to_come_are_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.calendar, "MAX_COURSES", 3)
    for hours in (-90, -60, -30):
        a_course(house, "ahlendorf-1", "vorbei", hours)
    coming = [a_course(house, "ahlendorf-1", "kommt", hours) for hours in (50, 60, 70)]
    found = entries(house.browser("ida").get(f"{API}?room=ahlendorf-1").text)
    assert f"course-{coming[0].id}@127.0.0.1" in found
    assert "vorbei" not in {str(event["SUMMARY"]) for event in found.values()}


def test_a_window_begins_after_the_course_before(house: House) -> None:
    first = a_course(house, "ahlendorf-1", "A", 50, minutes=60)
    second = a_course(house, "ahlendorf-1", "B", 51.5)
    third = a_course(house, "ahlendorf-1", "C", 53)
    found = entries(house.browser("ida").get(f"{API}?room=ahlendorf-1").text)
    reset = found[f"reset-{second.id}@127.0.0.1"]
    assert reset["DTSTART"].dt == first.end + timedelta(minutes=2)
    assert f"reset-{third.id}@127.0.0.1" not in found, "they abut"


def test_a_moved_course_keeps_its_uid_and_an_unchanged_calendar_is_not_sent_again(
    house: House,
) -> None:
    course = a_course(house, "ahlendorf-1", "Yoga", 50)
    browser = house.browser("ida")
    first = browser.get(API)
    house.clock.wait(seconds=1)
    again = browser.get(API, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    with session(house.engine) as opened:
        moved = opened.get_one(Course, course.id)
        moved.start, moved.end = moved.start + HOUR, moved.end + HOUR
    second = browser.get(API, headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    uid = f"course-{course.id}@127.0.0.1"
    moves = [entries(each.text)[uid]["DTSTART"].dt for each in (first, second)]
    assert moves[1] - moves[0] == HOUR


def test_local_times_over_the_change_of_clocks(house: House) -> None:
    path = address(house, "ida", "")
    house.clock.now = datetime(2027, 3, 20, 8, tzinfo=UTC)
    starts = [datetime(2027, 3, 22, 8, tzinfo=UTC), datetime(2027, 3, 29, 7, tzinfo=UTC)]
    with session(house.engine) as opened:
        made = [make_course(opened, "ahlendorf-1", "Yoga", start) for start in starts]
    found = entries(subscribed(house, path).text)
    assert [found[f"course-{one.id}@127.0.0.1"]["DTSTART"].dt for one in made] == starts


def test_everybody_sees_only_their_own(house: House) -> None:
    course = a_course(house, "ahlendorf-1", "Yoga", 50)
    other = a_course(house, "birkental-1", "Chor", 50)
    uids = [f"course-{one.id}@127.0.0.1" for one in (course, other)]
    for name, seen in (("anna", [True, True]), ("ida", [True, False]), ("otto", [False, True])):
        found = entries(house.browser(name).get(API).text)
        assert [uid in found for uid in uids] == seen, name
    assert house.browser("ida").get(f"{API}?room=birkental-1").status_code == 404
    assert house.browser("ida").get(f"{API}?site=birkental").status_code == 404
    browser = house.browser("ida")
    browser.cookies.clear()
    assert browser.get(API).status_code == 401


@pytest.mark.parametrize("scope", ["", "site:ahlendorf", "room:ahlendorf-1"])
def test_a_program_subscribes_by_an_address_of_its_own(anywhere: House, scope: str) -> None:
    course = a_course(anywhere, "ahlendorf-1", "Yoga", 50)
    path = address(anywhere, "ida", scope)
    answer = subscribed(anywhere, path)
    assert f"course-{course.id}@127.0.0.1" in entries(answer.text)
    assert (
        subscribed(anywhere, path, **{"If-None-Match": answer.headers["etag"]}).status_code == 304
    )
    with reading(anywhere.engine) as opened:
        (link,) = opened.exec(select(CalendarLink)).all()
    assert link.used_at == anywhere.clock.now
    token = path.removesuffix(".ics")
    assert token not in repr(link), "only its hash is kept"
    assert token not in anywhere.browser("ida").get("/kalender").text


def test_an_address_opens_nothing_else_and_ends(house: House) -> None:
    path = address(house, "ida", "")
    token = path.removesuffix(".ics")
    browser = house.browser("ida")
    browser.cookies.clear()
    for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"{auth.COOKIE}={token}"}):
        assert browser.get(API, headers=headers).status_code == 401
    for wrong in ("x.ics", f"{token[:-1]}.ics", f"{token}x.ics", ".ics", f"{path}/.."):
        assert subscribed(house, wrong).status_code in (404, 303), wrong

    with session(house.engine) as opened:
        found = opened.exec(select(Account).where(col(Account.name) == "ida")).one()
        found.active = False
    assert subscribed(house, path).status_code == 404
    with session(house.engine) as opened:
        opened.get_one(Account, found.id).active = True
        opened.get_one(Account, found.id).municipality = "Birkental"
    assert "Ahlendorf" not in subscribed(house, path).text, "what the account may see now"


def test_an_address_is_taken_back_by_its_owner_only(house: House) -> None:
    path = address(house, "ida", "room:ahlendorf-1", "en")
    assert path.endswith(".ics?sprache=en")
    with reading(house.engine) as opened:
        hashed = opened.exec(select(CalendarLink.token_hash)).one()
    for name, status in (("otto", 200), ("ida", 404)):
        form = {"csrf": house.people[name].csrf, "link": hashed}
        answer = house.browser(name).post("/kalender/loeschen", data=form)
        assert answer.headers["location"] == "/kalender?hinweis=calendar_gone"
        assert subscribed(house, path).status_code == status
    assert house.browser("ida").post("/kalender", data={"scope": ""}).status_code == 403


def test_strange_wishes(house: House) -> None:
    csrf = house.people["ida"].csrf
    browser = house.browser("ida")
    for scope in ("room:birkental-1", "site:birkental", "room:", "site:x"):
        answer = browser.post("/kalender", data={"csrf": csrf, "scope": scope})
        assert answer.status_code == 404, scope
    for _ in range(20):
        assert browser.post("/kalender", data={"csrf": csrf}).status_code == 200
    assert browser.post("/kalender", data={"csrf": csrf}).status_code == 409
    assert "Löschen Sie zuerst eine" in browser.get("/kalender").text


def test_the_room_leads_there(house: House) -> None:
    page = house.browser("karim").get("/raum/ahlendorf-1").text
    assert 'href="/kalender?raum=ahlendorf-1"' in page
    chosen = house.browser("karim").get("/kalender?raum=ahlendorf-1").text
    assert '<option value="room:ahlendorf-1" selected>' in chosen


def test_timetables_for_scripts(house: House) -> None:
    found = house.browser("ida").get("/api/v1/feeds").json()
    assert [one["id"] for one in found["items"]] == ["ahlendorf-1"]
    (one,) = found["items"]
    assert (one["kind"], one["host"], one["options"]) == ("ics", "kurse.example", {})
    assert "url" not in one
    path = "/api/v1/feeds/ahlendorf-1/snapshots"
    assert house.browser("ida").get(path).json()["items"] == []
    assert house.browser("otto").get(path).status_code == 404
