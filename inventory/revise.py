"""Writes the next migration from what the models say now: `python -m inventory.revise "what"`."""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config

from inventory.db import MIGRATIONS, open_engine


def revise(what: str, folder: Path = MIGRATIONS) -> Path:
    """Compare the models with a database made by the migrations in `folder`, and write the
    difference there as a new migration. It is a draft: read it, and move data by hand."""
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(slug)s")
    number = len(list((folder / "versions").glob("*.py"))) + 1
    with tempfile.TemporaryDirectory() as scratch:
        engine = open_engine(f"sqlite:///{scratch}/fleet.db")
        config.attributes["engine"] = engine
        command.upgrade(config, "head")
        script = command.revision(config, what, autogenerate=True, rev_id=f"{number:04}")
        engine.dispose()
    if script is None or isinstance(script, list):
        raise RuntimeError("no single migration was written")
    return Path(script.path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit('usage: python -m inventory.revise "what changes"')
    sys.stdout.write(f"{revise(sys.argv[1])}\n")
