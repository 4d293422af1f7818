"""What readings of a timetable found is kept, shown and forgotten in time."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet import retention, timetable
from fleet.settings import Settings
from fleet.timetable import snapshots
from inventory import Feed, FeedKind, FeedSnapshot, Room, Site
from inventory.db import reading, session
from tests.sample import House

pytest_plugins = ["tests.house"]
HOUR = timedelta(hours=1)
FEED = "ahlendorf-1"
PATH = f"/stundenplan/{FEED}"


def ics(*days: int, stamp: str = "20261101T000000Z", tail: str = "") -> bytes:
    events = "".join(
        f"BEGIN:VEVENT\r\nUID:{day}\r\nDTSTAMP:{stamp}\r\nDTSTART:202611{day}T120000Z\r\n"
        f"DURATION:PT1H\r\nSUMMARY:Kurs {day}\r\n{tail}END:VEVENT\r\n"
        for day in days
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n".encode()


def region(engine: Engine, file: Path) -> None:
    with session(engine) as opened:
        opened.add(Site(id="vhs", name="VHS", municipality="Erlental"))
        opened.flush()
        opened.add(Room(id="r1", site_id="vhs", name="Raum 1"))
        opened.flush()
        opened.add(Feed(id="f", site_id="vhs", room_id="r1", url=file.as_uri()))


def refresh(engine: Engine, now: datetime) -> None:
    timetable.refresh(engine, Settings(calendar_s=10), now)


def taken(engine: Engine) -> list[FeedSnapshot]:
    with reading(engine) as opened:
        return list(opened.exec(select(FeedSnapshot).order_by(col(FeedSnapshot.id))))


def test_only_what_differs_is_kept(engine: Engine, tmp_path: Path, now: datetime) -> None:
    file = tmp_path / "kurse.ics"
    region(engine, file)
    refresh(engine, now)
    refresh(engine, now + HOUR)
    file.write_bytes(ics(24, 25, 26, 27))
    refresh(engine, now + 2 * HOUR)
    file.write_bytes(ics(24, 25, 26, 27, stamp="20261102T000000Z"))
    refresh(engine, now + 3 * HOUR)
    file.write_bytes(ics(24))
    refresh(engine, now + 4 * HOUR)
    file.write_bytes(b"<html>")
    refresh(engine, now + 5 * HOUR)
    kept = taken(engine)
    assert [(one.problem, one.coming, one.body is not None) for one in kept] == [
        ("missing_file", 0, False),
        ("", 4, True),
        ("shrunk", 1, False),
        ("not_a_calendar", 0, True),
    ]
    assert [one.seen_at - one.taken_at for one in kept] == [HOUR, HOUR, 0 * HOUR, 0 * HOUR]
    file.write_bytes(ics(24, 25, 26, 27, 28))
    refresh(engine, now + 6 * HOUR)
    assert [one.body is not None for one in taken(engine)] == [False] * 4 + [True]


def test_an_unchanged_body_is_not_read_again(
    engine: Engine, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kurse.ics"
    region(engine, file)
    file.write_bytes(ics(24))
    refresh(engine, now)
    times: list[int] = []
    really = timetable.read_apart
    monkeypatch.setattr(timetable, "read_apart", lambda *given: times.append(1) or really(*given))
    file.write_bytes(ics(24, stamp="20261105T000000Z"))
    refresh(engine, now + HOUR)
    assert times == []
    refresh(engine, now + 24 * HOUR)
    assert times == [1], "once a day it is read whole"
    with reading(engine) as opened:
        assert opened.exec(select(Feed.good_at)).one() == now + 24 * HOUR


def test_people_are_not_kept(engine: Engine, tmp_path: Path, now: datetime) -> None:
    file = tmp_path / "kurse.ics"
    region(engine, file)
    people = (
        "ATTENDEE;CN=Erika Muster:mailto:erika@example.org\r\n"
        "ORGANIZER:mailto:vhs@exam\r\n ple.org\r\n"
    )
    file.write_bytes(ics(24, tail=people))
    refresh(engine, now)
    body = snapshots.body_of(taken(engine)[0])
    assert b"Kurs 24" in body
    assert b"rika" not in body
    assert b"ple.org" not in body


def sheet(kind: FeedKind, *days: int) -> bytes:
    """Lessons with a teacher and a participant."""
    if kind is FeedKind.CSV:
        rows = [f"K{day};Kurs {day};Erika Muster;{day}.11.2026;09:00;10:00" for day in days]
        return "\n".join(["Nummer;Titel;Dozentin;Datum;Von;Bis", *rows]).encode()
    rows = [
        f"<Termin dozentin='Erika'><Nummer>K{day}</Nummer><Titel>Kurs {day}</Titel>"
        f"<Datum>{day}.11.2026</Datum><Von>09:00</Von><Bis>10:00</Bis>"
        "<Teilnehmer><Name>Erika Muster</Name></Teilnehmer></Termin>"
        for day in days
    ]
    return f"<Programm>{''.join(rows)}</Programm>".encode()


@pytest.mark.parametrize("kind", [FeedKind.CSV, FeedKind.XML])
def test_of_a_table_is_kept_what_was_read_and_that_can_be_compared(
    engine: Engine, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch, kind: FeedKind
) -> None:
    file = tmp_path / "kurse"
    region(engine, file)
    with session(engine) as opened:
        opened.get_one(Feed, "f").kind = kind
    file.write_bytes(sheet(kind, 24, 25, 26, 27))
    refresh(engine, now)
    times: list[int] = []
    really = timetable.read_apart
    monkeypatch.setattr(timetable, "read_apart", lambda *given: times.append(1) or really(*given))
    file.write_bytes(sheet(kind, 24, 25, 26, 27))  # another version of the file, the same bytes
    refresh(engine, now + HOUR)
    assert times == [], "it is told by the whole body whether something changed"
    file.write_bytes(sheet(kind, 24))
    refresh(engine, now + 2 * HOUR)
    good, shrunk = taken(engine)
    assert (good.problem, shrunk.problem) == ("", "shrunk")
    for one in (good, shrunk):
        body = snapshots.body_of(one)
        assert b"Kurs 24" in body
        assert b"Erika" not in body
        assert b"Muster" not in body
    with reading(engine) as opened:
        feed = opened.get_one(Feed, "f")
    found = snapshots.compare(feed, good, shrunk, *timetable.window(now))
    assert [one.title for one in found.gone] == ["Kurs 25", "Kurs 26", "Kurs 27"]
    assert found.new == []
    file.write_bytes(b"Erika Muster")
    refresh(engine, now + 3 * HOUR)
    kept = [(one.problem != "", one.body is None) for one in taken(engine)]
    assert kept == [(False, False), (True, True), (True, True)], "no table, so nothing can be told"


def test_contents_go_after_a_month_and_the_rest_after_half_a_year(
    engine: Engine, tmp_path: Path, now: datetime
) -> None:
    file = tmp_path / "kurse.ics"
    region(engine, file)
    file.write_bytes(ics(24, 25))
    refresh(engine, now)
    retention.forget(engine, now + timedelta(days=29))
    assert taken(engine)[0].body
    retention.forget(engine, now + timedelta(days=31))
    assert taken(engine)[0].body is None
    retention.forget(engine, now + timedelta(days=181))
    assert taken(engine) == []


def shrink(house: House, folder: Path) -> None:
    file = folder / "kurse.ics"
    with session(house.engine) as opened:
        opened.get_one(Feed, FEED).url = file.as_uri()
    for days in ((24, 25, 26, 27, 28), (24, 30)):
        file.write_bytes(ics(*days))
        house.clock.wait(seconds=60)
        timetable.refresh(house.engine, Settings(home=Path(), calendar_s=10), house.clock.now)


def test_it_staff_look_into_a_doubt(anywhere: House, tmp_path: Path) -> None:
    shrink(anywhere, tmp_path)
    browser = anywhere.browser("ida")
    assert f'href="{PATH}"' in browser.get("/raum/ahlendorf-1").text
    listed = browser.get("/stundenplaene").text
    assert listed.index(PATH) > 0
    assert "Mehr als die Hälfte der Kurse ist auf einmal weg." in listed
    shown = browser.get(PATH).text
    assert "vollständig gelesen" in shown
    assert "kurse.ics" not in shown, "an address may be a secret"
    compared = browser.get(f"{PATH}/vergleich").text
    assert "4 Kurse fehlen" in compared
    assert "1 Kurs ist neu" in compared
    assert "Kurs 25" in compared
    with reading(anywhere.engine) as opened:
        last = snapshots.newest(opened, FEED)
    assert last is not None
    got = browser.get(f"{PATH}/inhalt/{last.id}")
    assert b"Kurs 30" in got.content
    assert got.headers["content-disposition"].startswith("attachment")
    assert got.headers["content-type"] == "application/octet-stream"


def test_who_may_not_look(house: House, tmp_path: Path) -> None:
    shrink(house, tmp_path)
    with reading(house.engine) as opened:
        last = snapshots.newest(opened, FEED)
    assert last is not None
    paths = [PATH, f"{PATH}/vergleich", f"{PATH}/inhalt/{last.id}"]
    for path in [*paths, "/stundenplaene"]:
        assert house.browser("karim").get(path).status_code == 403
    for path in [*paths, "/stundenplan/nowhere"]:
        assert house.browser("otto").get(path).status_code == 404
    assert FEED not in house.browser("otto").get("/stundenplaene").text
    other = f"/stundenplan/birkental-1/inhalt/{last.id}"
    assert house.browser("otto").get(other).status_code == 404
    assert house.browser("ida").get(f"{PATH}/inhalt/99999999999999999999").status_code == 404


def test_read_again_now(house: House) -> None:
    browser, csrf = house.browser("ida"), house.people["ida"].csrf
    with session(house.engine) as opened:
        opened.get_one(Feed, FEED).tried_at = house.clock.now
    assert browser.post(f"{PATH}/neu", data={}).status_code == 403
    answer = browser.post(f"{PATH}/neu", data={"csrf": csrf})
    assert answer.headers["location"] == f"{PATH}?hinweis=timetable_again"
    with reading(house.engine) as opened:
        assert opened.get_one(Feed, FEED).tried_at is None
    karim = house.people["karim"].csrf
    assert house.browser("karim").post(f"{PATH}/neu", data={"csrf": karim}).status_code == 403


def test_a_shorter_timetable_is_confirmed_on_its_own_page(house: House, tmp_path: Path) -> None:
    shrink(house, tmp_path)
    for name, status in (("karim", 403), ("otto", 404), ("ida", 303), ("ida", 303)):
        form = {"csrf": house.people[name].csrf}
        answer = house.browser(name).post(f"{PATH}/stimmt", data=form)
        assert answer.status_code == status, name
    house.clock.wait(seconds=60)
    timetable.refresh(house.engine, Settings(home=Path(), calendar_s=10), house.clock.now)
    with reading(house.engine) as opened:
        feed = opened.get_one(Feed, FEED)
        assert (feed.problem, feed.confirmed) == ("", False)
    answer = house.browser("ida").post(f"{PATH}/stimmt", data={"csrf": house.people["ida"].csrf})
    assert answer.headers["location"] == f"{PATH}?hinweis=timetable_fine"


def test_what_options_a_table_has_is_read_so(engine: Engine, tmp_path: Path, now: datetime) -> None:
    file = tmp_path / "kurse.csv"
    region(engine, file)
    with session(engine) as opened:
        feed = opened.get_one(Feed, "f")
        feed.kind, feed.room_id = FeedKind.CSV, None
        feed.options = {
            "locations": {"EDV 1": "r1", "*halle*": None, "Keller*": "r1"},
            "columns": {"location": ["Wo"]},
        }
    rows = ["Datum;Von;Wo", "24.11.2026;09:00;edv  1", "25.11.2026;09:00;Turnhalle",
            "26.11.2026;09:00;Keller links", "27.11.2026;09:00;Raum 1"]  # fmt: skip
    file.write_text("\n".join(rows))
    refresh(engine, now)
    (one,) = taken(engine)
    assert (one.problem, one.coming, one.warnings) == ("", 3, {"elsewhere": 1, "no_end": 4})
    file.write_text("\n".join([*rows, "28.11.2026;09:00;Dachboden"]))
    refresh(engine, now + HOUR)
    assert taken(engine)[-1].problem == "unknown_room"
