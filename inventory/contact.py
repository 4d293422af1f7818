"""Whom a site tells when a room will not be ready."""

from enum import StrEnum

from sqlmodel import Field, SQLModel

from inventory.columns import reference, word


class Audience(StrEnum):
    """Who is behind an address: a role, never a named person."""

    CARETAKER = "caretaker"
    DUTY = "duty"
    OFFICE = "office"
    IT = "it"


class Channel(StrEnum):
    """How somebody is reached."""

    MAIL = "mail"
    WEBHOOK = "webhook"
    LOG = "log"
    """Only written to the service's log, where other programs may read it."""


class Contact(SQLModel, table=True):
    """One address at which a site's people are told."""

    id: str = Field(primary_key=True, max_length=63)
    site_id: str = Field(sa_column=reference("site.id"))
    name: str = Field(max_length=200)
    audience: Audience = Field(sa_column=word(Audience))
    channel: Channel = Field(sa_column=word(Channel))
    address: str = Field(default="", max_length=2000)
    """An e-mail address or an http(s) address; empty for the log."""
    credential: str = Field(default="", max_length=63)
    """Name of the secret that a webhook is signed with."""
    quiet: str = Field(default="", max_length=11)
    """When nothing is sent, in local time, for example `18:00-07:00`, unless a course begins
    within the hour. Empty: never."""
