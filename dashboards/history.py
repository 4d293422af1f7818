"""How a device was over the last days: spans for a picture, shares for a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventory import Flip, Health

WIDTH = 1000
"""Units across the picture."""


@dataclass(frozen=True)
class Span:
    health: str
    x: float
    width: float


@dataclass(frozen=True)
class Strip:
    """`spans` lie side by side from 0 to WIDTH; `shares`: health → per cent, the largest first."""

    days: int
    start: datetime
    spans: list[Span]
    shares: list[tuple[str, int]]


def strip(flips: Sequence[Flip], current: str, now: datetime, days: int) -> Strip:
    """The last `days` up to `now`. `flips`: all since then, oldest first.

    Before the first flip the device was what that flip calls old; without flips it is `current`.
    """
    start = now - timedelta(days=days)
    inside = [flip for flip in flips if start < flip.at <= now]
    edges = [start, *(flip.at for flip in inside), now]
    states = [inside[0].old if inside else current, *(flip.new for flip in inside)]
    total = (now - start).total_seconds()
    spans: list[Span] = []
    share: dict[str, float] = {}
    for state, begin, end in zip(states, edges, edges[1:], strict=False):
        known = state if state in set(Health) else Health.UNKNOWN.value
        part = (end - begin).total_seconds() / total
        share[known] = share.get(known, 0.0) + part
        x = (begin - start).total_seconds() / total * WIDTH
        spans.append(Span(known, round(x, 2), round(part * WIDTH, 2)))
    shares = sorted(
        ((name, round(part * 100)) for name, part in share.items()), key=lambda s: -s[1]
    )
    return Strip(days, start, spans, shares)
