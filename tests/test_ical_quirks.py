"""What exporters get wrong or leave open in iCalendar, each with what we make of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleet.calendars import Contents, Occurrence, Wanted, read

START = datetime(2026, 10, 1, tzinfo=UTC)
END = START + timedelta(days=60)


def calendar(*events: str, head: str = "") -> bytes:
    body = "".join(f"BEGIN:VEVENT\n{event.strip()}\nEND:VEVENT\n" for event in events)
    whole = f"BEGIN:VCALENDAR\nVERSION:2.0\n{head}{body}END:VCALENDAR\n"
    return whole.replace("\n", "\r\n").encode()


def told(*events: str, head: str = "", **wanted: Any) -> Contents:
    return read(calendar(*events, head=head), START, END, Wanted(**wanted))


def lessons(*events: str, head: str = "", **wanted: Any) -> list[Occurrence]:
    contents = told(*events, head=head, **wanted)
    assert contents.problem == "", contents.detail
    return contents.occurrences


def event(*lines: str, uid: str = "a") -> str:
    return "\n".join([f"UID:{uid}", "SUMMARY:Kurs", *lines])


def starts(found: list[Occurrence]) -> list[str]:
    return [f"{one.start:%m-%d %H:%M}" for one in found]


SUNDAYS = (
    "DTSTART:20261011T223000Z",
    "DTEND:20261011T233000Z",
    "RRULE:FREQ=WEEKLY;BYDAY=SU;COUNT=4",
)
UTC_SERIES = ("DTSTART:20261021T070000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=2")


@pytest.mark.parametrize(
    ("head", "wanted", "second", "warnings"),
    [
        ("", {}, "10-28 07:00", {"utc_series": 1}),
        ("X-WR-TIMEZONE:Europe/Berlin\n", {}, "10-28 08:00", {}),
        ("", {"utc_is_local": True}, "10-28 08:00", {}),
        ("", {"utc_is_local": True, "zone": "UTC"}, "10-28 07:00", {}),
    ],
)
def test_a_series_in_utc_over_the_change_of_clocks(
    head: str, wanted: dict[str, Any], second: str, warnings: dict[str, int]
) -> None:
    contents = told(event(*UTC_SERIES), head=head, **wanted)
    assert starts(contents.occurrences) == ["10-21 07:00", second]
    assert contents.warnings == warnings


def test_local_times_that_are_marked_as_utc() -> None:
    series = event("DTSTART:20261021T090000Z", "DTEND:20261021T100000Z",
                   "RRULE:FREQ=WEEKLY;UNTIL=20261104T090000Z",
                   "EXDATE:20261028T090000Z")  # fmt: skip
    moved = event("RECURRENCE-ID:20261104T090000Z", "DTSTART:20261105T120000Z",
                  "DTEND:20261105T130000Z")  # fmt: skip
    assert starts(lessons(series, moved, utc_is_mistaken=True)) == ["10-21 07:00", "11-05 11:00"]


def test_weekdays_close_to_midnight_in_utc_lose_no_lesson() -> None:
    for head, wanted in (("X-WR-TIMEZONE:Europe/Berlin\n", {}), ("", {"utc_is_local": True})):
        contents = told(event(*SUNDAYS), head=head, **wanted)
        assert starts(contents.occurrences) == [
            "10-11 22:30", "10-18 22:30", "10-25 22:30", "11-01 22:30"
        ]  # fmt: skip
        assert contents.warnings == {"utc_weekday": 1, "utc_series": 1}


def test_the_zone_of_times_without_one_is_the_feeds() -> None:
    (found,) = lessons(event("DTSTART:20261021T090000", "DURATION:PT1H"), zone="Europe/London")
    assert starts([found]) == ["10-21 08:00"]
    (own,) = lessons(
        event("DTSTART;TZID=Customized Time Zone:20261021T090000", "DURATION:PT1H"),
        zone="Europe/London",
    )
    assert starts([own]) == ["10-21 08:00"]
    (day,) = lessons(event("DTSTART;VALUE=DATE:20261021"), zone="Europe/London")
    assert (day.start.hour, day.end - day.start) == (23, timedelta(days=1))


def test_further_lessons_of_every_kind() -> None:
    series = event(
        "DTSTART;TZID=Europe/Berlin:20261005T090000", "DURATION:PT1H",
        "RRULE:FREQ=WEEKLY;COUNT=2",
        "RDATE;TZID=Europe/Berlin:20261007T140000,20261008T140000",
        "RDATE:20261009T120000Z",
        "RDATE;VALUE=PERIOD:20261020T080000Z/PT3H",
    )  # fmt: skip
    found = lessons(series)
    assert starts(found) == [
        "10-05 07:00", "10-07 12:00", "10-08 12:00", "10-09 12:00", "10-12 07:00", "10-20 08:00"
    ]  # fmt: skip
    assert found[-1].end - found[-1].start == timedelta(hours=3)


def test_left_out_in_several_lines_and_forms_at_once() -> None:
    series = event(
        "DTSTART;TZID=Europe/Berlin:20261005T090000", "DURATION:PT1H",
        "RRULE:FREQ=DAILY;COUNT=8",
        "EXDATE;TZID=Europe/Berlin:20261006T090000,20261007T090000",
        "EXDATE:20261008T070000Z",
        "EXDATE;VALUE=DATE:20261009",
        "EXDATE:20261010T083000Z",
    )  # fmt: skip
    assert starts(lessons(series)) == [
        "10-05 07:00", "10-10 07:00", "10-11 07:00", "10-12 07:00"
    ], "a wrong clock time leaves nothing out"  # fmt: skip


def test_a_change_without_its_series() -> None:
    (found,) = lessons(
        event("RECURRENCE-ID;TZID=Europe/Berlin:20261005T090000",
              "DTSTART;TZID=Europe/Berlin:20261006T090000", "DURATION:PT1H")
    )  # fmt: skip
    assert (starts([found]), found.occurrence) == (["10-06 07:00"], "2026-10-05T07:00:00Z")


@pytest.mark.parametrize(
    "recurrence",
    [
        "RECURRENCE-ID;TZID=Europe/Berlin:20261012T090000",
        "RECURRENCE-ID:20261012T070000Z",
        "RECURRENCE-ID:20261012T090000",
        "RECURRENCE-ID;TZID=W. Europe Standard Time:20261012T090000",
    ],
)
def test_a_moved_lesson_is_not_there_twice(recurrence: str) -> None:
    series = event("DTSTART;TZID=Europe/Berlin:20261005T090000", "DURATION:PT1H",
                   "RRULE:FREQ=WEEKLY;COUNT=3")  # fmt: skip
    moved = event(recurrence, "DTSTART:20261013T150000Z", "DURATION:PT1H")
    assert starts(lessons(series, moved)) == ["10-05 07:00", "10-13 15:00", "10-19 07:00"]


def test_a_change_that_names_only_a_day_loses_nothing() -> None:
    series = event("DTSTART;TZID=Europe/Berlin:20261005T090000", "DURATION:PT1H",
                   "RRULE:FREQ=WEEKLY;COUNT=2")  # fmt: skip
    moved = event("RECURRENCE-ID;VALUE=DATE:20261012", "DTSTART:20261013T150000Z", "DURATION:PT1H")
    assert {"10-05 07:00", "10-13 15:00"} <= set(starts(lessons(series, moved)))


def test_a_lesson_moved_here_from_far_away_and_one_moved_out() -> None:
    series = event("DTSTART:20250106T090000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=100")
    here = event("RECURRENCE-ID:20250113T090000Z", "DTSTART:20261009T150000Z", "DURATION:PT1H")
    away = event("RECURRENCE-ID:20261012T090000Z", "DTSTART:20270112T090000Z", "DURATION:PT1H")
    found = starts(lessons(series, here, away))
    assert "10-09 15:00" in found
    assert "10-12 09:00" not in found


@pytest.mark.parametrize(
    "out", ["EXDATE;TZID=Europe/Berlin:20261012T090000", "EXDATE;VALUE=DATE:20261012"]
)
def test_a_lesson_that_is_taken_out_and_changed_all_the_same_is_held(out: str) -> None:
    series = event("DTSTART;TZID=Europe/Berlin:20261005T090000", "DURATION:PT1H",
                   "RRULE:FREQ=WEEKLY;COUNT=4", out,
                   "EXDATE;TZID=Europe/Berlin:20261019T090000")  # fmt: skip
    moved = event("RECURRENCE-ID;TZID=Europe/Berlin:20261012T090000",
                  "DTSTART;TZID=Europe/Berlin:20261013T140000", "DURATION:PT1H")  # fmt: skip
    read = told(series, moved)
    assert starts(read.occurrences) == ["10-05 07:00", "10-13 12:00", "10-26 08:00"]
    assert read.warnings == {"taken_out_and_changed": 1}


def test_this_and_all_following_over_the_change_of_clocks() -> None:
    series = event("DTSTART;TZID=Europe/Berlin:20261005T090000", "DURATION:PT1H",
                   "RRULE:FREQ=WEEKLY;COUNT=5")  # fmt: skip
    later = event("RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20261019T090000",
                  "DTSTART;TZID=Europe/Berlin:20261019T140000", "DURATION:PT2H")  # fmt: skip
    found = lessons(series, later)
    assert starts(found) == [
        "10-05 07:00", "10-12 07:00", "10-19 12:00", "10-26 13:00", "11-02 13:00"
    ]  # fmt: skip


def test_days_without_times() -> None:
    holiday = event("DTSTART;VALUE=DATE:20261012", "DTEND;VALUE=DATE:20261017")
    free = event("DTSTART;VALUE=DATE:20261020", "TRANSP:TRANSPARENT", uid="b")
    outlook = event("DTSTART;VALUE=DATE:20261021", "X-MICROSOFT-CDO-BUSYSTATUS:FREE", uid="c")
    as_course = told(holiday, free, outlook)
    assert [(one.uid, one.block) for one in as_course.occurrences] == [("a", False)]
    assert as_course.warnings == {"all_day_ignored": 2}
    as_block = told(holiday, free, outlook, all_day="block")
    assert [(one.uid, one.block) for one in as_block.occurrences] == [
        ("a", True), ("b", True), ("c", True)
    ]  # fmt: skip
    assert told(holiday, free, outlook, all_day="ignore").warnings == {"all_day_ignored": 3}
    week = as_block.occurrences[0]
    assert week.end - week.start == timedelta(days=5)


@pytest.mark.parametrize(
    ("line", "block"),
    [
        ("TRANSP:TRANSPARENT", True),
        ("X-MICROSOFT-CDO-BUSYSTATUS:FREE", True),
        ("X-MICROSOFT-CDO-BUSYSTATUS:TENTATIVE", True),
        ("X-MICROSOFT-CDO-BUSYSTATUS:BUSY", False),
        ("TRANSP:OPAQUE", False),
        ("STATUS:TENTATIVE", False),
    ],
)
def test_what_takes_nobodys_time_still_takes_the_room(line: str, block: bool) -> None:
    (found,) = lessons(event("DTSTART:20261021T090000Z", "DURATION:PT1H", line))
    assert found.block is block


def test_ends_that_are_told_badly() -> None:
    contents = told(
        event("DTSTART:20261021T090000Z", uid="none"),
        event("DTSTART:20261022T090000Z", "DTEND:20261022T080000Z", uid="swapped"),
        event("DTSTART:20261023T090000Z", "DTEND:20261023T090000Z", uid="zero"),
        event("DTSTART:20261024T090000Z", "DURATION:PT0S", uid="still"),
        default_minutes=45,
    )
    lengths = {one.uid: (one.end - one.start).seconds // 60 for one in contents.occurrences}
    assert lengths == {"none": 45, "swapped": 45, "zero": 45, "still": 45}
    assert contents.warnings == {"ends_before_start": 1, "no_end": 1}


def test_a_lesson_without_end_that_began_just_before_the_window() -> None:
    begins = START - timedelta(minutes=30)
    (found,) = lessons(event(f"DTSTART:{begins:%Y%m%dT%H%M%SZ}"))
    assert found.start == begins


def test_overlapping_abutting_and_over_midnight() -> None:
    found = lessons(
        event("DTSTART:20261021T090000Z", "DTEND:20261021T100000Z", uid="a"),
        event("DTSTART:20261021T100000Z", "DTEND:20261021T110000Z", uid="b"),
        event("DTSTART:20261021T093000Z", "DTEND:20261021T103000Z", uid="c"),
        event("DTSTART;TZID=Europe/Berlin:20261021T230000",
              "DTEND;TZID=Europe/Berlin:20261022T013000", uid="d"),
    )  # fmt: skip
    assert [one.uid for one in found] == ["a", "c", "b", "d"]
    assert found[-1].end - found[-1].start == timedelta(hours=2.5)


def test_a_night_in_which_the_clocks_change() -> None:
    zone = "TZID=Europe/Berlin"
    autumn = lessons(event(f"DTSTART;{zone}:20261024T220000", f"DTEND;{zone}:20261025T060000"))
    assert autumn[0].end - autumn[0].start == timedelta(hours=9)
    body = calendar(event(f"DTSTART;{zone}:20270328T023000", f"DTEND;{zone}:20270328T033000"))
    begin = datetime(2027, 3, 1, tzinfo=UTC)
    spring = read(body, begin, begin + timedelta(days=40), Wanted())
    assert spring.problem == ""
    (found,) = spring.occurrences
    assert found.start <= datetime(2027, 3, 28, 1, 30, tzinfo=UTC) < found.end


def test_a_series_that_ends_before_it_begins_and_one_that_left_itself_out() -> None:
    assert (
        lessons(event("DTSTART:20261021T090000Z", "RRULE:FREQ=WEEKLY;UNTIL=20260101T000000Z")) == []
    )
    out = event("DTSTART:20261021T090000Z", "RRULE:FREQ=WEEKLY;COUNT=1", "EXDATE:20261021T090000Z")
    assert lessons(out) == []


def test_one_uid_in_two_calendars_of_one_file() -> None:
    first = calendar(event("DTSTART:20261021T090000", "DURATION:PT1H"))
    second = calendar(
        event("DTSTART:20261022T090000", "DURATION:PT1H"), head="X-WR-TIMEZONE:Europe/London\n"
    )
    contents = read(first + second, START, END, Wanted())
    assert contents.problem == ""
    assert starts(contents.occurrences) == ["10-21 07:00", "10-22 08:00"]
    assert len({(one.uid, one.occurrence) for one in contents.occurrences}) == 2


def test_times_that_are_merely_busy_are_no_timetable_without_courses() -> None:
    head = "BEGIN:VFREEBUSY\nUID:f\nFREEBUSY:20261021T090000Z/PT1H\nEND:VFREEBUSY\n"
    assert told(head=head).problem == "partly_unreadable"


@pytest.mark.parametrize(
    ("title", "words", "off"),
    [
        ("Abgesagt: Yoga", {}, True),
        ("ABGESAGT - Yoga", {}, True),
        ("[Entfällt] Yoga", {}, True),
        ("(fällt aus) Yoga", {}, True),
        ("Canceled: Yoga", {}, True),
        ("Ausfall!", {}, True),
        ("Warum Wanderungen abgesagt werden", {}, False),
        ("Ausfallsicherheit: ein Kurs", {}, False),
        ("Storno: Yoga", {}, False),
        ("Storno: Yoga", {"cancelled": ["Storno"]}, True),
        ("Abgesagt: Yoga", {"cancelled": ["Storno"]}, False),
    ],
)
def test_titles_that_say_a_course_is_off(title: str, words: dict[str, Any], off: bool) -> None:
    (found,) = lessons(f"UID:a\nDTSTART:20261021T090000Z\nSUMMARY:{title}", **words)
    assert found.cancelled is off
