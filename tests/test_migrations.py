"""The tables come from migrations, and the migrations say what the models say."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine
from sqlmodel import SQLModel

import inventory  # noqa: F401


def test_the_migrated_tables_are_those_of_the_models(engine: Engine) -> None:
    with engine.connect() as opened:
        context = MigrationContext.configure(opened, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
