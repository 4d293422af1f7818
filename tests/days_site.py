"""A site of the simulated days: an agent that checks orders as the real one does, behind a bus that
does everything it may do wrong, and laptops that check once more and are sometimes stubborn."""

import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from agents.checks import _complaints
from agents.messages import Order, Outcome, Roster, Step
from tests.days_oracle import Oracle
from tests.reset_machine import FILES

sys.path.insert(0, str(FILES))
import room_gates
from room_gates import Job, Refusal, check
from room_health import power
from room_machine import Machine
from room_sessions import Session
from room_state import Config

S = timedelta(seconds=1)
Later = Callable[[datetime, Callable[[], None]], None]


@cache
def config() -> Config:
    folder = Path(tempfile.mkdtemp(prefix="raumwart-days-"))
    (folder / "skeletons" / "standard").mkdir(parents=True)
    # These laptops hang on the mains, whatever the machine does that simulates them.
    room_gates.power = partial(power, str(folder / "none"))
    return Config(
        guest="kurs", uid=1, gid=1, home=str(folder / "home"), trash=str(folder / "trash"),
        skeletons=str(folder / "skeletons"), state=str(folder), inputs=str(folder / "none"),
        serial="PF-1", space_bytes=1,
    )  # fmt: skip


class Desk(Machine):
    """A laptop whose sessions are what the simulation says."""

    def __init__(self, used: bool) -> None:
        super().__init__(config())
        self.used = used

    def sessions(self) -> list[Session]:
        return [Session("kurs", idle=False)] if self.used else []


@dataclass
class Laptop:
    """Who sits at it, and until when it is being reset."""

    skew: timedelta
    sessions: list[tuple[datetime, datetime]] = field(default_factory=list)
    reset_until: datetime | None = None

    def used(self, now: datetime) -> bool:
        return any(begin <= now < end for begin, end in self.sessions)

    def refuses(self, order: Order, sent_at: datetime, now: datetime) -> str:
        if self.reset_until is not None and self.reset_until > now:
            return "busy"
        at = now + self.skew
        job = Job(
            reset_id=order.id, sent_at=sent_at, not_before=order.not_before,
            not_after=order.not_after, next_start=order.next_start,
            max_runtime_s=order.max_runtime_s, profile="standard", serial="PF-1",
            end_sessions=False, countdown_s=0, canary=False, tier=order.steps["tier"], wake_at=None,
        )  # fmt: skip
        try:
            check(job, config(), Desk(self.used(now)), at)
        except Refusal as refusal:
            return refusal.reason
        return ""


@dataclass
class Site:
    """An agent and its laptops. `later` lets something happen; `tell` says it to the centre."""

    random: Random
    oracle: Oracle
    laptops: dict[str, Laptop]
    later: Later
    tell: Callable[[Outcome], None]
    clock: Callable[[], datetime]
    calm: bool
    skew: timedelta = timedelta(0)
    without: frozenset[str] = frozenset()
    """Complaints that this agent does not make."""
    away: Sequence[tuple[datetime, datetime]] = ()
    """When it has no line to the centre."""
    roster: Roster | None = None
    journal: dict[str, list[Outcome]] = field(default_factory=dict)
    active: dict[str, Order] = field(default_factory=dict)
    life: int = 0
    """Grows with every crash: what an earlier life began has no end for it."""
    done: set[str] = field(default_factory=set)
    """Orders whose laptop ended them well."""
    refused: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def back(self, now: datetime) -> datetime:
        return max([now, *(end for begin, end in self.away if begin <= now < end)])

    # the bus

    def deliver(self, message: Order | Roster) -> None:
        """Once, or more often, or late, or never."""
        times = 1 if self.calm else self.random.choices([0, 1, 2], [8, 84, 8])[0]
        for _ in range(times):
            wait = self.random.uniform(0.1, 3)
            if not self.calm and self.random.random() < 0.1:
                wait = self.random.choice([20, 50, 65, 300, 2000]) * self.random.uniform(0.8, 1.2)
            self._arrive_at(self.clock() + wait * S, message)

    def _arrive_at(self, at: datetime, message: Order | Roster) -> None:
        def arrive() -> None:
            back = self.back(at)
            if back > at:  # the bus keeps it, and not always in the sequence of time
                self._arrive_at(back + self.random.uniform(0, 20) * S, message)
            elif isinstance(message, Roster):
                if self.roster is None or message.revision > self.roster.revision:
                    self.roster = message
            else:
                self.handle(message)

        self.later(at, arrive)

    def answer(self, order: Order, step: Step, **more: Any) -> None:
        now = self.clock() + self.skew
        told = {"at": now, **more}
        outcome = Outcome(order=order.id, device=order.device, step=step, **told)
        self.journal.setdefault(order.id, []).append(outcome)
        self._send(outcome)

    def _send(self, outcome: Outcome) -> None:
        times = 1 if self.calm else self.random.choices([0, 1, 2], [6, 84, 10])[0]
        for _ in range(times):
            wait = self.random.uniform(0.1, 3)
            if not self.calm and self.random.random() < 0.1:
                wait = self.random.uniform(10, 500)
            at = self.back(self.clock()) + wait * S
            self.later(at, lambda: self.tell(outcome))

    # the agent

    def refuses(self, order: Order) -> str:
        complaints = _complaints(order, self.roster, self.clock() + self.skew)
        return next((c for c, wrong in complaints if wrong and c not in self.without), "")

    def handle(self, order: Order) -> None:
        if order.id in self.journal:
            for outcome in self.journal[order.id]:
                self._send(outcome)
            return
        code = self.refuses(order) or ("busy" if order.device in self.active else "")
        if code:
            self._refuse(order, code)
            return
        self.active[order.device] = order
        self.answer(order, Step.ACCEPTED, started_at=self.clock() + self.skew)
        wait = 0.1
        if not self.calm and self.random.random() < 0.3:  # it sleeps and has to be woken
            wait = self.random.uniform(15, 100)
        life = self.life
        self.later(self.clock() + wait * S, lambda: self._begin(order, life))

    def _refuse(self, order: Order, code: str) -> None:
        self.refused[code] += 1
        self.answer(order, Step.REFUSED, reason=code)

    def _begin(self, order: Order, life: int) -> None:
        if life != self.life:
            return
        code = self.refuses(order)
        if code:
            del self.active[order.device]
            self._refuse(order, code)
            return
        sent_at = self.clock() + self.skew
        roster = self.roster
        assert roster is not None
        wait = 0.5
        if not self.calm and self.random.random() < 0.08:  # a line that stalls
            wait = self.random.choice([5, 25, 40, 200])
        self.later(
            self.clock() + wait * S, lambda: self._at_the_laptop(order, sent_at, roster, life)
        )

    def crash(self) -> None:
        """It dies and starts anew: what it had begun is unknown."""
        self.life += 1
        for order in list(self.active.values()):
            del self.active[order.device]
            self.answer(order, Step.UNKNOWN, reason="interrupted")

    # the laptop

    def _at_the_laptop(self, order: Order, sent_at: datetime, roster: Roster, life: int) -> None:
        now, laptop = self.clock(), self.laptops[order.device]
        code = laptop.refuses(order, sent_at, now)
        if code:
            if life == self.life:
                del self.active[order.device]
                self._refuse(order, f"laptop_{code}")
            return
        whole = timedelta(seconds=order.max_runtime_s)
        took = whole if self.random.random() < 0.2 else whole * self.random.uniform(0.05, 1)
        end = now + took + order.settle_s * S
        laptop.reset_until = end
        self.oracle.began(order, now, now + took, roster, used=laptop.used(now))
        how = "done"
        if not self.calm:
            how = self.random.choices(["done", "fails", "lost", "dirty"], [80, 7, 7, 6])[0]
        if how == "lost":
            at = now + took * self.random.random()
            self.later(at, lambda: self._end(order, life, Step.UNKNOWN, sent_at))
            return
        if how == "done":
            self.done.add(order.id)
        step = Step.FAILED if how == "fails" else Step.ACTED
        self.later(now + took, lambda: self._end(order, life, step, sent_at))
        if step is Step.ACTED:
            clean = how == "done"
            self.later(end + 0.2 * S, lambda: self._look(order, life, now + took, clean=clean))

    def _end(self, order: Order, life: int, step: Step, began: datetime) -> None:
        if life != self.life:
            return
        if step is not Step.ACTED:
            del self.active[order.device]
        told = {"started_at": began, "reason": "" if step is Step.ACTED else "no_end"}
        self.answer(order, step, finished_at=self.clock() + self.skew, **told)

    def _look(self, order: Order, life: int, ended: datetime, *, clean: bool) -> None:
        if life != self.life or self.active.get(order.device) != order:
            return
        del self.active[order.device]
        laptop = self.laptops[order.device]
        facts = {
            "reset_id": order.id, "home_clean": clean, "residue": 0 if clean else 3,
            "used_since": any(end > ended for _, end in laptop.sessions if _ <= self.clock()),
        }  # fmt: skip
        self.answer(order, Step.LOOKED, facts=facts, finished_at=ended + self.skew)
