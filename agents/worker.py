"""Carries orders out: checks, acts at most once per order, looks again, says what became of it."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from agents.checks import next_start, refusal
from agents.clock import Clock
from agents.driver import (
    Broken,
    Driver,
    DriverError,
    Garbled,
    Misconfigured,
    NoEnd,
    Refused,
    TimedOut,
    WrongDevice,
)
from agents.journal import Journal, JournalBroken
from agents.messages import Order, Outcome, Roster, Step, Target, Wake
from agents.poller import Bug, bounded, trusted
from agents.recall import Recaller
from agents.wake import BOOT_S, Waker

log = logging.getLogger(__name__)

AT_ONCE_SITE = 30
MARGIN_S = 5.0
"""Beyond `max_runtime_s`, for the driver to end by itself."""
LOOK_TIMEOUT = timedelta(seconds=30)
LOOKS = 3
"""A look changes nothing, so a device that is just coming back is asked again."""
LOOK_AGAIN_S = 5.0
KNOCK = timedelta(seconds=5)
"""For a device that is awake to answer whether it is."""
AWAKE = timedelta(seconds=90)
"""A device that answered a poll this lately need not be asked."""


class Worker:
    """One for all sites of an agent.

    `roster(site)` is the roster now held; `answer(site, outcome)` must return at once; `locks`
    (device → lock) is shared with the poller; `seen` (device → when the poller last heard of it)
    spares a question. Without a journal every order is refused: an agent that cannot remember must
    not act.
    """

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        roster: Callable[[str], Roster | None],
        answer: Callable[[str, Outcome], None],
        locks: defaultdict[str, asyncio.Lock],
        journal: Journal | None,
        clock: Clock,
        *,
        waker: Waker | None = None,
        recaller: Recaller | None = None,
        seen: Callable[[str], datetime | None] = lambda _: None,
        at_once: int = AT_ONCE_SITE,
    ) -> None:
        self._waker = waker or Waker(clock)
        self._recaller = recaller or Recaller(roster, clock)
        self._seen = seen
        self._drivers = drivers
        self._roster = roster
        self._answer = answer
        self._locks = locks
        self._journal = journal
        self._clock = clock
        self._sites: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(at_once)
        )
        self._active: dict[str, str] = {}
        """Order → device, from the first check to the last answer."""

    def recover(self) -> None:
        """After a start: what was begun and never ended is unknown; send what was not yet sent."""
        if not self._journal:
            return
        try:
            for order, site, device in self._journal.interrupted():
                log.warning("%s: order %s was interrupted", device, order)
                self._answer(site, outcome := self._interrupted(order, device))
                self._journal.note(outcome)
            for site, outcome in self._journal.unsent():
                self._answer(site, outcome)
        except JournalBroken as broken:  # orders are refused until it can be written again
            log.error("what was done before the start cannot be told in full: %s", broken)

    async def handle(self, order: Order, ack: Callable[[], Awaitable[None]]) -> None:
        """Carry one order out, or say why not; acknowledge it once the journal or the centre has
        it."""
        if order.id in self._active:  # the same one again, while it is being worked on
            await ack()
            return
        self._active[order.id] = order.device
        try:
            await self._decide(order, ack)
        except JournalBroken as broken:
            log.error("no order can be carried out, the journal is broken: %s", broken)
            self._answer(order.site, self._outcome(order, Step.REFUSED, reason="no_journal"))
            await ack()  # else it comes again, and what was refused is carried out after all
        finally:
            del self._active[order.id]

    async def _decide(self, order: Order, ack: Callable[[], Awaitable[None]]) -> None:
        if not self._journal:
            raise JournalBroken("it could not be opened")
        if self._journal.knows(order.id):  # told also while nothing can be written
            self._repeat(order, self._journal)
            await ack()
            return
        self._journal.forget(self._clock.now())
        if list(self._active.values()).count(order.device) > 1:
            self._say(order, Step.REFUSED, reason="busy")
        elif reason := self._refusal(order):
            self._say(order, Step.REFUSED, reason=reason)
        else:
            async with self._sites[order.site], self._locks[order.device]:
                # Time has passed in the queue: look at clock and calendar once more.
                if reason := self._refusal(order):
                    self._say(order, Step.REFUSED, reason=reason)
                else:
                    await self._carry_out(order, ack)
                    return
        await ack()

    def _refusal(self, order: Order) -> str:
        return refusal(order, self._roster(order.site), self._clock.now())

    def _repeat(self, order: Order, journal: Journal) -> None:
        answers = journal.answers(order.id)
        last = answers[-1].step if answers else Step.ACCEPTED
        if last in (Step.ACCEPTED, Step.ACTED):  # its end could not be written
            answers.append(self._interrupted(order.id, order.device))
        for outcome in answers:
            self._answer(order.site, outcome)

    async def _carry_out(self, order: Order, ack: Callable[[], Awaitable[None]]) -> None:
        assert self._journal
        accepted = self._outcome(order, Step.ACCEPTED, started_at=self._clock.now())
        self._journal.note(accepted, order)  # on disk before the device is touched
        self._answer(order.site, accepted)
        await ack()
        began, wake = self._clock.now(), None
        try:
            # Disk and bus may have taken their time.
            self._check(order)
            driver, target = self._partner(order)
            wake = await self._rouse(driver, target, order)
            if wake and wake.result != "woken":
                raise Refused(wake.result, "it does not answer")
            # Waking may have, too: from this last check on nothing is waited for.
            self._check(order)
            driver, target = self._partner(order)
            began = self._clock.now()
            limit = self._limit(order, began)
            runtime = timedelta(seconds=min(order.max_runtime_s, limit))
            with self._recaller.acting(order, driver, target):
                await bounded(driver.act(target, order, runtime), limit)
        except DriverError as error:
            self._fail(order, _step(error), error, began, wake=wake)
            return
        ended = self._clock.now()
        self._say(order, Step.ACTED, started_at=began, finished_at=ended, wake=wake)
        await self._clock.sleep(order.settle_s)
        await self._prove(driver, target, order, began, ended)

    def _check(self, order: Order) -> None:
        if reason := self._refusal(order):
            raise Refused(reason)

    def _partner(self, order: Order) -> tuple[Driver, Target]:
        """The device, as the roster has it now, and its driver."""
        roster = self._roster(order.site)
        assert roster  # refused otherwise
        target = next(one for one in roster.targets if one.device == order.device)
        driver = self._drivers.get(target.driver)
        if driver is None:
            raise Misconfigured(f"there is no driver '{target.driver}'")
        return driver, target

    def _limit(self, order: Order, now: datetime) -> float:
        """Seconds after which nobody waits for the act any more: never beyond the next course."""
        roster = self._roster(order.site)
        start = next_start(order, roster, now) if roster else None
        until_start = (start - now).total_seconds() if start else float("inf")
        return min(order.max_runtime_s + MARGIN_S, until_start)

    async def _rouse(self, driver: Driver, target: Target, order: Order) -> Wake | None:
        """Wake the device if it sleeps; None: it was awake, or is of a kind that never sleeps."""
        seen = self._seen(target.device)
        if target.kind not in BOOT_S or (seen and self._clock.now() - seen < AWAKE):
            return None

        async def complaint() -> DriverError | None:
            try:
                await bounded(driver.poll(target, KNOCK), KNOCK.total_seconds() + 1)
            except DriverError as error:
                return error
            return None

        return await self._waker.rouse(order.site, target, complaint, order.not_after)

    async def _prove(
        self, driver: Driver, target: Target, order: Order, began: datetime, ended: datetime
    ) -> None:
        for left in reversed(range(LOOKS)):
            at = self._clock.now()
            try:
                look = driver.look(target, order, LOOK_TIMEOUT)
                answer = await bounded(look, LOOK_TIMEOUT.total_seconds() + 1)
                facts = trusted(answer, target)
            except DriverError as error:
                if error.permanent or not left:
                    self._fail(order, Step.UNKNOWN, error, began, finished_at=ended)
                    return
                await self._clock.sleep(LOOK_AGAIN_S)
            else:
                self._say(
                    order, Step.LOOKED, at=at, facts=facts, started_at=began, finished_at=ended
                )
                return

    def _fail(
        self, order: Order, step: Step, error: DriverError, began: datetime, **fields: Any
    ) -> None:
        if isinstance(error, Bug):
            log.error("%s: a bug in a reset", order.device, exc_info=error.__cause__)
        self._say(
            order,
            step,
            reason=(error.reason if isinstance(error, Refused) else error.code)[:63],
            detail=str(error)[:500],
            broke_at=error.step[:64] if isinstance(error, Broken) else "",
            permanent=error.permanent,
            started_at=began,
            **fields,
        )

    def _say(self, order: Order, step: Step, **fields: Any) -> None:
        """Answer, and remember the answer; that it cannot be remembered must not silence it."""
        outcome = self._outcome(order, step, **fields)
        log.info("%s: order %s: %s %s", order.device, order.id, step, outcome.reason)
        try:
            if self._journal:
                self._journal.note(outcome, order)
        except JournalBroken as broken:
            log.error("the answer to order %s is not on disk: %s", order.id, broken)
        self._answer(order.site, outcome)

    def _outcome(self, order: Order, step: Step, **fields: Any) -> Outcome:
        fields = {"at": self._clock.now(), **fields}
        return Outcome(order=order.id, device=order.device, step=step, **fields)

    def _interrupted(self, order: str, device: str) -> Outcome:
        return Outcome(
            order=order,
            device=device,
            step=Step.UNKNOWN,
            at=self._clock.now(),
            reason="interrupted",
            detail="the agent stopped in the middle",
        )


def _step(error: DriverError) -> Step:
    """What a failed act means: untouched, failed, or nobody knows."""
    if isinstance(error, Refused):
        return Step.REFUSED
    if isinstance(error, WrongDevice):
        return Step.FAILED
    if isinstance(error, NoEnd | TimedOut | Garbled | Bug):
        return Step.UNKNOWN
    return Step.FAILED
