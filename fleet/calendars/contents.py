"""What a timetable holds, and what it is told about how to read it."""

import re
from typing import Literal

from pydantic import AwareDatetime, BaseModel

MAX_OCCURRENCES = 10_000
"""Per feed, earliest first; more is not a timetable."""
SHOWN = 5
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Wanted(BaseModel):
    """How to read it: those of `inventory.FeedOptions` that matter here."""

    kind: Literal["ics", "caldav", "csv", "xml"] = "ics"
    zone: str = "Europe/Berlin"
    utc_is_local: bool = False
    utc_is_mistaken: bool = False
    default_minutes: int = 90
    all_day: Literal["course", "block", "ignore"] = "course"
    cancelled: list[str] = ["Abgesagt", "Entfällt", "Fällt aus", "Ausfall", "Canceled", "Cancelled"]
    columns: dict[str, list[str]] = {}
    date_format: str = ""
    separator: str = ""
    rows: str = ""


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
    block: bool = False
    """The room is taken, but nobody waits for its devices."""


class Contents(BaseModel):
    """What a feed holds. `problem` empty: everything in it was read."""

    problem: str = ""
    """`not_a_calendar`, `unreadable`, `no_columns`, `partly_unreadable`, `too_many` or
    `too_slow`."""
    detail: str = ""
    warnings: dict[str, int] = {}
    """What was guessed or mended, a code of `fleet.timetable.WARNINGS` → how often."""
    occurrences: list[Occurrence] = []
    kept: str = ""
    """Of a table: what came, without the texts that were not needed; empty: none could be told
    from the others, so nothing may be kept."""


class Unreadable(ValueError):
    """One event, series or row cannot be read; the text says why."""


def plain(text: str, longest: int) -> str:
    """In one line, without what a database refuses."""
    return " ".join(_CONTROL.sub(" ", text).split())[:longest]


def summed_up(
    found: dict[tuple[str, str], Occurrence], bad: list[str], warnings: dict[str, int]
) -> Contents:
    """All that was found, and whether that is all there was."""
    occurrences = sorted(found.values(), key=lambda each: (each.start, each.uid))
    problem = detail = ""
    if bad:
        problem = "partly_unreadable"
        detail = f"{len(bad)} not read: " + "; ".join(bad[:SHOWN])
    elif len(occurrences) > MAX_OCCURRENCES:
        problem = "too_many"
    return Contents(
        problem=problem,
        detail=plain(detail, 500),
        warnings={code: count for code, count in sorted(warnings.items()) if count},
        occurrences=occurrences[:MAX_OCCURRENCES],
    )


def says_cancelled(title: str, words: list[str]) -> bool:
    """`Abgesagt: Yoga`, `[Entfällt] Chor`, `Cancelled`; not `Warum Wanderungen abgesagt werden`
    or `Ausfall-Management`."""
    any_word = "|".join(re.escape(word) for word in words)
    return bool(
        re.match(
            rf"\s*(?:[\[(]\s*(?:{any_word})\s*[\])]|"
            rf"(?:{any_word})(?:\s*(?:[:!]|$)|\s+[\-–—]|[\-–—](?!\w)))",
            title,
            re.I,
        )
    )
