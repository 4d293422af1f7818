"""IT says on a page whom its sites tell."""

from datetime import timedelta

import pytest
from httpx import Response
from sqlmodel import select

from inventory import Channel, Contact, Level, Notice, NoticeState
from inventory.db import reading, session
from tests.sample import HOSTILE, House

pytest_plugins = ["tests.house"]
FINE = {
    "site": "ahlendorf",
    "name": "Hausmeisterei",
    "audience": "caretaker",
    "channel": "mail",
    "address": "haus@example.org",
    "quiet": "18:00-07:00",
}


def send(house: House, name: str, path: str = "/kontakte", /, **told: str) -> Response:
    answer = house.browser(name).post(path, data={"csrf": house.people[name].csrf, **told})
    assert isinstance(answer, Response)
    return answer


def kept(house: House) -> list[Contact]:
    with reading(house.engine) as opened:
        return list(opened.exec(select(Contact).order_by(Contact.id)))


def test_a_contact_is_written_changed_and_removed(house: House) -> None:
    assert "Noch bekommt niemand Bescheid" in house.browser("ida").get("/kontakte").text
    answer = send(house, "ida", **FINE)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/kontakte?hinweis=contact_saved",
    )
    send(house, "ida", **{**FINE, "name": HOSTILE})
    assert [one.id for one in kept(house)] == ["ahlendorf-caretaker", "ahlendorf-caretaker-2"]
    text = house.browser("ida").get("/kontakte?kontakt=ahlendorf-caretaker").text
    assert 'value="haus@example.org"' in text
    assert HOSTILE not in text
    send(house, "ida", **FINE | {"kontakt": "ahlendorf-caretaker", "audience": "it", "quiet": ""})
    assert (kept(house)[0].audience, kept(house)[0].quiet) == ("it", "")
    send(house, "ida", "/kontakte/ahlendorf-caretaker-2/weg")
    assert [one.id for one in kept(house)] == ["ahlendorf-caretaker"]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("name", ""),
        ("address", "haus"),
        ("quiet", "abends"),
        ("audience", "king"),
        ("channel", "pigeon"),
        ("credential", "x" * 64),
        ("name", "a\x00b"),
    ],
)
def test_a_mistake_is_shown_and_nothing_is_lost(house: House, field: str, said: str) -> None:
    answer = send(house, "ida", **FINE | {field: said})
    assert answer.status_code == 422
    assert "Bitte prüfen Sie Ihre Angaben" in answer.text
    assert kept(house) == []
    if field != "name":
        assert 'value="Hausmeisterei"' in answer.text


def test_only_for_it_and_only_for_its_own_sites(house: House) -> None:
    for name in ("karim", "vera"):
        assert house.browser(name).get("/kontakte").status_code == 403
        assert send(house, name, **FINE).status_code == 403
    assert send(house, "otto", **FINE).status_code == 404
    send(house, "ida", **FINE)
    stolen = {**FINE, "site": "birkental", "kontakt": "ahlendorf-caretaker"}
    assert send(house, "otto", **stolen).status_code == 404
    assert send(house, "otto", "/kontakte/ahlendorf-caretaker/weg").status_code == 404
    assert "haus@example.org" not in house.browser("otto").get("/kontakte").text
    assert house.browser("ida").post("/kontakte", data=FINE).status_code == 403, "no token"
    assert len(kept(house)) == 1


def test_the_last_messages_are_shown(house: House) -> None:
    now = house.clock()
    with session(house.engine) as opened:
        opened.add(
            Notice(
                id="n1",
                bundle="b1",
                site_id="ahlendorf",
                room_id="ahlendorf-1",
                level=Level.DUTY,
                channel=Channel.MAIL,
                subject=HOSTILE,
                text="",
                state=NoticeState.FAILED,
                problem="no_mail_server",
                made_at=now,
                next_try_at=now,
                expires_at=now + timedelta(hours=1),
            )
        )
    text = house.browser("ida").get("/kontakte").text
    assert "nicht angekommen" in text
    assert "Es ist kein Mail-Server eingestellt" in text
    assert HOSTILE not in text
