"""Counts what must never happen, from what is true and what was known, with rules of its own: it
asks none of the functions that decide."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agents.messages import Hold, Order, Roster

CLOCKS = timedelta(seconds=90)
"""So far the clocks of centre, agent and laptop may be apart without anybody noticing."""
LENGTH = {"quick": 120, "standard": 330, "full": 3630}
"""Seconds, until the watchdog has ended it and the laptop is back."""

Time = tuple[datetime, datetime]


@dataclass(frozen=True)
class Known:
    """What the centre had been told when it sent an order, however it keeps it."""

    busy: Sequence[Time]
    """Every course and block of the room in its newest accepted timetable."""
    planned_for: datetime
    still_so: bool
    """The course that it was sent for is held, then, in this room."""
    believed: bool
    said_against: Sequence[str]
    """What somebody said by hand of this device or its course."""
    signed_in: bool
    """It was told so within the last three minutes."""
    in_service: bool
    quiet: bool
    under_way: Sequence[tuple[str, str, str]]
    """(device, room, tier) of the site's resets that were sent before and not ended."""


@dataclass(frozen=True)
class Limits:
    grace: timedelta
    buffer: timedelta
    guard: timedelta
    site: int
    boots_room: int
    heavy_site: int


@dataclass
class Act:
    """A reset on a device, from the first change to the last, watchdog or not."""

    order: str
    device: str
    room: str
    tier: str
    begin: datetime
    end: datetime


@dataclass
class Oracle:
    """`violations`: which rule, and when, where. `sent` and `acts` show that something happened."""

    limits: Limits
    violations: list[tuple[str, str]] = field(default_factory=list)
    sent: dict[str, tuple[Order, datetime, Known]] = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)
    proofs: Counter[tuple[str, datetime]] = field(default_factory=Counter)
    """(device, start of a course) → times it was proved since it was last used."""
    used_at: dict[str, datetime] = field(default_factory=dict)
    """Device → when somebody last sat down at it."""

    def count(self, rule: str, what: str) -> None:
        self.violations.append((rule, what))

    def order_sent(self, order: Order, now: datetime, known: Known) -> None:
        limits, tier = self.limits, order.steps["tier"]
        end = now + timedelta(seconds=LENGTH[tier])
        place = f"{order.device} {now:%F %T} {order.id}"
        guard = max(limits.guard, limits.buffer)
        wrong = {
            "I1": any(b - guard <= now < e + limits.grace for b, e in known.busy),
            "I2": any(now < b < end + limits.buffer for b, _ in known.busy),
            "I3": known.signed_in,
            "I4": self.proofs[order.device, known.planned_for] > 0 or order.id in self.sent,
            "I5": self._too_many(order, known),
            "I6": not known.believed,
            "I8": bool(known.said_against),
            "I9": known.planned_for <= now,
            "I14": not known.still_so,
            "quiet": known.quiet and tier != "quick",
            "service": not known.in_service,
        }
        for rule, broken in wrong.items():
            if broken:
                self.count(rule, f"sent {place}")
        self.sent[order.id] = order, now, known
        # Of a reset for another course nobody can say that it left the device as it was.
        self._forget_proofs(order.device, but=known.planned_for)

    def _too_many(self, order: Order, known: Known) -> bool:
        tier, others = order.steps["tier"], known.under_way
        boots = [room for _, room, how in others if how != "quick"]
        return (
            order.device in {device for device, _, _ in others}
            or len(others) >= self.limits.site
            or (tier != "quick" and boots.count(order.room) >= self.limits.boots_room)
            or (tier == "full" and sum(t == "full" for *_, t in others) >= self.limits.heavy_site)
        )

    def began(
        self, order: Order, begin: datetime, end: datetime, roster: Roster, used: bool
    ) -> None:
        """A device lets itself be reset. `used`: somebody sits at it; `roster`: what its agent
        knew."""
        _, _, known = self.sent[order.id]
        place = f"act {order.device} {begin:%F %T} {order.id}"
        told = [(one.start, one.end) for one in roster.busy if one.room == order.room]
        act = Act(order.id, order.device, order.room, order.steps["tier"], begin, end)
        wrong = {
            "I1": any(b <= begin < e for b, e in [*known.busy, *told]),
            "I2": any(begin < b < end for b, _ in [*known.busy, *told]),
            "I3": used,
            "I4": any(one.order == order.id for one in self.acts),
            "I5": any(one.device == act.device and one.end > begin for one in self.acts[-50:]),
            "I6": order.room not in roster.trusted_until,
            "I7": begin > order.not_after + CLOCKS or begin < order.not_before - CLOCKS,
            "I8": any(self._held(one, order, begin) for one in roster.holds),
            "I14": order.plan_rev < roster.plan_rev,
        }
        for rule, broken in wrong.items():
            if broken:
                self.count(rule, place)
        self.acts.append(act)

    @staticmethod
    def _held(hold: Hold, order: Order, at: datetime) -> bool:
        here = hold.room in ("", order.room) and hold.device in ("", order.device)
        begun = hold.start + CLOCKS <= at
        return here and begun and (hold.end is None or at < hold.end - CLOCKS)

    def believed_clean(self, order: str, finished: bool, device: str, start: datetime) -> None:
        """The centre takes this order for proved. `finished`: its device ended it well."""
        if not finished:
            self.count("I11", f"{order} was never done")
        ended = max((act.end for act in self.acts if act.order == order), default=None)
        used = self.used_at.get(device)
        if ended is None or used is None or used < ended:  # a proof may be heard long after
            self.proofs[device, start] += 1

    def device_used(self, device: str, now: datetime) -> None:
        self.used_at[device] = now
        self._forget_proofs(device)

    def _forget_proofs(self, device: str, but: datetime | None = None) -> None:
        for key in [key for key in self.proofs if key[0] == device and key[1] != but]:
            del self.proofs[key]

    def at_once(self) -> int:
        """How many devices were reset at the same time, at most."""
        edges = sorted([(one.begin, 1) for one in self.acts] + [(one.end, -1) for one in self.acts])
        most = running = 0
        for _, step in edges:
            running += step
            most = max(most, running)
        return most

    def by_rule(self) -> dict[str, int]:
        found: defaultdict[str, int] = defaultdict(int)
        for rule, _ in self.violations:
            found[rule] += 1
        return dict(found)
