"""Alembic's entry: runs the migrations on the engine that `inventory.db.migrate` hands over."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import JSON, Connection, Engine, String, text
from sqlmodel import SQLModel

import inventory  # noqa: F401  (fills the metadata)
from inventory.columns import Utc

MIGRATION_LOCK = 7_246_891_803
"""PostgreSQL advisory lock: several processes may start at once, one migrates."""


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our own types as plain SQLAlchemy, so that an old migration never needs our models."""
    if kind == "type" and isinstance(item, Utc):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and type(item).__name__ == "AutoString":
        return f"sa.{String(item.length)!r}"
    if kind == "type" and isinstance(item, JSON):
        autogen.imports.add("from sqlalchemy.dialects.postgresql import JSONB")
        return 'sa.JSON().with_variant(JSONB(), "postgresql")'
    return False


def run(connection: Connection) -> None:
    """Migrate inside one transaction that only one process at a time can hold."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=True,
        render_item=render_item,
        transaction_per_migration=False,
    )
    context.run_migrations()


def run_sqlite(connection: Connection) -> None:
    """Like `run`, with foreign keys off: a batch migration drops the old table, and with them on
    every row that points to it would be deleted along. Whether all still fit is checked after."""
    raw: Any = connection.connection.dbapi_connection
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        with connection.begin():
            run(connection)
            broken = connection.execute(text("PRAGMA foreign_key_check")).all()
            if broken:
                raise RuntimeError(f"the migration left {len(broken)} rows that point nowhere")
    finally:
        raw.execute("PRAGMA foreign_keys=ON")


engine: Engine = context.config.attributes["engine"]
with engine.connect() as opened:
    if opened.dialect.name == "sqlite":
        run_sqlite(opened)
    else:
        with opened.begin():
            run(opened)
