"""A timetable in doubt on the room's page, and who may say that it is right."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import col, select

from fleet import timetable
from fleet.settings import Settings
from inventory import Course, Feed
from inventory.db import reading, session
from tests.sample import House, make_course

pytest_plugins = ["tests.house"]
PATH, FEED = "/raum/ahlendorf-1", "ahlendorf-1"
BUTTON = "Der neue Stundenplan stimmt"
EMPTY = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//DE\r\nEND:VCALENDAR\r\n"


def empty_out(house: House, folder: Path) -> None:
    """Four courses were known, and now the timetable's file holds none."""
    file = folder / "kurse.ics"
    file.write_bytes(EMPTY.encode())
    with session(house.engine) as opened:
        for day in (3, 4):
            make_course(opened, FEED, "Basteln", house.clock.now + timedelta(days=day))
        opened.get_one(Feed, FEED).url = file.as_uri()
    read(house)


def read(house: House) -> None:
    timetable.refresh(house.engine, Settings(home=Path(), calendar_s=60), house.clock.now)


def problem(house: House) -> str:
    with reading(house.engine) as opened:
        return opened.get_one(Feed, FEED).problem


def coming(house: House) -> int:
    query = select(Course).where(
        Course.feed_id == FEED, Course.start > house.clock.now, col(Course.cancelled).is_(False)
    )
    with reading(house.engine) as opened:
        return len(opened.exec(query).all())


def test_an_emptied_timetable_is_confirmed(anywhere: House, tmp_path: Path) -> None:
    empty_out(anywhere, tmp_path)
    assert problem(anywhere) == "shrunk"
    browser, csrf = anywhere.browser("ida"), anywhere.people["ida"].csrf
    page = browser.get(PATH).text
    assert "Bisher kamen noch 4 Kurse, im neuen Stundenplan sind es 0." in page
    assert BUTTON in page
    form = {"csrf": csrf, "feed": FEED}
    answer = browser.post(f"{PATH}/stundenplan", data=form)
    assert answer.status_code == 303
    assert (
        "Der Stundenplan wird gleich neu gelesen." in browser.get(answer.headers["location"]).text
    )
    assert (problem(anywhere), coming(anywhere)) == ("shrunk", 4), "protected until it is read"
    anywhere.clock.wait(seconds=1)
    read(anywhere)
    assert (problem(anywhere), coming(anywhere)) == ("", 0)
    assert BUTTON not in browser.get(PATH).text
    again = browser.post(f"{PATH}/stundenplan", data=form)
    assert again.headers["location"].endswith("timetable_fine")


@pytest.mark.parametrize("name", ["karim", "vera"])
def test_who_may_not_edit_neither_sees_nor_does_it(house: House, tmp_path: Path, name: str) -> None:
    empty_out(house, tmp_path)
    browser, csrf = house.browser(name), house.people[name].csrf
    page = browser.get(PATH).text
    assert BUTTON not in page
    assert "Mehr als die Hälfte der Kurse ist auf einmal weg." in page
    answer = browser.post(f"{PATH}/stundenplan", data={"csrf": csrf, "feed": FEED})
    assert answer.status_code == 403
    assert coming(house) == 4


def test_nothing_else_is_confirmed(house: House, tmp_path: Path) -> None:
    empty_out(house, tmp_path)
    browser, csrf = house.browser("ida"), house.people["ida"].csrf
    without = browser.post(f"{PATH}/stundenplan", data={"feed": FEED})
    assert without.status_code == 403
    for feed in ("birkental-1", "nowhere"):
        form = {"csrf": csrf, "feed": feed}
        assert browser.post(f"{PATH}/stundenplan", data=form).status_code == 404
    with session(house.engine) as opened:
        opened.get_one(Feed, FEED).problem = "unreadable"
    page = browser.get(PATH).text
    assert "Der Stundenplan ist beschädigt." in page
    assert BUTTON not in page
    browser.post(f"{PATH}/stundenplan", data={"csrf": csrf, "feed": FEED})
    assert coming(house) == 4
