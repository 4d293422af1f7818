"""Counts what must never happen, from what is true and what was known, with rules of its own: it
asks none of the functions that decide."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agents.messages import Hold, Order, Roster

CLOCKS = timedelta(seconds=90)
"""So far the clocks of centre, agent and laptop may be apart without anybody noticing."""
LATELY, DAY = timedelta(minutes=5), timedelta(hours=24) - CLOCKS - timedelta(minutes=2)
"""In which starts are counted; a day, less the way of an order to its device."""
LENGTH = {"quick": 120, "standard": 330, "full": 3630}
"""Seconds, until the watchdog has ended it and the laptop is back."""

Time = tuple[datetime, datetime]


@dataclass(frozen=True)
class Spot:
    """What a reset takes up. `uplink`: the access point that the device hangs on."""

    device: str
    room: str
    uplink: str | None
    tier: str

    @property
    def boots(self) -> bool:
        return self.tier != "quick"


@dataclass(frozen=True)
class Known:
    """What the centre had been told when it sent an order, however it keeps it."""

    busy: Sequence[Time]
    """Every course and block of the room in its newest accepted timetable."""
    planned_for: datetime
    courses: frozenset[int]
    """Those that are held, then, in this room."""
    still_so: bool
    """The course that it was sent for is one of them."""
    believed: bool
    said_against: Sequence[str]
    """What somebody said by hand of this device or its course."""
    signed_in: bool
    """It was told so within the last three minutes."""
    in_service: bool
    quiet: bool
    spot: Spot
    under_way: Sequence[Spot]
    """The resets that were sent before and not ended, here and elsewhere."""


@dataclass(frozen=True)
class Limits:
    grace: timedelta
    buffer: timedelta
    guard: timedelta
    site: int
    fleet: int
    boots_room: int
    boots_uplink: int
    heavy_site: int
    starts: int
    per_day: int


@dataclass
class Act:
    """A reset on a device, from the first change to the last, watchdog or not; `back`: when people
    can use the device again."""

    order: str
    spot: Spot
    begin: datetime
    end: datetime
    back: datetime


@dataclass
class Oracle:
    """`violations`: which rule, and when, where. `sent` and `acts` show that something happened."""

    limits: Limits
    violations: list[tuple[str, str]] = field(default_factory=list)
    sent: dict[str, tuple[Order, datetime, Known]] = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)
    proofs: dict[tuple[str, datetime], int] = field(default_factory=dict)
    """(device, start of a course) → the course for which it was proved since it was last used."""
    used_at: dict[str, datetime] = field(default_factory=dict)
    """Device → when somebody last sat down at it."""
    newest: dict[str, str] = field(default_factory=dict)
    """Device → the order that was sent to it last."""

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
            # Another course at that moment needs its own only when the first one is gone.
            "I4": self.proofs.get((order.device, known.planned_for)) in known.courses
            or order.id in self.sent,
            "I6": not known.believed,
            "I8": bool(known.said_against),
            "I9": known.planned_for <= now,
            "I14": not known.still_so,
            "quiet": known.quiet and tier != "quick",
            "service": not known.in_service,
        }
        wrong |= dict.fromkeys(self._too_many(known.spot, known.under_way), True)
        lately = {name.partition(".")[0] for name, (_, at, _) in self.sent.items()
                  if at > now - LATELY}  # fmt: skip
        wrong["I5 starts"] = len(lately - {order.id.partition(".")[0]}) >= limits.starts
        for rule, broken in wrong.items():
            if broken:
                self.count(rule, f"sent {place}")
        self.sent[order.id] = order, now, known
        self.newest[order.device] = order.id
        # Of a reset for another course nobody can say that it left the device as it was.
        self._forget_proofs(order.device, but=known.planned_for)

    def _too_many(self, one: Spot, others: Sequence[Spot]) -> Iterator[str]:
        """Which limits are passed by one reset more beside these."""
        limits = self.limits
        boots = [each for each in others if each.boots]
        behind = one.uplink and sum(each.uplink == one.uplink for each in boots)
        places = {
            "I5 device": any(each.device == one.device for each in others),
            "I5 site": len(others) >= limits.site,
            "I5 fleet": len(others) >= limits.fleet,
            "I5 room": one.boots
            and sum(each.room == one.room for each in boots) >= limits.boots_room,
            "I5 uplink": one.boots and behind and behind >= limits.boots_uplink,
            "I5 line": one.tier == "full"
            and sum(each.tier == "full" for each in others) >= limits.heavy_site,
        }
        yield from (rule for rule, broken in places.items() if broken)

    def began(
        self, order: Order, begin: datetime, end: datetime, roster: Roster, used: bool
    ) -> None:
        """A device lets itself be reset. `used`: somebody sits at it; `roster`: what its agent
        knew; `end`: of the last change, then the device comes back."""
        _, _, known = self.sent[order.id]
        place = f"act {order.device} {begin:%F %T} {order.id}"
        told = [(one.start, one.end) for one in roster.busy if one.room == order.room]
        act = Act(order.id, known.spot, begin, end, end + timedelta(seconds=order.settle_s))
        now_acting = [one.spot for one in self.acts[-50:] if one.end > begin]
        today = sum(a.spot.device == order.device and a.begin > begin - DAY for a in self.acts)
        wrong = {
            "I1": any(b <= begin < e for b, e in [*known.busy, *told]),
            "I2": any(begin < b < act.back for b, _ in [*known.busy, *told]),
            "I3": used,
            "I4": any(one.order == order.id for one in self.acts),
            "I5 day": today >= self.limits.per_day,
            "I6": order.room not in roster.trusted_until,
            "I7": begin > order.not_after + CLOCKS or begin < order.not_before - CLOCKS,
            "I8": any(self._held(one, order, begin) for one in roster.holds),
            "I14": order.plan_rev < roster.plan_rev,
        }
        wrong |= dict.fromkeys(self._too_many(known.spot, now_acting), True)
        for rule, broken in wrong.items():
            if broken:
                self.count(rule, place)
        self.acts.append(act)

    @staticmethod
    def _held(hold: Hold, order: Order, at: datetime) -> bool:
        here = hold.room in ("", order.room) and hold.device in ("", order.device)
        begun = hold.start + CLOCKS <= at
        return here and begun and (hold.end is None or at < hold.end - CLOCKS)

    def believed_clean(
        self, order: str, finished: bool, device: str, start: datetime, course: int
    ) -> None:
        """The centre takes this order for proved. `finished`: its device ended it well."""
        if not finished:
            self.count("I11", f"{order} was never done")
        ended = max((act.back for act in self.acts if act.order == order), default=None)
        used = self.used_at.get(device)
        # A proof may be heard long after, when the next order has touched the device already.
        unused = ended is None or used is None or used < ended
        if unused and self.newest[device] == order:
            self.proofs[device, start] = course

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
