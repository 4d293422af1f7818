"""iCalendar as programs write it where the standard is read differently: no lesson shifts, shrinks
or goes without a word."""

from typing import Any

import pytest

from fleet.calendars import Wanted, read
from fleet.calendars.caldav import read as read_caldav
from tests.test_ical_quirks import END, START, calendar, event, lessons, starts, told

BERLIN = "TZID=Europe/Berlin"


@pytest.mark.parametrize(
    ("zone", "head"),
    [
        ("", ""),
        ("", "X-WR-TIMEZONE:Europe/Berlin\n"),
        (";TZID=Westeuropa", ""),
        (";TZID=Europe/Berlin", "X-WR-TIMEZONE:Europe/Berlin\n"),
    ],
)
def test_this_and_all_following_in_a_zone_that_is_guessed(zone: str, head: str) -> None:
    series = event(f"DTSTART{zone}:20261005T090000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=4")
    later = event(f"RECURRENCE-ID;RANGE=THISANDFUTURE{zone}:20261012T090000",
                  f"DTSTART{zone}:20261013T140000", "DURATION:PT2H")  # fmt: skip
    assert starts(lessons(series, later, head=head)) == [
        "10-05 07:00", "10-13 12:00", "10-20 12:00", "10-27 13:00"
    ]  # fmt: skip


def test_this_and_all_following_with_a_rule_of_its_own_is_a_doubt() -> None:
    series = event(f"DTSTART;{BERLIN}:20261005T090000", "DURATION:PT1H",
                   "RRULE:FREQ=WEEKLY;COUNT=4")  # fmt: skip
    more = event(f"RECURRENCE-ID;RANGE=THISANDFUTURE;{BERLIN}:20261012T090000",
                 f"DTSTART;{BERLIN}:20261012T140000", "DURATION:PT1H")  # fmt: skip
    assert told(series, f"{more}\nRRULE:FREQ=WEEKLY;COUNT=4").problem == ""
    contents = told(series, f"{more}\nRRULE:FREQ=WEEKLY;BYDAY=MO,TH")
    assert contents.problem == "partly_unreadable"
    assert "changes its rule" in contents.detail


def test_a_line_that_is_folded_within_a_letter() -> None:
    body = calendar(event("DTSTART:20261021T090000Z", "LOCATION:Übungsraum", "DURATION:PT1H"))
    folded = body.replace("Ü".encode(), b"\xc3\r\n \x9c")
    (found,) = read(folded, START, END, Wanted()).occurrences
    assert found.location == "Übungsraum"


def test_further_lessons_of_which_only_the_day_is_told_begin_when_the_series_does() -> None:
    found = lessons(
        event(f"DTSTART;{BERLIN}:20261005T090000", "DURATION:PT1H",
              "RDATE;VALUE=DATE:20261012,20261026"),
    )  # fmt: skip
    assert starts(found) == ["10-05 07:00", "10-12 07:00", "10-26 08:00"]


@pytest.mark.parametrize(
    ("wanted", "span"),
    [
        ({}, ["10-21 09:00", "10-28 09:00"]),
        ({"utc_is_local": True}, ["10-21 09:00", "10-28 10:00"]),
        ({"utc_is_mistaken": True}, ["10-21 07:00", "10-28 08:00"]),
    ],
)
def test_what_the_options_say_of_utc_holds_in_a_calendar_whose_own_zone_is_utc(
    wanted: dict[str, Any], span: list[str]
) -> None:
    series = event("DTSTART:20261021T090000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=2")
    for name in ("UTC", "Etc/UTC"):
        assert starts(lessons(series, head=f"X-WR-TIMEZONE:{name}\n", **wanted)) == span


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        (f"DTSTART;{BERLIN}:20261021T220000", f"DTEND;{BERLIN}:20261021T003000", 150),
        (f"DTSTART;{BERLIN}:20261021T090000", f"DTEND;{BERLIN}:20261020T103000", 90),
        (f"DTSTART;{BERLIN}:20261021T090000", f"DTEND;{BERLIN}:20261021T080000", 45),
        (f"DTSTART;{BERLIN}:20261021T090000", "DURATION:-PT2H", 45),
        ("DTSTART;VALUE=DATE:20261021", "DTEND;VALUE=DATE:20261019", 1440),
    ],
)
def test_an_end_before_the_start_moves_and_not_the_start(
    start: str, end: str, minutes: int
) -> None:
    contents = told(event(start), event(start, end, uid="b"), default_minutes=45)
    whole, turned = contents.occurrences
    assert turned.start == whole.start
    assert (turned.end - turned.start).total_seconds() == 60 * minutes
    assert contents.warnings["ends_before_start"] == 1


def test_two_calendars_may_mean_two_zones_by_one_name() -> None:
    def part(offset: str, uid: str) -> str:
        zone = (
            "BEGIN:VTIMEZONE\nTZID:Eigene\nBEGIN:STANDARD\nDTSTART:19700101T000000\n"
            f"TZOFFSETFROM:{offset}\nTZOFFSETTO:{offset}\nEND:STANDARD\nEND:VTIMEZONE\n"
        )
        lesson = event("DTSTART;TZID=Eigene:20261021T090000", "DURATION:PT1H", uid=uid)
        text = calendar(lesson, head=zone).decode()
        return f"<d:response><d:propstat><d:prop><c:calendar-data>{text}</c:calendar-data></d:prop>\
</d:propstat></d:response>"

    body = (
        '<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">'
        f"{part('+0100', 'a')}{part('+0300', 'b')}</d:multistatus>"
    )
    found = read_caldav(body.encode(), START, END, Wanted(kind="caldav")).occurrences
    assert {one.uid: one.start.hour for one in found} == {"a": 8, "b": 6}


@pytest.mark.parametrize(
    ("title", "off"),
    [
        ("Ausfall-Management in der IT", False),
        ("Ausfall–Risiken kennen", False),
        ("Ausfall - Yoga", True),
        ("Abgesagt- Yoga", True),
        ("Entfällt –Chor", True),
    ],
)
def test_a_word_that_only_begins_so_calls_no_course_off(title: str, off: bool) -> None:
    (found,) = lessons(f"UID:a\nSUMMARY:{title}\nDTSTART:20261021T090000Z\nDURATION:PT1H")
    assert found.cancelled is off


def test_two_series_of_one_name_and_start_are_both_held_unless_one_is_newer() -> None:
    short = event("DTSTART:20261005T090000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=3")
    long = event("DTSTART:20261005T090000Z", "DURATION:PT2H")
    found = lessons(short, long)
    assert starts(found) == ["10-05 09:00", "10-05 09:00", "10-12 09:00", "10-19 09:00"]
    assert max(one.end for one in found if one.start.day == 5).hour == 11
    assert {(one.uid, one.occurrence) for one in found} == {
        (one.uid, one.occurrence) for one in lessons(long, short)
    }
    assert starts(lessons(short, f"{long}\nSEQUENCE:1")) == ["10-05 09:00"]
    assert len(lessons(f"{short}\nLAST-MODIFIED:20260902T100000Z",
                       f"{long}\nLAST-MODIFIED:20260901T100000Z")) == 3  # fmt: skip
    assert len(lessons(short, short)) == 3


def test_this_and_all_following_of_a_series_that_is_not_told_is_a_doubt() -> None:
    first = event("DTSTART:20261005T090000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=3")
    second = event("DTSTART:20261007T090000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=3")
    later = event("RECURRENCE-ID;RANGE=THISANDFUTURE:20261012T090000Z",
                  "DTSTART:20261013T140000Z", "DURATION:PT2H")  # fmt: skip
    for events in ((first, second, later), (later,)):
        contents = told(*events)
        assert contents.problem == "partly_unreadable"
        assert "unknown series" in contents.detail
