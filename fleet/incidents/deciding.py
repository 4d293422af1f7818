"""When a fault becomes an incident, and when it is over; pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.health import ALWAYS_ON, AWAY, BACKOFF
from inventory import DeviceKind, Health

LASTING = timedelta(minutes=3)
"""A fault that is over sooner is told nobody. Longer than it takes to see a common cause: two
looks at a minute each."""
RECOVERED = timedelta(minutes=2)
"""A device that was well again for so long is well."""
COMING_BACK = BACKOFF + timedelta(minutes=2)
"""After its cause is over a device gets so long to be looked at again: agents make pauses."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A device in service, or (without `kind`) a whole site, as it is now.

    `since`: since when the verdict stands. `cause`: what explains its silence, or empty.
    `cut_off_at`: when something last did.
    """

    id: str
    site: str
    kind: DeviceKind | None
    health: Health
    reason: str
    since: datetime
    cause: str = ""
    cut_off_at: datetime | None = None


@dataclass(frozen=True)
class Change:
    """The incidents to open, by what is seen; the causes whose incident is over, by (site, id)."""

    opened: list[Seen]
    closed: list[tuple[str, str]]


def decide(seen: Iterable[Seen], open_causes: Collection[tuple[str, str]], now: datetime) -> Change:
    """What changes. `open_causes`: (site, cause) of the incidents that are open.

    One cause has at most one open incident, what a cause explains has none, and every incident
    ends: with the fault, with the device's service, or with the device. While nobody knows how a
    device is, its incident stays.
    """
    known = {(each.site, each.id): each for each in seen}
    opened = [
        each
        for key, each in sorted(known.items())
        if key not in open_causes and _faulty(each) and now - _since(each) >= LASTING
    ]
    closed = [key for key in sorted(open_causes) if _over(known.get(key), now)]
    return Change(opened, closed)


def _faulty(each: Seen) -> bool:
    """Whether somebody has to be told. A laptop that is switched off is for the course's
    readiness to tell; an access point has to be there always."""
    if each.cause:
        return False
    if each.reason == "on_battery":
        return True
    if each.health is not Health.FAILED:
        return False
    return each.kind is None or each.kind in ALWAYS_ON or each.reason not in AWAY | {"flapping"}


def _since(each: Seen) -> datetime:
    if each.cut_off_at is None:
        return each.since
    return max(each.since, each.cut_off_at + COMING_BACK)


def _over(each: Seen | None, now: datetime) -> bool:
    if each is None:
        return True
    if each.health is Health.UNKNOWN or _faulty(each):
        return False
    return now - each.since >= RECOVERED
