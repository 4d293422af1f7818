"""Reads an iCalendar file into occurrences: lenient with quirks, and never silent about a loss.

The libraries drop a second event with the same UID, a whole series with a bad rule, and the zone
of a moment whose zone they do not know, each without a word. Here every UID is read by itself, so
that a bad one neither hides the others nor goes unnoticed.
"""

import re
import resource
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

import recurring_ical_events
from icalendar import Calendar, Component
from icalendar.prop import vDDDTypes, vRecur
from pydantic import AwareDatetime, BaseModel, ValidationError

from fleet.ical.zones import LOCAL, midnight, settle

DEFAULT_LENGTH = timedelta(minutes=90)
"""How long a course lasts whose end is not told."""
MAX_OCCURRENCES = 10_000
"""Per feed, earliest first; more is not a timetable."""
MAX_TIMES_A_DAY = 24
SERIES_S = 1.0
"""Processor time for one UID: an honest series takes a few milliseconds."""
READ_S = 20.0
"""Time for a whole feed, the start of the process included."""
MEMORY_BYTES = 1024**3

_MATTERS = frozenset(
    {None, "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "UID"}
)
"""Properties without which an event says something else; None: a line that is no property."""
_CANCELLED = re.compile(r"\s*(abgesagt|entfällt|fällt aus|ausfall|cancell?ed)\s*[:\-–]", re.I)
_BRACKET = re.compile(r"^(BEGIN|END):(.*?)\s*$", re.I | re.M)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Occurrence(BaseModel):
    """One lesson. `uid` and `occurrence` together stay the same when it is moved."""

    uid: str
    occurrence: str = ""
    """Which one of a series: its planned start in UTC; empty for what happens once."""
    title: str = ""
    location: str = ""
    start: AwareDatetime
    end: AwareDatetime
    cancelled: bool = False


class Contents(BaseModel):
    """What a feed holds. `problem` empty: everything in it was read."""

    problem: str = ""
    """`not_a_calendar`, `unreadable`, `partly_unreadable`, `too_many` or `too_slow`."""
    detail: str = ""
    occurrences: list[Occurrence] = []


class _Unreadable(ValueError):
    """One event or series cannot be read; the text says why."""


def read_apart(
    body: bytes, start: datetime, end: datetime, *, within_s: float = READ_S
) -> Contents:
    """`read` in a process of its own with limits on time and memory, for what strangers wrote."""
    command = [sys.executable, "-m", "fleet.ical", start.isoformat(), end.isoformat()]
    try:
        done = subprocess.run(
            command,
            input=body,
            capture_output=True,
            timeout=within_s,
            check=True,
            cwd=Path(__file__).parent.parent,
            env={},  # none of the service's secrets
        )
        return Contents.model_validate_json(done.stdout)
    except subprocess.TimeoutExpired:
        return Contents(problem="too_slow")
    except (subprocess.CalledProcessError, ValidationError):
        return Contents(problem="unreadable", detail="the reader gave up")


def read(body: bytes, start: datetime, end: datetime) -> Contents:
    """All occurrences that overlap [start, end). Uses a signal: main thread only."""
    text = _decode(body).strip()
    if not text.upper().startswith("BEGIN:VCALENDAR"):
        return Contents(problem="not_a_calendar")
    if not text.upper().endswith("END:VCALENDAR"):
        return Contents(problem="unreadable", detail="the end is missing")
    if not _balanced(text):
        return Contents(problem="unreadable", detail="the end of a part is missing")
    warnings: Counter[str] = Counter()
    bad: list[str] = []
    try:
        events = _events(text, warnings, bad)
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        return Contents(problem="unreadable", detail=_plain(str(error), 200))
    found: dict[tuple[str, str], Occurrence] = {}
    for uid, same in events.items():
        try:
            with _time_limit():
                for each in _occurrences(uid, same, start, end, warnings):
                    _keep(found, each)
        except _Unreadable as error:
            bad.append(f"{_title(same[0])}: {error}")
        except (ValueError, KeyError, IndexError, AttributeError, TypeError, ArithmeticError):
            bad.append(f"{_title(same[0])}: dates or rules make no sense")
    return _contents(found, bad, warnings)


def _contents(
    found: dict[tuple[str, str], Occurrence], bad: list[str], warnings: Counter[str]
) -> Contents:
    occurrences = sorted(found.values(), key=lambda each: (each.start, each.uid))
    if bad:
        detail = f"{len(bad)} not read: " + "; ".join(bad[:5])
        problem = "partly_unreadable"
    else:
        detail = ", ".join(f"{code}: {count}" for code, count in sorted(warnings.items()))
        problem = "too_many" if len(occurrences) > MAX_OCCURRENCES else ""
    return Contents(problem=problem, detail=detail[:500], occurrences=occurrences[:MAX_OCCURRENCES])


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("cp1252", errors="replace")


def _balanced(text: str) -> bool:
    """Whether every part is closed: the library drops an unclosed one without a word."""
    open_parts: list[str] = []
    for bracket, part in _BRACKET.findall(text):
        if bracket.upper() == "BEGIN":
            open_parts.append(part.upper())
        elif not open_parts or open_parts.pop() != part.upper():
            return False
    return not open_parts


def _events(text: str, warnings: Counter[str], bad: list[str]) -> dict[str, list[Component]]:
    """UID → its events, each moment in a zone; what lacks a needed property is in `bad`."""
    by_uid: dict[str, list[Component]] = defaultdict(list)
    for calendar in Calendar.from_ical(text, multiple=True):
        spoiled = set()
        for event in calendar.walk("VEVENT"):
            broken = sorted(str(name) for name, _ in event.errors if name in _MATTERS)
            if broken or not isinstance(event.get("DTSTART"), vDDDTypes):
                bad.append(f"{_title(event)}: {broken[0] if broken else 'DTSTART'}")
                spoiled.add(_uid(event))
        # A series of which one part is unreadable says something else than was meant.
        calendar.subcomponents = [
            each
            for each in calendar.subcomponents
            if each.name != "VEVENT" or _uid(each) not in spoiled
        ]
        for event in settle(calendar, warnings).walk("VEVENT"):
            by_uid[_uid(event)].append(event)
    return by_uid


def _uid(event: Component) -> str:
    held = str(event.get("UID", ""))
    if not held:
        told = "|".join(str(event.get(key, "")) for key in ("SUMMARY", "LOCATION"))
        start = event.get("DTSTART")
        held = "without-" + sha256(f"{told}|{getattr(start, 'dt', start)}".encode()).hexdigest()
    plain = _CONTROL.sub("", held)
    # Shortened names must stay different from each other; 60 characters are kept free for `#…`.
    return plain if len(plain) <= 200 else plain[:130] + sha256(plain.encode()).hexdigest()


def _occurrences(
    uid: str, events: list[Component], start: datetime, end: datetime, warnings: Counter[str]
) -> Iterator[Occurrence]:
    masters = [event for event in events if "RECURRENCE-ID" not in event]
    if len(masters) <= 1:
        yield from _expand(uid, events, start, end, warnings)
        return
    # Some exporters give every lesson of a course the course's number as its UID.
    warnings["reused_uid"] += 1
    changes = [event for event in events if "RECURRENCE-ID" in event]
    replaced = {_moment_key(_when(change, "RECURRENCE-ID")) for change in changes}
    for key, master in _told_apart(masters).items():
        for each in _expand(f"{uid}#{key}", [master], start, end, warnings):
            if _moment_key(each.start) not in replaced:
                yield each
    for change in changes:
        yield from _expand(uid, [change], start, end, warnings)


def _told_apart(masters: list[Component]) -> dict[str, Component]:
    """A name of its own for each event with the same UID; of true duplicates the newest."""
    newest: dict[tuple[str, str], Component] = {}
    for master in masters:
        key = (_moment_key(_when(master, "DTSTART")), _plain(str(master.get("LOCATION", "")), 200))
        held = newest.get(key)
        if held is None or _sequence(master) >= _sequence(held):
            newest[key] = master
    starts = Counter(begin for begin, _ in newest)
    return {
        begin if starts[begin] == 1 else f"{begin}#{sha256(place.encode()).hexdigest()[:16]}": event
        for (begin, place), event in newest.items()
    }


def _sequence(event: Component) -> int:
    return int(str(event.get("SEQUENCE", 0)))


def _expand(
    uid: str, events: list[Component], start: datetime, end: datetime, warnings: Counter[str]
) -> Iterator[Occurrence]:
    single = not any(key in event for event in events for key in ("RRULE", "RDATE"))
    single = single and "RECURRENCE-ID" not in events[0]
    alone = Calendar()
    for event in events:
        _tame(event, warnings)
        alone.add_component(event)
    # A moved lesson may lie in the window while its planned start does not: the library knows.
    for part in recurring_ical_events.of(alone).between(start, end):
        found = _occurrence(uid, part, single=single)
        if found and found.end > start and found.start < end:
            yield found


def _tame(event: Component, warnings: Counter[str]) -> None:
    """Refuse rules that would never end, and mend the one mistake that many exporters make."""
    held = event.get("RRULE", [])
    for rule in held if isinstance(held, list) else [held]:
        frequency = str(_first(rule, "FREQ")).upper()
        times = [len(rule.get(key) or [0]) for key in ("BYHOUR", "BYMINUTE", "BYSECOND")]
        if frequency in ("SECONDLY", "MINUTELY", "HOURLY") or (
            times[0] * times[1] * times[2] > MAX_TIMES_A_DAY
        ):
            raise _Unreadable("it repeats more often than a course can")
        if int(_first(rule, "INTERVAL", 1)) < 1:
            raise _Unreadable("it repeats without end")
        until = _first(rule, "UNTIL")
        begins = _when(event, "DTSTART")
        if isinstance(begins, datetime) and until is not None and not isinstance(until, datetime):
            # A day as the end of a timed series is meant with that day's lesson.
            last = datetime.combine(until, time(23, 59, 59), tzinfo=begins.tzinfo or LOCAL)
            rule["UNTIL"] = [last.astimezone(UTC)]
            warnings["until_a_day"] += 1


def _first(rule: vRecur, key: str, otherwise: Any = None) -> Any:
    held = rule.get(key, otherwise)
    return held[0] if isinstance(held, list) and held else held


def _occurrence(uid: str, part: Component, *, single: bool) -> Occurrence | None:
    span = _span(part)
    if span is None:
        return None
    begins, ends = span
    if ends <= begins:
        ends = begins + DEFAULT_LENGTH
    title = _title(part)
    return Occurrence(
        uid=uid,
        occurrence="" if single else _moment_key(_when(part, "RECURRENCE-ID")),
        title=title,
        location=_plain(str(part.get("LOCATION", "")), 300),
        start=begins,
        end=ends,
        cancelled=str(part.get("STATUS", "")).upper() == "CANCELLED"
        or bool(_CANCELLED.match(title)),
    )


def _span(part: Component) -> tuple[datetime, datetime] | None:
    """Start and end in UTC; None for a note on a day, such as a holiday: nobody is in the room."""
    begins, ends = _when(part, "DTSTART"), _when(part, "DTEND")
    if isinstance(begins, datetime):
        ends = ends if isinstance(ends, datetime) else midnight(ends)
        return begins.astimezone(UTC), ends.astimezone(UTC)
    if str(part.get("TRANSP", "")).upper() == "TRANSPARENT":
        return None
    if isinstance(ends, datetime) or ends <= begins:
        ends = begins + timedelta(days=1)
    return midnight(begins).astimezone(UTC), midnight(ends).astimezone(UTC)


def _when(event: Component, key: str) -> date | datetime:
    held = getattr(event.get(key), "dt", None)
    if not isinstance(held, date):
        raise _Unreadable(key)
    return held


def _keep(found: dict[tuple[str, str], Occurrence], each: Occurrence) -> None:
    """Two lessons under one name (a change of "this and all following") are both kept."""
    if (each.uid, each.occurrence) in found:
        each = each.model_copy(update={"occurrence": _moment_key(each.start)})
    found[each.uid, each.occurrence] = each


def _moment_key(moment: date | datetime) -> str:
    if not isinstance(moment, datetime):
        return moment.isoformat()
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _title(event: Component) -> str:
    return _plain(str(event.get("SUMMARY", "")), 300)


def _plain(text: str, longest: int) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())[:longest]


@contextmanager
def _time_limit() -> Iterator[None]:
    """Processor time, not clock time: a busy machine makes no series bad."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _Unreadable("it takes too long to work out")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SERIES_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def main() -> None:
    """`python -m fleet.ical START END`: iCalendar on stdin, `Contents` as JSON on stdout."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(READ_S), int(READ_S)))
    start, end = (datetime.fromisoformat(each) for each in sys.argv[1:3])
    contents = read(sys.stdin.buffer.read(), start, end)
    sys.stdout.write(contents.model_dump_json())
