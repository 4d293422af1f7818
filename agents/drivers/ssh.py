"""Laptops over SSH: one forced command that knows a few verbs and answers in JSON."""

import asyncio
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from agents.credentials import CredentialProblem, Credentials, Secret
from agents.driver import DriverError, Misconfigured, MissingCredential, NoEnd
from agents.messages import Facts, Order, Target
from agents.ssh import answers
from agents.ssh.host_keys import HostKeys
from agents.ssh.progress import Progress
from agents.ssh.session import Session

Result = TypeVar("Result")

THREADS = 1024
"""More than can be under way, so that none waits its time away: a reset keeps one to its end, and
every site of an agent may have thirty. They are made when needed."""
PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
"""Between two attempts to hear on."""
MARGIN_S = 0.1
"""Our own deadline comes this much before the caller's, so that the reason is ours to tell."""
ORDER_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,31}\.[0-9]{1,4}")
STEPS = {"tier", "profile", "on_active_session", "countdown_s", "canary", "wake_at"}


class Ssh:
    """Looks at laptops and resets them. A new connection for each call.

    Credentials: `{"user", "key_file"}`, `{"user", "key"}` (PEM) or `{"user", "password"}`.
    Host keys are pinned at the first meeting in `<state>/host_keys`.
    """

    def __init__(self, credentials: Credentials, state: Path) -> None:
        self.host_keys = HostKeys(state / "host_keys")
        self._credentials = credentials
        self._threads = ThreadPoolExecutor(THREADS, "ssh")
        self._sessions: set[Session] = set()

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        return await self._converse(
            target, timeout, lambda session: answers.health_facts(session.ask("health"), target)
        )

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        """Send the order and wait for its end. Empty steps: nothing is to be done.

        The laptop works on its own; a lost connection is made anew, until the time is over.
        """
        if order.steps:
            await self._see_through(target, order, timeout)

    async def warn(self, target: Target, minutes: int, timeout: timedelta) -> None:
        await self._converse(target, timeout, lambda session: session.ask(f"warn {minutes}"))

    async def recall(self, target: Target, order: Order, timeout: timedelta) -> bool:
        verb = f"abort {_order_id(order)}"
        answer = await self._converse(target, timeout, lambda session: session.ask(verb))
        return answer.get("aborted") is True

    async def _see_through(self, target: Target, order: Order, timeout: timedelta) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + timeout.total_seconds()
        progress, pause = Progress(_order_id(order)), PAUSE_S
        _job(target, order)  # a wrong one is told before anybody is asked
        said = ""

        def talk(session: Session) -> None:
            if progress.begun and not progress.lost:
                session.follow(progress)
            else:
                progress.lost = False
                session.reset(progress, _job(target, order))

        while True:
            try:
                await self._converse(target, timedelta(seconds=until - clock()), talk)
                return
            except DriverError as error:
                # A laptop that starts anew says many things before it can be asked again.
                if not progress.begun or progress.ended:
                    raise
                said = said or str(error)
                if clock() + pause >= until:
                    raise NoEnd(said) from None
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        """What the laptop finds when it checks itself anew; without steps, its health."""
        if not order.steps:
            return await self.poll(target, timeout)
        verb = f"verify {_order_id(order)}"
        return await self._converse(
            target, timeout, lambda session: answers.verified_facts(session.ask(verb), target)
        )

    async def close(self) -> None:
        for session in list(self._sessions):
            session.abort()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _converse(
        self, target: Target, timeout: timedelta, what: Callable[[Session], Result]
    ) -> Result:
        session = Session(target, self._secret(target), self.host_keys)
        seconds = max(timeout.total_seconds() - MARGIN_S, 0.05)
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, session.hold, what, seconds
        )
        self._sessions.add(session)
        try:
            done, _ = await asyncio.wait({work}, timeout=seconds)
            if not done:
                raise session.too_late()
            return work.result()
        finally:
            session.abort()
            work.cancel()
            # Nobody waits for it any more, but its end must not be reported as unheard.
            work.add_done_callback(lambda late: late.cancelled() or late.exception())
            self._sessions.discard(session)

    def _secret(self, target: Target) -> Secret:
        try:
            secret = self._credentials.find(target.credential)
            secret["user"]
        except CredentialProblem as problem:
            raise MissingCredential(str(problem)) from None
        return secret


def _order_id(order: Order) -> str:
    if not ORDER_ID.fullmatch(order.id):
        raise Misconfigured("the order's id has a form that laptops refuse")
    return order.id


def _job(target: Target, order: Order) -> bytes:
    """The order as the laptop's scripts read it."""
    unknown = set(order.steps) - STEPS
    if unknown:
        raise Misconfigured(f"steps that laptops do not know: {', '.join(sorted(unknown))}")
    job = {
        "v": 1,
        "reset_id": _order_id(order),
        "device": order.device,
        "serial": target.serial,
        **order.steps,
        "sent_at": datetime.now(UTC).isoformat(),
        "not_before": order.not_before.isoformat(),
        "not_after": order.not_after.isoformat(),
        "next_start": order.next_start.isoformat() if order.next_start else None,
        "max_runtime_s": order.max_runtime_s,
    }
    return json.dumps(job).encode() + b"\n"
