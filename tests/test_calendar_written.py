"""Sheets as course software, databases and hands fill them: what looks like a lesson is one, at
its time, or a doubt."""

from typing import Any

import pytest

from tests.test_calendar_tables import lessons, spans, told


@pytest.mark.parametrize(
    ("head", "row", "span"),
    [
        ("Datum;Von;Bis", "24.11.2026 00:00:00;09:00;12:30", "24 08:00-24 11:30"),
        ("Datum;Von;Bis", "2026-11-24T00:00:00;09:00;12:30", "24 08:00-24 11:30"),
        ("Datum;Uhrzeit", "24.11.2026 00:00;09:00-12:30", "24 08:00-24 11:30"),
        ("Datum", "24.11.2026 00:00:00", "23 23:00-24 23:00"),
        ("Datum;Bis", "24.11.2026 00:00:00;10:00", "23 23:00-24 09:00"),
        ("Datum;Von;Bis", "24.11.2026;30.12.1899 09:00:00;30.12.1899 12:30:00",
         "24 08:00-24 11:30"),
        ("Datum;Von;Bis", "24.11.2026 00:00:00;1899-12-30 22:00:00;1899-12-30 00:30:00",
         "24 21:00-24 23:30"),
    ],
)  # fmt: skip
def test_dates_and_times_as_databases_write_them(head: str, row: str, span: str) -> None:
    contents = told("csv", f"{head};Titel\n{row};Yoga\n")
    assert (spans(contents.occurrences), contents.warnings) == ([span], {})


@pytest.mark.parametrize(
    ("head", "row", "span"),
    [
        ("Startdatum;Enddatum;Beginn;Dauer", "24.11.2026;27.11.2026;09:00;90", "24 08:00-27 09:30"),
        ("Startdatum;Enddatum;Beginn", "24.11.2026;27.11.2026;09:00", "24 08:00-27 09:30"),
        ("Startdatum;Enddatum;Beginn;Dauer", "24.11.2026;24.11.2026;09:00;45", "24 08:00-24 08:45"),
        ("Startdatum;Enddatum;Beginn;Dauer", "24.11.2026;20.11.2026;09:00;45", "24 08:00-24 08:45"),
        ("Startdatum;Enddatum", "24.11.2026;20.11.2026", "23 23:00-24 23:00"),
        ("Beginn;Ende", "24.11.2026;26.11.2026", "23 23:00-26 23:00"),
        ("Beginn;Ende", "24.11.2026;26.11.2026 12:00", "23 23:00-26 23:00"),
        ("Datum;Bis", "24.11.2026;12:00", "23 23:00-24 23:00"),
    ],
)
def test_days_up_to_the_last_one_are_taken(head: str, row: str, span: str) -> None:
    assert spans(lessons("csv", f"{head};Titel\n{row};Yoga\n")) == [span]


def test_a_course_of_which_only_first_and_last_day_are_told_is_no_single_lesson() -> None:
    contents = told("csv", "Beginn;Ende;Titel\n24.11.2026;22.12.2026;Yoga\n")
    assert contents.problem == "partly_unreadable"
    assert "export the single lessons" in contents.detail


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("Datum;Datum;Von;Bis", "24.11.2026;25.11.2026;09:00;10:30"),
        ("Datum;Von;Bis;Von;Bis", "24.11.2026;09:00;10:30;14:00;16:00"),
        ("Datum;Datum;Datum;Von", "24.11.2026;;25.11.2026;09:00"),
    ],
)
def test_columns_of_one_name_that_say_two_things_are_a_doubt(head: str, row: str) -> None:
    contents = told("csv", f"{head};Titel\n{row};Yoga\n")
    assert contents.problem == "partly_unreadable"
    assert "is there twice" in contents.detail
    columns = {"date": ["Datum"], "start": ["Von"], "end": ["Bis"]}
    assert len(lessons("csv", f"{head};Titel\n{row};Yoga\n", columns=columns)) == 1


def test_columns_of_one_name_that_say_the_same_or_are_both_wanted() -> None:
    same = "Datum;Datum;Von;Titel\n24.11.2026;24.11.2026;09:00;Yoga\n"
    assert spans(lessons("csv", same)) == ["24 08:00-24 09:30"]
    span = "Datum;Datum;Von;Bis;Titel\n24.11.2026;25.11.2026;22:00;01:00;Yoga\n"
    found = lessons("csv", span, columns={"end_date": ["Datum #2"]})
    assert spans(found) == ["24 21:00-25 00:00"]


def test_a_length_that_can_be_no_minutes_is_a_doubt() -> None:
    for said in ("2", "6"):  # hours or lessons
        contents = told("csv", f"Datum;Von;Dauer;Titel\n24.11.2026;09:00;{said};Yoga\n")
        assert contents.problem == "partly_unreadable", said
    text = "Datum;Von;Dauer;Titel\n24.11.2026;09:00;10 Min.;Yoga\n"
    assert spans(lessons("csv", text)) == ["24 08:00-24 08:10"]


@pytest.mark.parametrize("wanted", [{}, {"all_day": "ignore"}])
def test_a_format_of_ones_own_may_hold_the_time(wanted: dict[str, Any]) -> None:
    text = "Beginn;Ende;Titel\n11/24/2026 09:00 AM;11/24/2026 01:30 PM;Yoga\n"
    found = lessons("csv", text, date_format="%m/%d/%Y %I:%M %p", **wanted)
    assert spans(found) == ["24 08:00-24 12:30"]
