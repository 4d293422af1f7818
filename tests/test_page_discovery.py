"""The page of what was found: who sees it, who may decide, and what the inventory refuses."""

from datetime import timedelta

import pytest
from sqlmodel import select

from inventory import Device, Network, Proposal, ProposalState, Search, Sort
from inventory.db import reading, session
from tests.sample import House

pytest_plugins = ["tests.house"]
PATH = "/gefunden"


def put(house: House, site: str = "ahlendorf", **more: object) -> int:
    now = house.clock.now
    with session(house.engine) as opened:
        if opened.get(Network, f"net-{site}") is None:
            opened.add(Network(id=f"net-{site}", site_id=site, range="192.168.1.0/24"))
        fields = {
            "site_id": site,
            "sort": Sort.NEW,
            "address": "192.168.1.77",
            "model": "LBP 6030 <b>",
            "serial": "NEW-0001",
            "kind": "printer",
            "driver": "snmp",
            "ways": ["snmp"],
            "first_seen": now,
            "last_seen": now,
        }
        one = Proposal(**{**fields, **more})
        opened.add(one)
        opened.flush()
        assert one.id
        return one.id


def state_of(house: House, number: int) -> ProposalState:
    with reading(house.engine) as opened:
        return opened.get_one(Proposal, number).state


def form(house: House, number: int, **more: str) -> dict[str, str]:
    return {
        "csrf": house.people["ida"].csrf,
        "do": "accept",
        "id": "drucker",
        "name": "Drucker",
        "room": "ahlendorf-1",
        "kind": "printer",
        "driver": "snmp",
        **more,
    }


def test_a_find_becomes_a_device(anywhere: House) -> None:
    number = put(anywhere)
    browser = anywhere.browser("ida")
    page = browser.get(PATH).text
    assert "1 Gerät gefunden" in page
    assert "LBP 6030 &lt;b&gt;" in page
    answer = browser.post(f"{PATH}/{number}", data=form(anywhere, number))
    assert answer.headers["location"] == "/geraet/drucker?hinweis=find_accepted"
    with reading(anywhere.engine) as opened:
        assert opened.get_one(Device, "drucker").serial == "NEW-0001"
    assert "Nichts Neues gefunden" in browser.get(PATH).text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "Ä"}, "cannot be used"),
        ({"id": "ahlendorf-1-beamer-1"}, "Diese Kennung hat schon ein anderes Gerät."),
        ({"room": "birkental-1"}, "Der Raum gehört nicht zu dem Standort"),
        ({"driver": "shh"}, "there is no driver"),
    ],
)
def test_what_the_inventory_refuses_is_said_and_the_form_is_kept(
    anywhere: House, change: dict[str, str], said: str
) -> None:
    number = put(anywhere)
    browser = anywhere.browser("ida")
    answer = browser.post(f"{PATH}/{number}", data=form(anywhere, number, **change))
    assert answer.status_code == 409
    assert said in answer.text
    assert 'value="Drucker"' in answer.text
    assert state_of(anywhere, number) is ProposalState.OPEN


def test_ignored_finds_are_gone(anywhere: House) -> None:
    number = put(anywhere)
    browser = anywhere.browser("ida")
    data = {"csrf": anywhere.people["ida"].csrf, "do": "ignore"}
    assert browser.post(f"{PATH}/{number}", data=data).status_code == 303
    assert state_of(anywhere, number) is ProposalState.IGNORED
    assert browser.post(f"{PATH}/{number}", data=data).status_code == 409


def test_a_search_is_asked_for(anywhere: House) -> None:
    put(anywhere)
    browser = anywhere.browser("ida")
    data = {"csrf": anywhere.people["ida"].csrf, "site": "ahlendorf"}
    assert browser.post(f"{PATH}/suchen", data=data).status_code == 303
    with reading(anywhere.engine) as opened:
        (search,) = opened.exec(select(Search))
    assert search.asked_by
    assert "wird gerade durchsucht" in browser.get(PATH).text


def test_nobody_sees_or_touches_what_is_another_municipalitys(anywhere: House) -> None:
    theirs = put(anywhere, "birkental", serial="THEIRS-1")
    mine = put(
        anywhere, sort=Sort.ELSEWHERE, device_id="birkental-1-beamer-1", address="192.168.1.78"
    )
    limited = anywhere.people["ida"]
    browser = anywhere.browser("ida")
    page = browser.get(PATH).text
    assert "THEIRS-1" not in page
    assert "birkental-1" not in page.lower()
    assert f"find-{mine}" in page
    for number in (theirs, 999_999, 2**40):
        answer = browser.post(f"{PATH}/{number}", data=form(anywhere, number))
        assert answer.status_code == 404
    data = {"csrf": limited.csrf, "site": "birkental"}
    assert browser.post(f"{PATH}/suchen", data=data).status_code == 404


def test_only_who_may_edit_decides(anywhere: House) -> None:
    number = put(anywhere)
    for name, person in anywhere.people.items():
        page = anywhere.browser(name).get(PATH).text
        data = {**form(anywhere, number), "csrf": person.csrf, "do": "ignore"}
        status = anywhere.browser(name).post(f"{PATH}/{number}", data=data).status_code
        assert (status == 303) == (f"ignore-{number}" in page), name
        with session(anywhere.engine) as opened:
            opened.get_one(Proposal, number).state = ProposalState.OPEN


def test_followed_devices_are_told(anywhere: House) -> None:
    put(
        anywhere,
        sort=Sort.MOVED,
        state=ProposalState.FOLLOWED,
        device_id="ahlendorf-1-beamer-1",
        old_address="192.168.1.9",
        decided_at=anywhere.clock.now - timedelta(hours=2),
    )
    page = anywhere.browser("ida").get(PATH).text
    assert "192.168.1.9 → 192.168.1.77" in page
