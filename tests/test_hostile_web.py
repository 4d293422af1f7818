"""The whole service asked for what nobody asks for: an answer, never a failure, never elsewhere."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import select

from dashboards.signin import onward_path
from fleet import auth
from fleet.app import create_app
from fleet.security import MAX_BODY
from fleet.settings import Settings
from inventory import Account, Device, Report, Role
from inventory.db import reading, session
from tests.rows import make_region

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def client(engine: Engine, now: datetime, tmp_path: Path) -> Iterator[TestClient]:
    """A signed-in admin; the session's own secret opens the pages and the API."""
    make_region(engine)
    with session(engine) as opened:
        admin = Account(name="eva", role=Role.REGION_ADMIN, created_at=now)
        opened.add(admin)
        opened.flush()
        secret, _ = auth.open_session(opened, admin, now)
    url = engine.url.render_as_string(hide_password=False)
    app = create_app(Settings(home=tmp_path, db=url), lambda: now)
    with_session = TestClient(app, cookies={auth.COOKIE: secret}, raise_server_exceptions=False)
    with_session.headers["authorization"] = f"Bearer {secret}"
    yield with_session
    app.state.engine.dispose()


@pytest.mark.parametrize(
    "path",
    [
        "/raum/%00",
        "/geraet/a%00b",
        "/geraet/%00/etikett",
        "/m/%00",
        "/m/stand/%00",
        "/heute?gemeinde=%00",
        "/meldungen?gemeinde=a%00",
        "/?q=%00&gemeinde=%00",
        "/api/v1/rooms/%00",
        "/api/v1/devices/%00",
        "/api/v1/devices?site=%00",
        "/api/v1/resets?device=%00",
        "/api/v1/reports/a%00b",
    ],
)
def test_a_nul_in_an_address_finds_nothing(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (200, 404, 422)


def test_a_nul_in_a_form_is_no_failure(client: TestClient) -> None:
    for path, body in (
        ("/anmelden", "name=a%00b&password=c%00d"),
        ("/geraet/%00/einsatz", "service=active"),
        ("/geraet/%00/zuruecksetzen", ""),
        ("/meldungen/%00", "state=done"),
        ("/m/%00", "text=x"),
        ("/m/%00/auch", "report=%00"),
        ("/einladung/%00", ""),
    ):
        assert client.post(path, content=body, headers=FORM).status_code < 500, path


def test_a_report_with_a_nul_in_it_is_kept(
    client: TestClient, engine: Engine, now: datetime
) -> None:
    with reading(engine) as opened:
        code = opened.exec(select(Device.code).where(Device.id == "laptop-1")).one()
    key = client.app.state.key  # type: ignore[attr-defined]
    told = {
        "problem": "other",
        "impact": "none",
        "text": "Bild\0schirm",
        "contact": "\0",
        "token": auth.form_token(key, f"report|{code}", now - 2 * auth.FORM_MIN_AGE),
    }
    assert client.post(f"/m/{code}", data=told, follow_redirects=False).status_code == 303
    with reading(engine) as opened:
        assert opened.exec(select(Report.text, Report.contact)).one() == ("Bildschirm", "")


@pytest.mark.parametrize(
    "moment",
    ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00%2B14:00", "9999-12-31T00:00:00Z"],
)
def test_a_moment_at_the_end_of_the_calendar_is_not_understood(
    client: TestClient, moment: str
) -> None:
    for name in ("since", "until"):
        assert client.get(f"/api/v1/courses?{name}={moment}").status_code == 422


@pytest.mark.parametrize(
    "path", ["/m/abc", "/anmelden", "/kennwort", "/api/v1/reports/x", "/geraet/laptop-1/einsatz"]
)
def test_a_body_that_is_too_large_is_called_so(client: TestClient, path: str) -> None:
    ask = client.patch if path.startswith("/api/") else client.post
    for kind in (FORM, {"Content-Type": "application/json"}):
        body = iter([b"state=", b"x" * MAX_BODY])
        answer = ask(path, content=body, headers=kind)
        if kind is FORM or path.startswith("/api/"):
            assert answer.status_code == 413, answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "//[x",
        "/\t/evil",
        "http://[",
        "x",
    ],
)
def test_nobody_is_led_elsewhere(client: TestClient, target: str) -> None:
    assert onward_path(target) == "/"
    answer = client.get("/sprache/en", params={"weiter": target}, follow_redirects=False)
    assert answer.headers["location"] == "/"
    assert client.get("/anmelden", params={"weiter": target}).status_code == 200
