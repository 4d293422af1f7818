"""Judges the stored devices: what is expected of each room now, and the flips that follow."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, RowMapping, select, update
from sqlmodel import Session, col

from agents.headwind.options import PORT
from fleet.health import PATIENCE, Expected, Judgement, expectation, judge
from fleet.health.causes import Sight, causes, dead_servers, server_cause
from fleet.health.needs import Limits, Needs, limits_of, needs_of
from fleet.settings import Settings
from inventory import Device, DeviceKind, DeviceState, Flip, Health, Room, Service, Site, Subject
from inventory.db import reading, session
from inventory.upsert import insert, table_of

STATE = table_of(DeviceState)
"""Read and written in bulk, as a table: row-by-row objects cost thirty times as much."""

BY_SERVER = "headwind"
"""The driver whose devices are asked through a server at their address."""
SERVER_SILENT = "server_silent"
NO_VOTE = frozenset({"misconfigured", "missing_credential"})
"""Problems with which perhaps nobody asked the server."""

State = dict[str, Any]
"""One row of `device_state`: column → value."""


@dataclass(frozen=True)
class Known:
    """What judging needs to know of a device of the inventory."""

    kind: DeviceKind
    service: Service
    room: str
    site: str
    thresholds: Mapping[str, float]
    site_limits: Limits


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
            col(Device.thresholds),
            col(Site.thresholds),
        )
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(Site, col(Site.id) == col(Room.site_id))
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
    needs: Needs,
    now: datetime,
    settings: Settings,
) -> Judgement:
    """The verdict on one stored device; `needs` as `needs_of` gives them."""
    need = needs.of(known.room)
    return judge(
        known.kind,
        reachable=state["reachable"],
        problem=state["problem"],
        failures=state["failures"],
        facts=state["facts"],
        taken_at=state["taken_at"],
        facts_at=state["facts_at"],
        expected=expectation(known.kind, need.expected),
        service=known.service,
        now=now,
        poll_s=settings.poll_s,
        thresholds=limits_of(known.kind, known.site_limits, need.limits, known.thresholds),
        losses=[datetime.fromisoformat(at) for at in state["losses"]],
        cut_off=bool(state["cause"]),
        maintained=needs.works_on(known.site, known.room, state["device_id"]),
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
    """Judge every device by age, timetable and what it hangs on, and write the flips when nobody
    reported.

    Looks at all of them without a lock, and takes locks only for those whose verdict changes.
    Returns how many flipped.
    """
    with reading(engine) as opened:
        needs = needs_of(opened, now, settings)
        rows = list(_judged(opened))
        explained = causes(_sights(rows, needs))
        changed = [
            row["device_id"]
            for row in rows
            if row["cause"] != explained.get(row["device_id"], "")
            or verdict(_known(row), row, needs, now, settings)
            != Judgement(row["health"], row["reason"])
        ]
    flipped = 0
    for start in range(0, len(changed), 500):
        some = changed[start : start + 500]
        flipped += _rejudge(engine, some, explained, now, settings)
    return flipped


def _judged(session: Session) -> Iterable[RowMapping]:
    columns = [STATE.c[name] for name in _READ]
    return session.execute(
        select(
            *columns,
            col(Device.kind),
            col(Device.service),
            col(Device.room_id),
            col(Device.driver),
            col(Device.address),
            col(Device.port),
            col(Device.uplink_id),
            col(Device.power_id),
            col(Device.thresholds),
            col(Room.site_id),
            col(Site.thresholds).label("site_limits"),
        )
        .join(Device, col(Device.id) == STATE.c.device_id)
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(Site, col(Site.id) == col(Room.site_id))
    ).mappings()


_READ = (
    "device_id",
    "taken_at",
    "reachable",
    "problem",
    "facts",
    "facts_at",
    "failures",
    "losses",
    "cause",
    "health",
    "reason",
)


def _known(row: RowMapping) -> Known:
    return Known(
        row["kind"],
        row["service"],
        row["room_id"],
        row["site_id"],
        row["thresholds"],
        row["site_limits"],
    )


def _votes(rows: Iterable[RowMapping]) -> Iterator[tuple[str, str, bool]]:
    for row in rows:
        if row["driver"] != BY_SERVER or row["service"] is not Service.ACTIVE:
            continue
        gone = row["problem"] == SERVER_SILENT
        if row["problem"] not in NO_VOTE and (not gone or row["failures"] >= PATIENCE):
            yield row["site_id"], _server(row), gone


def _server(row: RowMapping) -> str:
    return server_cause(row["address"], row["port"] or PORT)


def _sights(rows: Sequence[RowMapping], needs: Needs) -> Iterator[Sight]:
    """The devices that have to be there now; those behind a dead server at any time, for it has to
    be there always."""
    dead = dead_servers(_votes(rows))
    for row in rows:
        expected = expectation(row["kind"], needs.of(row["room_id"]).expected)
        server = ""
        if row["problem"] == SERVER_SILENT and (row["site_id"], _server(row)) in dead:
            server = _server(row)
        if row["service"] is not Service.ACTIVE or (expected is Expected.IDLE and not server):
            continue
        yield Sight(
            row["device_id"],
            row["kind"],
            row["room_id"],
            row["site_id"],
            row["uplink_id"],
            row["power_id"],
            silent=not row["reachable"] and row["failures"] >= PATIENCE,
            on_battery=row["reachable"] and row["facts"].get("on_battery") is True,
            server=server,
        )


def _rejudge(
    engine: Engine,
    ids: Collection[str],
    explained: Mapping[str, str],
    now: datetime,
    settings: Settings,
) -> int:
    with session(engine) as opened:
        devices = lock_devices(opened, ids)
        needs = needs_of(opened, now, settings)
        flips = []
        for device, state in load_states(opened, devices.keys()).items():
            known = devices[device]
            _explain(state, explained.get(device, ""), now)
            flip = settle(device, known, state, verdict(known, state, needs, now, settings), now)
            flips.append(flip)
            opened.execute(
                update(STATE)
                .where(STATE.c.device_id == device)
                .values({name: state[name] for name in _WRITTEN})
            )
        write_flips(opened, (flip for flip in flips if flip))
    return sum(flip is not None for flip in flips)


_WRITTEN = ("health", "reason", "health_since", "cause", "cut_off_at", "losses")


def _explain(state: State, cause: str, now: datetime) -> None:
    """Note what explains the silence. A device that answers meanwhile needs no explanation, and
    a loss that is explained is none of its own."""
    cause = "" if state["reachable"] else cause
    if cause and not state["cause"]:
        state["losses"] = state["losses"][:-1]
    if cause or state["cause"]:  # from its beginning to its end, so also when it ends now
        state["cut_off_at"] = now
    state["cause"] = cause
