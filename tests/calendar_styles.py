"""Timetables as different exporters write them, made from plans whose lessons plain arithmetic
works out: by adding days on the wall calendar, with no calendar library."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)

OUTLOOK_ZONE = """BEGIN:VTIMEZONE
TZID:{name}
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE"""


@dataclass(frozen=True)
class Moved:
    """One lesson of a series that is not as planned."""

    days: int
    begins: time
    minutes: int
    cancelled: bool = False


@dataclass(frozen=True)
class Plan:
    """A course on the wall calendar: from this day, every so many days, so many times."""

    uid: str
    day: date
    begins: time
    minutes: int
    every: int = 7
    times: int = 1
    left_out: frozenset[int] = frozenset()
    added: tuple[int, ...] = ()
    """Further lessons at the same time, so many days after the first."""
    moved: dict[int, Moved] = field(default_factory=dict)
    room: str = "Raum 1"
    cancelled: bool = False

    @property
    def title(self) -> str:
        return f"Kurs {self.uid} für Anfänger; mit Pause, und einem langen Titel, der umbricht"

    def planned(self, number: int) -> datetime:
        return datetime.combine(self.day + number * self.every * DAY, self.begins)


Lesson = tuple[datetime, datetime]
"""Start and end in UTC."""


def there(wall: datetime) -> datetime:
    """A moment on the wall clock as the moment it is."""
    return wall.replace(tzinfo=BERLIN).astimezone(UTC)


def span(wall: datetime, minutes: int) -> Lesson:
    return there(wall), there(wall + timedelta(minutes=minutes))


def lessons(plan: Plan) -> list[Lesson]:
    """Every lesson that takes place."""
    if plan.cancelled:
        return []
    found = []
    for number in range(plan.times):
        moved = plan.moved.get(number)
        if (moved and moved.cancelled) or number in plan.left_out:
            continue
        if moved:
            wall = datetime.combine(plan.planned(number).date() + moved.days * DAY, moved.begins)
            found.append(span(wall, moved.minutes))
        else:
            found.append(span(plan.planned(number), plan.minutes))
    for days in plan.added:
        found.append(span(datetime.combine(plan.day + days * DAY, plan.begins), plan.minutes))
    return found


class Style:
    """Google: IANA zones, and the calendar's own zone for single moments in UTC."""

    zone = "Europe/Berlin"
    head: tuple[str, ...] = ("PRODID:-//Google Inc//Google Calendar 70.9054//EN",
                             "X-WR-TIMEZONE:Europe/Berlin")  # fmt: skip
    single_in_utc = True
    change_in_utc = False
    off = "STATUS:CANCELLED"

    def at(self, key: str, wall: datetime, *, utc: bool = False) -> str:
        if utc:
            return f"{key}:{there(wall):%Y%m%dT%H%M%SZ}"
        return f"{key};TZID={self.zone}:{wall:%Y%m%dT%H%M%S}"

    def left_out(self, walls: list[datetime]) -> list[str]:
        return [self.at("EXDATE", wall) for wall in walls]

    def until(self, plan: Plan) -> str:
        return f"UNTIL={there(plan.planned(plan.times - 1)):%Y%m%dT%H%M%SZ}"

    def file(self, plans: list[Plan]) -> bytes:
        lines = ["BEGIN:VCALENDAR", "VERSION:2.0", *self.head]
        for plan in plans:
            lines += self.events(plan)
        lines.append("END:VCALENDAR")
        return b"".join(_folded(line) for text in lines for line in text.split("\n"))

    def events(self, plan: Plan) -> list[str]:
        utc = self.single_in_utc and plan.times == 1 and not plan.added
        first = plan.planned(0)
        ends = first + timedelta(minutes=plan.minutes)
        lines = [self.at("DTSTART", first, utc=utc), self.at("DTEND", ends, utc=utc)]
        if plan.times > 1:
            lines.append(f"RRULE:{self.rule(plan)}")
        lines += self.left_out([plan.planned(number) for number in sorted(plan.left_out)])
        for days in plan.added:
            lines.append(self.at("RDATE", datetime.combine(plan.day + days * DAY, plan.begins)))
        events = self.event(plan, lines, cancelled=plan.cancelled)
        for number, moved in plan.moved.items():
            wall = plan.planned(number)
            begins = datetime.combine(wall.date() + moved.days * DAY, moved.begins)
            ends = begins + timedelta(minutes=moved.minutes)
            change = [
                self.at("RECURRENCE-ID", wall, utc=self.change_in_utc),
                self.at("DTSTART", begins),
                self.at("DTEND", ends),
            ]
            events += self.event(plan, change, cancelled=moved.cancelled)
        return events

    def rule(self, plan: Plan) -> str:
        if plan.every % 7:
            return f"FREQ=DAILY;INTERVAL={plan.every};COUNT={plan.times}"
        weekday = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")[plan.day.weekday()]
        return f"FREQ=WEEKLY;INTERVAL={plan.every // 7};BYDAY={weekday};{self.until(plan)}"

    def event(self, plan: Plan, lines: list[str], *, cancelled: bool) -> list[str]:
        title = plan.title.replace(",", "\\,").replace(";", "\\;")
        if cancelled and not self.off:
            title = f"Abgesagt: {title}"
        off = [self.off] if cancelled and self.off else []
        return ["BEGIN:VEVENT", f"UID:{plan.uid}", "DTSTAMP:20260901T000000Z", "SEQUENCE:0",
                *lines, *off, f"SUMMARY:{title}", f"LOCATION:{plan.room}",
                "END:VEVENT"]  # fmt: skip


class Outlook(Style):
    """Windows names of zones with rules from the year 1601, and cancelled ones by their title."""

    zone = "W. Europe Standard Time"
    head = ("PRODID:-//Microsoft Corporation//Outlook 16.0 MIMEDIR//EN", "METHOD:PUBLISH",
            OUTLOOK_ZONE.format(name=zone))  # fmt: skip
    single_in_utc = False
    off = ""

    def event(self, plan: Plan, lines: list[str], *, cancelled: bool) -> list[str]:
        event = super().event(plan, lines, cancelled=cancelled)
        extra = ["TRANSP:OPAQUE", "X-MICROSOFT-CDO-BUSYSTATUS:BUSY", "CLASS:PUBLIC"]
        return [*event[:-1], *extra, event[-1]]

    def left_out(self, walls: list[datetime]) -> list[str]:
        return [f"EXDATE;TZID={self.zone}:" + ",".join(f"{wall:%Y%m%dT%H%M%S}" for wall in walls)
                ] if walls else []  # fmt: skip


class OutlookNamed(Outlook):
    """A zone's name that nobody knows, and no rules beside it."""

    zone = '"(UTC+01:00) Amsterdam, Berlin, Bern, Rom, Stockholm, Wien"'
    head = ("PRODID:-//Microsoft Corporation//Outlook 16.0 MIMEDIR//EN", "METHOD:PUBLISH")


class Nextcloud(Style):
    """Rules of the zone in the file, changes told in UTC, left out by days, the end as a day."""

    head = ("PRODID:-//IDN nextcloud.com//Calendar app 4.7.6//EN", "CALSCALE:GREGORIAN",
            OUTLOOK_ZONE.format(name="Europe/Berlin"))  # fmt: skip
    single_in_utc = False
    change_in_utc = True

    def left_out(self, walls: list[datetime]) -> list[str]:
        return [f"EXDATE;VALUE=DATE:{wall:%Y%m%d}" for wall in walls]

    def until(self, plan: Plan) -> str:
        return f"UNTIL={plan.planned(plan.times - 1):%Y%m%d}"


class Floating(Style):
    """Times without any zone, as simple scripts write them."""

    head = ("PRODID:kursexport",)
    single_in_utc = False

    def at(self, key: str, wall: datetime, *, utc: bool = False) -> str:
        return f"{key}:{wall:%Y%m%dT%H%M%S}"


class NumberAsUid(Style):
    """Every lesson is an event of its own, all with the course's number as UID."""

    def events(self, plan: Plan) -> list[str]:
        events = []
        for begins, ends in lessons(plan):
            lines = [f"DTSTART:{begins:%Y%m%dT%H%M%SZ}", f"DTEND:{ends:%Y%m%dT%H%M%SZ}"]
            events += self.event(plan, lines, cancelled=False)
        return events


class Sheet:
    """A CSV export of course software: a line for each lesson, in local time."""

    def file(self, plans: list[Plan]) -> bytes:
        lines = ["Kursnummer;Titel;Raum;Datum;Beginn;Ende;Status"]
        for plan in plans:
            title = plan.title.replace('"', '""')
            for begins, ends in lessons(plan):
                start, end = begins.astimezone(BERLIN), ends.astimezone(BERLIN)
                lines.append(f'{plan.uid};"{title}";{plan.room};{start:%d.%m.%Y};{start:%H:%M};'
                             f"{end:%H:%M};findet statt")  # fmt: skip
            if plan.cancelled:
                lines.append(f'{plan.uid};"{title}";{plan.room};{plan.day:%d.%m.%Y};'
                             f"{plan.begins:%H:%M};;abgesagt")  # fmt: skip
        return ("\r\n".join(lines) + "\r\n").encode("cp1252")


STYLES = {
    "google": Style(),
    "outlook": Outlook(),
    "outlook by name": OutlookNamed(),
    "nextcloud": Nextcloud(),
    "floating": Floating(),
    "number as uid": NumberAsUid(),
    "sheet": Sheet(),
}


def _folded(line: str) -> bytes:
    """At most 75 octets, as RFC 5545 has it; a cut may fall into a letter."""
    told = line.encode()
    parts = [told[:75], *(told[at : at + 74] for at in range(75, len(told), 74))]
    return b"\r\n ".join(parts) + b"\r\n"
