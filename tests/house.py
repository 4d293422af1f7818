"""The pages over a seeded database, and browsers of the people who look at them."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from inventory.db import open_engine
from tests.sample import Clock, Person, make_app, make_region


@dataclass
class House:
    """The pages over a seeded database."""

    app: FastAPI
    engine: Engine
    clock: Clock
    people: dict[str, Person]

    def browser(self, name: str = "", language: str = "de") -> TestClient:
        """A browser of this person, or of nobody."""
        cookies = self.people[name].cookies if name else None
        return TestClient(
            self.app,
            cookies=cookies,
            headers={"accept-language": language},
            follow_redirects=False,
            raise_server_exceptions=False,
        )


def open_house(engine: Engine, now: datetime, home: Path) -> House:
    clock = Clock(now)
    return House(make_app(engine, clock, home), engine, clock, make_region(engine, now))


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
