"""One cause, one incident, always an end: shown by a region in which everything fails at random."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from agents.messages import Heartbeat, Reading
from dashboards.letters import write_fault
from fleet import incidents, intake, overrides
from fleet.incidents.deciding import Seen, decide
from fleet.settings import Settings
from inventory import (
    Audience,
    Channel,
    Contact,
    Device,
    DeviceKind,
    DeviceState,
    Health,
    Incident,
    Level,
    Notice,
    NoticeState,
    OverrideKind,
    Service,
)
from inventory.db import migrate, open_engine, reading, session
from tests.room import add_course, furnish
from tests.rows import device

SETTINGS = Settings(poll_s=60)
AP, SWITCH, UPS, LAPTOP = (
    DeviceKind.ACCESS_POINT, DeviceKind.SWITCH, DeviceKind.UPS, DeviceKind.LAPTOP,
)  # fmt: skip
MINUTE = timedelta(minutes=1)


class Site:
    """A site as it really is: who is broken, who is cut off by whom, and an agent that polls it
    as agents do, with a lost packet now and then."""

    BELOW: ClassVar = {
        "usv": ["switch"],
        "switch": ["ap-1", "ap-2"],
        "ap-1": [],
        "ap-2": ["laptop-1"],
    }

    def __init__(self, engine: Engine, start: datetime, chance: Random) -> None:
        self.engine, self.now, self.chance = engine, start, chance
        self.broken: set[str] = set()
        self.names = ["usv", "switch", "ap-1", "ap-2", "laptop-1"]
        self.due = {name: start + timedelta(seconds=12 * n) for n, name in enumerate(self.names)}
        self.failures: Counter[str] = Counter()
        furnish(engine, start, laptops=0)
        with session(engine) as opened:
            for name, kind, uplink, power in (
                ("usv", UPS, None, None),
                ("switch", SWITCH, None, "usv"),
                ("ap-1", AP, "switch", None),
                ("ap-2", AP, "switch", None),
                ("laptop-1", LAPTOP, "ap-2", None),
            ):
                opened.add(device(name, "r1", kind, uplink_id=uplink, power_id=power))
        add_course(engine, start - timedelta(hours=1), length=timedelta(hours=12))

    write = staticmethod(partial(write_fault, "https://raumwart.example"))

    def out(self) -> set[str]:
        """Everybody who does not answer: the broken, and who hangs on them."""
        gone, waiting = set(), list(self.broken)
        while waiting:
            name = waiting.pop()
            if name not in gone:
                gone.add(name)
                waiting += self.BELOW.get(name, [])
        return gone

    def run(self, until: datetime, *, lossy: float = 0.02) -> None:
        while self.now < until:
            self.now += timedelta(seconds=15)
            out = self.out()
            said: list[Reading | Heartbeat] = [Heartbeat(site="vhs", at=self.now)]
            for name in self.names:
                if self.due[name] > self.now:
                    continue
                there = name not in out and self.chance.random() > lossy
                self.failures[name] = 0 if there else self.failures[name] + 1
                pause = min(60 * 2 ** max(self.failures[name] - 2, 0), 300)
                self.due[name] = self.now + timedelta(seconds=pause)
                problem = "" if there else "unreachable"
                facts = {"uptime_s": 5} if there else {}
                said.append(Reading(
                    device=name, taken_at=self.now, reachable=there, problem=problem, facts=facts
                ))  # fmt: skip
            intake.apply(self.engine, said, self.now, SETTINGS)
            intake.rejudge(self.engine, self.now, SETTINGS)
            incidents.tick(self.engine, self.now, SETTINGS, self.write)

    def told(self) -> list[Incident]:
        with reading(self.engine) as opened:
            return list(opened.exec(select(Incident).order_by(col(Incident.id))))


@pytest.fixture
def site(tmp_path: Path, now: datetime) -> Iterator[Site]:
    """On SQLite; what the databases could do differently has a test of its own on both."""
    engine = open_engine(f"sqlite:///{tmp_path}/fleet.db")
    migrate(engine)
    yield settled(engine, now)
    engine.dispose()


@pytest.fixture
def both(engine: Engine, now: datetime) -> Site:
    return settled(engine, now)


def settled(engine: Engine, now: datetime) -> Site:
    made = Site(engine, now, Random(7))
    made.run(now + 4 * MINUTE, lossy=0)
    return made


def test_a_dead_switch_is_one_incident_with_what_it_cut_off(site: Site) -> None:
    site.broken = {"switch"}
    site.run(site.now + 20 * MINUTE)
    (incident,) = site.told()
    assert (incident.device_id, incident.reason) == ("switch", "unreachable")
    assert incident.affected == 3
    assert incident.closed_at is None
    site.broken = set()
    site.run(site.now + 20 * MINUTE)
    (incident,) = site.told()
    assert incident.closed_at is not None


def test_a_device_still_dead_after_its_cause_gets_its_own(site: Site) -> None:
    site.broken = {"switch", "ap-1"}
    site.run(site.now + 15 * MINUTE, lossy=0)
    assert [each.device_id for each in site.told()] == ["switch"]
    site.broken = {"ap-1"}
    site.run(site.now + 25 * MINUTE, lossy=0)
    assert [each.device_id for each in site.told()] == ["switch", "ap-1"]


def test_one_that_comes_and_goes_is_told_once(site: Site) -> None:
    for _ in range(6):
        site.broken = {"ap-1"}
        site.run(site.now + 3 * MINUTE, lossy=0)
        site.broken = set()
        site.run(site.now + 3 * MINUTE, lossy=0)
    site.run(site.now + 15 * MINUTE, lossy=0)
    (incident,) = site.told()
    assert incident.device_id == "ap-1"
    assert incident.closed_at is not None


def test_the_whole_site_and_a_silent_agent(site: Site) -> None:
    site.broken = {"usv", "ap-1", "laptop-1"}
    with session(site.engine) as opened:  # nothing is written down of what hangs on what
        for each in opened.exec(select(Device)):
            each.uplink_id = each.power_id = None
    site.run(site.now + 15 * MINUTE, lossy=0)
    assert [(each.device_id, each.reason) for each in site.told()] == [(None, "site")]
    site.broken = set()
    site.run(site.now + 15 * MINUTE, lossy=0)
    late = site.now + 10 * MINUTE  # the agent is silent for ten minutes
    incidents.tick(site.engine, late, SETTINGS)
    site.now = late
    site.run(site.now + 5 * MINUTE, lossy=0)
    assert [each.reason for each in site.told()] == ["site", "agent_silent"]
    assert all(each.closed_at for each in site.told())


def test_a_device_in_repair_is_no_incident(site: Site) -> None:
    site.broken = {"ap-1"}
    site.run(site.now + 15 * MINUTE, lossy=0)
    with session(site.engine) as opened:
        opened.get_one(Device, "ap-1").service = Service.REPAIR
    site.run(site.now + 5 * MINUTE, lossy=0)
    (incident,) = site.told()
    assert incident.closed_at is not None


def notices(engine: Engine) -> list[Notice]:
    with reading(engine) as opened:
        return list(opened.exec(select(Notice).order_by(col(Notice.made_at), col(Notice.id))))


def test_the_it_is_told_once_and_told_of_the_end(both: Site) -> None:
    site = both
    with session(site.engine) as opened:
        for name, audience in (("it", Audience.IT), ("haus", Audience.CARETAKER)):
            opened.add(
                Contact(
                    id=name, site_id="vhs", name=name, audience=audience, channel=Channel.MAIL,
                    address=f"{name}@example.org", quiet="09:00-10:00",
                )
            )  # fmt: skip
    site.broken = {"switch"}
    site.run(site.now + 8 * MINUTE, lossy=0)
    (first,) = notices(site.engine)
    assert (first.contact_id, first.level, first.room_id) == ("it", Level.FAULT, "r1")
    assert "Switch" in first.subject
    assert "Antwortet nicht." in first.text
    assert "weitere Geräte" in first.text
    assert first.next_try_at >= first.made_at + 30 * MINUTE, "the quiet hours hold"
    with session(site.engine) as opened:  # it arrived
        opened.get_one(Notice, first.id).state = NoticeState.SENT
    site.broken = set()
    site.run(site.now + 12 * MINUTE, lossy=0)
    _, last = notices(site.engine)
    assert (last.contact_id, last.level) == ("it", Level.FAULT_OVER)
    assert "behoben" in last.subject
    assert "ist vorbei" in last.text


def test_a_message_that_was_on_its_way_does_not_follow_the_end(site: Site) -> None:
    with session(site.engine) as opened:
        opened.add(
            Contact(id="it", site_id="vhs", name="IT", audience=Audience.IT, channel=Channel.LOG)
        )
    site.broken = {"switch"}
    site.run(site.now + 8 * MINUTE, lossy=0)
    (begun,) = notices(site.engine)
    for state in (NoticeState.SENDING, NoticeState.WAITING):  # it did not arrive
        with session(site.engine) as opened:
            opened.get_one(Notice, begun.id).state = state
        site.broken = set()
        site.run(site.now + 12 * MINUTE, lossy=0)
    assert [(one.level, one.state) for one in notices(site.engine)] == [
        (Level.FAULT, NoticeState.DROPPED), (Level.FAULT_OVER, NoticeState.WAITING)
    ]  # fmt: skip


def test_who_was_not_told_yet_is_not_told_any_more(site: Site) -> None:
    with session(site.engine) as opened:
        opened.add(
            Contact(
                id="it", site_id="vhs", name="IT", audience=Audience.IT, channel=Channel.LOG,
            )
        )  # fmt: skip
    site.broken = {"usv", "ap-1", "laptop-1"}
    with session(site.engine) as opened:
        for each in opened.exec(select(Device)):
            each.uplink_id = each.power_id = None
    site.run(site.now + 12 * MINUTE, lossy=0)
    site.broken = set()
    site.run(site.now + 12 * MINUTE, lossy=0)
    (only,) = notices(site.engine)
    assert (only.room_id, only.state) == (None, NoticeState.DROPPED)


def test_somebody_works_on_it(site: Site) -> None:
    with session(site.engine) as opened:
        scope = overrides.Scope(device="switch")
        said = overrides.say(opened, OverrideKind.MAINTENANCE, scope, site.now, "ida")
        number = said.id
    assert number is not None
    site.broken = {"switch"}
    site.run(site.now + 15 * MINUTE, lossy=0)
    with reading(site.engine) as opened:
        assert opened.get_one(DeviceState, "switch").reason == "maintenance"
    assert not site.told(), "nor is what hangs on it"
    with session(site.engine) as opened:
        overrides.end(opened, number, site.now, "ida")
    site.run(site.now + 12 * MINUTE, lossy=0)
    assert [each.device_id for each in site.told()] == ["switch"]


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(2))
def test_everything_fails_at_random(tmp_path: Path, now: datetime, seed: int) -> None:
    """However things fail one after another: each real fault that lasts is told once, nothing
    that it cut off is, and when all is well again nothing is left open."""
    chance = Random(seed)
    engine = open_engine(f"sqlite:///{tmp_path}/fleet.db")
    migrate(engine)
    site = Site(engine, now, chance)
    site.run(now + 4 * MINUTE, lossy=0)
    expected = []
    for _ in range(4):
        fault = chance.choice(["usv", "switch", "ap-1", "ap-2"])
        site.broken = {fault}
        site.run(site.now + chance.randint(12, 20) * MINUTE)
        expected.append(fault)
        site.broken = set()
        site.run(site.now + chance.randint(13, 25) * MINUTE)
    assert [each.device_id for each in site.told()] == expected
    assert all(each.closed_at for each in site.told())
    engine.dispose()


def test_two_processes_open_one_incident(both: Site) -> None:
    site = both
    site.broken = {"ap-1"}
    site.run(site.now + 4 * MINUTE, lossy=0)
    with session(site.engine) as opened:
        before = len(opened.exec(select(Incident)).all())
    for _ in range(3):
        incidents.tick(site.engine, site.now + 2 * MINUTE, SETTINGS)
    assert len(site.told()) == max(before, 1)


def test_a_removed_device_ends_its_incident(now: datetime) -> None:
    change = decide([], [("vhs", "ap-1")], now)
    assert change.closed == [("vhs", "ap-1")]


def test_while_nobody_knows_nothing_ends(now: datetime) -> None:
    seen = Seen("ap-1", "vhs", AP, Health.UNKNOWN, "no_news", now - 60 * MINUTE)
    assert decide([seen], [("vhs", "ap-1")], now).closed == []
