"""How one timetable is to be read: what differs from exporter to exporter, checked at the edge."""

from enum import StrEnum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)


class FeedKind(StrEnum):
    """What a timetable is written in."""

    ICS = "ics"
    CALDAV = "caldav"
    CSV = "csv"
    XML = "xml"


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # all are its ways to say "unknown"
        raise ValueError(f"there is no time zone '{name[:60]}'; such as Europe/Berlin") from None
    return name


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1, max_length=200)]
Texts = Annotated[list[Text], BeforeValidator(_list), Field(min_length=1, max_length=30)]
Column = Literal[
    "uid", "title", "location", "date", "start", "end", "end_date", "minutes", "cancelled"
]

CANCELLED = ["Abgesagt", "Entfällt", "Fällt aus", "Ausfall", "Storniert", "Canceled", "Cancelled"]

ONLY_FOR: dict[str, set[FeedKind]] = {
    "utc_is_local": {FeedKind.ICS, FeedKind.CALDAV},
    "utc_is_mistaken": {FeedKind.ICS, FeedKind.CALDAV},
    "columns": {FeedKind.CSV, FeedKind.XML},
    "date_format": {FeedKind.CSV, FeedKind.XML},
    "separator": {FeedKind.CSV},
    "rows": {FeedKind.XML},
}
"""Option → the kinds of timetable that it means something for; the others are for all."""


class FeedOptions(BaseModel):
    """`Feed.options`. Every one may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    locations: dict[Text, Annotated[str, Field(max_length=63)] | None] = {}
    """A place as the timetable writes it → the room's id; null: no room of ours. `*` and `?` stand
    for any text and any sign, and count only where nothing else fits."""
    zone: Annotated[str, AfterValidator(_zone)] = "Europe/Berlin"
    """What a time means that names no zone."""
    utc_is_local: bool = False
    """A series whose times are in UTC keeps its local time when the clocks change."""
    utc_is_mistaken: bool = False
    """The exporter writes local times but marks them as UTC."""
    default_minutes: Annotated[int, Field(ge=5, le=1440)] = 90
    """How long a course lasts whose end is not told."""
    all_day: Literal["course", "block", "ignore"] = "course"
    """What an entry without times is: a course that lasts all day, a room that is taken (nothing
    is reset, but nobody waits for it), or a mere note such as a holiday."""
    cancelled: Texts = CANCELLED
    """Words that say, before a `:` or `-` in the title or alone in the column `cancelled`, that a
    course does not take place."""
    columns: dict[Column, Texts] = {}
    """What we look for → the column or element that holds it; see `fleet/README.md`."""
    date_format: Annotated[str, Field(max_length=40)] = ""
    """As Python's strptime has it, such as `%m/%d/%Y`; empty: 23.11.2026 and 2026-11-23."""
    separator: Literal["", ";", ",", "\t", "|"] = ""
    """Empty: found out."""
    rows: Annotated[str, Field(max_length=200)] = ""
    """The element that is one lesson, such as `Termin`; empty: the usual names are tried."""


def check_options(kind: FeedKind, said: dict[str, Any]) -> dict[str, Any]:
    """The options as they are kept. Raises ValueError with one sentence about the first fault."""
    try:
        options = FeedOptions.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"option '{where}': {first['msg']}") from None
    for name in sorted(options.model_fields_set & ONLY_FOR.keys()):
        if kind not in ONLY_FOR[name]:
            kinds = " or ".join(sorted(ONLY_FOR[name]))
            raise ValueError(f"option '{name}' means nothing for {kind}; it is for {kinds}")
    return options.model_dump(exclude_unset=True)
