"""The ways in which a recipe can reset a device, from the simplest to the most thorough; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from inventory import Recipe, Tier

ORDER = tuple(Tier)


@dataclass(frozen=True)
class Way:
    """One tier of one recipe, with its times."""

    tier: Tier
    steps: Mapping[str, Any]
    max_runtime_s: int
    settle_s: int
    noisy: bool = False
    """One hears it: a fan, a start sound, a lamp."""
    boots: bool = False
    """The device starts up again: only so many at once hang on one socket and one access point."""
    heavy: bool = False
    """It loads much through the site's line."""
    gap: timedelta = timedelta(0)
    """Only where the room stands empty for at least so long."""

    @property
    def length(self) -> timedelta:
        """How long it keeps a device from people at most: its own watchdog, and the pause in which
        the device comes back."""
        return timedelta(seconds=self.max_runtime_s + self.settle_s)


def ways(recipe: Recipe) -> tuple[Way, ...]:
    """What the recipe can do, the simplest first; without tiers `quick` alone."""
    named = recipe.tiers or {Tier.QUICK: {}}
    found = [_way(recipe, tier, named[tier]) for tier in ORDER if tier in named]
    return tuple(found) or (_way(recipe, Tier.QUICK, {}),)


def _way(recipe: Recipe, tier: Tier, told: Mapping[str, Any]) -> Way:
    boots = bool(told.get("boots", False))
    return Way(
        tier=tier,
        steps={**recipe.steps, **told.get("steps", {})},
        max_runtime_s=int(told.get("max_runtime_s", recipe.max_runtime_s)),
        settle_s=int(told.get("settle_s", recipe.settle_s)),
        noisy=boots or bool(told.get("noisy", False)),
        boots=boots,
        heavy=bool(told.get("heavy", False)),
        gap=timedelta(seconds=told.get("gap_s", 0)),
    )


def way_of(recipe: Recipe, tier: Tier) -> Way:
    """The way of this tier, or the nearest simpler one that the recipe still has."""
    return up_to(ways(recipe), tier)[-1]


def up_to(found: tuple[Way, ...], limit: Tier | None) -> tuple[Way, ...]:
    """Those that are no more thorough than `limit`; never none."""
    if limit is None:
        return found
    return tuple(w for w in found if ORDER.index(w.tier) <= ORDER.index(limit)) or found[:1]


def simpler(recipe: Recipe, tier: Tier) -> Tier | None:
    """The next simpler tier, if there is one."""
    below = [way.tier for way in ways(recipe) if ORDER.index(way.tier) < ORDER.index(tier)]
    return below[-1] if below else None
