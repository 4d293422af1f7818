"""Judges the stored devices: what is expected of each room now, and the flips that follow."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, RowMapping, select, update
from sqlmodel import Session, col

from fleet.health import Expected, Judgement, expectation, judge
from fleet.settings import Settings
from inventory import Course, Device, DeviceKind, DeviceState, Flip, Health, Room, Service, Subject
from inventory.db import reading, session
from inventory.upsert import insert, table_of

STATE = table_of(DeviceState)
"""Read and written in bulk, as a table: row-by-row objects cost thirty times as much."""

State = dict[str, Any]
"""One row of `device_state`: column → value."""


@dataclass(frozen=True)
class Known:
    """What judging needs to know of a device of the inventory."""

    kind: DeviceKind
    service: Service
    room: str
    site: str


def expected_of(session: Session, now: datetime, settings: Settings) -> dict[str, Expected]:
    """The rooms that are needed now: IN_USE (a course is running) or NEEDED (one begins within
    the lead time). A room that is not in the answer is IDLE."""
    soon = now + timedelta(seconds=settings.reset_lead_s)
    courses = session.execute(
        select(col(Course.room_id), col(Course.start)).where(
            col(Course.cancelled).is_(False), col(Course.start) <= soon, col(Course.end) > now
        )
    )
    rooms: dict[str, Expected] = {}
    for room, start in courses:
        if start <= now:
            rooms[room] = Expected.IN_USE
        else:
            rooms.setdefault(room, Expected.NEEDED)
    return rooms


def lock_devices(session: Session, ids: Collection[str]) -> dict[str, Known]:
    """These devices, as far as the inventory knows them; nobody else judges them until the end of
    the transaction. Always locked in the same order, so that two processes cannot block each
    other for ever."""
    rows = session.execute(
        select(
            col(Device.id),
            col(Device.kind),
            col(Device.service),
            col(Device.room_id),
            col(Room.site_id),
        )
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(col(Device.id).in_(ids))
        .order_by(col(Device.id))
        .with_for_update(of=Device, key_share=True)
    )
    return {row[0]: Known(*row[1:]) for row in rows}


def load_states(session: Session, ids: Collection[str]) -> dict[str, State]:
    rows = session.execute(select(STATE).where(STATE.c.device_id.in_(ids)))
    return {row["device_id"]: dict(row) for row in rows.mappings()}


def verdict(
    known: Known,
    state: Mapping[str, Any] | RowMapping,
    rooms: Mapping[str, Expected],
    now: datetime,
    settings: Settings,
) -> Judgement:
    """The verdict on one stored device; `rooms` as `expected_of` gives them."""
    return judge(
        known.kind,
        reachable=state["reachable"],
        problem=state["problem"],
        failures=state["failures"],
        facts=state["facts"],
        taken_at=state["taken_at"],
        facts_at=state["facts_at"],
        expected=expectation(known.kind, rooms.get(known.room, Expected.IDLE)),
        service=known.service,
        now=now,
        poll_s=settings.poll_s,
    )


def settle(
    device: str, known: Known, state: State, judgement: Judgement, now: datetime
) -> dict[str, Any] | None:
    """Write the verdict into the state, and return the Flip's row if it is another than before."""
    old: Health = state["health"]
    state["reason"] = judgement.reason
    if judgement.health == old:
        return None
    state["health"] = judgement.health
    state["health_since"] = now
    return {
        "subject": Subject.DEVICE,
        "room_id": known.room,
        "device_id": device,
        "at": now,
        "old": old.value,
        "new": judgement.health.value,
        "reason": judgement.reason,
    }


def write_flips(session: Session, flips: Iterable[dict[str, Any]]) -> None:
    rows = list(flips)
    if rows:
        session.execute(insert(session, Flip), rows)


def rejudge(engine: Engine, now: datetime, settings: Settings) -> int:
    """Judge every device by age and timetable, and write the flips when nobody reported.

    Looks at all of them without a lock, and takes locks only for those whose verdict changes.
    Returns how many flipped.
    """
    with reading(engine) as opened:
        rooms = expected_of(opened, now, settings)
        changed = [
            row["device_id"]
            for row in _judged(opened)
            if verdict(_known(row), row, rooms, now, settings)
            != Judgement(row["health"], row["reason"])
        ]
    flipped = 0
    for start in range(0, len(changed), 500):
        flipped += _rejudge(engine, changed[start : start + 500], now, settings)
    return flipped


def _judged(session: Session) -> Iterable[RowMapping]:
    columns = [STATE.c[name] for name in _READ]
    return session.execute(
        select(
            *columns,
            col(Device.kind),
            col(Device.service),
            col(Device.room_id),
        ).join(Device, col(Device.id) == STATE.c.device_id)
    ).mappings()


_READ = (
    "device_id",
    "taken_at",
    "reachable",
    "problem",
    "facts",
    "facts_at",
    "failures",
    "health",
    "reason",
)


def _known(row: RowMapping) -> Known:
    return Known(row["kind"], row["service"], row["room_id"], "")


def _rejudge(engine: Engine, ids: Collection[str], now: datetime, settings: Settings) -> int:
    with session(engine) as opened:
        devices = lock_devices(opened, ids)
        rooms = expected_of(opened, now, settings)
        flips = []
        for device, state in load_states(opened, devices.keys()).items():
            known = devices[device]
            flip = settle(device, known, state, verdict(known, state, rooms, now, settings), now)
            flips.append(flip)
            opened.execute(
                update(STATE)
                .where(STATE.c.device_id == device)
                .values({name: state[name] for name in ("health", "reason", "health_since")})
            )
        write_flips(opened, (flip for flip in flips if flip))
    return sum(flip is not None for flip in flips)
