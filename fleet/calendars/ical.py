"""Reads an iCalendar file into occurrences: lenient with quirks, and never silent about a loss.

The libraries drop a second event with the same UID, a whole series with a bad rule, and the zone
of a moment whose zone they do not know, each without a word. Here every UID is read by itself, so
that a bad one neither hides the others nor goes unnoticed.
"""

import re
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

import recurring_ical_events
from icalendar import Calendar, Component
from icalendar.prop import vDDDTypes, vRecur
from icalendar.timezone import tzp

from fleet.calendars.contents import (
    Contents,
    Occurrence,
    Unreadable,
    Wanted,
    plain,
    says_cancelled,
    summed_up,
)
from fleet.calendars.whole import decode, whole
from fleet.calendars.zones import midnight, rules, settle

MAX_TIMES_A_DAY = 24
DAY = timedelta(days=1)
SERIES_S = 1.0
"""Processor time for one UID: an honest series takes a few milliseconds."""

_MATTERS = frozenset(
    {None, "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "UID"}
)
"""Properties without which an event says something else; None: a line that is no property."""
_FOLD = re.compile(r"\r?\n[ \t]")
_RULE = re.compile(r"^RRULE[^:\n]*:(.*)$", re.I | re.M)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_SENSELESS = (ValueError, KeyError, IndexError, AttributeError, TypeError, ArithmeticError)
"""What the libraries raise for dates and rules that make no sense."""

Series = dict[str, list[Component]]
"""UID → its events."""


def read(body: bytes, start: datetime, end: datetime, wanted: Wanted) -> Contents:
    """All occurrences that overlap [start, end). Uses a signal: main thread only."""
    text = decode(body).strip()
    problem, detail = whole(text)
    if problem:
        return Contents(problem=problem, detail=detail)
    series: Series = defaultdict(list)
    warnings: Counter[str] = Counter()
    bad: list[str] = []
    try:
        gather(text, series, wanted, warnings, bad)
    except _SENSELESS as error:
        return Contents(problem="unreadable", detail=plain(str(error), 200))
    return expand(series, start, end, wanted, warnings, bad)


def read_many(
    texts: list[str], start: datetime, end: datetime, wanted: Wanted, bad: list[str]
) -> Contents:
    """The same for calendars that come one by one; one that is damaged does not hide the rest."""
    series: Series = defaultdict(list)
    warnings: Counter[str] = Counter()
    for text in texts:
        problem, detail = whole(text.strip())
        if problem:
            bad.append(detail or problem)
            continue
        try:
            gather(text.strip(), series, wanted, warnings, bad)
        except _SENSELESS as error:
            bad.append(plain(str(error), 100))
    return expand(series, start, end, wanted, warnings, bad)


def expand(
    series: Series,
    start: datetime,
    end: datetime,
    wanted: Wanted,
    warnings: Counter[str],
    bad: list[str],
) -> Contents:
    """Every series by itself, so that a bad one neither hides the others nor goes unnoticed."""
    found: dict[tuple[str, str], Occurrence] = {}
    for uid, same in series.items():
        try:
            with time_limit():
                for each in _Expansion(wanted, start, end, warnings).of(uid, same):
                    _keep(found, each)
        except Unreadable as error:
            bad.append(f"{_title(same[0])}: {error}")
        except _SENSELESS:
            bad.append(f"{_title(same[0])}: dates or rules make no sense")
    return summed_up(found, bad, warnings)


def gather(
    text: str, series: Series, wanted: Wanted, warnings: Counter[str], bad: list[str]
) -> None:
    """Add the events to `series`, each moment in a zone; what lacks a needed property to `bad`."""
    for rule in _RULE.findall(_FOLD.sub("", text)):
        # The library leaves out the parts of a rule that it cannot read.
        if any(part.strip() and part.count("=") != 1 for part in rule.split(";")):
            bad.append(f"the rule '{plain(rule, 60)}'")
    tzp.use_default()  # forget the zones of the calendar before: another may mean others by a name
    for calendar in Calendar.from_ical(text, multiple=True):
        spoiled = set()
        for event in calendar.walk("VEVENT"):
            broken = sorted(str(name) for name, _ in event.errors if name in _MATTERS)
            if broken or not isinstance(event.get("DTSTART"), vDDDTypes):
                bad.append(f"{_title(event)}: {broken[0] if broken else 'DTSTART'}")
                spoiled.add(_uid(event))
        if any("FREEBUSY" in part for part in calendar.walk("VFREEBUSY")):
            bad.append("times that are merely busy, instead of courses")
        # A series of which one part is unreadable says something else than was meant.
        calendar.subcomponents = [
            each
            for each in calendar.subcomponents
            if each.name != "VEVENT" or _uid(each) not in spoiled
        ]
        settle(calendar, wanted, warnings)
        for event in calendar.walk("VEVENT"):
            series[_uid(event)].append(event)


def _uid(event: Component) -> str:
    held = str(event.get("UID", ""))
    if not held:
        told = "|".join(str(event.get(key, "")) for key in ("SUMMARY", "LOCATION"))
        start = event.get("DTSTART")
        held = "without-" + sha256(f"{told}|{getattr(start, 'dt', start)}".encode()).hexdigest()
    held = _CONTROL.sub("", held)
    # Shortened names must stay different from each other; 60 characters are kept free for `#…`.
    return held if len(held) <= 200 else held[:130] + sha256(held.encode()).hexdigest()


class _Expansion:
    """Works out the lessons of one UID within [start, end)."""

    def __init__(
        self, wanted: Wanted, start: datetime, end: datetime, warnings: Counter[str]
    ) -> None:
        self._wanted = wanted
        self._start = start
        self._end = end
        self._length = timedelta(minutes=wanted.default_minutes)
        self._warnings = warnings

    def of(self, uid: str, events: list[Component]) -> Iterator[Occurrence]:
        for event in events:
            self._look_at_end(event)
        masters = [event for event in events if "RECURRENCE-ID" not in event]
        if len(masters) <= 1:
            yield from self._series(uid, events)
            return
        # Some exporters give every lesson of a course the course's number as its UID.
        self._warnings["reused_uid"] += 1
        changes = [event for event in events if "RECURRENCE-ID" in event]
        replaced = {_moment_key(_when(change, "RECURRENCE-ID")) for change in changes}
        for key, master in _told_apart(masters).items():
            for each in self._series(f"{uid}#{key}", [master]):
                if _moment_key(each.start) not in replaced:
                    yield each
        for change in changes:
            yield from self._series(uid, [change])

    def _series(self, uid: str, events: list[Component]) -> Iterator[Occurrence]:
        single = not any(key in event for event in events for key in ("RRULE", "RDATE"))
        single = single and "RECURRENCE-ID" not in events[0]
        self._keep_changed(events)
        _refuse_new_rule(events)
        shifts = False
        alone = Calendar()
        for event in events:
            self._tame(event)
            alone.add_component(event)
        # A moved lesson may lie in the window while its planned start does not: the library
        # knows. It does not know how long a lesson without an end lasts.
        for part in recurring_ical_events.of(alone).between(self._start - self._length, self._end):
            found = self._occurrence(uid, part, single=single)
            if found and found.end > self._start and found.start < self._end:
                shifts = shifts or self._shifts(events[0], found)
                yield found
        self._warnings["utc_series"] += shifts and not single

    def _keep_changed(self, events: list[Component]) -> None:
        """A lesson that is taken out of its series and told as changed all the same is held: the
        library would leave it out without a word."""
        moments = [_when(each, "RECURRENCE-ID") for each in events if "RECURRENCE-ID" in each]
        changed = {_moment_key(moment) for moment in moments}
        changed |= {moment.strftime("%Y-%m-%d") for moment in moments}  # a whole day is taken out
        for event in events:
            held = event.get("EXDATE", [])
            out = [
                one.dt for each in (held if isinstance(held, list) else [held]) for one in each.dts
            ]
            left = [moment for moment in out if _moment_key(moment) not in changed]
            if len(left) < len(out):
                self._warnings["taken_out_and_changed"] += len(out) - len(left)
                del event["EXDATE"]
                for moment in left:
                    event.add("EXDATE", moment)

    def _shifts(self, event: Component, found: Occurrence) -> bool:
        """Whether a series that is told in UTC has another local time here than at its start."""
        begins = _when(event, "DTSTART")
        if not isinstance(begins, datetime) or begins.tzname() != "UTC":
            return False
        zone = ZoneInfo(self._wanted.zone)
        return begins.astimezone(zone).utcoffset() != found.start.astimezone(zone).utcoffset()

    def _look_at_end(self, event: Component) -> None:
        begins = _when(event, "DTSTART")
        if "DTEND" not in event and "DURATION" not in event and isinstance(begins, datetime):
            self._warnings["no_end"] += 1
        ends = _when(event, "DTEND") if "DTEND" in event else begins
        length = getattr(event.get("DURATION"), "dt", timedelta())
        if length < timedelta() or (type(ends) is type(begins) and ends < begins):
            self._warnings["ends_before_start"] += 1
            _move_end(event, begins, ends)

    def _tame(self, event: Component) -> None:
        """Refuse rules that would never end or mean another calendar, and mend the one mistake
        that many exporters make."""
        begins = _when(event, "DTSTART")
        for rule in rules(event):
            frequency = str(_first(rule, "FREQ")).upper()
            times = [len(rule.get(key) or [0]) for key in ("BYHOUR", "BYMINUTE", "BYSECOND")]
            if frequency in ("SECONDLY", "MINUTELY", "HOURLY") or (
                times[0] * times[1] * times[2] > MAX_TIMES_A_DAY
            ):
                raise Unreadable("it repeats more often than a course can")
            if "FREQ" not in rule:
                raise Unreadable("its rule is not understood")
            if int(_first(rule, "INTERVAL", 1)) < 1:
                raise Unreadable("it repeats without end")
            if "RSCALE" in rule or "SKIP" in rule:
                raise Unreadable("it repeats by another calendar than ours")
            until = _first(rule, "UNTIL")
            if not isinstance(begins, datetime) or until is None:
                continue
            if not isinstance(until, datetime):
                # A day as the end of a timed series is meant with that day's lesson.
                last = datetime.combine(until, time(23, 59, 59), tzinfo=begins.tzinfo)
                rule["UNTIL"] = [last.astimezone(UTC)]
                self._warnings["until_a_day"] += 1

    def _occurrence(self, uid: str, part: Component, *, single: bool) -> Occurrence | None:
        begins, ends = _when(part, "DTSTART"), _when(part, "DTEND")
        block = _is_free(part)
        if not isinstance(begins, datetime):
            # A note on a day, such as a holiday: nobody is in the room.
            if self._wanted.all_day == "ignore" or (block and self._wanted.all_day == "course"):
                self._warnings["all_day_ignored"] += 1
                return None
            block = block or self._wanted.all_day == "block"
            if isinstance(ends, datetime) or ends <= begins:
                ends = begins + timedelta(days=1)
        start, end = self._moment(begins), self._moment(ends)
        title = _title(part)
        return Occurrence(
            uid=uid,
            occurrence="" if single else _moment_key(_when(part, "RECURRENCE-ID")),
            title=title,
            location=plain(str(part.get("LOCATION", "")), 300),
            start=start,
            end=end if end > start else start + self._length,
            cancelled=str(part.get("STATUS", "")).upper() == "CANCELLED"
            or says_cancelled(title, self._wanted.cancelled),
            block=block,
        )

    def _moment(self, told: date | datetime) -> datetime:
        if isinstance(told, datetime):
            return told.astimezone(UTC)
        return midnight(told, self._wanted.zone).astimezone(UTC)


def _move_end(event: Component, begins: date | datetime, ends: date | datetime) -> None:
    """The library would turn both round, and the start that was told would be the end. Rather is
    the end on a wrong day, such as before midnight; or else it is not told."""
    event.pop("DTEND", None)
    event.pop("DURATION", None)
    if isinstance(begins, datetime) and timedelta() < (ends - begins) % DAY <= DAY / 2:
        event.add("DTEND", begins + (ends - begins) % DAY)


def _refuse_new_rule(events: list[Component]) -> None:
    """The library shifts "this and all following", but by the old rule, and none without one."""
    old = [rules(event) for event in events if "RECURRENCE-ID" not in event]
    for event in events:
        if "RANGE" not in getattr(event.get("RECURRENCE-ID"), "params", {}):
            continue
        if not old:
            raise Unreadable("all following lessons of an unknown series change")
        if rules(event) and old != [rules(event)]:
            raise Unreadable("a lesson in it changes its rule")


def _is_free(part: Component) -> bool:
    """Whether the exporter says that this takes nobody's time."""
    outlook = str(part.get("X-MICROSOFT-CDO-BUSYSTATUS", "")).upper()
    return str(part.get("TRANSP", "")).upper() == "TRANSPARENT" or outlook in ("FREE", "TENTATIVE")


def _told_apart(masters: list[Component]) -> dict[str, Component]:
    """A name of its own for each event with the same UID; of true duplicates the newest."""
    alike: dict[tuple[str, str], dict[str, Component]] = defaultdict(dict)
    for master in sorted(masters, key=_version):
        key = (_moment_key(_when(master, "DTSTART")), plain(str(master.get("LOCATION", "")), 200))
        held = alike[key]
        if held and _version(next(iter(held.values()))) < _version(master):
            held.clear()
        held[_lasting(master)] = master
    starts = Counter(begin for begin, _ in alike)
    found = {}
    for (begin, place), events in alike.items():
        for lasting, event in events.items():
            told = place if len(events) == 1 else f"{place}|{lasting}"
            alone = starts[begin] == len(events) == 1
            name = begin if alone else f"{begin}#{sha256(told.encode()).hexdigest()[:16]}"
            found[name] = event
    return found


def _version(event: Component) -> tuple[int, str]:
    changed = getattr(event.get("LAST-MODIFIED"), "dt", "")
    return int(str(event.get("SEQUENCE", 0))), str(changed)


def _lasting(event: Component) -> str:
    """How long and how often it takes place, as a text."""
    said: list[str] = []
    for key in ("DTEND", "DURATION", "RRULE", "RDATE", "EXDATE"):
        held = event.get(key, [])
        said += [f"{key}:{one.to_ical()}" for one in (held if isinstance(held, list) else [held])]
    return "|".join(said)


def _first(rule: vRecur, key: str, otherwise: Any = None) -> Any:
    held = rule.get(key, otherwise)
    return held[0] if isinstance(held, list) and held else held


def _when(event: Component, key: str) -> date | datetime:
    held = getattr(event.get(key), "dt", None)
    if not isinstance(held, date):
        raise Unreadable(key)
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
    return plain(str(event.get("SUMMARY", "")), 300)


@contextmanager
def time_limit() -> Iterator[None]:
    """Processor time, not clock time: a busy machine makes no series bad."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Unreadable("it takes too long to work out")

    before = signal.signal(signal.SIGVTALRM, stop)
    # Again and again, for what is raised while something is being deleted is lost.
    signal.setitimer(signal.ITIMER_VIRTUAL, SERIES_S, SERIES_S / 10)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
