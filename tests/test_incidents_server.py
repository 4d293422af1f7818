"""A dead management server is one incident, however many tablets it speaks for."""

from datetime import datetime, timedelta
from functools import partial
from random import Random

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from agents.messages import Heartbeat, Reading
from dashboards.letters import write_fault
from fleet import incidents, intake
from fleet.health.causes import LONGEST, dead_servers, server_cause
from fleet.settings import Settings
from inventory import (
    Audience,
    Channel,
    Contact,
    DeviceKind,
    DeviceState,
    Health,
    Incident,
    Notice,
    Room,
)
from inventory.db import reading, session
from tests.room import add_course, furnish
from tests.rows import device

SETTINGS = Settings(poll_s=60)
MINUTE = timedelta(minutes=1)
MDM = "server:mdm.example.org:443"
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class Tablets:
    """Three in a room with a course and three in one without, at one server; two at another, and a
    projector. An agent polls them one after the other, and makes pauses with those that fail."""

    def __init__(self, engine: Engine, start: datetime) -> None:
        self.engine, self.now, self.chance = engine, start, Random(3)
        self.dead: set[str] = set()
        self.silent: set[str] = set()
        furnish(engine, start, laptops=0)
        add_course(engine, start - timedelta(hours=1), length=timedelta(hours=12))
        self.server: dict[str, str] = {}
        with session(engine) as opened:
            opened.add(Room(id="r2", site_id="vhs", name="r2"))
            opened.add(
                Contact(
                    id="it", site_id="vhs", name="IT", audience=Audience.IT, channel=Channel.LOG
                )
            )
            opened.flush()
            for n in range(8):
                name, room = f"t{n}", "r1" if n < 3 or n > 5 else "r2"
                self.server[name] = "mdm.example.org" if n < 6 else "other.example.org"
                opened.add(
                    device(
                        name, room, DeviceKind.TABLET, driver="headwind",
                        address=self.server[name], port=None if n % 2 else 443,
                    )
                )  # fmt: skip
            opened.add(device("beamer", "r1", DeviceKind.PROJECTOR))
        self.server["beamer"] = ""
        self.due = {name: start + timedelta(seconds=7 * n) for n, name in enumerate(self.server)}
        self.failures = dict.fromkeys(self.server, 0)

    def problem(self, name: str) -> str:
        if self.server[name] in self.dead:
            return "server_silent"
        return "unreachable" if name in self.silent else ""

    def run(self, minutes: int) -> None:
        until = self.now + minutes * MINUTE
        while self.now < until:
            self.now += timedelta(seconds=15)
            said: list[Reading | Heartbeat] = [Heartbeat(site="vhs", at=self.now)]
            for name in self.server:
                if self.due[name] > self.now:
                    continue
                problem = self.problem(name)
                self.failures[name] = self.failures[name] + 1 if problem else 0
                pause = min(60 * 2 ** max(self.failures[name] - 2, 0), 300)
                self.due[name] = self.now + timedelta(seconds=pause)
                facts = {} if problem else {"report_age_s": 5}
                said.append(Reading(
                    device=name, taken_at=self.now, reachable=not problem, problem=problem,
                    facts=facts,
                ))  # fmt: skip
            intake.apply(self.engine, said, self.now, SETTINGS)
            intake.rejudge(self.engine, self.now, SETTINGS)
            incidents.tick(
                self.engine, self.now, SETTINGS, partial(write_fault, "https://raumwart.example")
            )

    def told(self) -> list[Incident]:
        with reading(self.engine) as opened:
            return list(opened.exec(select(Incident).order_by(col(Incident.id))))

    def state(self, name: str) -> DeviceState:
        with reading(self.engine) as opened:
            return opened.get_one(DeviceState, name)


@pytest.fixture
def tablets(engine: Engine, now: datetime) -> Tablets:
    made = Tablets(engine, now)
    made.run(4)
    return made


def test_one_incident_and_one_message_with_its_end(tablets: Tablets) -> None:
    tablets.dead = {"mdm.example.org"}
    died = tablets.now
    tablets.run(20)
    (incident,) = tablets.told()
    assert (incident.cause, incident.reason, incident.device_id) == (MDM, "server_silent", None)
    assert incident.affected == 6
    assert died - 2 * MINUTE <= incident.since <= died
    assert (tablets.state("t0").health, tablets.state("t0").reason) == (Health.UNKNOWN, "cut_off")
    assert tablets.state("t4").health is Health.OFF, "nobody needs it now"
    assert tablets.state("t6").health is Health.OK, "another server"
    with reading(tablets.engine) as opened:
        (notice,) = opened.exec(select(Notice)).all()
    assert notice.subject.startswith("mdm.example.org:443 (Erlental)")
    assert "Der Verwaltungs-Server antwortet nicht." in notice.text
    assert "6 weitere Geräte" in notice.text
    tablets.dead = set()
    tablets.run(20)
    (incident,) = tablets.told()
    assert incident.closed_at is not None
    assert tablets.state("t0").cause == ""
    assert tablets.state("t0").health is Health.OK


def test_the_first_tablet_that_answers_ends_it_and_the_rest_get_none(tablets: Tablets) -> None:
    tablets.dead = {"mdm.example.org"}
    tablets.run(15)
    tablets.dead, tablets.silent = set(), {"t1", "t2", "t4"}
    tablets.run(6)
    (incident,) = tablets.told()
    assert incident.closed_at is not None
    assert tablets.state("t1").problem == "unreachable"
    tablets.run(10)
    assert len(tablets.told()) == 1


def test_silent_tablets_make_no_dead_server(tablets: Tablets) -> None:
    tablets.silent = {f"t{n}" for n in range(8)}
    tablets.run(15)
    assert tablets.told() == []
    assert tablets.state("t0").reason == "unreachable"


def test_two_dead_servers_are_two(tablets: Tablets) -> None:
    tablets.dead = {"mdm.example.org", "other.example.org"}
    tablets.run(12)
    causes = {one.cause: one.affected for one in tablets.told()}
    assert causes == {MDM: 6, "server:other.example.org:443": 2}


@pytest.mark.parametrize(
    ("votes", "dead"),
    [([], set()), ([True], {"x"}), ([True, True], {"x"}), ([True, False], set()), ([False], set())],
)
def test_one_answer_shows_that_a_server_lives(
    engine: Engine, votes: list[bool], dead: set[str]
) -> None:
    assert {server for _, server in dead_servers(("s", "x", gone) for gone in votes)} == dead


def test_the_name_of_a_cause_fits(engine: Engine) -> None:
    assert server_cause("MDM.example.org", 443) == MDM
    one, other = (server_cause("m" * 200 + end, 443) for end in "ab")
    assert len(one) <= LONGEST
    assert one != other
