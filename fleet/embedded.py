"""The agents that live inside the service when there is no other bus: one for each site."""

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path

from agents.agent import Agent
from agents.bus import Bus
from agents.credentials import Credentials

log = logging.getLogger(__name__)


class EmbeddedAgents:
    """Keeps one agent running for each site of the inventory."""

    def __init__(self, bus: Bus, credentials: Path | None, state: Path) -> None:
        self._bus = bus
        self._credentials = Credentials(credentials)
        self._state = state
        self._running: dict[str, asyncio.Task[None]] = {}

    async def keep(self, sites: Collection[str]) -> None:
        """Start agents for new sites, end those of sites that are gone, and start one again that
        died of a bug of ours (its traceback is in the log)."""
        for site, task in list(self._running.items()):
            if task.done():
                error = None if task.cancelled() else task.exception()
                log.error("the agent of %s ended and is started again", site, exc_info=error)
                del self._running[site]
            elif site not in sites:
                await self._end(site)
        for site in set(sites) - set(self._running):
            agent = Agent([site], self._bus, self._credentials, self._state / site)
            self._running[site] = asyncio.create_task(agent.run(), name=f"agent {site}")

    async def stop(self) -> None:
        for site in list(self._running):
            await self._end(site)

    async def _end(self, site: str) -> None:
        task = self._running.pop(site)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
