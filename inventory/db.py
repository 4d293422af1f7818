"""Opens the database: SQLite beside the service, or PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, make_url
from sqlmodel import Session

MIGRATIONS = Path(__file__).parent / "migrations"


def open_engine(url: str) -> Engine:
    """An engine for `sqlite:///…` or `postgresql+psycopg://…`.

    SQLite: write-ahead log, five seconds of patience, and BEGIN IMMEDIATE, so that two writers
    wait for each other instead of failing with "database is locked".
    """
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=30)
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url, connect_args={"check_same_thread": False}, pool_size=10, max_overflow=30
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA busy_timeout=5000")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        # Readers stay deferred: in WAL they never wait for the writer.
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def session(engine: Engine) -> Iterator[Session]:
    """One short transaction that may write: committed at the end, rolled back on an error."""
    with Session(engine, expire_on_commit=False) as opened, opened.begin():
        yield opened


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One short transaction that only reads, and so never waits for a writer."""
    with (
        engine.connect().execution_options(read_only=True) as connection,
        Session(connection, expire_on_commit=False) as opened,
    ):
        yield opened


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest revision; safe at every start, by several processes."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    command.upgrade(config, "head")
