"""Ansible's inventory script against the real service, alone and through ansible-inventory."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from fleet import api, auth
from fleet.settings import Settings
from inventory import Account, Role, Service
from inventory.db import open_engine, session
from tests.rows import device, make_region
from tests.webserver import Page, Server

SCRIPT = Path(__file__).parents[1] / "ansible" / "inventory_fleet.py"
MORE = (
    device("laptop-9", "library", service=Service.REPAIR, port=2222, address="10.1.2.3"),
    device("retired", "library", service=Service.RETIRED),
)


@pytest.fixture(scope="module")
def fleet(
    migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """The service on a port of its own: `url`, and a token for `admin` and for `it` (Nordheim)."""
    database = tmp_path_factory.mktemp("fleet") / "fleet.db"
    shutil.copyfile(migrated_sqlite, database)
    engine, now = open_engine(f"sqlite:///{database}"), datetime.now(UTC)
    make_region(engine, *MORE)
    tokens = {}
    for name, role, municipality in (
        ("admin", Role.REGION_ADMIN, None),
        ("it", Role.MUNICIPAL_IT, "Nordheim"),
    ):
        with session(engine) as opened:
            account = Account(name=name, role=role, municipality=municipality, created_at=now)
            opened.add(account)
            opened.flush()
            tokens[name], _ = auth.open_session(opened, account, now)
    app = FastAPI()
    app.state.engine, app.state.settings, app.state.clock = engine, Settings(), lambda: now
    app.include_router(api.router)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=server.run, args=([listening],))
        serving.start()
        while not server.started:
            assert serving.is_alive()
            time.sleep(0.01)
        yield SimpleNamespace(url=f"http://127.0.0.1:{listening.getsockname()[1]}", **tokens)
        server.should_exit = True
        serving.join(10)
    engine.dispose()


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    others = {key: value for key, value in os.environ.items() if not key.startswith("FLEET_")}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=others | environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def told(*arguments: str, **environment: str) -> Any:
    done = run(SCRIPT, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_groups_and_hosts(fleet: SimpleNamespace) -> None:
    everything = told("--list", FLEET_URL=fleet.url, FLEET_TOKEN=fleet.admin)
    assert everything["kind_laptop"]["hosts"] == ["laptop-1", "laptop-2", "laptop-9"]
    assert everything["site_north"]["hosts"] == ["laptop-1", "laptop-9"]
    assert everything["room_hall"]["hosts"] == ["laptop-2"]
    assert everything["_meta"]["hostvars"].keys() == {"laptop-1", "laptop-2", "laptop-9"}


def test_one_host(fleet: SimpleNamespace) -> None:
    access = {"FLEET_URL": fleet.url + "/", "FLEET_TOKEN": fleet.it}
    known = told("--host", "laptop-9", **access)
    assert (known["ansible_host"], known["ansible_port"]) == ("10.1.2.3", 2222)
    assert told("--host", "laptop-2", **access) == {}


def test_only_the_own_municipality_and_the_token_from_a_file(
    fleet: SimpleNamespace, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(fleet.it + "\n")
    file.chmod(0o600)
    own = told("--list", FLEET_URL=fleet.url, FLEET_TOKEN_FILE=str(file), FLEET_TOKEN="wrong")
    assert own["_meta"]["hostvars"].keys() == {"laptop-1", "laptop-9"}
    assert not {"site_south", "room_hall"} & own.keys()
    at_home = {"FLEET_TOKEN_FILE": "~/token", "HOME": str(tmp_path)}
    assert told("--list", FLEET_URL=fleet.url, **at_home) == own


def ansible_inventory(fleet: SimpleNamespace, *arguments: str) -> str:
    """As Ansible itself runs it: the file must be executable."""
    done = run(
        "-m", "ansible", "inventory", "-i", SCRIPT, *arguments,
        FLEET_URL=fleet.url, FLEET_TOKEN=fleet.it, ANSIBLE_INVENTORY_UNPARSED_FAILED="true",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING]: Invalid" not in done.stderr
    assert fleet.it not in done.stdout + done.stderr
    return done.stdout


def test_ansible_reads_it(fleet: SimpleNamespace) -> None:
    listed = json.loads(ansible_inventory(fleet, "--list"))
    assert listed["site_north"]["hosts"] == listed["room_library"]["hosts"]
    assert set(listed["kind_laptop"]["hosts"]) == {"laptop-1", "laptop-9"}
    assert listed["_meta"]["hostvars"]["laptop-9"]["raumwart_site"] == "north"


def test_ansible_draws_it(fleet: SimpleNamespace) -> None:
    assert ansible_inventory(fleet, "--graph").splitlines() == [
        "@all:",
        "  |--@ungrouped:",
        *(
            line
            for group in ("kind_laptop", "room_library", "site_north")
            for line in (f"  |--@{group}:", "  |  |--laptop-1", "  |  |--laptop-9")
        ),
    ]


@pytest.fixture
def other() -> Iterator[Server]:
    """Some other web server."""
    server = Server()
    yield server
    server.stop()


def complaint(**environment: str) -> str:
    """The one clear sentence with which it ends."""
    done = run(SCRIPT, "--list", **environment)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_token_that_is_wrong(fleet: SimpleNamespace, tmp_path: Path) -> None:
    assert "401: is FLEET_TOKEN right?" in complaint(FLEET_URL=fleet.url, FLEET_TOKEN="wr0ng")
    for none in ({}, {"FLEET_TOKEN": " "}):
        assert "Set FLEET_TOKEN or FLEET_TOKEN_FILE" in complaint(FLEET_URL=fleet.url, **none)
    for odd in ("two words", "zwei\nZeilen", "schlüssel"):
        assert "The token is none" in complaint(FLEET_URL=fleet.url, FLEET_TOKEN=odd)
    missing = tmp_path / "nowhere"
    said = complaint(FLEET_URL=fleet.url, FLEET_TOKEN=fleet.it, FLEET_TOKEN_FILE=str(missing))
    assert f"FLEET_TOKEN_FILE cannot be read: [Errno 2] No such file or directory: '{missing}'" in (
        said
    )
    missing.write_bytes(b"\xff\xfe")
    assert "FLEET_TOKEN_FILE cannot be read" in complaint(FLEET_TOKEN_FILE=str(missing))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("raumwart.example", "must begin with http:// or https://, not 'raumwart.example'"),
        ("", "must begin with http"),
        ("file:///etc/passwd", "must begin with http"),
        ("http://", "cannot be read: <urlopen error no host given>"),
        ("http://[::1", "gave no inventory: "),
        ("http://127.0.0.1:port", "cannot be read: nonnumeric port: 'port'"),
        ("http://127.0.0.1:1/with space", "cannot be read: URL can't contain control characters"),
        ("http://127.0.0.1:1", "cannot be read: <urlopen error [Errno 111] Connection refused>"),
        ("http://nowhere.invalid", "cannot be read: <urlopen error"),
    ],
)
def test_an_address_that_is_wrong(url: str, said: str) -> None:
    assert said in complaint(FLEET_URL=url, FLEET_TOKEN="t0ken")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ((200, {}, b"<html>"), "gave no inventory: Expecting value"),
        ((200, {}, b"\xff"), "gave no inventory: "),
        ((200, {}, b"[]"), "gave no inventory: is FLEET_URL right?"),
        ((404, {}, b"nothing"), "answered 404: is FLEET_URL right?"),
        ((503, {}, b"soon"), "answered 503"),
        (lambda request: request.wfile.write(b"hello\r\n\r\n"), "cannot be read: hello"),
    ],
)
def test_a_service_that_is_another(
    other: Server, page: Page | Callable[[Any], None], said: str
) -> None:
    other.pages["/api/v1/ansible"] = page
    assert said in complaint(FLEET_URL=other.url(""), FLEET_TOKEN="t0ken")


def test_the_token_is_not_carried_elsewhere(other: Server) -> None:
    other.pages["/api/v1/ansible"] = (302, {"Location": other.url("/elsewhere")}, b"")
    assert "answered 302" in complaint(FLEET_URL=other.url(""), FLEET_TOKEN="t0ken")
    assert [path for path, _ in other.asked] == ["/api/v1/ansible"]
