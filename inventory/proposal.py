"""What a search of a site's networks found, and what was decided about it."""

import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import Field, SQLModel

from inventory.columns import json_column, moment, reference, row_number, word


class SearchState(StrEnum):
    ASKED = "asked"
    ORDERED = "ordered"
    DONE = "done"
    FAILED = "failed"
    """It ended early, or no end was heard; `problem` says why."""


OPEN_SEARCHES = frozenset({SearchState.ASKED, SearchState.ORDERED})


class Search(SQLModel, table=True):
    """One search of all networks of a site."""

    id: str = Field(default_factory=lambda: secrets.token_hex(8), primary_key=True, max_length=40)
    site_id: str = Field(sa_column=reference("site.id"))
    state: SearchState = Field(default=SearchState.ASKED, sa_column=word(SearchState, index=True))
    asked_at: datetime = Field(sa_column=moment(nullable=False, index=True))
    asked_by: str = Field(max_length=200)
    """An account, `shell:…`, or `night`."""
    not_after: datetime = Field(sa_column=moment(nullable=False))
    """The latest start, then the latest end: whatever is open longer has failed."""
    ended_at: datetime | None = Field(default=None, sa_column=moment())
    problem: str = Field(default="", max_length=32)
    asked: int = Field(default=0, ge=0)
    """Addresses that were looked at."""
    found: int = Field(default=0, ge=0)
    """Hosts that answered."""


class Sort(StrEnum):
    """What a find means for the inventory."""

    NEW = "new"
    MOVED = "moved"
    """A known device at another address; nothing proved that it is the same one."""
    DOUBLE = "double"
    """Has the serial number or MAC address of a device that answers at its own address."""
    RETIRED = "retired"
    """A device that was taken out of service is back."""
    ELSEWHERE = "elsewhere"
    """A device that belongs to another site."""


class ProposalState(StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    IGNORED = "ignored"
    FOLLOWED = "followed"
    """The device proved who it is, so its new address was written down at once."""
    SETTLED = "settled"
    """It was seen again as the inventory has it."""


class Proposal(SQLModel, table=True):
    """One host that does not fit the inventory, once per site, however often it is seen."""

    id: int | None = Field(default=None, sa_column=row_number())
    site_id: str = Field(sa_column=reference("site.id"))
    sort: Sort = Field(sa_column=word(Sort))
    state: ProposalState = Field(
        default=ProposalState.OPEN, sa_column=word(ProposalState, index=True)
    )
    device_id: str | None = Field(default=None, sa_column=reference("device.id", nullable=True))
    """The known device that it is, or may be."""
    address: str = Field(max_length=15)
    old_address: str = Field(default="", max_length=253)
    """FOLLOWED, and MOVED that was accepted: where the device was before."""
    mac: str = Field(default="", max_length=17)
    serial: str = Field(default="", max_length=100)
    name: str = Field(default="", max_length=200)
    vendor: str = Field(default="", max_length=200)
    model: str = Field(default="", max_length=200)
    kind: str = Field(default="", max_length=32)
    """The likely kind; empty: no idea."""
    driver: str = Field(default="", max_length=32)
    port: int | None = Field(default=None, ge=1, le=65535)
    ways: list[Any] = Field(default_factory=list, sa_column=json_column())
    """How it answered: snmp, pjlink, ssh, kiosk, freekiosk, printer."""
    first_seen: datetime = Field(sa_column=moment(nullable=False))
    last_seen: datetime = Field(sa_column=moment(nullable=False, index=True))
    decided_at: datetime | None = Field(default=None, sa_column=moment())
    decided_by: str = Field(default="", max_length=200)
