"""Fixtures: the pages over a seeded database. A plugin, so that only tests of pages load it."""

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from inventory.db import open_engine
from tests.sample import House, open_house


@pytest.fixture
def house(migrated_sqlite: Path, now: datetime, tmp_path: Path) -> Iterator[House]:
    shutil.copyfile(migrated_sqlite, tmp_path / "fleet.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'fleet.db'}")
    yield open_house(engine, now, tmp_path)
    engine.dispose()


@pytest.fixture
def anywhere(engine: Engine, now: datetime, tmp_path: Path) -> House:
    """The same over either database."""
    return open_house(engine, now, tmp_path)
