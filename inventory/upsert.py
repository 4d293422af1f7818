"""Writing many rows at once that may be there already, on both databases."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert
from sqlmodel import Session


def upsert(session: Session, table: Table, newer: str = "") -> Insert:
    """An INSERT that overwrites the row of the same primary key, on both databases.

    `newer`: name of a column; a row whose value there is not greater stays as it is.
    """
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    statement = postgresql.insert(table) if on_postgresql else sqlite.insert(table)
    keys = [column.name for column in table.primary_key]
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys},
        where=statement.excluded[newer] > table.c[newer] if newer else None,
    )
