"""Rosters: what an agent is told, and that it is told only when something changed."""

import asyncio
import threading
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, event
from sqlmodel import col, delete

from agents.bus import BadMessage, Bus, decode, open_bus
from agents.messages import Roster
from fleet import jobs, overrides, roster
from fleet.overrides import Scope
from fleet.settings import Settings
from inventory import AgentContact, Course, Device, Feed, OverrideKind, Recipe, Service, Site
from inventory.db import reading, session
from tests.room import HOUR, add_course, furnish
from tests.rows import device, make_region

SETTINGS = Settings(poll_s=30)


class Mailbox:
    """A bus that keeps what was published."""

    def __init__(self) -> None:
        self.rosters: list[Roster] = []

    async def publish(self, subject: str, data: bytes) -> None:
        message = decode(data)
        assert isinstance(message, Roster)
        assert subject == f"roster.{message.site}"
        self.rosters.append(message)


def publish(
    engine: Engine, box: Mailbox, now: datetime, last: dict[str, roster.Published]
) -> list[str]:
    return asyncio.run(roster.publish_changed(box, engine, SETTINGS, now, last))  # type: ignore[arg-type]


def test_what_an_agent_is_told(engine: Engine, now: datetime) -> None:
    make_region(
        engine,
        device("old", "library", service=Service.RETIRED),
        device("away", "library", service=Service.LENT),
        device("broken", "library", service=Service.REPAIR, options={"version": "3"}, port=161),
    )
    with session(engine) as opened:
        opened.get_one(Recipe, "laptop-reset").steps = {"tier": "quick"}
    hour = timedelta(hours=1)
    with session(engine) as opened:
        opened.add(Feed(id="f", site_id="north", url="file:///x", good_at=now, max_age_s=3600))
        opened.add(Feed(id="g", site_id="south", url="file:///y"))
        for uid, start in (
            ("past", now - 3 * hour),
            ("just over", now - hour - timedelta(seconds=60)),
            ("now", now),
            ("cancelled", now + hour),
            ("tomorrow", now + 24 * hour),
            ("next week", now + 49 * hour),
        ):
            opened.add(
                Course(room_id="library", uid=uid, start=start, end=start + hour,
                       cancelled=uid == "cancelled")
            )  # fmt: skip
        opened.add(Course(room_id="hall", uid="hall", start=now, end=now + hour))
    with reading(engine) as opened:
        told = roster.build(opened, "north", now, SETTINGS)
    assert [t.device for t in told.targets] == ["ap-1", "broken", "laptop-1", "projector-1"]
    assert [t.device for t in told.targets if t.cleared] == ["laptop-1"], "only what is reset"
    broken = told.targets[1]
    assert (broken.options, broken.port, broken.every_s) == ({"version": "3"}, 161, 30)
    assert (broken.kind, broken.driver) == ("laptop", "ssh")
    starts = [now - hour - timedelta(seconds=60), now, now + 24 * hour]
    assert [b.start for b in told.busy] == starts
    assert told.trusted_until == {"library": now + hour}
    with reading(engine) as opened:
        south = roster.build(opened, "south", now, SETTINGS)
    assert south.trusted_until == {}
    assert [b.room for b in south.busy] == ["hall"]


def test_only_changes_are_sent(engine: Engine, now: datetime) -> None:
    make_region(engine)
    box, last = Mailbox(), dict[str, roster.Published]()
    assert publish(engine, box, now, last) == ["north", "south"]
    assert publish(engine, box, now + timedelta(seconds=5), last) == []
    with session(engine) as opened:
        opened.get_one(Device, "laptop-2").address = "127.0.0.2"
    later = now + timedelta(seconds=10)
    assert publish(engine, box, later, last) == ["south"]
    first, changed = (r for r in box.rosters if r.site == "south")
    assert changed.revision > first.revision
    assert changed.targets[0].address == "127.0.0.2"
    # Everything again after five minutes, under the same revision.
    assert publish(engine, box, now + timedelta(seconds=300), last) == ["north"]
    assert publish(engine, box, later + timedelta(seconds=300), last) == ["south"]
    assert box.rosters[-1].revision == changed.revision
    assert box.rosters[-1].sent_at > changed.sent_at


def test_the_revision_never_falls_back(engine: Engine, now: datetime) -> None:
    make_region(engine)
    box, last = Mailbox(), dict[str, roster.Published]()
    publish(engine, box, now, last)
    held = box.rosters[0].revision
    with session(engine) as opened:
        opened.add(AgentContact(site_id="north", at=now, revision=held))
    # A restart, with a clock that was set back.
    publish(engine, box, now - timedelta(hours=1), {})
    assert box.rosters[2].revision == held + 1
    # Two changes within the same millisecond.
    for port in (1, 2):
        with session(engine) as opened:
            opened.get_one(Device, "laptop-1").port = port
        publish(engine, box, now, last)
    assert box.rosters[-2].revision == held + 1
    assert box.rosters[-1].revision == held + 2


def test_a_roster_read_earlier_never_replaces_a_newer_one(engine: Engine, now: datetime) -> None:
    """Two jobs of one process send rosters, and a thread that reads one may be slow."""
    make_region(engine)
    box, last = Mailbox(), dict[str, roster.Published]()
    publish(engine, box, now, last)
    read, go_on = threading.Event(), threading.Event()

    def hold_up(*_: object) -> None:
        if not read.is_set():
            read.set()
            go_on.wait(10)

    async def both() -> None:
        service = jobs.Service(engine, box, SETTINGS, lambda: now, published=last)  # type: ignore[arg-type]
        slow = asyncio.create_task(jobs.publish_rosters(service))
        await asyncio.to_thread(read.wait, 10)
        with session(engine) as opened:
            opened.get_one(Device, "laptop-2").address = "127.0.0.2"
        fast = asyncio.create_task(jobs.publish_rosters(service))
        await asyncio.wait([fast], timeout=0.5)
        go_on.set()
        await asyncio.gather(slow, fast)

    event.listen(engine, "rollback", hold_up)  # how a transaction that only reads ends
    asyncio.run(both())
    newest = max((one for one in box.rosters if one.site == "south"), key=lambda one: one.revision)
    assert newest.targets[0].address == "127.0.0.2"


def test_nobody_is_warned_where_the_next_reset_was_called_off(
    engine: Engine, now: datetime
) -> None:
    furnish(engine, now, laptops=2, recipe={"steps": {"tier": "quick"}})
    add_course(engine, now - HOUR / 2)
    following = [add_course(engine, now + 2 * HOUR), add_course(engine, now + 5 * HOUR)]

    def cleared() -> list[str]:
        with reading(engine) as opened:
            return [
                t.device for t in roster.build(opened, "vhs", now, SETTINGS).targets if t.cleared
            ]

    assert cleared() == ["r1-l1", "r1-l2"]
    for laptop, course, left in (
        ("r1-l2", following[1], ["r1-l1", "r1-l2"]),  # the one after the next
        ("r1-l1", following[0], ["r1-l2"]),
        (None, following[0], []),
    ):
        with session(engine) as opened:
            scope = Scope(course=course, device=laptop)
            overrides.say(opened, OverrideKind.SKIP, scope, now, "IT")
        assert cleared() == left


def test_a_site_that_is_gone_gets_an_empty_roster(engine: Engine, now: datetime) -> None:
    make_region(engine)
    box, last = Mailbox(), dict[str, roster.Published]()
    publish(engine, box, now, last)
    with session(engine) as opened:
        opened.exec(delete(Site).where(col(Site.id) == "south"))
    assert publish(engine, box, now + timedelta(seconds=5), last) == ["south"]
    assert box.rosters[-1].targets == []
    assert box.rosters[-1].revision > box.rosters[1].revision
    assert publish(engine, box, now + timedelta(seconds=10), last) == []


def test_over_the_real_bus(engine: Engine, now: datetime) -> None:
    make_region(engine)

    async def travel() -> Roster:
        bus: Bus = await open_bus("local:")
        await roster.publish_changed(bus, engine, SETTINGS, now, {})
        async for delivery in bus.receive("roster.north"):
            message = decode(delivery.data)
            assert isinstance(message, Roster)
            await bus.close()
            return message
        raise BadMessage

    with reading(engine) as opened:
        assert asyncio.run(travel()) == roster.build(opened, "north", now, SETTINGS)


@pytest.mark.parametrize("sites", [1, 40])
def test_queries_do_not_grow_with_the_region(engine: Engine, now: datetime, sites: int) -> None:
    with session(engine) as opened:
        opened.add_all(Site(id=f"s{n}", name="S", municipality="M") for n in range(sites))
    asked: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def count(*arguments: object) -> None:
        if str(arguments[2]).startswith("SELECT"):
            asked.append(str(arguments[2]))

    assert len(publish(engine, Mailbox(), now, {})) == sites
    assert len(asked) <= 11
