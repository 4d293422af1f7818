"""A small region to decide about: one site, one room with devices, a timetable read in full."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlmodel import col, select

from agents.messages import Order, Outcome, Step
from fleet import resets
from fleet.resets.gates import GATES, Gate
from fleet.settings import Settings
from inventory import (
    Course,
    Device,
    DeviceKind,
    DeviceState,
    Feed,
    Health,
    Recipe,
    ResetRun,
    Room,
    Site,
)
from inventory.db import reading, session

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
CLEAN = {"home_clean": True, "residue": 0}


def furnish(
    engine: Engine,
    now: datetime,
    *,
    room: str = "r1",
    laptops: int = 2,
    required: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
) -> None:
    """A room of site `vhs` with laptops `<room>-l1` and so on, all well and heard of just now."""
    with session(engine) as opened:
        if opened.get(Site, "vhs") is None:
            opened.add(Site(id="vhs", name="VHS", municipality="Erlental"))
            told = {"max_runtime_s": 120, "expects": {**CLEAN, "reset_id": {"is": "order"}}}
            opened.add(Recipe(id="wipe", name="Wipe", **(told | (recipe or {}))))
            opened.flush()
        opened.add(Room(id=room, site_id="vhs", name=room, required=required or {}))
        opened.flush()
        opened.add(Feed(id=f"f-{room}", site_id="vhs", room_id=room, url="file:///x", good_at=now))
        for number in range(1, laptops + 1):
            add_device(opened, f"{room}-l{number}", now, room=room)


def add_device(opened: Any, device: str, now: datetime, **more: Any) -> None:
    health = more.pop("health", Health.OK)
    told: dict[str, Any] = {
        "room_id": more.pop("room", "r1"),
        "name": device.upper(),
        "kind": DeviceKind.LAPTOP,
        "driver": "ssh",
        "address": "127.0.0.1",
        "recipe_id": "wipe",
    }
    opened.add(Device(id=device, **(told | more)))
    opened.flush()
    if health is not None:
        opened.add(DeviceState(device_id=device, taken_at=now, reachable=True, health=health))


def add_course(
    engine: Engine,
    start: datetime,
    *,
    room: str = "r1",
    length: timedelta = HOUR,
    uid: str = "",
    known: datetime | None = None,
) -> int:
    with session(engine) as opened:
        course = Course(
            room_id=room,
            feed_id=f"f-{room}",
            uid=uid or start.isoformat(),
            start=start,
            end=start + length,
            known_at=known,
        )
        opened.add(course)
        opened.flush()
        assert course.id is not None
        return course.id


def change(engine: Engine, table: Any, key: Any, **values: Any) -> None:
    with session(engine) as opened:
        row = opened.get_one(table, key)
        for name, value in values.items():
            setattr(row, name, value)


def heard(engine: Engine, now: datetime) -> None:
    """Every device and every timetable was looked at now."""
    with session(engine) as opened:
        for state in opened.exec(select(DeviceState)):
            state.taken_at = now
        for feed in opened.exec(select(Feed)):
            feed.good_at = now


def plan(engine: Engine, now: datetime, settings: Settings) -> None:
    with session(engine) as opened:
        resets.expire(opened, now)
        resets.plan(opened, now, settings)


def claim(
    engine: Engine, now: datetime, settings: Settings, gates: Mapping[str, Gate] = GATES
) -> list[Order]:
    with session(engine) as opened:
        return resets.claim(opened, now, settings, gates=gates)


def say(engine: Engine, outcome: Outcome, now: datetime) -> None:
    with session(engine) as opened:
        resets.apply_outcome(opened, outcome, now)


def outcome(order: Order, step: Step, at: datetime, **more: Any) -> Outcome:
    return Outcome(order=order.id, device=order.device, step=step, at=at, **more)


def looked(order: Order, ended: datetime, **more: Any) -> Outcome:
    """A look ten seconds after the act, at a device as clean as can be."""
    told: dict[str, Any] = {
        "finished_at": ended,
        "facts": {**CLEAN, "reset_id": order.id},
    }
    at = more.pop("at", ended + timedelta(seconds=10))
    return outcome(order, Step.LOOKED, at, **(told | more))


def runs(engine: Engine) -> Sequence[ResetRun]:
    with reading(engine) as opened:
        return opened.exec(
            select(ResetRun).order_by(
                col(ResetRun.course_start).nulls_last(),
                col(ResetRun.device_id),
                col(ResetRun.planned_at),
            )
        ).all()


def states(engine: Engine) -> list[str]:
    return [run.state.value for run in runs(engine)]
