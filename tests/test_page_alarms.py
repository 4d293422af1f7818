"""What the pages show of a course that began in a room that was not ready."""

from datetime import timedelta

from sqlmodel import select

from fleet import notify, readiness
from fleet.settings import Settings
from inventory import Alarm, Level
from inventory.db import session
from tests.alarms import spell_out
from tests.room import heard
from tests.sample import House

pytest_plugins = ["tests.house"]
BANNER = "Kurs begonnen, Raum nicht bereit"


def tick(house: House) -> None:
    heard(house.engine, house.clock())
    with session(house.engine) as opened:
        readiness.freeze(opened, house.clock(), Settings())
        notify.climb(opened, house.clock(), Settings(), spell_out)


def test_a_course_that_begins_in_a_room_that_is_not_ready(house: House) -> None:
    house.clock.wait(minutes=22)
    tick(house)
    assert BANNER not in house.browser("ida").get("/").text
    house.clock.wait(minutes=1)
    tick(house)
    page = house.browser("ida").get("/").text
    assert BANNER in page
    assert "Smartphone für Einsteiger" in page
    assert BANNER not in house.browser("otto").get("/").text, "it is not his"
    house.clock.wait(minutes=90)
    tick(house)
    assert BANNER not in house.browser("ida").get("/").text


def test_a_recovery_before_the_course_was_moved_hides_nothing(house: House) -> None:
    house.clock.wait(minutes=23)
    tick(house)
    with session(house.engine) as opened:
        alarm = opened.exec(select(Alarm).where(Alarm.level == Level.START)).one()
        other = {"level": Level.RECOVERED, "course_start": alarm.course_start - timedelta(hours=1)}
        opened.add(Alarm(**(alarm.model_dump(exclude={"id"}) | other)))
    assert BANNER in house.browser("ida").get("/").text
