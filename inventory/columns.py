"""Column types every table shares: moments in UTC, closed word lists, JSON, slugs."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Enum, ForeignKey, Integer, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel

SQLModel.metadata.naming_convention = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
"""The same names on both databases, so that a later migration can name what it changes."""

SLUG = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
"""Names that stand in addresses, labels and metrics: lower case, digits, hyphens, 1 to 63 long."""


class Utc(TypeDecorator[datetime]):
    """A moment. Goes in aware, comes out aware in UTC; SQLite itself would drop the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment without a time zone cannot be stored: {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def moment(*, nullable: bool = True, index: bool = False) -> Column[Any]:
    """A column for one moment in UTC."""
    return Column(Utc, nullable=nullable, index=index)


def moment_key() -> Column[Any]:
    """A moment that is part of a primary key."""
    return Column(Utc, primary_key=True)


def word_key(words: type[StrEnum]) -> Column[Any]:
    """A word that is part of a primary key."""
    column = word(words)
    column.primary_key = True
    return column


def word(
    words: type[StrEnum], *, nullable: bool = False, index: bool = False, name: str = ""
) -> Column[Any]:
    """A column that holds one word of a closed list, held by a CHECK on both databases.

    `name`: of the check, where a table has two such columns.
    """
    kind = Enum(
        words,
        native_enum=False,
        create_constraint=True,
        length=32,
        name=name or words.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )
    return Column(kind, nullable=nullable, index=index)


def json_column() -> Column[Any]:
    """A column for a JSON object or list, never NULL (JSONB on PostgreSQL)."""
    return Column(JSON().with_variant(JSONB(), "postgresql"), nullable=False)


def reference(
    target: str, *, nullable: bool = False, index: bool = True, keep: bool = False
) -> Column[Any]:
    """A foreign key to a text key; what it points to takes these rows along when it is deleted.

    `keep`: it cannot be deleted as long as these rows point to it.
    """
    key = ForeignKey(target, ondelete="RESTRICT" if keep else "CASCADE")
    return Column(String(63), key, nullable=nullable, index=index)


def sibling(target: str) -> Column[Any]:
    """A foreign key to another row of the same table, looked at only at the end of a transaction,
    so that rows may be put in in any order; empty once the other row is gone."""
    key = ForeignKey(target, ondelete="SET NULL", deferrable=True, initially="DEFERRED")
    return Column(String(63), key, nullable=True, index=True)


def row_number() -> Column[Any]:
    """A counting primary key (SQLite counts only in INTEGER columns)."""
    return Column(Integer, primary_key=True, autoincrement=True)
