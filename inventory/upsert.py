"""Writing many rows at once that may be there already, on both databases."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert
from sqlmodel import Session, SQLModel


def table_of(model: type[SQLModel]) -> Table:
    """The table behind a model."""
    return SQLModel.metadata.tables[str(model.__tablename__)]


def insert(session: Session, model: type[SQLModel]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ON CONFLICT, in the words of this session's database."""
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    return (postgresql.insert if on_postgresql else sqlite.insert)(table_of(model))


def insert_missing(session: Session, model: type[SQLModel]) -> Insert:
    """An INSERT that leaves alone what any unique key says is there already."""
    return insert(session, model).on_conflict_do_nothing()


def upsert(session: Session, model: type[SQLModel], newer: str = "") -> Insert:
    """An INSERT that overwrites the row of the same primary key.

    `newer`: name of a column; a row whose value there is not greater stays as it is.
    """
    statement, table = insert(session, model), table_of(model)
    keys = [column.name for column in table.primary_key]
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys},
        where=statement.excluded[newer] > table.c[newer] if newer else None,
    )
