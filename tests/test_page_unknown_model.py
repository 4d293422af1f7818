"""The page of a device whose model no SNMP profile knows."""

from dashboards import view
from inventory import DeviceState
from inventory.db import session
from tests.sample import House

pytest_plugins = ["tests.house"]
DEVICE = "ahlendorf-1-beamer-1"
SEEN = {"profile": "generic", "object_id": "1.3.6.1.4.1.99999.7", "description": "Box <b>7</b>"}


def test_it_says_what_was_seen_and_how_to_go_on(house: House) -> None:
    with session(house.engine) as opened:
        opened.get_one(DeviceState, DEVICE).facts = SEEN
    text = house.browser("anna").get(f"/geraet/{DEVICE}").text
    assert "Dieses Modell ist noch unbekannt." in text
    assert f"fleet profile new {DEVICE}" in text
    assert "1.3.6.1.4.1.99999.7" in text
    assert "Box &lt;b&gt;7&lt;/b&gt;" in text
    assert set(view.LANGUAGES) == {"de", "en"}
    assert "not known yet" in house.browser("anna", "en").get(f"/geraet/{DEVICE}").text


def test_a_known_model_needs_no_such_word(house: House) -> None:
    with session(house.engine) as opened:
        opened.get_one(DeviceState, DEVICE).facts = {"profile": "epson-projector"}
    assert "noch unbekannt" not in house.browser("anna").get(f"/geraet/{DEVICE}").text


def test_details_are_lines_whose_numbers_stay_with_their_names(house: House) -> None:
    with session(house.engine) as opened:
        told = {"supplies": ["Black: 40 %", "Drum: 96 %"], "clients_per_network": ["Lernraum: 11"]}
        opened.get_one(DeviceState, DEVICE).facts = told
    text = house.browser("anna").get(f"/geraet/{DEVICE}").text
    assert "Black:\u00a040\u00a0%, Drum:\u00a096\u00a0%" in text
    assert "Lernraum:\u00a011" in text
