"""How the canary of each room stands, and what that means for the proofs of its laptops."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, case, func, select
from sqlmodel import Session, col

from fleet.canary import switch
from inventory import OPEN_STATES, Device, DeviceKind, Override, ResetRun, RunState, Service
from inventory.recipes import CANARY, LOOK_ONLY

STALE = timedelta(days=3)
"""So long after a reset at the latest a canary of its room has to have passed."""
MEMORY = timedelta(days=14)
"""Canaries that are older than this say nothing any more."""
NOT_TOUCHED = frozenset(
    {"unreachable", "denied", "host_key_changed", "wrong_device", "misconfigured"}
    | {"missing_credential"}
)
"""Reasons with which an order failed before anything was planted: no failed canary, but none."""


@dataclass(frozen=True)
class Stand:
    """How the canary of one room stands. `state`: `ok`, `failed`, `stale` (a reset waits for it
    for too long), `waiting` (the first one is still to come), `off` (somebody switched it off) or
    `none` (no laptop in the room can carry it)."""

    room: str
    state: str
    device: str = ""
    """Where the last one ran, or was tried."""
    at: datetime | None = None
    """When that was planned."""
    reason: str = ""
    """Why the last one came to nothing."""
    good_at: datetime | None = None
    """When a canary of this room last vanished as it should."""
    said: Override | None = None
    """Who switched it off, since when and why."""


def doubts(session: Session, rooms: Collection[str], now: datetime) -> dict[str, str]:
    """Room → why a proof of its laptops cannot be relied on: `canary_failed` or `canary_stale`.

    The scripts are the same everywhere: where traces survived in one room, every other room is in
    doubt too, until a canary of its own has vanished since. Where it is switched off nobody knows,
    and nobody wants to.
    """
    recent = _recent(session, now)
    return {
        stand.room: f"canary_{stand.state}"
        for stand in (_stands(session, recent, now) if recent else ())
        if stand.room in rooms and stand.state in ("failed", "stale")
    }


def stands(session: Session, now: datetime) -> list[Stand]:
    """The canary of every room in which a laptop stands."""
    return _stands(session, _recent(session, now), now)


def can_carry() -> Any:
    """A laptop that is reset over SSH, and not only looked at."""
    return and_(
        col(Device.kind) == DeviceKind.LAPTOP,
        col(Device.driver) == "ssh",
        col(Device.service) == Service.ACTIVE,
        col(Device.recipe_id).is_not(None),
        col(Device.recipe_id) != LOOK_ONLY,
    )


def failed(run: Row[Any]) -> bool:
    """Whether this canary, which has ended, says that the reset is not to be relied on."""
    ended_badly = run.state in (RunState.FAILED, RunState.UNKNOWN)
    return ended_badly and run.reason not in NOT_TOUCHED


def _stands(session: Session, recent: Iterable[Row[Any]], now: datetime) -> list[Stand]:
    held: dict[str, list[Row[Any]]] = defaultdict(list)
    for run in recent:
        held[run.room_id].append(run)
    survived = max(
        (run.planned_at for runs in held.values() for run in runs if run.reason == "not_clean"),
        default=None,
    )
    carries = func.max(case((can_carry(), 1), else_=0))
    rooms = session.execute(
        select(col(Device.room_id), carries.label("carries"))
        .where(col(Device.kind) == DeviceKind.LAPTOP, col(Device.service) == Service.ACTIVE)
        .group_by(col(Device.room_id))
        .order_by(col(Device.room_id))
    ).all()
    off = switch.off(session, now)
    found = []
    for row in rooms:
        if not row.carries:
            found.append(Stand(row.room_id, "none"))
        else:
            found.append(_stand(row.room_id, held[row.room_id], survived, off.get(row.room_id)))
    return _overdue(session, found, held, now)


def _stand(
    room: str, runs: Sequence[Row[Any]], survived: datetime | None, said: Override | None
) -> Stand:
    """`runs` from the oldest to the newest; `survived`: when traces last did, in any room."""
    ended = [run for run in runs if run.state not in OPEN_STATES]
    good = max((run.planned_at for run in ended if run.state is RunState.VERIFIED), default=None)
    bad = max((run.planned_at for run in ended if failed(run)), default=None)
    worst = max((at for at in (bad, survived) if at is not None), default=None)
    if said is not None:
        state = "off"
    elif worst is not None and (good is None or good <= worst):
        state = "failed"
    else:
        state = "ok" if good else "waiting"
    if not ended:
        return Stand(room, state, said=said)
    last = ended[-1]
    return Stand(room, state, last.device_id, last.planned_at, last.reason, good, said)


def _overdue(
    session: Session,
    found: Sequence[Stand],
    held: Mapping[str, Sequence[Row[Any]]],
    now: datetime,
) -> list[Stand]:
    """The same, with `stale` where a reset has been waiting for too long for the canary that says
    whether it can be relied on. Where nothing was reset nothing is overdue: laptops that sleep
    through the holidays make no room worse."""
    since: dict[str, datetime] = {}
    for stand in found:
        ended = [run for run in held[stand.room] if run.state not in OPEN_STATES]
        first = stand.good_at or (ended[0].planned_at if ended else now)
        if stand.state in ("ok", "waiting") and now - first > STALE:
            since[stand.room] = first
    if not since:
        return list(found)
    last = session.execute(
        select(col(Device.room_id), func.max(col(ResetRun.looked_at)))
        .join(ResetRun, col(ResetRun.device_id) == col(Device.id))
        .where(can_carry(), col(Device.room_id).in_(since))
        .where(col(ResetRun.state) == RunState.VERIFIED, col(ResetRun.recipe_id) != CANARY)
        .where(col(ResetRun.looked_at) < now - STALE)
        # No reset is planned a week before; this column has an index.
        .where(col(ResetRun.planned_at) > min(since.values()) - timedelta(days=7))
        .group_by(col(Device.room_id))
    )
    waiting = {room for room, at in last if at > since[room]}
    return [replace(one, state="stale") if one.room in waiting else one for one in found]


def _recent(session: Session, now: datetime) -> Sequence[Row[Any]]:
    return session.execute(
        select(
            col(Device.room_id),
            col(ResetRun.device_id),
            col(ResetRun.planned_at),
            col(ResetRun.state),
            col(ResetRun.reason),
        )
        .join(Device, col(Device.id) == col(ResetRun.device_id))
        .where(col(ResetRun.recipe_id) == CANARY, col(ResetRun.planned_at) > now - MEMORY)
        .order_by(col(ResetRun.planned_at), col(ResetRun.id))
    ).all()
