"""Timetables as real exporters and strangers write them: nothing is lost without a word."""

from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.calendars import Contents, Occurrence, Wanted, read_apart
from fleet.calendars import read as read_any
from fleet.calendars.contents import MAX_OCCURRENCES, Unreadable
from fleet.calendars.ical import SERIES_S, time_limit

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
START, END = NOW - timedelta(days=1), NOW + timedelta(days=60)


def read(body: bytes, start: datetime, end: datetime, **wanted: Any) -> Contents:
    return read_any(body, start, end, Wanted(**wanted))


def calendar(*events: str, head: str = "") -> bytes:
    body = "".join(f"BEGIN:VEVENT\n{event.strip()}\nEND:VEVENT\n" for event in events)
    whole = f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{head}{body}END:VCALENDAR\n"
    return whole.replace("\n", "\r\n").encode()


def event(uid: str = "a", start: str = "DTSTART:20261124T090000Z", *more: str) -> str:
    return "\n".join([f"UID:{uid}", start, "SUMMARY:Kurs", *more])


def lessons(*events: str, head: str = "", **wanted: Any) -> list[Occurrence]:
    contents = read(calendar(*events, head=head), START, END, **wanted)
    assert contents.problem == "", contents.detail
    return contents.occurrences


def at(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)  # type: ignore[misc, arg-type]


def test_a_weekly_course_keeps_its_local_time_over_the_change_of_clocks() -> None:
    weekly = event("a", "DTSTART;TZID=Europe/Berlin:20261001T090000", "RRULE:FREQ=WEEKLY")
    found = read(calendar(weekly), at(2026, 10, 1), at(2026, 11, 6)).occurrences
    assert [each.start.hour for each in found] == [7, 7, 7, 7, 8, 8]
    assert len({each.occurrence for each in found}) == 6


def test_what_happens_once_keeps_its_name_when_it_moves() -> None:
    (before,) = lessons(event("a", "DTSTART:20261124T090000Z"))
    (after,) = lessons(event("a", "DTSTART:20261125T100000Z"))
    assert (before.uid, before.occurrence) == (after.uid, after.occurrence) == ("a", "")


def test_a_moved_lesson_of_a_series_keeps_its_name() -> None:
    series = event("a", "DTSTART:20261124T090000Z", "RRULE:FREQ=DAILY;COUNT=3")
    moved = event("a", "DTSTART:20261126T150000Z", "RECURRENCE-ID:20261125T090000Z")
    plain = {each.occurrence: each.start for each in lessons(series)}
    changed = {each.occurrence: each.start for each in lessons(series, moved)}
    assert plain.keys() == changed.keys()
    assert changed["2026-11-25T09:00:00Z"] == at(2026, 11, 26, 15)


def test_two_lessons_with_one_uid_are_two_lessons() -> None:
    found = lessons(
        event("4711", "DTSTART:20261124T090000Z"),
        event("4711", "DTSTART:20261125T090000Z"),
        event("4711", "DTSTART:20261126T090000Z", "RRULE:FREQ=DAILY;COUNT=2"),
        event("4711", "DTSTART:20261127T110000Z", "RECURRENCE-ID:20261127T090000Z"),
    )
    assert [each.start.isoformat()[:13] for each in found] == [
        "2026-11-24T09",
        "2026-11-25T09",
        "2026-11-26T09",
        "2026-11-27T11",
    ]
    assert len({(each.uid, each.occurrence) for each in found}) == 4


def test_of_true_duplicates_the_newest_counts() -> None:
    (found,) = lessons(
        event("a", "DTSTART:20261124T090000Z", "DTEND:20261124T100000Z", "SEQUENCE:2"),
        event("a", "DTSTART:20261124T090000Z", "DTEND:20261124T113000Z", "SEQUENCE:10"),
    )
    assert found.end == at(2026, 11, 24, 11, 30)


def test_one_uid_in_two_rooms_at_once_is_two_lessons() -> None:
    found = lessons(event("a", "LOCATION:Raum 1\nDTSTART:20261124T090000Z"),
                    event("a", "LOCATION:Raum 2\nDTSTART:20261124T090000Z"))  # fmt: skip
    assert {each.location for each in found} == {"Raum 1", "Raum 2"}


@pytest.mark.parametrize(
    ("start", "hour"),
    [
        ("DTSTART;TZID=Customized Time Zone:20261124T090000", 8),
        ('DTSTART;TZID="(UTC+01:00) Amsterdam, Berlin, Bern, Rom":20261124T090000', 8),
        ("DTSTART;TZID=Mitteleuropäische Zeit:20261124T090000", 8),
        ("DTSTART;TZID=W. Europe Standard Time:20261124T090000", 8),
        ("DTSTART;TZID=/freeassociation.sourceforge.net/Tzfile/Europe/Berlin:20261124T090000", 8),
        ('DTSTART;TZID="tzone://Microsoft/Utc":20261124T090000', 9),
        ("DTSTART:20261124T090000", 8),
        ("DTSTART;TZID=Mars/Olympus:20261124T090000", 8),
        ("DTSTART;TZID=America/New_York:20261124T090000", 14),
    ],
)  # fmt: skip
def test_zones_as_exporters_write_them(start: str, hour: int) -> None:
    (found,) = lessons(event("a", start))
    assert found.start == at(2026, 11, 24, hour)


def test_a_guessed_zone_is_said() -> None:
    contents = read(calendar(event("a", "DTSTART;TZID=Mars:20261124T090000")), START, END)
    assert contents.warnings == {"no_end": 1, "unknown_zone": 1}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "W. Europe", "Nirgendwo"])
def test_the_calendars_own_zone(zone: str) -> None:
    head = f"X-WR-TIMEZONE:{zone}\n"
    floating = event("a", "DTSTART:20261124T090000")
    named = event("b", "DTSTART;TZID=MEZ:20261124T090000")
    assert {each.start for each in lessons(floating, named, head=head)} == {at(2026, 11, 24, 8)}


def test_a_named_unknown_zone_is_not_read_in_the_calendars_zone() -> None:
    (found,) = lessons(
        event("a", "DTSTART;TZID=Mitteleuropäische Zeit:20261124T090000"),
        head="X-WR-TIMEZONE:America/New_York\n",
    )
    assert found.start == at(2026, 11, 24, 8)


def test_exdates_of_every_kind() -> None:
    for exdate in (
        "EXDATE:20261125T080000Z",
        "EXDATE:20261125T090000",
        "EXDATE;TZID=MEZ:20261125T090000",
        "EXDATE;VALUE=DATE:20261125",
    ):
        series = event(
            "a", "DTSTART;TZID=Europe/Berlin:20261124T090000", "RRULE:FREQ=DAILY;COUNT=3", exdate
        )
        assert [each.start.day for each in lessons(series)] == [24, 26], exdate


def test_the_last_lesson_of_a_series_that_ends_on_a_day() -> None:
    for zone in ("Europe/Berlin", "Mars"):
        series = event(
            "a", f"DTSTART;TZID={zone}:20261124T090000", "RRULE:FREQ=DAILY;UNTIL=20261126"
        )
        assert [each.start.day for each in lessons(series)] == [24, 25, 26]


def test_ends_that_are_missing_or_wrong() -> None:
    (none,) = lessons(event("a", "DTSTART:20261124T090000Z"))
    (same,) = lessons(event("a", "DTSTART:20261124T090000Z", "DTEND:20261124T090000Z"))
    (length,) = lessons(event("a", "DTSTART:20261124T090000Z", "DURATION:PT45M"))
    (turned,) = lessons(event("a", "DTSTART:20261124T110000Z", "DTEND:20261124T090000Z"))
    assert none.end == same.end == at(2026, 11, 24, 10, 30)
    assert length.end == at(2026, 11, 24, 9, 45)
    assert (turned.start, turned.end) == (at(2026, 11, 24, 11), at(2026, 11, 24, 12, 30))


def test_a_whole_day_is_a_course_unless_it_is_only_a_note() -> None:
    workshop = event("a", "DTSTART;VALUE=DATE:20261124", "DTEND;VALUE=DATE:20261126")
    holiday = event("b", "DTSTART;VALUE=DATE:20261124", "TRANSP:TRANSPARENT")
    single = event("c", "DTSTART;VALUE=DATE:20261201")
    found = {each.uid: each for each in lessons(workshop, holiday, single)}
    assert found.keys() == {"a", "c"}
    assert (found["a"].start, found["a"].end) == (at(2026, 11, 23, 23), at(2026, 11, 25, 23))
    assert found["c"].end - found["c"].start == timedelta(days=1)


def test_cancelled_is_marked_and_not_dropped() -> None:
    found = lessons(
        event("a", "DTSTART:20261124T090000Z", "STATUS:CANCELLED"),
        "UID:b\nDTSTART:20261125T090000Z\nSUMMARY:Abgesagt: Yoga",
        "UID:c\nDTSTART:20261126T090000Z\nSUMMARY:Entfällt – Chor",
        "UID:d\nDTSTART:20261127T090000Z\nSUMMARY:Kanzelreden abgesagt? Rhetorik",
    )
    assert [each.cancelled for each in found] == [True, True, True, False]


def test_this_and_all_following_loses_nothing() -> None:
    series = event("a", "DTSTART:20261124T090000Z", "RRULE:FREQ=DAILY;COUNT=5")
    later = event(
        "a", "DTSTART:20261126T140000Z", "RECURRENCE-ID;RANGE=THISANDFUTURE:20261126T090000Z"
    )
    assert [each.start.hour for each in lessons(series, later)] == [9, 9, 14, 14, 14]


@pytest.mark.parametrize(
    "rule",
    [
        "RRULE:FREQ=SECONDLY",
        "RRULE:FREQ=MINUTELY;COUNT=1000000",
        "RRULE:FREQ=HOURLY;INTERVAL=1",
        "RRULE:FREQ=DAILY;INTERVAL=0",
        "RRULE:FREQ=DAILY;BYHOUR=" + ",".join(map(str, range(24))) + ";BYMINUTE=0,30",
        "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "RRULE:FREQ=GELEGENTLICH",
        "RRULE FREQ=WEEKLY",
        "RRULE:BYDAY=MO",
        "RRULE:FREQ=WEEKLY;BYDAYS=MO",
        "RRULE:RSCALE=CHINESE;FREQ=YEARLY",
        "RRULE:FREQ=WEEKLY\nEXDATE:gestern",
        "RRULE:FREQ=WEEKLY;UNTIL=99999999",
        "DTEND:morgen",
        "DTSTART:20261124T090000Z",
        "RECURRENCE-ID:kaputt",
        "DURATION:-PX",
    ],
)
def test_a_bad_series_neither_hides_the_others_nor_goes_unnoticed(rule: str) -> None:
    bad = event("bad", "DTSTART:20261124T090000Z", rule)
    contents = read(calendar(bad, event("good", "DTSTART:20261125T090000Z")), START, END)
    assert contents.problem == "partly_unreadable", contents
    assert [each.uid for each in contents.occurrences] == ["good"]
    assert contents.detail.startswith("1 not read: Kurs: ")


def test_a_rule_of_which_a_part_is_rubbish_is_a_doubt() -> None:
    for rule in ("irgendwann", "FREQ=WEEKLY;BYDAY", "FREQ=WEEKLY;UNTIL=20270101;COUNT 5"):
        contents = read(
            calendar(event("a", "DTSTART:20261124T090000Z", f"RRULE:{rule}")), START, END
        )
        assert contents.problem == "partly_unreadable", rule


def test_a_spoiled_change_spoils_its_series() -> None:
    series = event("a", "DTSTART:20261124T090000Z", "RRULE:FREQ=DAILY;COUNT=3")
    change = event("a", "DTSTART:irgendwann", "RECURRENCE-ID:20261125T090000Z")
    contents = read(calendar(series, change), START, END)
    assert (contents.problem, contents.occurrences) == ("partly_unreadable", [])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not_a_calendar"),
        (b"   \r\n", "not_a_calendar"),
        (b"<!DOCTYPE html><title>Anmelden</title>", "not_a_calendar"),
        (b"\x00\xff\xfe\x00garbage", "not_a_calendar"),
        (calendar(event())[:-40], "unreadable"),
        (calendar(event()).replace(b"END:VEVENT\r\n", b""), "unreadable"),
        (b"BEGIN:VCALENDAR\r\nhello\r\nEND:VCALENDAR", "unreadable"),
    ],
)
def test_what_is_no_timetable(body: bytes, problem: str) -> None:
    contents = read(body, START, END)
    assert (contents.problem, contents.occurrences) == (problem, [])


def test_no_events_is_a_readable_timetable() -> None:
    assert read(calendar(), START, END) == Contents()


def test_two_calendars_in_one_file_and_an_old_encoding() -> None:
    second = calendar("UID:b\nDTSTART:20261125T090000Z\nSUMMARY:Gr\u00fc\u00dfe").decode()
    found = read(calendar(event()) + second.encode("cp1252"), START, END)
    assert [each.title for each in found.occurrences] == ["Kurs", "Grüße"]


def test_more_than_any_timetable_is_cut_and_said() -> None:
    many = [event(str(n), "DTSTART:20261124T090000Z", "RRULE:FREQ=DAILY") for n in range(200)]
    contents = read_apart(calendar(*many), START, END, Wanted())
    assert contents.problem == "too_many"
    assert len(contents.occurrences) == MAX_OCCURRENCES


def test_names_that_databases_refuse() -> None:
    (found,) = lessons("UID:" + "x" * 5000 + "\nDTSTART:20261124T090000Z\nSUMMARY:a\\nb\x00c")
    assert found.title == "a b c"
    assert len(found.uid) <= 240
    without = lessons("DTSTART:20261124T090000Z", "DTSTART:20261125T090000Z")
    assert len({each.uid for each in without}) == 2


def test_apart_it_reads_the_same() -> None:
    body = calendar(event("a", "DTSTART:20261124T090000Z", "RRULE:FREQ=WEEKLY"))
    assert read_apart(body, START, END, Wanted()) == read(body, START, END)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_time_limit_of_a_series_holds_even_when_it_strikes_where_errors_are_lost() -> None:
    class Slow:
        def __del__(self) -> None:
            while process_time() < began + SERIES_S * 1.05:
                pass

    def endless() -> None:
        Slow()
        while process_time() < began + 5 * SERIES_S:
            pass

    began = process_time()
    with pytest.raises(Unreadable), time_limit():
        endless()


def test_a_file_full_of_bombs_is_stopped_from_outside() -> None:
    bombs = [event(
        str(n), "DTSTART:00010101T000000Z", "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"
    ) for n in range(30)]  # fmt: skip
    began = datetime.now(UTC)
    contents = read_apart(calendar(*bombs, event("good")), START, END, Wanted(), within_s=3)
    assert contents.problem == "too_slow"
    assert datetime.now(UTC) - began < timedelta(seconds=8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "BEGIN:VEVENT", "END:VEVENT", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "UID:a",
                "DTSTART:20261124T090000Z", "DTSTART;VALUE=DATE:20261124", "DTEND:20261124",
                "RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY;BYDAY=XX", "RDATE:20261130T090000",
                "RDATE;VALUE=PERIOD:20261124T090000Z/PT1H", "RECURRENCE-ID:20261124T090000Z",
                "SEQUENCE:x", "TZID:a", "X-WR-TIMEZONE:a", "DURATION:P1D", "SUMMARY:", ";:", " x",
            ]
        ),
        max_size=25,
    )
)  # fmt: skip
def test_any_mixture_of_lines_gives_an_answer(lines: list[str]) -> None:
    body = "\r\n".join(["BEGIN:VCALENDAR", *lines, "END:VCALENDAR"]).encode()
    contents = read(body, START, END)
    assert all(each.start < each.end for each in contents.occurrences)
