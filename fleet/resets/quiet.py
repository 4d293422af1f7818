"""When nothing may be heard in a room, in the local time of the place; pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Quiet:
    """Every day from `start` to `end` on the clock on the wall; over midnight if `end` is earlier.

    Both become moments for each date by itself, so the night of a change of the clocks is as long
    as it is.
    """

    start: time
    end: time

    def at(self, moment: datetime) -> bool:
        return self.until(moment) is not None

    def until(self, moment: datetime) -> datetime | None:
        """When the quiet hours end that hold at this moment; None: none do."""
        today = moment.astimezone(ZONE).date()
        for first in (today - DAY, today):
            last = first + DAY if self.end <= self.start else first
            begin, end = _moment(first, self.start), _moment(last, self.end)
            if begin <= moment < end:
                return end
        return None

    def next_loud(self, moment: datetime) -> datetime:
        """This moment, or the end of the quiet hours around it."""
        return self.until(moment) or moment


def _moment(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, ZONE).astimezone(UTC)


def parse(said: str) -> Quiet | None:
    """`20:00-07:00` → quiet hours, empty → none. Raises ValueError."""
    if not said:
        return None
    start, dash, end = said.partition("-")
    if not dash:
        raise ValueError("quiet hours are written 20:00-07:00")
    found = Quiet(time.fromisoformat(start.strip()), time.fromisoformat(end.strip()))
    if found.start == found.end:
        raise ValueError("quiet hours need a beginning and another end")
    return found
