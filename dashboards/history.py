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
    """`spans` lie side by side from `seen_x` to WIDTH; `shares`: health → per cent of the time
    since then, the largest first. Both are empty for a device that was never heard of."""

    days: int
    start: datetime
    seen_x: float
    """Before this the device had not been heard of yet: that is not "unknown"."""
    spans: list[Span]
    shares: list[tuple[str, int]]


def strip(
    flips: Sequence[Flip], current: str, now: datetime, days: int, first: datetime | None
) -> Strip:
    """The last `days` up to `now`. `flips`: all since then, oldest first; `first`: when the device
    was first heard of, None: never.

    Before the first flip the device was what that flip calls old; without flips it is `current`.
    """
    start = now - timedelta(days=days)
    total = now - start
    seen = max(start, min(first, now)) if first else now
    inside = [flip for flip in flips if seen < flip.at <= now]
    earlier = [flip for flip in flips if flip.at <= seen]
    before = earlier[-1].new if earlier else inside[0].old if inside else current
    edges = [seen, *(flip.at for flip in inside), now]
    states = [before, *(flip.new for flip in inside)]
    spans: list[Span] = []
    length: dict[str, timedelta] = {}
    for state, begin, end in zip(states, edges, edges[1:], strict=False):
        if begin == end:
            continue
        known = state if state in set(Health) else Health.UNKNOWN.value
        length[known] = length.get(known, timedelta()) + (end - begin)
        x, width = (begin - start) / total * WIDTH, (end - begin) / total * WIDTH
        spans.append(Span(known, round(x, 2), round(width, 2)))
    shares = sorted(
        ((name, round(part / (now - seen) * 100)) for name, part in length.items()),
        key=lambda share: -share[1],
    )
    return Strip(days, start, round((seen - start) / total * WIDTH, 2), spans, shares)
