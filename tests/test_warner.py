"""Whoever sits at a laptop is told ten minutes before the end of the course that all is deleted."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.clock import Clock
from agents.credentials import Credentials
from agents.drivers.ping import Ping
from agents.drivers.ssh import Ssh
from agents.messages import Busy, Hold, Roster, Target
from agents.simulator import Mood
from agents.simulator.ssh import Laptop
from agents.warner import Warner, ending

NOW = datetime(2026, 11, 27, 10, 50, tzinfo=UTC)
SECRET = "a laptop's password"


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def a_roster(*busy: tuple[float, float], **changes: Any) -> Roster:
    laptop = Target(
        device="d", room="r", kind="laptop", driver="ssh", address="127.0.0.1",
        credential="laptop", cleared=True,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "site": "north", "revision": 1, "sent_at": NOW, "targets": [laptop],
        "busy": [Busy(room="r", start=at(start), end=at(end)) for start, end in busy],
        "trusted_until": {"r": at(60)},
    }  # fmt: skip
    return Roster(**{**fields, **changes})


LOOKED_AT = a_roster().targets[0].model_copy(update={"cleared": False})


@pytest.mark.parametrize(
    ("roster", "end"),
    [
        (a_roster((-50, 10)), 10),
        (a_roster((-50, 10), (25, 60)), 10),
        (a_roster((-50, 10), (-20, 5)), 10),  # two at once: the later end counts
        (a_roster((-50, 11)), None),  # not yet
        (a_roster((-50, 0)), None),  # over
        (a_roster((-50, 10), (10, 70)), None),  # the next one follows at once: nothing is deleted
        (a_roster((5, 10)), None),  # it has not begun
        (a_roster((-50, 10), targets=[LOOKED_AT]), None),
        (a_roster((-50, 10), trusted_until={}), None),
        (a_roster((-50, 10), trusted_until={"r": at(-1)}), None),
        (a_roster((-50, 10), holds=[Hold(start=at(-5))]), None),  # a pause of the site
        (a_roster((-50, 10), holds=[Hold(device="d", start=at(-5), end=at(30))]), None),
        (a_roster((-50, 10), holds=[Hold(room="r", start=at(-5), end=at(9))]), 10),
        (a_roster((-50, 10), holds=[Hold(room="other", start=at(-5))]), 10),
    ],
)
def test_who_is_told_of_which_end(roster: Roster, end: float | None) -> None:
    assert [moment for _, moment in ending(roster, NOW)] == ([] if end is None else [at(end)])


class Scene:
    """A simulated laptop that runs the real script, and the agent's part that warns."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "laptop" / "run" / "warning.json"
        self.laptop = Laptop(folder / "laptop", seed=1, serial="", password=SECRET)
        self.driver = Ssh(Credentials(None), folder / "state")
        self.now, self.seen = NOW, {"d": NOW}
        self.roster = a_roster((-50, 10))
        clock = Clock(lambda: self.now, lambda: 0.0, asyncio.sleep)
        drivers = {"ssh": self.driver, "ping": Ping(Credentials(None), folder / "state")}
        self.locks: dict[str, asyncio.Lock] = {}
        self.warner = Warner(
            drivers, lambda _: self.roster, ["north"], self.locks, clock, self.seen.get
        )
        self.port, self.by = 0, "ssh"

    def tell(self, *busy: tuple[float, float], **changes: Any) -> None:
        told = a_roster(*busy, **changes)
        target = told.targets[0].model_copy(update={"port": self.port, "driver": self.by})
        self.roster = told.model_copy(update={"targets": [target]})

    async def tick(self, minutes: float) -> int:
        """How many times the laptop was spoken to."""
        self.now = self.seen["d"] = at(minutes)
        before = self.laptop.connections
        await self.warner.tick()
        return self.laptop.connections - before

    def shown(self) -> float:
        """In how many minutes by its own clock, rounded; 0: nothing stands there."""
        ends_at = json.loads(self.file.read_text())["ends_at"] if self.file.exists() else 0
        return round((ends_at - datetime.now(UTC).timestamp()) / 60) if ends_at else 0


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a scene on a laptop that listens."""
    secret = json.dumps({"user": "raumwart", "password": SECRET})
    monkeypatch.setenv("RAUMWART_SECRET_LAPTOP", secret)

    def run(what: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            scene = Scene(tmp_path)
            scene.port = await scene.laptop.start()
            scene.tell((-50, 10))
            try:
                await what(scene)
            finally:
                await scene.driver.close()
                await scene.laptop.stop()

        asyncio.run(whole())

    return run


def test_it_is_told_once_and_follows_the_course(play: Any) -> None:
    async def scene(stage: Scene) -> None:
        assert await stage.tick(-1) == 0
        assert await stage.tick(0) == 1
        assert stage.shown() == 10
        assert await stage.tick(0.5) == 0
        stage.tell((-50, 7))
        assert await stage.tick(1) == 1
        assert stage.shown() == 6
        stage.tell((-50, 40))  # it goes on: nothing is deleted at that moment
        assert await stage.tick(2) == 1
        assert stage.shown() == 0
        assert await stage.tick(3) == 0
        assert await stage.tick(30) == 1
        assert stage.shown() == 10
        assert await stage.tick(41) == 0, "what is over is forgotten, not taken back"

    play(scene)


def test_a_pause_takes_it_back(play: Any) -> None:
    async def scene(stage: Scene) -> None:
        await stage.tick(0)
        stage.tell((-50, 10), holds=[Hold(start=at(0))])
        assert await stage.tick(1) == 1
        assert stage.shown() == 0

    play(scene)


def test_one_that_cannot_be_told_is_asked_again_and_stops_nobody(play: Any) -> None:
    async def scene(stage: Scene) -> None:
        stage.laptop.mood = Mood.GARBAGE
        assert await stage.tick(0) == 1
        assert await stage.tick(1) == 0
        stage.laptop.mood = Mood.OK
        assert await stage.tick(2) == 1
        assert stage.shown() == 8

    play(scene)


def test_who_sleeps_or_cannot_show_anything_is_left_alone(play: Any) -> None:
    async def scene(stage: Scene) -> None:
        stage.now, before = at(0), stage.laptop.connections
        stage.seen["d"] = at(-6)
        await stage.warner.tick()
        stage.by = "ping"
        stage.tell((-50, 10))
        stage.seen["d"] = at(0)
        await stage.warner.tick()
        assert stage.laptop.connections == before

    play(scene)


def test_one_that_is_being_reset_keeps_no_other_from_being_told(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.warner.LIMIT_S", 1.0)

    async def scene(stage: Scene) -> None:
        await stage.tick(0)
        first = stage.roster.targets[0]
        other = first.model_copy(update={"device": "e", "room": "s"})
        stage.locks["d"] = asyncio.Lock()
        async with stage.locks["d"]:  # its course ended early, and it is being reset
            stage.tell((-50, 0))
            course = Busy(room="s", start=at(-50), end=at(10))
            told = {"targets": [first, other], "busy": [course], "trusted_until": {"s": at(60)}}
            stage.roster = stage.roster.model_copy(update=told)
            stage.seen["e"] = at(1)
            async with asyncio.timeout(10):
                assert await stage.tick(1) == 1
        assert stage.shown() == 9
        assert await stage.tick(3) == 1, "its old end is taken back once it is free"

    play(scene)
