"""Timetables as CSV and XML, as course software and spreadsheets write them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.calendars import Contents, Occurrence, Wanted, read, read_apart

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
START, END = NOW - timedelta(days=1), NOW + timedelta(days=60)


def told(kind: str, text: str | bytes, **wanted: Any) -> Contents:
    body = text if isinstance(text, bytes) else text.encode()
    how = Wanted(kind=kind, **wanted)
    contents = read(body, START, END, how)
    if contents.kept:
        assert read(contents.kept.encode(), START, END, how) == contents, "the copy reads the same"
    return contents


def lessons(kind: str, text: str | bytes, **wanted: Any) -> list[Occurrence]:
    contents = told(kind, text, **wanted)
    assert contents.problem == "", contents.detail
    return contents.occurrences


def spans(found: list[Occurrence]) -> list[str]:
    return [f"{each.start:%d %H:%M}-{each.end:%d %H:%M}" for each in found]


KUFER = """Kursnummer;Titel;Raum;Datum;Beginn;Ende;Status
26W-1234;Smartphone für Ältere;EDV-Raum;Di, 24.11.2026;09:00;10:30;läuft
26W-1234;Smartphone für Ältere;EDV-Raum;Di, 01.12.2026;09:00;10:30;läuft
26W-1300;"Nähen; mit Pause";Werkraum;25.11.26;18.00 Uhr;20.15 Uhr;abgesagt
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_an_export_of_course_software(encoding: str, separator: str) -> None:
    text = KUFER.replace("Nähen; mit Pause", "Nähen, mit Pause").replace("Di, ", "Di ")
    if separator == ",":
        text = text.replace("Nähen, mit Pause", "Nähen. mit Pause")
    found = lessons("csv", text.replace(";", separator).replace("\n", "\r\n").encode(encoding))
    assert spans(found) == ["24 08:00-24 09:30", "25 17:00-25 19:15", "01 08:00-01 09:30"]
    assert [each.location for each in found] == ["EDV-Raum", "Werkraum", "EDV-Raum"]
    assert [each.cancelled for each in found] == [False, True, False]
    assert found[0].uid == found[2].uid == "26W-1234"
    assert len({(each.uid, each.occurrence) for each in found}) == 3


@pytest.mark.parametrize(
    ("head", "row", "span"),
    [
        ("Datum;Uhrzeit", "24.11.2026;18:00 - 19:30 Uhr", "24 17:00-24 18:30"),
        ("Datum;Zeit", "24.11.2026;9 Uhr bis 11 Uhr", "24 08:00-24 10:00"),
        ("Beginn;Ende", "24.11.2026 09:00;24.11.2026 10:00", "24 08:00-24 09:00"),
        ("Beginn;Ende", "2026-11-24T09:00:00;2026-11-24T10:00:00", "24 08:00-24 09:00"),
        ("Beginn;Ende", "2026-11-24T09:00:00Z;2026-11-24T10:00:00+00:00", "24 09:00-24 10:00"),
        ("Beginn;Uhrzeit", "24.11.2026;18:00-19:30", "24 17:00-24 18:30"),
        ("Datum;Von;Bis", "24.11.2026;22:00;00:30", "24 21:00-24 23:30"),
        ("Datum;Von;Bis", "24.11.2026;22:00;24:00", "24 21:00-24 23:00"),
        ("Datum;Von;Dauer", "24.11.2026;09:00;45 Min.", "24 08:00-24 08:45"),
        ("Datum;Von", "24.11.2026;09:00", "24 08:00-24 09:30"),
        ("Datum", "24.11.2026", "23 23:00-24 23:00"),
        ("Termin", "Dienstag, 24.11.2026, 09:00 - 10:00 Uhr", "24 08:00-24 09:00"),
        ("Date;Start time;End time", "2026-11-24;09:00;10:00", "24 08:00-24 09:00"),
        ("Datum;Von;Datum bis;Bis", "24.11.2026;22:00;25.11.2026;01:00", "24 21:00-25 00:00"),
    ],
)
def test_dates_and_times_as_they_are_written(head: str, row: str, span: str) -> None:
    assert spans(lessons("csv", f"{head}\n{row}\n")) == [span]


def test_the_hour_that_comes_twice_is_taken_whole() -> None:
    wanted = Wanted(kind="csv")
    body = b"Datum;Von;Bis\n25.10.2026;02:15;02:45\n"
    (found,) = read(body, START - timedelta(days=60), END, wanted).occurrences
    assert found.end - found.start == timedelta(minutes=90)


def test_columns_of_ones_own() -> None:
    text = "Wann;Um;Wo;Was\n11/24/2026;09:00;A;B\n"
    columns = {"date": ["Wann"], "start": ["UM"], "location": ["Wo"], "title": ["Was"]}
    (found,) = lessons("csv", text, columns=columns, date_format="%m/%d/%Y")
    assert (found.title, found.location, spans([found])) == ("B", "A", ["24 08:00-24 09:30"])
    unnamed = told("csv", text)
    assert unnamed.problem == "no_columns"
    assert "um, wann, was, wo" in unnamed.detail


@pytest.mark.parametrize(
    "row",
    [
        "24.11.2026;9:0;10:00",
        "24.11.2026;vormittags;10:00",
        "24.11.2026;25:00;26:00",
        "31.11.2026;09:00;10:00",
        "11/24/2026;09:00;10:00",
        ";09:00;10:00",
        "24.11.2026;09:00;1",
        "24.11.2026;09:00;14.12.2026",
        "irgendwann;;",
    ],
)
def test_a_row_that_makes_no_sense_is_a_doubt_and_hides_no_other(row: str) -> None:
    contents = told("csv", f"Datum;Von;Bis;Titel\n{row};Yoga\n25.11.2026;09:00;10:00;Chor\n")
    assert contents.problem == "partly_unreadable"
    assert [each.title for each in contents.occurrences] == ["Chor"]
    assert contents.detail.startswith("1 not read: Yoga 1: ")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not_a_calendar"),
        (b"  \r\n", "not_a_calendar"),
        (b"<!DOCTYPE html><title>Anmelden</title>", "not_a_calendar"),
        (b"PK\x03\x04\x00\x00an .xlsx", "not_a_calendar"),
        (b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", ""),
        (b'Datum;Titel\n24.11.2026;"Yoga', "unreadable"),
        (b"Datum;Titel\n24.11.2026;Yoga;Raum 1\n", "unreadable"),
        (b"Titel;Raum\nYoga;Raum 1\n", "no_columns"),
    ],
)
def test_what_is_no_sheet_of_courses(body: bytes, problem: str) -> None:
    contents = told("csv", body)
    if body.startswith(b"BEGIN"):
        assert contents.problem == "no_columns"
    else:
        assert contents.problem == problem
    assert contents.occurrences == []


def test_one_course_in_two_rooms_and_a_row_that_stands_there_twice() -> None:
    rows = ["1;24.11.2026;09:00;A", "1;24.11.2026;09:00;B", "1;24.11.2026;09:00;A"]
    contents = told("csv", "\n".join(["Nummer;Datum;Von;Raum", *rows]))
    assert sorted(each.location for each in contents.occurrences) == ["A", "B"]
    assert contents.warnings == {"no_end": 3, "twice": 1}


def test_whole_days_as_the_feed_wants_them() -> None:
    text = "Datum;Titel\n24.11.2026;Herbstferien\n"
    (course,) = lessons("csv", text)
    (block,) = lessons("csv", text, all_day="block")
    assert (course.block, block.block) == (False, True)
    assert told("csv", text, all_day="ignore").warnings == {"all_day_ignored": 1}


XML = """<?xml version="1.0" encoding="UTF-8"?>
<Programm xmlns="urn:kurse">
  <Kurs nummer="26W-1234"><Titel>Smartphone</Titel><Raum><Name>EDV-Raum</Name></Raum>
    <Termine>
      <Termin><Datum>24.11.2026</Datum><Von>09:00</Von><Bis>10:30</Bis></Termin>
      <Termin><Datum>01.12.2026</Datum><Von>09:00</Von><Bis>10:30</Bis><Raum>Saal</Raum></Termin>
    </Termine></Kurs>
  <Kurs nummer="26W-1300" status="abgesagt"><Titel>N\u00e4hen</Titel>
    <Beginn>2026-11-25T18:00:00+01:00</Beginn><Ende>2026-11-25T20:00:00+01:00</Ende></Kurs>
</Programm>"""


def test_an_xml_export() -> None:
    found = lessons("xml", XML, columns={"location": ["Raum", "Raum/Name"]})
    assert spans(found) == ["24 08:00-24 09:30", "25 17:00-25 19:00", "01 08:00-01 09:30"]
    assert [each.title for each in found] == ["Smartphone", "Nähen", "Smartphone"]
    assert [each.location for each in found] == ["", "", "Saal"]
    assert [each.cancelled for each in found] == [False, True, False]
    assert found[0].uid == "26w-1234".upper()


def test_texts_deeper_inside_a_lesson_have_a_path() -> None:
    text = (
        "<r><Termin><Ort><Raum>EDV</Raum></Ort><Zeit><Tag>24.11.2026</Tag>"
        "<Von>09:00</Von></Zeit></Termin></r>"
    )
    columns = {"location": ["Ort/Raum"], "date": ["Zeit/Tag"], "start": ["Zeit/Von"]}
    (found,) = lessons("xml", text, columns=columns)
    assert (found.location, spans([found])) == ("EDV", ["24 08:00-24 09:30"])
    assert told("xml", text).problem == "no_columns"


def test_of_two_dates_in_one_lesson_none_is_lost_in_silence() -> None:
    dates = "".join(f"<Termin>{day}.11.2026 09:00</Termin>" for day in (24, 25))
    text = f"<r><Kurs><Titel>Yoga</Titel>{dates}</Kurs></r>"
    contents = told("xml", text)
    assert contents.problem == "partly_unreadable"
    assert "'termin' is there twice" in contents.detail
    found = lessons("xml", text, rows="Termin")
    assert [(each.title, each.start.day) for each in found] == [("Yoga", 24), ("Yoga", 25)]


def bomb(levels: int = 9) -> str:
    entities = "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "lol"}">' for n in range(levels)
    )
    return f"<!DOCTYPE r [{entities}]><r><Termin><Datum>&a{levels - 1};</Datum></Termin></r>"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "not_a_calendar"),
        ("<!DOCTYPE html><html><body>Anmelden</body></html>", "not_a_calendar"),
        ("BEGIN:VCALENDAR", "not_a_calendar"),
        (XML[:-20], "unreadable"),
        (bomb(), "unreadable"),
        ('<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/hostname">]><r>&f;</r>', "unreadable"),
        ('<!DOCTYPE r SYSTEM "http://127.0.0.1/x.dtd"><r/>', "unreadable"),
        ("<r>" * 50 + "<Termin><Datum>1.1.2027</Datum></Termin>" + "</r>" * 50, "unreadable"),
        ("<r><Wert>1</Wert></r>", "no_columns"),
        ('<?xml version="1.0" encoding="klingonisch"?><r/>', "unreadable"),
    ],
)  # fmt: skip
def test_hostile_and_wrong_xml(body: str, problem: str) -> None:
    contents = told("xml", body)
    assert (contents.problem, contents.occurrences) == (problem, [])


def test_no_rows_is_a_readable_timetable() -> None:
    assert told("xml", "<Programm/>") == Contents(kept="<Programm />")
    assert told("csv", "Datum;Titel\n") == Contents(kept="Datum;Titel\r\n")


def test_of_a_sheet_only_what_was_read_is_kept() -> None:
    text = (
        "sep=;\nNummer;Titel;Dozent;Raum;Datum;Von;Bis;Status;Name;Bemerkung\n"
        'N1;Chor;Eva Muster;Saal;24.11.2026;09:00;10:00;läuft;Ida Beispiel;"dick; neu"\n'
        "\n"
        "N2;;Eva Muster;;25.11.2026;09:00;10:00;;Nähen;\n"
        "N3;Kochen;Eva Muster;;Mittwoch;;;;Ida Beispiel;\n"
        "N4;Lesen;Eva"
    )
    contents = told("csv", text)
    assert contents.problem == "partly_unreadable"
    assert [each.title for each in contents.occurrences] == ["Chor", "Nähen"]
    assert contents.kept == (
        "sep=;\r\nNummer;Titel;Dozent;Raum;Datum;Von;Bis;Status;Name;Bemerkung\r\n"
        "N1;Chor;…;Saal;24.11.2026;09:00;10:00;läuft;…;…\r\n"
        "\r\n"
        "N2;;…;;25.11.2026;09:00;10:00;;Nähen;\r\n"
        "…;Kochen;…;;Mittwoch;;;;…;\r\n"
        "…;Lesen;…"
    )


def test_of_a_document_only_what_was_read_is_kept() -> None:
    text = (
        '<p xmlns="urn:x"><!-- Eva --><Kurs titel="Chor" leitung="Eva"><Dozent>Eva</Dozent>'
        '<Raum haus="A" wart="Eva">Saal</Raum><Termin><Datum>24.11.2026</Datum> Eva '
        "<Von>09:00</Von><Bis>10:00</Bis><Bis>10:00</Bis><Teilnehmer><Name>Eva</Name>"
        "<Titel><x>Eva</x></Titel></Teilnehmer></Termin></Kurs></p>"
    )
    contents = told("xml", text, columns={"location": ["raum/haus"]})
    (one,) = contents.occurrences
    assert (one.title, one.location) == ("Chor", "A")
    assert "Eva" not in contents.kept
    assert "Saal" not in contents.kept
    assert contents.kept.count("…") == 5


def test_two_dates_are_a_doubt_whatever_else_is_there_twice() -> None:
    date, other = "<Datum>24.11.2026</Datum>", "<Datum>25.11.2026</Datum>"
    for teachers in ("", "<Dozent>A</Dozent><Dozent>B</Dozent>"):
        contents = told("xml", f"<p><Termin>{date}{other}{teachers}<Von>9:00</Von></Termin></p>")
        assert contents.problem == "partly_unreadable", teachers


def test_a_sheet_without_names_of_columns_tells_nobodys() -> None:
    contents = told("csv", "24.11.2026;Eva Muster;09:00\n25.11.2026;Eva Muster;09:00\n")
    assert (contents.problem, contents.kept) == ("no_columns", "")
    assert "Muster" not in contents.detail
    assert told("csv", "Datum;Von\n24.11.2026;09:00;Eva Muster\n").kept == ""


@pytest.mark.parametrize("kind", ["csv", "xml", "caldav"])
def test_apart_it_reads_the_same(kind: str) -> None:
    body = (KUFER if kind == "csv" else XML).encode()
    wanted = Wanted(kind=kind)
    assert read_apart(body, START, END, wanted) == read(body, START, END, wanted)


def test_a_huge_depth_is_stopped_from_outside() -> None:
    body = b"<r>" * 1_000_000 + b"</r>" * 1_000_000
    assert read_apart(body, START, END, Wanted(kind="xml")).problem != ""


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.text(max_size=12), min_size=1, max_size=5), max_size=6),
    st.sampled_from(["csv", "xml"]),
    st.binary(max_size=60),
)
def test_any_mixture_gives_an_answer(cells: list[list[str]], kind: str, tail: bytes) -> None:
    lines = ["Datum;Von;Bis;Titel", *(";".join(row) for row in cells)]
    body = "\n".join(lines).encode("utf-8", errors="replace")
    if kind == "xml":
        body = b"<r><Termin>" + body + b"</Termin></r>"
    contents = told(kind, body + tail)
    assert all(each.start < each.end for each in contents.occurrences)
