"""Signing in and out, invitations, passwords."""

import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlmodel import Session, select

from fleet import auth
from inventory import (
    Account,
    Role,
    SignIn,
)
from inventory.db import reading, session
from tests.sample import House

pytest_plugins = ["tests.house"]


def account_of(opened: Session, name: str) -> Account:
    return opened.exec(select(Account).where(Account.name == name)).one()


def with_password(house: House, name: str, password: str) -> None:
    with session(house.engine) as opened:
        auth.set_password(account_of(opened, name), password)


def test_signing_in_leads_where_one_wanted_to_go(house: House) -> None:
    with_password(house, "ida", "ein langer Satz")
    browser = house.browser()
    page = browser.get("/anmelden?weiter=/heute").text
    assert 'value="/heute"' in page
    data = {"name": "ida", "password": "ein langer Satz", "weiter": "/heute"}
    answer = browser.post("/anmelden", data=data)
    assert answer.headers["location"] == "/heute"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert browser.get("/heute").status_code == 200


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_never_leads_elsewhere(house: House, target: str) -> None:
    with_password(house, "ida", "ein langer Satz")
    data = {"name": "ida", "password": "ein langer Satz", "weiter": target}
    assert house.browser().post("/anmelden", data=data).headers["location"] == "/"
    page = house.browser().get("/anmelden", params={"weiter": target}).text
    assert '<input type="hidden" name="weiter" value="/">' in page


def test_a_wrong_password_is_said_and_limited(house: House) -> None:
    with_password(house, "ida", "ein langer Satz")
    browser = house.browser()
    for _ in range(10):
        answer = browser.post("/anmelden", data={"name": "ida", "password": "geraten"})
        assert answer.status_code == 422
    assert "Name oder Kennwort stimmt nicht." in answer.text
    assert "<title>Fehler: Anmelden" in answer.text
    right = {"name": "ida", "password": "ein langer Satz"}
    assert browser.post("/anmelden", data=right).status_code == 429
    house.clock.wait(minutes=16)
    assert browser.post("/anmelden", data=right).status_code == 303


def test_another_site_cannot_sign_somebody_in(house: House) -> None:
    with_password(house, "ida", "ein langer Satz")
    data = {"name": "ida", "password": "ein langer Satz"}
    answer = house.browser().post("/anmelden", data=data, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


def test_signing_out_ends_the_session(house: House) -> None:
    browser, csrf = house.browser("ida"), house.people["ida"].csrf
    assert browser.post("/abmelden", data={"csrf": "wrong"}).status_code == 403
    answer = browser.post("/abmelden", data={"csrf": csrf})
    assert answer.headers["location"] == "/anmelden?hinweis=signed_out"
    assert house.browser("ida").get("/").status_code == 303, (
        "the secret is void, not just forgotten"
    )


def test_an_invitation_signs_in_once_and_asks_for_a_password(house: House) -> None:
    with session(house.engine) as opened:
        account = Account(name="nora", role=Role.VIEWER, created_at=house.clock.now)
        opened.add(account)
        opened.flush()
        token = auth.invite(opened, account, house.clock.now)
    browser = house.browser()
    assert "Jetzt anmelden" in browser.get(f"/einladung/{token}").text
    assert browser.get("/").status_code == 303, "looking at the link does not use it up"
    page = browser.post(f"/einladung/{token}").text
    assert "Neues Kennwort" in page
    assert "Bisheriges Kennwort" not in page
    fields = dict(re.findall(r'name="(csrf|proof)" value="([^"]+)"', page))
    house.clock.wait(seconds=5)
    short = browser.post("/kennwort", data={**fields, "password": "kurz"})
    assert short.status_code == 422
    assert "zu kurz" in short.text
    done = browser.post("/kennwort", data={**fields, "password": "Regen auf dem Dach"})
    assert done.headers["location"] == "/?hinweis=password_set"
    assert house.browser().post(f"/einladung/{token}").status_code == 410
    data = {"name": "nora", "password": "Regen auf dem Dach"}
    assert house.browser().post("/anmelden", data=data).status_code == 303


def test_nobody_waits_for_a_new_password_that_is_being_worked_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_password(house, "ida", "ein langer Satz")
    for name in ("verify", "hash"):

        def slow(*given: Any, really: Any = getattr(PasswordHasher, name)) -> Any:
            with closing(sqlite3.connect(str(house.engine.url.database), timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")
            return really(*given)

        monkeypatch.setattr(PasswordHasher, name, slow)
    form = {"csrf": house.people["ida"].csrf, "current": "ein langer Satz"}
    answer = house.browser("ida").post("/kennwort", data={**form, "password": "Wind in den Weiden"})
    assert answer.status_code == 303


def test_a_new_password_needs_the_old_one_and_ends_other_sessions(anywhere: House) -> None:
    with_password(anywhere, "ida", "ein langer Satz")
    browser, csrf = anywhere.browser("ida"), anywhere.people["ida"].csrf
    data = {"csrf": csrf, "password": "Wind in den Weiden"}
    wrong = browser.post("/kennwort", data={**data, "current": "geraten"})
    assert "Das bisherige Kennwort stimmt nicht." in wrong.text
    foreign = auth.form_token(anywhere.app.state.key, "password|1|", anywhere.clock.now)
    anywhere.clock.wait(seconds=5)
    assert browser.post("/kennwort", data={**data, "proof": foreign}).status_code == 422
    done = browser.post("/kennwort", data={**data, "current": "ein langer Satz"})
    assert done.status_code == 303
    assert anywhere.browser("ida").get("/").status_code == 303, "the old session is over"
    assert browser.get("/").status_code == 200, "this one goes on"
    with reading(anywhere.engine) as opened:
        account = account_of(opened, "ida").id
        assert len(opened.exec(select(SignIn).where(SignIn.account_id == account)).all()) == 1
