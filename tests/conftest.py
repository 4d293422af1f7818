"""What every test may ask for: a moment, and a migrated database of either kind."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import Engine, text

from inventory.db import migrate, open_engine
from tests.parts import need

NUMBERS = count()

hypothesis.settings.register_profile(
    "raumwart", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("raumwart")  # a busy machine is no failure


@pytest.fixture
def anyio_backend() -> str:
    """Tests marked `anyio` run on asyncio."""
    return "asyncio"


@pytest.fixture
def now() -> datetime:
    """A Monday morning, nine o'clock in Berlin."""
    return datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class Postgres:
    """A PostgreSQL server of its own, reached by a Unix socket only."""

    def __init__(self) -> None:
        self._programs = need("initdb").parent
        self._folder = Path(tempfile.mkdtemp(prefix="raumwart-pg-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as_user = ["runuser", "-u", "postgres", "--"]
        self._data = str(self._folder / "data")
        self._run("initdb", "--no-sync", "-A", "trust", "-U", "raumwart", "-E", "UTF8")
        # What would be lost in a power cut is of no worth here.
        options = f"-k {self._folder} -c listen_addresses= -c fsync=off -c full_page_writes=off"
        self._run("pg_ctl", "start", "-w", "-s", "-l", str(self._folder / "log"), "-o", options)
        self._maintenance = open_engine(self.url("postgres"))

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._as_user, str(self._programs / program), "-D", self._data, *arguments],
            check=True,
            cwd="/",
            timeout=60,
            stdout=subprocess.DEVNULL,
        )

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://raumwart@/{database}?host={self._folder}"

    def create(self, database: str, template: str = "template0") -> str:
        """Make a database and return its URL."""
        with self._maintenance.connect().execution_options(isolation_level="AUTOCOMMIT") as opened:
            opened.execute(text(f'CREATE DATABASE "{database}" TEMPLATE "{template}"'))
        return self.url(database)

    def drop(self, database: str) -> None:
        with self._maintenance.connect().execution_options(isolation_level="AUTOCOMMIT") as opened:
            opened.execute(text(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)'))

    def stop(self) -> None:
        self._maintenance.dispose()
        self._run("pg_ctl", "stop", "-m", "immediate", "-s")
        shutil.rmtree(self._folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server per test process, started when first asked for."""
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Postgres) -> str:
    """The name of a migrated database that others are copied from."""
    engine = open_engine(postgres.create("migrated"))
    migrate(engine)
    engine.dispose()
    return "migrated"


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file that others are copied from."""
    path = tmp_path_factory.mktemp("migrated") / "fleet.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'fleet.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"empty{next(NUMBERS)}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A fresh migrated database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "fleet.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), path)
        opened = open_engine(f"sqlite:///{path}")
        yield opened
        opened.dispose()
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"test{next(NUMBERS)}"
    opened = open_engine(server.create(name, request.getfixturevalue("migrated_postgres")))
    yield opened
    opened.dispose()
    server.drop(name)
