"""Writers queue, readers never wait, and both databases promise the same."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Event
from time import monotonic

import pytest
from alembic.util import CommandError
from sqlalchemy import Engine, inspect, text, update
from sqlalchemy.exc import DatabaseError, IntegrityError, StatementError
from sqlmodel import func, select

from inventory import Account, Device, DeviceKind, Feed, Role, Room, Site
from inventory.db import migrate, open_engine, reading, session

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone(timedelta(hours=1)))
SITE = {"id": "mitte", "name": "Mitte", "municipality": "Heroldsberg"}


def add_sites(engine: Engine, writer: int, how_many: int) -> None:
    """Each time look first and write then: the pattern that fails without BEGIN IMMEDIATE."""
    for number in range(how_many):
        with session(engine) as opened:
            opened.exec(select(func.count()).select_from(Site)).one()
            opened.add(Site(id=f"s-{writer}-{number}", name="x", municipality="y"))


def test_writers_queue_instead_of_failing(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda writer: add_sites(engine, writer, 25), range(8)))
    with reading(engine) as opened:
        assert opened.exec(select(func.count()).select_from(Site)).one() == 200


def test_a_reader_does_not_wait_for_a_writer_and_sees_one_moment(engine: Engine) -> None:
    written, looked = Event(), Event()

    def write() -> None:
        with session(engine) as opened:
            opened.add(Site(**SITE))
            opened.flush()
            written.set()
            assert looked.wait(10)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        assert written.wait(10)
        began = monotonic()
        with reading(engine) as opened:
            assert opened.get(Site, "mitte") is None
            assert monotonic() - began < 2
            looked.set()
            writer.result(10)
            count = select(func.count()).select_from(Site)
            assert opened.exec(count).one() == 0, "it still sees the moment at which it began"
    with reading(engine) as opened:
        assert opened.get(Site, "mitte") is not None


def test_writing_while_reading_is_an_error_and_leaves_no_trace(engine: Engine) -> None:
    with pytest.raises(DatabaseError), reading(engine) as opened:  # noqa: PT012
        opened.add(Site(**SITE))
        opened.commit()
    add_sites(engine, 1, 15)  # the same pooled connections write again
    with reading(engine) as opened:
        assert opened.get(Site, "mitte") is None


def test_an_error_rolls_everything_back(engine: Engine) -> None:
    def half() -> None:
        with session(engine) as opened:
            opened.add(Site(**SITE))
            opened.flush()
            opened.add(Room(id="r", site_id="nowhere", name="Raum"))

    with pytest.raises(IntegrityError):
        half()
    with reading(engine) as opened:
        assert opened.get(Site, "mitte") is None


def test_a_site_takes_everything_along_that_stands_in_it(engine: Engine) -> None:
    with session(engine) as opened:
        opened.add(Site(**SITE))
        opened.flush()
        opened.add(Room(id="r", site_id="mitte", name="Raum"))
        opened.flush()
        opened.add(
            Device(
                id="d", room_id="r", name="D", kind=DeviceKind.SWITCH, driver="snmp", address="a"
            )
        )
        opened.add(Feed(id="f", site_id="mitte", room_id="r", url="https://example.org/f.ics"))
    with session(engine) as opened:
        opened.delete(opened.get_one(Site, "mitte"))
    with reading(engine) as opened:
        assert opened.get(Device, "d") is None
        assert opened.get(Feed, "f") is None


def test_a_word_outside_the_closed_list_is_refused_by_the_database(engine: Engine) -> None:
    with session(engine) as opened:
        opened.add(Account(name="ida", role=Role.VIEWER, created_at=NOON))
    with pytest.raises(DatabaseError), session(engine) as opened:
        opened.execute(text("UPDATE account SET role = 'king'"))


def test_a_moment_goes_in_with_a_zone_and_comes_out_in_utc(engine: Engine) -> None:
    with session(engine) as opened:
        opened.add(Account(name="ida", role=Role.VIEWER, created_at=NOON))
    with reading(engine) as opened:
        moment = opened.exec(select(Account)).one().created_at
        assert (moment, moment.tzinfo) == (NOON, UTC)
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(StatementError, match="without a time zone"), session(engine) as opened:
        opened.execute(update(Account).values(created_at=naive))


def test_sqlite_is_opened_with_its_pragmas(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'new' / 'fleet.db'}")
    wanted = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 15000}
    with engine.connect() as one, engine.connect() as other:
        for opened in (other, one):
            raw = opened.connection
            cursor = raw.cursor()
            assert {
                name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted
            } == wanted


def test_several_processes_migrate_at_once(empty_url: str) -> None:
    program = "import sys; from inventory.db import *; migrate(open_engine(sys.argv[1]))"
    racing = [
        subprocess.Popen([sys.executable, "-c", program, empty_url], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in racing:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    engine = open_engine(empty_url)
    with engine.connect() as opened:
        assert opened.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1
    assert inspect(engine).has_table("reset_run")
    migrate(engine)
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused(engine: Engine) -> None:
    with session(engine) as opened:
        opened.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(CommandError, match="9999"):
        migrate(engine)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/fleet"])
def test_what_cannot_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"database (needs|is)"):
        open_engine(url)


def test_a_plain_postgresql_address_is_understood() -> None:
    assert open_engine("postgres://u@h/d").url.drivername == "postgresql+psycopg"
