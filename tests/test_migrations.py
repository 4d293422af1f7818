"""The tables come from migrations, and the migrations say what the models say."""

import re
import shutil
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlmodel import SQLModel

import inventory  # noqa: F401
from inventory.db import MIGRATIONS, migrate, open_engine
from inventory.revise import revise


def constraints(engine: Engine) -> dict[str, Any]:
    """What autogenerate does not compare: the names and texts of all checks and keys."""
    looked = inspect(engine)
    return {
        table: (
            sorted((c["name"] or "", c["sqltext"]) for c in looked.get_check_constraints(table)),
            sorted(
                (k["name"] or "", k["referred_table"], k["options"].get("ondelete"))
                for k in looked.get_foreign_keys(table)
            ),
            sorted(u["name"] or "" for u in looked.get_unique_constraints(table)),
            looked.get_pk_constraint(table)["name"],
        )
        for table in looked.get_table_names()
        if table != "alembic_version"
    }


def test_the_migrated_tables_are_those_of_the_models(engine: Engine) -> None:
    with engine.connect() as opened:
        context = MigrationContext.configure(opened, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_the_migrated_constraints_are_those_of_the_models(engine: Engine) -> None:
    migrated = constraints(engine)
    SQLModel.metadata.drop_all(engine)
    SQLModel.metadata.create_all(engine)
    assert migrated == constraints(engine)
    assert "ck_course_ends_after_start" in str(migrated["course"])


def test_down_and_up_again(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    command.downgrade(config, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(engine)
    assert inspect(engine).has_table("device")


def test_a_migration_on_sqlite_leaves_foreign_keys_on(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a folder with 100%' / 'fleet.db'}")
    migrate(engine)
    for _ in range(2):
        with engine.connect() as opened:
            assert opened.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
    engine.dispose()


def test_an_old_migration_does_not_need_the_models() -> None:
    for path in (MIGRATIONS / "versions").glob("*.py"):
        written = path.read_text()
        assert "inventory" not in written
        assert "sqlmodel" not in written


def test_the_next_migration_is_written_in_plain_types(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MIGRATIONS, tmp_path / "100%"))
    unchanged = revise("Nothing new", folder)
    assert re.fullmatch(r"\d{4}_\d\d_\d\d_nothing_new\.py", unchanged.name)
    assert " op." not in unchanged.read_text()

    unchanged.unlink()
    for migration in (folder / "versions").glob("*.py"):
        migration.unlink()
    text = revise("All of it", folder).read_text()
    assert "sa.DateTime(timezone=True)" in text
    assert "sa.JSON().with_variant(JSONB()" in text
    assert "AutoString" not in text
    assert "inventory" not in text
    engine = open_engine(f"sqlite:///{tmp_path / 'fleet.db'}")
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["engine"] = engine
    command.upgrade(config, "head")
    assert inspect(engine).has_table("reset_run")
    engine.dispose()
