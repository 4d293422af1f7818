"""The three things an agent asks of time, handed in so that tests need not wait."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Clock:
    """`now` stamps and decides, `monotonic` schedules: a corrected wall clock shifts no poll."""

    now: Callable[[], datetime]
    """Aware, UTC."""
    monotonic: Callable[[], float]
    """Seconds since whenever."""
    sleep: Callable[[float], Awaitable[None]]
    """Seconds."""
