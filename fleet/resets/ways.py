"""The ways in which a recipe can reset a device, from the simplest to the most thorough; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from inventory import Recipe, Tier

ORDER = tuple(Tier)
COUNTDOWN_S = 60
"""So long whoever is signed in can still save what they did."""


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

    @property
    def sends_away(self) -> bool:
        """Whether it may begin although somebody is signed in."""
        return self.steps.get("on_active_session") in ("end", "countdown")


def ways(recipe: Recipe) -> tuple[Way, ...]:
    """What the recipe can do, the simplest first; without tiers `quick` alone."""
    named = recipe.tiers or {Tier.QUICK: {}}
    found = [_way(recipe, tier, named[tier]) for tier in ORDER if tier in named]
    return tuple(found) or (_way(recipe, Tier.QUICK, {}),)


def _way(recipe: Recipe, tier: Tier, told: Mapping[str, Any]) -> Way:
    boots = bool(told.get("boots", False))
    steps = {**recipe.steps, **told.get("steps", {})}
    steps.pop("countdown_s", None)
    if steps.get("on_active_session") == "countdown":
        del steps["on_active_session"]  # no recipe says so: only a person, of one device
    return Way(
        tier=tier,
        steps=steps,
        max_runtime_s=int(told.get("max_runtime_s", recipe.max_runtime_s)),
        settle_s=int(told.get("settle_s", recipe.settle_s)),
        noisy=boots or bool(told.get("noisy", False)),
        boots=boots,
        heavy=bool(told.get("heavy", False)),
        gap=timedelta(seconds=told.get("gap_s", 0)),
    )


def way_of(recipe: Recipe, tier: Tier, *, countdown: bool = False) -> Way:
    """The way of this tier, or the nearest simpler one that the recipe still has."""
    way = up_to(ways(recipe), tier)[-1]
    return counting_down(way) if countdown else way


def counting_down(way: Way) -> Way:
    """The same, after a countdown before whoever is signed in: it takes so much longer."""
    said = {"on_active_session": "countdown", "countdown_s": COUNTDOWN_S}
    return replace(way, steps={**way.steps, **said}, max_runtime_s=way.max_runtime_s + COUNTDOWN_S)


def up_to(found: tuple[Way, ...], limit: Tier | None) -> tuple[Way, ...]:
    """Those that are no more thorough than `limit`; never none."""
    if limit is None:
        return found
    return tuple(w for w in found if ORDER.index(w.tier) <= ORDER.index(limit)) or found[:1]


def simpler(recipe: Recipe, tier: Tier) -> Tier | None:
    """The next simpler tier, if there is one."""
    below = [way.tier for way in ways(recipe) if ORDER.index(way.tier) < ORDER.index(tier)]
    return below[-1] if below else None
