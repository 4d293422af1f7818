"""Who may sign in, and who has."""

from datetime import datetime
from enum import StrEnum

from sqlmodel import Field, SQLModel

from inventory.columns import moment, reference, row_number, word


class Role(StrEnum):
    REGION_ADMIN = "region_admin"
    MUNICIPAL_IT = "municipal_it"
    CARETAKER = "caretaker"
    VIEWER = "viewer"


class Account(SQLModel, table=True):
    """Somebody who can sign in."""

    id: int | None = Field(default=None, sa_column=row_number())
    name: str = Field(unique=True, max_length=100)
    role: Role = Field(sa_column=word(Role))
    municipality: str | None = Field(default=None, max_length=200)
    """None: the whole region; else only the sites of this municipality."""
    password_hash: str = Field(default="", max_length=200)
    """argon2id; empty: can only come in by a one-time link."""
    active: bool = Field(default=True)
    created_at: datetime = Field(sa_column=moment(nullable=False))


class SignIn(SQLModel, table=True):
    """A session of a browser. The cookie's secret is kept only as a hash."""

    __tablename__ = "sign_in"

    token_hash: str = Field(primary_key=True, max_length=64)
    account_id: int = Field(foreign_key="account.id", ondelete="CASCADE", index=True)
    csrf: str = Field(max_length=64)
    started_at: datetime = Field(sa_column=moment(nullable=False))
    expires_at: datetime = Field(sa_column=moment(nullable=False, index=True))


class OneTimeLink(SQLModel, table=True):
    """A link that signs in once: the first start's admin, a new account, the demo."""

    __tablename__ = "one_time_link"

    token_hash: str = Field(primary_key=True, max_length=64)
    account_id: int = Field(foreign_key="account.id", ondelete="CASCADE", index=True)
    expires_at: datetime = Field(sa_column=moment(nullable=False))
    used_at: datetime | None = Field(default=None, sa_column=moment())


class CalendarLink(SQLModel, table=True):
    """An address under which a calendar program reads courses, and can do nothing else.

    Programs of that kind can send no header, so the secret stands in the address: one for each
    subscription, for one room, site or all that the account may see, kept only as a hash.
    """

    __tablename__ = "calendar_link"

    token_hash: str = Field(primary_key=True, max_length=64)
    account_id: int = Field(foreign_key="account.id", ondelete="CASCADE", index=True)
    site_id: str | None = Field(default=None, sa_column=reference("site.id", nullable=True))
    room_id: str | None = Field(default=None, sa_column=reference("room.id", nullable=True))
    created_at: datetime = Field(sa_column=moment(nullable=False))
    used_at: datetime | None = Field(default=None, sa_column=moment())
