"""Alembic's entry: runs the migrations on the engine that `inventory.db.migrate` hands over."""

from alembic import context
from sqlalchemy import Connection, Engine, text
from sqlmodel import SQLModel

import inventory  # noqa: F401  (fills the metadata)

MIGRATION_LOCK = 7_246_891_803
"""PostgreSQL advisory lock: several processes may start at once, one migrates."""


def run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=True,
        transaction_per_migration=False,
    )
    context.run_migrations()


engine: Engine = context.config.attributes["engine"]
with engine.begin() as opened:
    run(opened)
