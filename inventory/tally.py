"""What counters have counted, so that deleting old rows never makes a counter go backwards."""

from sqlmodel import Field, SQLModel


class Tally(SQLModel, table=True):
    """One sum of one counter, over all rows up to a moment that is kept here as well."""

    counter: str = Field(primary_key=True, max_length=63)
    labels: str = Field(default="", primary_key=True, max_length=300)
    """The labels' values, joined by a line feed."""
    value: float = Field(default=0)
