"""A person's word on a find, and when a site is searched."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from agents.drivers import DRIVERS
from fleet import discovery
from fleet.settings import Settings
from inventory import (
    Device,
    Proposal,
    ProposalState,
    Search,
    Service,
)
from inventory.db import reading, session
from tests.finds import MAC, SETTINGS, address, host, projector, region, searching, tell
from tests.rows import device, make_region

FIELDS = {
    "id": "drucker",
    "room": "library",
    "name": "Drucker",
    "kind": "printer",
    "driver": "snmp",
    "credential": "read",
}


class TestDecisions:
    def accept(self, engine: Engine, one: Proposal, now: datetime, **fields: Any) -> Device:
        with session(engine) as opened:
            return discovery.accept(opened, one.id or 0, fields, now, "it", DRIVERS)

    def test_a_stranger_becomes_a_device(self, engine: Engine, now: datetime) -> None:
        region(engine)
        (one,) = tell(engine, now, host(serial="NEW-1", mac=MAC, model="LBP", port=1161))
        self.accept(engine, one, now, **FIELDS)
        with reading(engine) as opened:
            made = opened.get_one(Device, "drucker")
            assert (made.address, made.serial, made.mac) == ("192.168.1.20", "NEW-1", MAC)
            assert (made.port, made.model, made.credential) == (1161, "LBP", "read")
            kept = opened.get_one(Proposal, one.id)
            assert (kept.state, kept.device_id) == (ProposalState.ACCEPTED, "drucker")
            assert kept.decided_by == "it"

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"driver": "shh"}, "faults"),
            ({"id": "Ä !"}, "faults"),
            ({"kind": "toaster"}, "faults"),
            ({"name": ""}, "faults"),
            ({"room": "hall"}, "other_site"),
            ({"room": "nowhere"}, "other_site"),
            ({"id": "laptop-1"}, "id_taken"),
        ],
    )
    def test_the_inventory_has_the_last_word(
        self, engine: Engine, now: datetime, change: dict[str, str], code: str
    ) -> None:
        region(engine)
        (one,) = tell(engine, now, host(serial="NEW-1"))
        with pytest.raises(discovery.DiscoveryRefused) as caught:
            self.accept(engine, one, now, **{**FIELDS, **change})
        assert caught.value.code == code
        with reading(engine) as opened:
            assert opened.get_one(Proposal, one.id).state is ProposalState.OPEN
            assert opened.get(Device, "drucker") is None

    def test_a_moved_device_gets_its_new_address(self, engine: Engine, now: datetime) -> None:
        region(engine, projector())
        (one,) = tell(engine, now, host(serial="PRJ-4711"))
        self.accept(engine, one, now)
        assert address(engine) == "192.168.1.20"

    def test_a_retired_one_is_back_in_service(self, engine: Engine, now: datetime) -> None:
        region(engine, projector(service=Service.RETIRED))
        (one,) = tell(engine, now, host(serial="PRJ-4711"))
        self.accept(engine, one, now)
        with reading(engine) as opened:
            assert opened.get_one(Device, "beamer").service is Service.ACTIVE

    def test_not_to_an_address_that_is_taken(self, engine: Engine, now: datetime) -> None:
        region(engine, projector())
        (one,) = tell(engine, now, host(serial="PRJ-4711"))
        with session(engine) as opened:
            opened.add(device("other", "library", address="192.168.1.20"))
        with pytest.raises(discovery.DiscoveryRefused, match="address"):
            self.accept(engine, one, now)

    def test_once(self, engine: Engine, now: datetime) -> None:
        region(engine)
        (one,) = tell(engine, now, host(serial="NEW-1"))
        self.accept(engine, one, now, **FIELDS)
        with pytest.raises(discovery.DiscoveryRefused, match="already"):
            self.accept(engine, one, now, **{**FIELDS, "id": "zwei"})


class TestSearches:
    def test_each_night_once_per_site_with_networks(self, engine: Engine) -> None:
        region(engine)
        evening = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
        times: dict[str, list[datetime]] = {}
        with session(engine) as opened:
            for minutes in range(0, 2 * 24 * 60, 5):
                at = evening + timedelta(minutes=minutes)
                for site in discovery.plan(opened, at, SETTINGS):
                    times.setdefault(site, []).append(at)
        assert {site: len(each) for site, each in times.items()} == {"north": 2, "south": 2}
        # Three o'clock in Berlin, in winter.
        assert {at.hour for each in times.values() for at in each} <= {2, 3}
        assert times["north"][0] != times["south"][0]

    def test_never_at_night_when_told_so(self, engine: Engine) -> None:
        region(engine)
        night = datetime(2026, 11, 23, 2, 59, tzinfo=UTC)
        with session(engine) as opened:
            assert discovery.plan(opened, night, Settings(discovery_hour=-1)) == []

    def test_asked_twice_is_one_search_and_claimed_once(
        self, engine: Engine, now: datetime
    ) -> None:
        region(engine)
        with session(engine) as opened:
            first = discovery.ask(opened, "north", now, "it")
            again = discovery.ask(opened, "north", now, "it")
            assert first is not None
            assert again is not None
            assert first.id == again.id
            (order,) = discovery.claim(opened, now)
            assert discovery.claim(opened, now) == []
        assert [each.range for each in order.ranges] == ["192.168.1.0/24"]
        assert order.not_after == now + timedelta(minutes=15)

    def test_a_site_without_networks_is_never_searched(self, engine: Engine, now: datetime) -> None:
        make_region(engine)
        with session(engine) as opened:
            assert discovery.ask(opened, "north", now, "it") is None
            assert discovery.claim(opened, now) == []

    def test_an_end_that_never_comes_and_an_order_that_never_left(
        self, engine: Engine, now: datetime
    ) -> None:
        region(engine)
        sweep = searching(engine, now)
        with session(engine) as opened:
            discovery.give_back(opened, [sweep], now)
            (order,) = discovery.claim(opened, now)
            assert order.id == sweep
            assert discovery.expire(opened, now + timedelta(hours=2)) == 0
            assert discovery.expire(opened, now + timedelta(hours=3)) == 1
            opened.expire_all()
            assert opened.get_one(Search, sweep).problem == "no_end"

    def test_why_it_failed_is_kept(self, engine: Engine, now: datetime) -> None:
        region(engine)
        tell(engine, now, problem="missing_credential")
        tell(engine, now, problem="something new")
        with reading(engine) as opened:
            problems = sorted(search.problem for search in opened.exec(select(Search)))
        assert problems == ["failed", "missing_credential"]
