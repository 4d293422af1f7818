"""Where devices stand: sites and their rooms."""

from typing import Any

from sqlmodel import Field, SQLModel

from inventory.columns import json_column, reference


class Site(SQLModel, table=True):
    """One location of a municipality; one agent looks after its devices."""

    id: str = Field(primary_key=True, max_length=63)
    name: str = Field(max_length=200)
    municipality: str = Field(max_length=200, index=True)
    """Who owns it. IT staff of one municipality see only their own sites."""
    phone: str = Field(default="", max_length=50)
    """Whom a caretaker can call when the form does not work."""
    thresholds: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """Kind of device → name of a threshold of `fleet.health.rules` → the limit at this site."""
    plan_rev: int = Field(default=0)
    """Grows when something that was planned here changed. An order carries it, and an agent that
    knows a newer one refuses the order."""


class Room(SQLModel, table=True):
    """A learning room: the thing that is ready, or not."""

    id: str = Field(primary_key=True, max_length=63)
    site_id: str = Field(sa_column=reference("site.id"))
    name: str = Field(max_length=200)
    required: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """Device kind → how many a course needs: a number, or `{"wanted": 10, "least": 8}`. A kind
    not named here: all active ones that stand in the room and are no spares."""
    quiet: str = Field(default="", max_length=11)
    """When nothing may be heard, in local time, for example `20:00-07:00`: no projector starts and
    no computer boots. Empty: never."""
