"""Opens the database: SQLite beside the service, or PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlmodel import Session

MIGRATIONS = Path(__file__).parent / "migrations"

POOL = {"pool_size": 10, "max_overflow": 50}
"""More connections than threads ever ask at once: 40 of the web server, and the jobs and intake."""

SQLITE_PATIENCE_S = 15
"""How long a writer waits for the other writers before it fails with "database is locked"."""


def open_engine(url: str) -> Engine:
    """An engine for `sqlite:///…` or `postgresql://…`. Raises ValueError for any other address."""
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed)
    if parsed.drivername == "postgresql+psycopg":
        return create_engine(parsed, pool_pre_ping=True, **POOL)
    raise ValueError(f"the database is sqlite:///… or postgresql://…, not {parsed.drivername}:")


def _open_sqlite(url: URL) -> Engine:
    """Write-ahead log, so that readers and the writer never wait for each other, and BEGIN
    IMMEDIATE, so that two writers queue instead of failing half-way."""
    if not url.database or url.database == ":memory:":
        raise ValueError("the database needs a file: threads cannot share one in memory")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url, connect_args={"check_same_thread": False, "timeout": SQLITE_PATIENCE_S}, **POOL
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN, not Python's driver
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql(f"PRAGMA query_only={int(read_only)}")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def session(engine: Engine) -> Iterator[Session]:
    """One short transaction that may write: committed at the end, rolled back on an error."""
    with Session(engine, expire_on_commit=False) as opened, opened.begin():
        yield opened


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One short transaction that sees one moment of the database and never waits for a writer.

    Writing in it is an error on both databases.
    """
    options: dict[str, Any] = {"read_only": True}
    if engine.dialect.name == "postgresql":
        options = {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
    with (
        engine.connect().execution_options(**options) as connection,
        Session(connection, expire_on_commit=False) as opened,
    ):
        yield opened


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest revision; safe at every start, by several processes.

    Raises `alembic.util.CommandError` when the database was made by a newer version.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["engine"] = engine
    command.upgrade(config, "head")
