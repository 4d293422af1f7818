"""From rows, as course software exports them, to lessons: which column is what, dates and times."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from zoneinfo import ZoneInfo

from fleet.calendars.contents import (
    Contents,
    Occurrence,
    Unreadable,
    Wanted,
    plain,
    says_cancelled,
    summed_up,
)


class Row(dict[str, str]):
    """Folded name of the column or element → what stands there.

    It remembers what of it was read: course software exports teachers and participants, too, and
    nothing of a row is kept but that.
    """

    def __init__(self, cells: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(cells)
        self.used: set[str] = set()

    def read(self, name: str) -> str:
        """What stands there, stripped; empty: nothing."""
        said = self.get(name, "").strip()
        if said:
            self.used.add(name)
        return said


LEFT_OUT = "…"
"""What is kept in place of a text that nobody read, so that a copy is read like the original."""

USUAL: dict[str, list[str]] = {
    "uid": ["kursnummer", "kursnr", "kurs-nr", "kurs-nr.", "kurs_nr", "nummer", "uid", "id",
            "course number", "course id"],
    "title": ["titel", "kurstitel", "kursbezeichnung", "bezeichnung", "veranstaltung", "kurs",
              "title", "name", "course", "summary"],
    "location": ["raum", "raumname", "kursort", "ort", "veranstaltungsort", "room", "location",
                 "place"],
    "date": ["datum", "termin", "kurstag", "startdatum", "datum von", "date", "day",
             "start date"],
    "start": ["beginn", "von", "uhrzeit von", "startzeit", "uhrzeit", "zeit", "start", "begin",
              "from", "start time", "time"],
    "end": ["ende", "bis", "uhrzeit bis", "endzeit", "end", "to", "until", "end time"],
    "end_date": ["enddatum", "datum bis", "end date"],
    "minutes": ["dauer", "minuten", "dauer in minuten", "duration", "minutes"],
    "cancelled": ["status", "zustand", "abgesagt", "ausfall", "cancelled", "canceled"],
}  # fmt: skip
"""What we look for → the names under which it usually stands, the likeliest first."""

TWICE = "\0twice "
"""Before a name: the key under which a row says that it has two of that, so one would be lost."""
FAULT = "\0fault"
"""Key under which a row says why it is not whole."""
LONGEST = timedelta(days=14)
SHORTEST = 15
"""Minutes: a smaller number without a unit counts hours or lessons, and is a doubt."""
ZERO_DAY = 1900
"""Up to this year a date is a database's way to write a mere time: 30.12.1899 09:00."""
YES = frozenset({"ja", "j", "x", "wahr", "yes", "y", "true", "1"})
_TIME = r"(\d{1,2})(?:[:.h](\d{2}))(?:[:.]\d{2}(?:[.,]\d+)?)?(?:\s*(?:uhr|h))?|(\d{1,2})\s*uhr"
_CLOCK = re.compile(rf"\s*(?:{_TIME})\s*", re.I)
_RANGE = re.compile(rf"\s*((?:{_TIME}))\s*(?:-|–|bis|to)\s*((?:{_TIME}))\s*", re.I)
_MIDNIGHT = re.compile(r"0?0:00(:00(\.0+)?)?")
_TIMED = re.compile(r"%[HIcX]")
_GERMAN = re.compile(r"(?:[A-Za-zÄÖÜäöü]+\.?,?\s+)?(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4}|\d{2})(?!\d)")
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?!\d)|(\d{4})(\d{2})(\d{2})(?!\d)")


def folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def read(
    rows: Iterable[Row], start: datetime, end: datetime, wanted: Wanted, head: Collection[str] = ()
) -> Contents:
    """The lessons of these rows that overlap [start, end). `head`: the names of the columns, for a
    sheet may have no rows."""
    sheet = _Sheet(wanted)
    found: dict[tuple[str, str], Occurrence] = {}
    bad: list[str] = []
    names: set[str] = set()
    dated = 0
    count = 0
    for row in rows:
        count += 1
        names |= row.keys()
        dated += sheet.has_date(row)
        try:
            lesson = sheet.lesson(row)
        except (Unreadable, ValueError, OverflowError) as error:
            bad.append(f"{plain(sheet.cell(row, 'title'), 60) or 'row'} {count}: {error}")
            continue
        if lesson and lesson.end > start and lesson.start < end:
            _keep(found, lesson, sheet.warnings)
    names.update(head)
    if names and not dated and not sheet.has_date(head):
        return Contents(problem="no_columns", detail=_no_columns(sorted(names)))
    return summed_up(found, bad, sheet.warnings)


def _no_columns(names: list[str]) -> str:
    if any(_GERMAN.search(name) or _ISO.search(name) for name in names):
        # Then these are the cells of a lesson, and who gives it may be among them.
        return "the first line holds no names of columns"
    told = [name for name in names if not name.startswith((TWICE, FAULT))]
    return plain("no column holds a date; there are: " + ", ".join(told[:20]), 500)


def _keep(
    found: dict[tuple[str, str], Occurrence], lesson: Occurrence, warnings: Counter[str]
) -> None:
    """The same course at the same time in two rooms is two lessons; in one room, one."""
    held = found.get((lesson.uid, lesson.occurrence))
    if held is not None and held.location == lesson.location:
        warnings["twice"] += 1
        lesson = lesson.model_copy(
            update={
                "end": max(held.end, lesson.end),
                "cancelled": held.cancelled and lesson.cancelled,
            }
        )
    elif held is not None:
        place = sha256(lesson.location.encode()).hexdigest()[:16]
        lesson = lesson.model_copy(update={"occurrence": f"{lesson.occurrence}#{place}"})
        if (lesson.uid, lesson.occurrence) in found:
            found.pop((lesson.uid, lesson.occurrence))
    found[lesson.uid, lesson.occurrence] = lesson


class _Sheet:
    """Reads single rows by the feed's own names for the columns, or else the usual ones."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._zone = ZoneInfo(wanted.zone)
        own = {key: [folded(name) for name in names] for key, names in wanted.columns.items()}
        self._names = {**USUAL, **own}
        self._chosen = {name for names in own.values() for name in names}
        self.warnings: Counter[str] = Counter()

    def cell(self, row: Row, key: str) -> str:
        return next((said for name in self._names[key] if (said := row.read(name))), "")

    def has_date(self, names: Collection[str]) -> bool:
        return any(name in names for key in ("date", "start") for name in self._names[key])

    def lesson(self, row: Row) -> Occurrence | None:
        """The row's lesson; None for a row without a time that the feed wants ignored."""
        if FAULT in row:
            raise Unreadable(row[FAULT])
        begins, ends, block = self._span(row)
        if begins is None:
            return None
        self._refuse_twice(row)
        if ends is None or ends <= begins:
            self.warnings["no_end" if ends is None else "ends_before_start"] += 1
            ends = begins + timedelta(minutes=self._wanted.default_minutes)
        if ends - begins > LONGEST:
            raise Unreadable("lasts longer than two weeks; export the single lessons")
        title = plain(self.cell(row, "title"), 300)
        location = plain(self.cell(row, "location"), 300)
        told = plain(self.cell(row, "uid"), 500) or f"{title}|{location}"
        uid = told if len(told) <= 200 else told[:130] + sha256(told.encode()).hexdigest()
        return Occurrence(
            uid=uid,
            occurrence=begins.strftime("%Y-%m-%dT%H:%M:%SZ"),
            title=title,
            location=location,
            start=begins,
            end=ends,
            cancelled=self._cancelled(row, title),
            block=block,
        )

    def _refuse_twice(self, row: Row) -> None:
        """Of two times under one name one would be lost, unless the options name which counts."""
        for name in (name for key in ("date", "start", "end") for name in self._names[key]):
            if TWICE + name in row:
                row.used.add(TWICE + name)
                raise Unreadable(f"'{name[:60]}' is there twice; name it in the option 'rows'")
            same = [each for each in row if each.startswith(f"{name} #")]
            others = {row.read(each) for each in same if not {name, each} & self._chosen} - {""}
            if others and others != {row.read(name)}:
                raise Unreadable(f"'{name[:60]}' is there twice; name it in the option 'columns'")

    def _cancelled(self, row: Row, title: str) -> bool:
        words = self._wanted.cancelled
        if says_cancelled(title, words):
            return True
        for name in self._names["cancelled"]:
            said = folded(row.read(name))
            named_so = any(folded(word) == name for word in words)
            if said in {folded(word) for word in words} or (named_so and said in YES):
                return True
        return False

    def _span(self, row: Row) -> tuple[datetime | None, datetime | None, bool]:
        """Start and end in UTC, and whether the room is only taken."""
        said_date, said_end = self.cell(row, "date"), self.cell(row, "end")
        day, clock = self._day(said_date) if said_date else (None, "")
        midnight = clock if _MIDNIGHT.fullmatch(clock) else ""
        if midnight:  # a database's way to write a mere day
            clock = ""
        for name in self._names["start"]:
            if not clock and (said := row.read(name)):
                other, clock = self._moment(said, day)
                day = day or other
        if day is None:
            raise Unreadable("has no date")
        if said_end:
            clock = clock or midnight
        first = day
        both = _RANGE.fullmatch(clock)
        if both and not said_end:
            clock, said_end = both[1], both[5]
        if not clock:
            return self._whole_day(first, row, said_end)
        begins = self._at(first, clock)
        return begins, self._end(row, said_end, first, begins), False

    def _end(self, row: Row, said: str, first: date, begins: datetime) -> datetime | None:
        end_date = self.cell(row, "end_date")
        known = self._day(end_date)[0] if end_date else None
        if said:
            last, clock = self._moment(said, known or first)
            if last is None or not clock:
                raise Unreadable(f"'{said[:30]}' is no time")
            ends = self._at(last, clock, later=True)
            if ends <= begins and known is None and last == first:
                return self._at(first + timedelta(days=1), clock, later=True)  # past midnight
            return ends
        length = self._length(row)
        if known is not None and known > first:  # every day up to then
            self.warnings["no_end"] += length is None
            length = length or timedelta(minutes=self._wanted.default_minutes)
            begins = (begins.astimezone(self._zone) + (known - first)).astimezone(UTC)
        return None if length is None else begins + length

    def _length(self, row: Row) -> timedelta | None:
        minutes = self.cell(row, "minutes")
        if not minutes:
            return None
        found = re.fullmatch(r"(\d{1,4})(\s*(?:min|minuten|minutes)\.?)?", minutes, re.I)
        if not found or (not found[2] and 0 < int(found[1]) < SHORTEST):
            raise Unreadable(f"'{minutes[:30]}' is no number of minutes")
        return timedelta(minutes=int(found[1]))

    def _whole_day(
        self, day: date, row: Row, said_end: str
    ) -> tuple[datetime | None, datetime | None, bool]:
        if self._wanted.all_day == "ignore":
            self.warnings["all_day_ignored"] += 1
            return None, None, False
        last = self._moment(self.cell(row, "end_date") or said_end, day)[0] or day
        self.warnings["ends_before_start"] += last < day
        ends = self._at(max(day, last) + timedelta(days=1), "0:00")
        return self._at(day, "0:00"), ends, self._wanted.all_day == "block"

    def _moment(self, said: str, day: date | None) -> tuple[date | None, str]:
        """The day of `23.11.2026 09:00` or else `day`, and the clock's part of it."""
        if not said or _CLOCK.fullmatch(said) or _RANGE.fullmatch(said):
            return day, said
        try:
            told, clock = self._day(said)
        except Unreadable:
            raise Unreadable(f"'{said[:30]}' is no time") from None
        return day if told.year <= ZERO_DAY else told, clock

    def _day(self, said: str) -> tuple[date, str]:
        """The day at the start of a text, and what stands after it."""
        if form := self._wanted.date_format:
            told = datetime.strptime(said, form)  # noqa: DTZ007
            return told.date(), f"{told:%H:%M}" if _TIMED.search(form) else ""
        found = _GERMAN.match(said)
        if found:
            year = int(found[3]) + (2000 if len(found[3]) == 2 else 0)
            day = date(year, int(found[2]), int(found[1]))
        else:
            found = _ISO.match(said)
            if not found:
                raise Unreadable(f"'{said[:30]}' is no date")
            day = date(*(int(part) for part in found.groups() if part))
        return day, re.sub(r"^[T,\s]+", "", said[found.end() :])

    def _at(self, day: date, clock: str, *, later: bool = False) -> datetime:
        """That moment in UTC. `later`: of an hour that comes twice, the second one."""
        if re.search(r"(Z|[+-]\d{2}:?\d{2})$", clock):
            return datetime.fromisoformat(f"{day.isoformat()}T{clock}").astimezone(UTC)
        found = _CLOCK.fullmatch(clock)
        if not found:
            raise Unreadable(f"'{clock[:30]}' is no time")
        hour, minute = int(found[1] or found[3]), int(found[2] or 0)
        if (hour, minute) == (24, 0):
            day, hour = day + timedelta(days=1), 0
        told = datetime.combine(day, time(hour, minute), tzinfo=self._zone)
        return told.replace(fold=int(later)).astimezone(UTC)
