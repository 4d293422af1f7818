"""Who may come in, who stays out, and that nothing is open by mistake."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import Session, select

from fleet import auth
from fleet.auth import Action, Visitor
from fleet.settings import Settings
from inventory import Account, OneTimeLink, Role, SignIn, Site
from inventory.db import session

PASSWORD = "kurs-im-alten-bahnhof"


@cache
def hashed() -> str:
    """argon2 is slow on purpose: once is enough."""
    account = Account(name="x", role=Role.VIEWER, created_at=datetime.now(UTC))
    auth.set_password(account, PASSWORD)
    return account.password_hash


def person(opened: Session, now: datetime, name: str, role: Role, town: str | None) -> Account:
    account = Account(name=name, role=role, municipality=town, created_at=now)
    account.password_hash = hashed()
    opened.add(account)
    opened.flush()
    return account


@pytest.fixture
def people(engine: Engine, now: datetime) -> Engine:
    with session(engine) as opened:
        opened.add(Site(id="erl", name="Bücherei", municipality="Erlental"))
        opened.add(Site(id="wie", name="Bürgerhaus", municipality="Wiesbrunn"))
        person(opened, now, "anna", Role.REGION_ADMIN, None)
        person(opened, now, "ida", Role.MUNICIPAL_IT, "Erlental")
        person(opened, now, "karim", Role.CARETAKER, "Erlental")
        person(opened, now, "otto", Role.VIEWER, "Nirgendwo")
    return engine


@pytest.fixture
def client(people: Engine, now: datetime, tmp_path: Path) -> TestClient:
    app = FastAPI()
    app.state.engine = people
    app.state.settings = Settings(home=tmp_path)
    app.state.clock = lambda: now

    @app.get("/me")
    def me(visitor: Visitor = Depends(auth.signed_in)) -> dict[str, object]:
        return {"name": visitor.account.name, "sites": sorted(visitor.sites), "csrf": visitor.csrf}

    @app.post("/write")
    def write(
        visitor: Visitor = Depends(auth.posted), _may: Visitor = Depends(auth.may(Action.RESET))
    ) -> str:
        return visitor.account.name

    return TestClient(app)


def sign_in(client: TestClient, engine: Engine, name: str, now: datetime) -> str:
    found = auth.sign_in(engine, name, PASSWORD, now)
    assert found
    client.cookies.set(auth.COOKIE, found[0])
    return found[1].csrf


def test_nobody_comes_in_without_signing_in(client: TestClient) -> None:
    assert client.get("/me").status_code == 401
    client.cookies.set(auth.COOKIE, "made-up")
    assert client.get("/me").status_code == 401


def test_everybody_sees_only_their_own_sites(
    client: TestClient, people: Engine, now: datetime
) -> None:
    for name, sites in (("anna", ["erl", "wie"]), ("ida", ["erl"]), ("otto", [])):
        sign_in(client, people, name, now)
        assert client.get("/me").json()["sites"] == sites


@pytest.mark.parametrize("name", ["ida", "nobody"])
def test_a_wrong_password_opens_nothing(people: Engine, now: datetime, name: str) -> None:
    assert auth.sign_in(people, name, "wrong-" + PASSWORD, now) is None
    assert auth.sign_in(people, name, "", now) is None


def test_an_account_without_password_or_closed_cannot_sign_in(
    people: Engine, now: datetime
) -> None:
    with session(people) as opened:
        opened.add(Account(name="new", role=Role.VIEWER, created_at=now))
        opened.exec(select(Account).where(Account.name == "ida")).one().active = False
    assert auth.sign_in(people, "new", "", now) is None
    assert auth.sign_in(people, "ida", PASSWORD, now) is None


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """`act` happens while a password is being checked."""
    really = PasswordHasher.verify

    def verify(*given: Any) -> bool:
        act()
        return really(*given)

    monkeypatch.setattr(PasswordHasher, "verify", verify)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_nobody_waits_for_a_password_that_is_being_checked(
    people: Engine, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only SQLite has one writer at a time."""
    times: list[int] = []

    def write() -> None:
        with closing(sqlite3.connect(str(people.url.database), timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
        times.append(1)

    meanwhile(monkeypatch, write)
    assert auth.sign_in(people, "ida", PASSWORD, now) is not None
    assert auth.sign_in(people, "ida", "wrong", now) is None
    assert auth.sign_in(people, "nobody", "wrong", now) is None
    assert len(times) == 3


@pytest.mark.parametrize("said", [{"password_hash": "another"}, {"active": False}])
def test_an_account_closed_or_changed_while_its_password_is_checked_stays_out(
    people: Engine, now: datetime, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    def change() -> None:
        with session(people) as opened:
            account = opened.exec(select(Account).where(Account.name == "ida")).one()
            for name, value in said.items():
                setattr(account, name, value)

    meanwhile(monkeypatch, change)
    assert auth.sign_in(people, "ida", PASSWORD, now) is None
    with session(people) as opened:
        assert opened.exec(select(SignIn)).all() == []


def test_a_closed_account_is_out_at_once(client: TestClient, people: Engine, now: datetime) -> None:
    sign_in(client, people, "ida", now)
    with session(people) as opened:
        opened.exec(select(Account).where(Account.name == "ida")).one().active = False
    assert client.get("/me").status_code == 401


def test_a_session_ends(client: TestClient, people: Engine, now: datetime) -> None:
    sign_in(client, people, "ida", now - auth.SESSION - timedelta(seconds=1))
    assert client.get("/me").status_code == 401


def test_signing_out_ends_the_session(client: TestClient, people: Engine, now: datetime) -> None:
    sign_in(client, people, "ida", now)
    with session(people) as opened:
        auth.sign_out(opened, client.cookies[auth.COOKIE])
    assert client.get("/me").status_code == 401


def test_a_form_needs_its_own_sessions_token(
    client: TestClient, people: Engine, now: datetime
) -> None:
    csrf = sign_in(client, people, "ida", now)
    assert client.post("/write", data={"csrf": csrf}).status_code == 200
    assert client.post("/write", data={}).status_code == 403
    assert client.post("/write", data={"csrf": "é" + csrf}).status_code == 403
    other = sign_in(client, people, "anna", now)
    sign_in(client, people, "ida", now)
    assert client.post("/write", data={"csrf": other}).status_code == 403


def test_a_script_uses_a_bearer_token(client: TestClient, people: Engine, now: datetime) -> None:
    with session(people) as opened:
        ida = opened.exec(select(Account).where(Account.name == "ida")).one()
        secret, _ = auth.open_session(opened, ida, now, timedelta(days=365))
    answer = client.post("/write", headers={"Authorization": f"Bearer {secret}"})
    assert answer.json() == "ida"


def test_a_role_that_may_not_is_told_so(client: TestClient, people: Engine, now: datetime) -> None:
    for name in ("karim", "otto"):
        csrf = sign_in(client, people, name, now)
        assert client.post("/write", data={"csrf": csrf}).status_code == 403


def test_a_link_signs_in_once_and_not_for_ever(people: Engine, now: datetime) -> None:
    with session(people) as opened:
        ida = opened.exec(select(Account).where(Account.name == "ida")).one()
        first = auth.invite(opened, ida, now)
        second = auth.invite(opened, ida, now)
        assert auth.redeem(opened, first, now) is None, "an older invitation is void"
        assert auth.redeem(opened, second, now + auth.INVITATION) is None
        assert auth.redeem(opened, second, now) is not None
        assert auth.redeem(opened, second, now) is None
        assert auth.redeem(opened, "made-up", now) is None


def test_the_first_start_makes_one_admin_and_stops_when_there_is_a_password(
    engine: Engine, now: datetime
) -> None:
    with session(engine) as opened:
        assert auth.first_invitation(opened, now)
        token = auth.first_invitation(opened, now)
        assert token
        assert len(opened.exec(select(Account)).all()) == 1
        assert auth.redeem(opened, token, now)
        admin = opened.exec(select(Account)).one()
        assert admin.role == Role.REGION_ADMIN
        auth.set_password(admin, PASSWORD)
        opened.flush()
        assert auth.first_invitation(opened, now) is None


@pytest.mark.parametrize("weak", ["", "short", "x" * 11])
def test_a_weak_password_is_refused(now: datetime, weak: str) -> None:
    account = Account(name="ida", role=Role.VIEWER, created_at=now)
    with pytest.raises(auth.WeakPassword):
        auth.set_password(account, weak)


def test_no_secret_is_stored(people: Engine, now: datetime) -> None:
    with session(people) as opened:
        ida = opened.exec(select(Account).where(Account.name == "ida")).one()
        token = auth.invite(opened, ida, now)
        secret, _ = auth.open_session(opened, ida, now)
        opened.flush()
        stored = repr([*opened.exec(select(SignIn)), *opened.exec(select(OneTimeLink)), ida])
    assert secret not in stored
    assert token not in stored
    assert PASSWORD not in stored


def test_the_signing_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = auth.load_key(tmp_path / "home")
    assert len(key) == 32
    assert auth.load_key(tmp_path / "home") == key
    assert (tmp_path / "home/signing.key").stat().st_mode & 0o777 == 0o600
    assert len(list((tmp_path / "home").iterdir())) == 1


def test_a_form_without_sign_in_is_ours_and_neither_too_old_nor_too_fast(now: datetime) -> None:
    key = b"k" * 32
    token = auth.form_token(key, "m/abc", now)
    later = now + timedelta(minutes=5)
    assert auth.check_form_token(key, token, "m/abc", later)
    assert not auth.check_form_token(key, token, "m/abc", now + timedelta(seconds=1))
    assert not auth.check_form_token(key, token, "m/abc", now + timedelta(hours=13))
    assert not auth.check_form_token(key, token, "m/xyz", later)
    assert not auth.check_form_token(b"o" * 32, token, "m/abc", later)
    for forged in ("", ".", "1.2", token[:-1], "²" + token, "9" * 40 + "." + token):
        assert not auth.check_form_token(key, forged, "m/abc", later)
