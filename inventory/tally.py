"""What counters have counted, so that deleting old rows never makes a counter go backwards."""

from collections.abc import Mapping

from sqlmodel import Field, Session, SQLModel, col

from inventory.upsert import insert

Key = tuple[str, ...]
"""A counter's name, then its labels' values."""

WAKES = "wakes"
"""Labels: site, method, result."""


class Tally(SQLModel, table=True):
    """One sum of one counter, over all rows up to a moment that is kept here as well."""

    counter: str = Field(primary_key=True, max_length=63)
    labels: str = Field(default="", primary_key=True, max_length=300)
    """The labels' values, joined by a line feed."""
    value: float = Field(default=0)


def add(session: Session, counts: Mapping[Key, float]) -> None:
    """Count so many more of each, in the caller's transaction."""
    # Always in the same order, so that two processes cannot block each other for ever.
    rows = [
        {"counter": key[0], "labels": "\n".join(key[1:]), "value": value}
        for key, value in sorted(counts.items())
    ]
    if rows:
        more = insert(session, Tally)
        more = more.on_conflict_do_update(
            index_elements=["counter", "labels"],
            set_={"value": col(Tally.value) + more.excluded["value"]},
        )
        session.execute(more, rows)
