"""What a search found: proposed, followed when proved, never taken from the wrong mouth."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import select

from agents.messages import Found, FoundHost
from fleet import discovery, intake, retention
from fleet.discovery.matching import bare
from inventory import (
    Device,
    Flip,
    Proposal,
    ProposalState,
    Search,
    SearchState,
    Service,
    Sort,
)
from inventory.db import reading, session
from tests.finds import MAC, SETTINGS, address, host, projector, region, searching, seen, tell
from tests.rows import device


class TestFinds:
    def test_a_stranger_is_proposed_once_however_often_it_is_seen(
        self, engine: Engine, now: datetime
    ) -> None:
        region(engine)
        tell(engine, now, host(serial="NEW-1", model="LBP"))
        later = now + timedelta(days=1)
        (one,) = tell(engine, later, host("192.168.1.21", serial="new 1", mac=MAC))
        assert (one.sort, one.state, one.address) == (Sort.NEW, ProposalState.OPEN, "192.168.1.21")
        assert (one.model, one.mac) == ("LBP", MAC)
        assert (one.first_seen, one.last_seen) == (now, later)

    def test_a_proved_device_that_is_silent_at_its_place_is_followed_and_told(
        self, engine: Engine, now: datetime
    ) -> None:
        region(engine, projector())
        seen(engine, now, reachable=False)
        (one,) = tell(engine, now, host(serial="prj4711", proved=True))
        assert address(engine) == "192.168.1.20"
        assert (one.state, one.old_address) == (ProposalState.FOLLOWED, "192.168.1.10")
        with reading(engine) as opened:
            (flip,) = opened.exec(select(Flip).where(Flip.device_id == "beamer"))
        assert (flip.old, flip.new, flip.reason) == ("failed", "failed", "address_followed")

    @pytest.mark.parametrize(
        ("said", "reachable", "sort"),
        [
            ({"serial": "PRJ-4711"}, False, Sort.MOVED),
            ({"mac": MAC}, False, Sort.MOVED),
            ({"mac": MAC, "proved": True}, False, Sort.MOVED),
            ({"serial": "PRJ-4711", "proved": True}, True, Sort.DOUBLE),
            ({"serial": "PRJ-4711", "mac": "02:00:00:00:00:09", "proved": True}, True, Sort.DOUBLE),
        ],
    )
    def test_else_it_is_only_proposed(
        self, engine: Engine, now: datetime, said: dict[str, Any], reachable: bool, sort: Sort
    ) -> None:
        region(engine, projector(mac=MAC))
        seen(engine, now, reachable=reachable)
        (one,) = tell(engine, now, host(**said))
        assert (one.sort, one.device_id, one.state) == (sort, "beamer", ProposalState.OPEN)
        assert address(engine) == "192.168.1.10"

    def test_nobody_is_followed_to_an_address_that_belongs_to_another(
        self, engine: Engine, now: datetime
    ) -> None:
        region(engine, projector(), device("other", "library", address="192.168.1.20"))
        seen(engine, now, reachable=False)
        (one,) = tell(engine, now, host(serial="PRJ-4711", proved=True))
        assert (one.sort, one.state) == (Sort.MOVED, ProposalState.OPEN)
        assert address(engine) == "192.168.1.10"

    def test_what_is_as_the_inventory_has_it_is_no_find(
        self, engine: Engine, now: datetime
    ) -> None:
        region(
            engine,
            projector(),
            device("by-name", "library", address="printer.example", serial="NAM-0001"),
            device("plain", "library", address="192.168.1.30"),
        )
        found = tell(
            engine,
            now,
            host("192.168.1.10", serial="PRJ-4711"),
            host("192.168.1.77", serial="NAM-0001"),
            host("192.168.1.30"),
        )
        assert found == []

    def test_another_thing_at_a_known_address_is_one(self, engine: Engine, now: datetime) -> None:
        region(engine, projector())
        (one,) = tell(engine, now, host("192.168.1.10", serial="OTHER-1"))
        assert one.sort is Sort.NEW

    def test_a_retired_device_and_one_of_another_site(self, engine: Engine, now: datetime) -> None:
        region(
            engine,
            projector(service=Service.RETIRED),
            device("far", "hall", serial="FAR-0001", address="192.168.1.40"),
        )
        found = tell(
            engine,
            now,
            host(serial="PRJ-4711", proved=True),
            host("192.168.1.21", serial="FAR-0001", proved=True),
        )
        assert [one.sort for one in found] == [Sort.RETIRED, Sort.ELSEWHERE]
        assert address(engine, "far") == "192.168.1.40"

    def test_a_serial_number_that_is_none_proves_nothing(
        self, engine: Engine, now: datetime
    ) -> None:
        region(engine, projector(serial="0000000"))
        (one,) = tell(engine, now, host(serial="0000000", proved=True))
        assert one.sort is Sort.NEW
        assert bare("To be filled by O.E.M.") == bare("123456789") == bare("x-x") == ""

    def test_ignored_stays_ignored_until_it_means_something_else(
        self, engine: Engine, now: datetime
    ) -> None:
        region(engine)
        (one,) = tell(engine, now, host(serial="NEW-1"))
        with session(engine) as opened:
            discovery.ignore(opened, one.id or 0, now, "it")
        (one,) = tell(engine, now, host(serial="NEW-1"))
        assert one.state is ProposalState.IGNORED
        with session(engine) as opened:
            opened.add(projector(serial="NEW-1"))
        found = tell(engine, now, host(serial="NEW-1"))
        assert [each.state for each in found if each.sort is Sort.MOVED] == [ProposalState.OPEN]

    def test_a_proposal_is_settled_by_putting_it_into_the_inventory(
        self, engine: Engine, now: datetime
    ) -> None:
        region(engine)
        tell(engine, now, host(serial="NEW-1"))
        with session(engine) as opened:
            opened.add(projector(serial="NEW-1", address="192.168.1.20"))
        (one,) = tell(engine, now, host(serial="NEW-1"))
        assert one.state is ProposalState.SETTLED


class TestWrongMouth:
    def test_only_within_the_networks_of_the_site(self, engine: Engine, now: datetime) -> None:
        region(engine)
        assert tell(engine, now, host("192.168.2.1"), host("8.8.8.8"), host("x")) == []

    def test_a_site_speaks_only_for_its_own_searches(self, engine: Engine, now: datetime) -> None:
        region(engine, projector())
        seen(engine, now, reachable=False)
        sweep = searching(engine, now)
        lies = [
            Found(sweep=sweep, site="north", at=now, hosts=[host(serial="PRJ-4711", proved=True)]),
            Found(sweep=sweep, site="south", at=now, hosts=[host(serial="X-0001")]),
            Found(sweep="unknown", site="south", at=now, hosts=[host(serial="X-0001")]),
            Found(sweep="unknown", site="nowhere", at=now, hosts=[host()]),
        ]
        applied = intake.apply(engine, lies, now, SETTINGS, ["south", "south", "south", "nowhere"])
        assert applied.unknown == {"north"}
        with reading(engine) as opened:
            assert opened.exec(select(Proposal)).all() == []
        assert address(engine) == "192.168.1.10"

    def test_nothing_is_taken_after_the_end(self, engine: Engine, now: datetime) -> None:
        region(engine)
        sweep = searching(engine, now)
        end = Found(sweep=sweep, site="north", at=now, done=True)
        late = Found(sweep=sweep, site="north", at=now, hosts=[host(serial="NEW-1")])
        intake.apply(engine, [end, late, end], now, SETTINGS)
        with reading(engine) as opened:
            assert opened.exec(select(Proposal)).all() == []
            assert opened.get_one(Search, sweep).state is SearchState.DONE

    @hypothesis_settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.lists(
            st.builds(
                FoundHost,
                address=st.sampled_from(["192.168.1.20", "192.168.1.21", "9.9.9.9", ""]),
                mac=st.text(max_size=17),
                serial=st.sampled_from(["", "PRJ-4711", "NEW-1"]) | st.text(max_size=200),
                name=st.text(max_size=200),
                model=st.text(max_size=200),
                kind=st.text(max_size=63),
                driver=st.text(max_size=63),
                ways=st.lists(st.text(max_size=63), max_size=3),
                port=st.none() | st.integers(),
                proved=st.booleans(),
            ),
            max_size=5,
        ),
        st.text(max_size=63),
        st.integers(),
    )
    def test_whatever_an_agent_tells_can_be_stored_and_repeated(
        self, engine: Engine, hosts: list[FoundHost], problem: str, asked: int
    ) -> None:
        now = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
        with reading(engine) as opened:
            there = opened.get(Device, "beamer")
        if there is None:
            region(engine, projector())
        tell(engine, now, *hosts, problem=problem, asked=asked)
        first = snapshot(engine)
        tell(engine, now, *hosts, problem=problem, asked=asked)
        again = snapshot(engine)
        assert {a for a, _ in first} <= {a for a, _ in again}


def snapshot(engine: Engine) -> list[tuple[Any, Any]]:
    with reading(engine) as opened:
        return [(one.id, one.state) for one in opened.exec(select(Proposal))]


def test_finds_are_forgotten(engine: Engine, now: datetime) -> None:
    region(engine, projector())
    states = [*ProposalState]
    with session(engine) as opened:
        for number, state in enumerate(states):
            opened.add(
                Proposal(
                    site_id="north",
                    sort=Sort.NEW,
                    state=state,
                    address=f"192.168.1.{number}",
                    first_seen=now,
                    last_seen=now,
                )
            )
    left: dict[int, set[ProposalState]] = {}
    for days in (29, 31, 91, 366):
        retention.forget(engine, now + timedelta(days=days))
        with reading(engine) as opened:
            left[days] = {one.state for one in opened.exec(select(Proposal))}
    assert left[29] == set(states)
    assert left[31] == {ProposalState.ACCEPTED, ProposalState.FOLLOWED, ProposalState.IGNORED}
    assert left[91] == {ProposalState.IGNORED}
    assert left[366] == set()


def test_two_parts_at_once_propose_a_host_once(engine: Engine, now: datetime) -> None:
    """On PostgreSQL two processes may take two parts at the same moment."""
    region(engine)
    sweep = searching(engine, now)
    found = Found(sweep=sweep, site="north", at=now, hosts=[host(serial="NEW-1")])

    def take() -> None:
        intake.apply(engine, [found], now, SETTINGS, ["north"])

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as opened:
        assert len(opened.exec(select(Proposal)).all()) == 1
