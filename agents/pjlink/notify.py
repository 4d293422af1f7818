"""News that projectors send by themselves: never believed, only a hint to look at once."""

import asyncio
import logging
import socket
from collections import defaultdict
from collections.abc import Callable, Sequence

from agents.clock import Clock
from agents.messages import Target
from agents.pjlink import protocol
from agents.pjlink.datagrams import Ear, is_news

log = logging.getLogger(__name__)

AGAIN_S = 60.0
"""A port that another program has is tried again so often, and names are looked up anew."""


class Notifications:
    """Listens while some projector of the rosters has `options: {notify: true}`.

    A datagram counts when its sender is the address of such a projector, whatever it claims of
    itself. `hint(site, device)` returns at once; how often a device is looked at is its business.
    """

    def __init__(
        self, hint: Callable[[str, str], None], clock: Clock, *, port: int = protocol.PORT
    ) -> None:
        self._hint = hint
        self._clock = clock
        self._port = port
        self._targets: dict[str, list[Target]] = {}
        self._by_sender: dict[str, set[tuple[str, str]]] = {}
        self._changed = asyncio.Event()
        self._refused = False
        self._ear: Ear | None = None

    def follow(self, site: str, targets: Sequence[Target]) -> None:
        self._targets[site] = [
            target
            for target in targets
            if target.driver == "pjlink" and target.options.get("notify") is True
        ]
        self._changed.set()

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            while True:
                self._changed.clear()
                self._by_sender = await self._addresses()
                if self._by_sender and self._ear is None:
                    self._ear = await self._listen()
                elif not self._by_sender:
                    self._leave()
                await self._wait()
        finally:
            self._leave()

    @property
    def listening(self) -> bool:
        return self._ear is not None

    def _leave(self) -> None:
        if self._ear:
            self._ear.leave(self._heard)
            self._ear = None

    async def _wait(self) -> None:
        """Until the rosters change, or a minute while there is something to listen for."""
        if not self._by_sender:
            await self._changed.wait()
            return
        changed = asyncio.ensure_future(self._changed.wait())
        pause = asyncio.ensure_future(self._clock.sleep(AGAIN_S))
        try:
            await asyncio.wait({changed, pause}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            pause.cancel()

    async def _listen(self) -> Ear | None:
        try:
            ear = await Ear.join(self._heard, self._port)
        except OSError as error:
            if not self._refused:
                log.warning("news of projectors are not heard: UDP %d: %s", self._port, error)
            self._refused = True
            return None
        self._refused = False
        return ear

    async def _addresses(self) -> dict[str, set[tuple[str, str]]]:
        """Sender → site and device; several devices may share an address."""
        found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        for site, targets in list(self._targets.items()):
            for target in targets:
                for address in await _resolved(target.address):
                    found[address].add((site, target.device))
        return dict(found)

    def _heard(self, sender: str, line: str) -> None:
        devices = self._by_sender.get(sender, ())
        if devices and is_news(line):
            for site, device in devices:
                self._hint(site, device)


async def _resolved(address: str) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address, None, family=socket.AF_INET, type=socket.SOCK_DGRAM
        )
    except (OSError, UnicodeError, ValueError):
        return []
    return [str(place[4][0]) for place in found]
