"""How many resets began lately, everywhere: each attempt counts, and none that touched nothing.

Kept beside the runs, one counter for each second in which orders were made: a run remembers its
last order only, so its row would hide that it began twice.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, update
from sqlmodel import Session, col, select

from inventory import Tally
from inventory.tally import add

STORM = timedelta(minutes=5)
STARTS = "starts"
"""The counter in `tally`: the second in which they began."""


def begun(session: Session, now: datetime) -> int:
    """How many the plan has begun within STORM."""
    lately = select(func.sum(Tally.value)).where(
        Tally.counter == STARTS, col(Tally.labels) > _second(now - STORM)
    )
    return int(session.exec(lately).one() or 0)


def count(session: Session, now: datetime, number: int) -> None:
    """So many begin now. What is older than STORM is forgotten."""
    if number:
        session.execute(
            delete(Tally).where(
                col(Tally.counter) == STARTS, col(Tally.labels) <= _second(now - STORM)
            )
        )
        add(session, {(STARTS, _second(now)): number})


def take_back(session: Session, at: datetime, number: int = 1) -> None:
    """So many of those that were ordered then never began: the device was away, asleep or
    refused, or the order did not leave. Somebody else may have their place."""
    session.execute(
        update(Tally)
        .where(col(Tally.counter) == STARTS, col(Tally.labels) == _second(at))
        .values(value=col(Tally.value) - number)
        .execution_options(synchronize_session=False)
    )


def _second(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}"
