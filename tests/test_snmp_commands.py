"""`fleet profile new` and `fleet access-points`, over a real socket."""

import asyncio
import os
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from typer.testing import CliRunner, Result

from agents.simulator.snmp import SnmpDevice
from fleet.cli import main
from tests.snmp_written import Told, written
from tests.test_snmp_behind import AWAY, FIRST, cluster


@contextmanager
def served(device: SnmpDevice) -> Iterator[int]:
    """The device on a thread of its own, as the command has a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(device.start(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(device.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def fleet(folder: Path, *arguments: str) -> Result:
    environment: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("FLEET_")
    }
    environment |= {"FLEET_HOME": str(folder / "home"), "FLEET_CREDENTIALS": str(folder)}
    environment |= {"RAUMWART_SECRET_PUBLIC": '{"community": "public"}', "COLUMNS": "200"}
    return CliRunner().invoke(main, arguments, env=environment)


def region(folder: Path, port: int, driver: str = "snmp") -> None:
    (folder / "region.yaml").write_text(
        f"""
sites: [{{id: s, name: S, municipality: M}}]
rooms: [{{id: r, site: s, name: R}}]
devices:
- {{id: thing, room: r, name: Thing, kind: access_point, driver: {driver}, address: 127.0.0.1,
   port: {port}, credential: public, recipe: none}}
"""
    )
    imported = fleet(folder, "import", str(folder / "region.yaml"))
    assert imported.exit_code == 0, imported.output


def test_a_profile_is_proposed_and_never_overwritten(tmp_path: Path) -> None:
    objects: dict[str, Told] = {"99999.1.5.0": 42}
    with served(written(tmp_path, "Example", "1.3.6.1.4.1.99999.1", objects)) as port:
        region(tmp_path, port)
        shown = fleet(tmp_path, "profile", "new", "thing")
        assert shown.exit_code == 0, shown.output
        made = tomllib.loads(shown.stdout)
        assert made["match"] == [{"sys_object_id": ["1.3.6.1.4.1.99999.1"]}]
        file = tmp_path / "example.toml"
        kept = fleet(tmp_path, "profile", "new", "thing", "--out", str(file))
        assert "'generic'" in kept.stdout
        assert tomllib.loads(file.read_text()) == made
        again = fleet(tmp_path, "profile", "new", "thing", "--out", str(file))
        assert (again.exit_code, "exists" in again.output) == (1, True)


def test_access_points_are_rows_to_import_once(tmp_path: Path) -> None:
    with served(cluster(tmp_path)) as port:
        region(tmp_path, port)
        shown = fleet(tmp_path, "access-points", "thing")
        assert shown.exit_code == 0, shown.output
        rows = yaml.safe_load(shown.stdout)["devices"]
        assert [row["options"]["access_point"] for row in rows][::2] == [FIRST, AWAY]
        (tmp_path / "more.yaml").write_text(shown.stdout)
        assert fleet(tmp_path, "import", str(tmp_path / "more.yaml")).exit_code == 0
        probed = fleet(tmp_path, "probe", "ap-1")
        assert "PHRC1" in probed.stdout
        again = fleet(tmp_path, "access-points", "thing")
        assert (again.exit_code, "in the inventory" in again.output) == (1, True)


def test_what_cannot_be_asked_is_one_sentence(tmp_path: Path) -> None:
    with served(SnmpDevice("ups")) as port:
        region(tmp_path, port)
        assert "no access points" in fleet(tmp_path, "access-points", "thing").output
    assert "There is no device" in fleet(tmp_path, "profile", "new", "nobody").output
    region(tmp_path, port, "ping")
    assert "does not speak SNMP" in fleet(tmp_path, "profile", "new", "thing").output
