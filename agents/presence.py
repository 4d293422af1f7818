"""Devices that sleep are still seen on the Wi-Fi: which access point has them, and since when.

Access points tell every station there is, guests' telephones too. Here only those are kept that
the roster names as devices of the same site; all others are forgotten at once, and nothing of
this is ever sent but the words about such a device.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.clock import Clock
from agents.messages import Target

BELIEVED_S = 600.0
"""So long a sight says that the device is still there."""


@dataclass(frozen=True)
class Sight:
    """`by`: the access point's device id."""

    by: str
    at: datetime
    monotonic: float


class Presence:
    """Who was seen where, of all sites of an agent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._devices: dict[str, dict[str, str]] = {}
        self._sights: dict[tuple[str, str], Sight] = {}

    def follow(self, site: str, targets: Sequence[Target]) -> None:
        """The devices of a site that may be recognised: those with a MAC address."""
        self._devices[site] = {
            target.mac.lower(): target.device for target in targets if target.mac
        }
        known = set(self._devices[site].values())
        for key in [key for key in self._sights if key[0] == site and key[1] not in known]:
            del self._sights[key]

    def heard(self, site: str, by: str, macs: Iterable[str]) -> None:
        """An access point has these stations."""
        devices = self._devices.get(site, {})
        sight = Sight(by, self._clock.now(), self._clock.monotonic())
        for mac in macs:
            if device := devices.get(mac):
                self._sights[site, device] = sight

    def of(self, site: str, device: str) -> Sight | None:
        """The last sight of a device, while it can be believed."""
        sight = self._sights.get((site, device))
        fresh = sight and self._clock.monotonic() - sight.monotonic <= BELIEVED_S
        return sight if fresh else None
