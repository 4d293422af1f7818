"""Which trouble is to come, if a device goes on as it did in the last weeks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import isfinite
from statistics import StatisticsError, correlation, linear_regression
from typing import Any

from sqlalchemy import Engine, delete, update
from sqlmodel import Session, col, select

from fleet.health.needs import limits_of
from fleet.health.rules import THRESHOLDS, number
from inventory import Device, DeviceKind, DeviceState, Prediction, Reading, Room, Service, Site
from inventory.db import reading, session

BACK = timedelta(days=30)
"""So much of the past is looked at."""
LEAST_SPAN = timedelta(days=3)
LEAST_SAMPLES = 12
STEADY = 0.7
"""Correlation with time: below it the past says nothing about the future."""
AHEAD = timedelta(days=60)
"""Trouble further away is nobody's concern yet."""
EVERY = timedelta(hours=24)
AT_ONCE = 50
"""Devices per call, so that a month of readings of a county is never in memory at once."""
JUMP = 0.3
"""Part of all the way that the value went: a larger step back is a new cartridge, not noise."""


@dataclass(frozen=True)
class Trend:
    """A fact that moves towards the threshold of this name. `rising`: in which direction."""

    code: str
    sentence: str
    fact: str
    threshold: str
    rising: bool
    kinds: frozenset[DeviceKind] | None = None


TRENDS = (
    Trend("supply_empty_soon", "Toner or ink will soon be low.", "supply_ratio", "supply_low",
          rising=False),
    Trend("disk_full_soon", "The disk will soon be nearly full.", "disk_ratio", "disk_nearly_full"
          ".disk_ratio", rising=True),
    Trend("battery_worn_soon", "The battery will soon have lost too much of its capacity.",
          "battery_wear_ratio", "battery_worn", rising=True),
    Trend("lamp_worn_soon", "The lamp will soon reach its life.", "lamp_s", "lamp_old",
          rising=True),
    Trend("filter_dirty_soon", "The filter will soon have to be cleaned.", "filter_s",
          "filter_old", rising=True),
)  # fmt: skip
FACTS = frozenset(trend.fact for trend in TRENDS)

Samples = Sequence[tuple[datetime, float]]
"""Moment and value, the oldest first."""


def due(samples: Samples, limit: float, *, rising: bool, now: datetime) -> datetime | None:
    """When the value reaches the limit, if it goes on as since the last jump back (a new
    cartridge, a cleared disk); None: it does not go there, has reached it already, not within
    AHEAD, or too little is known. Pure."""
    kept = _since_the_jump(samples, rising=rising)
    if len(kept) < LEAST_SAMPLES or kept[-1][0] - kept[0][0] < LEAST_SPAN:
        return None
    hours = [(at - now).total_seconds() / 3600 for at, _ in kept]
    values = [value for _, value in kept]
    try:
        line = linear_regression(hours, values)
        steady = abs(correlation(hours, values)) >= STEADY
    except StatisticsError:  # it never moved
        return None
    reached = values[-1] >= limit if rising else values[-1] <= limit
    if not steady or reached or line.slope == 0 or (line.slope > 0) != rising:
        return None
    left = (limit - line.intercept) / line.slope
    if left > AHEAD.total_seconds() / 3600:
        return None
    return now + timedelta(hours=max(left, 0))


def _since_the_jump(samples: Samples, *, rising: bool) -> Samples:
    values = [value for _, value in samples]
    jump = JUMP * (max(values, default=0) - min(values, default=0))
    start = 0
    for place, (before, after) in enumerate(pairwise(values), 1):
        back = before - after if rising else after - before
        if back > jump:
            start = place
    return samples[start:]


def search(engine: Engine, now: datetime) -> int:
    """Look at the past of the devices whose turn it is (each once a day), and write down what is
    to come. Returns how many were looked at; harmless in several processes."""
    with reading(engine) as opened:
        turn = _turn(opened, now)
        past = _past(opened, turn, now)
    if not turn:
        return 0
    rows = [
        Prediction(device_id=device, code=code, due_at=at, made_at=now)
        for device, (kind, limits) in turn.items()
        for code, at in predict(kind, past.get(device, {}), limits, now)
    ]
    with session(engine) as opened:
        opened.execute(delete(Prediction).where(col(Prediction.device_id).in_(turn)))
        there = set(opened.exec(select(Device.id).where(col(Device.id).in_(turn))))
        opened.add_all(row for row in rows if row.device_id in there)
        opened.execute(
            update(DeviceState)
            .where(col(DeviceState.device_id).in_(turn))
            .values(trends_at=now)
            .execution_options(synchronize_session=False)
        )
    return len(turn)


def predict(
    kind: DeviceKind, past: Mapping[str, Samples], limits: Mapping[str, float], now: datetime
) -> Iterable[tuple[str, datetime]]:
    """(code, when) for each trend of this device. A lamp and a filter have no usual life: for
    them somebody has to set a threshold. Pure."""
    for trend in TRENDS:
        usual = THRESHOLDS[kind].get(trend.threshold)
        limit = limits.get(trend.threshold, usual)
        samples = past.get(trend.fact)
        if limit is not None and isfinite(limit) and samples:
            at = due(samples, limit, rising=trend.rising, now=now)
            if at is not None:
                yield trend.code, at


def _turn(session: Session, now: datetime) -> dict[str, tuple[DeviceKind, Mapping[str, float]]]:
    rows = session.execute(
        select(Device.id, Device.kind, Device.thresholds, Site.thresholds)
        .join(DeviceState, col(DeviceState.device_id) == col(Device.id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .join(Site, col(Site.id) == col(Room.site_id))
        .where(Device.service == Service.ACTIVE)
        .where(col(DeviceState.trends_at).is_(None) | (col(DeviceState.trends_at) < now - EVERY))
        .order_by(col(DeviceState.trends_at).nulls_first(), col(Device.id))
        .limit(AT_ONCE)
    )
    return {device: (kind, limits_of(kind, site, {}, own)) for device, kind, own, site in rows}


def _past(
    session: Session, devices: Iterable[str], now: datetime
) -> dict[str, dict[str, list[tuple[datetime, float]]]]:
    """Device → fact → its samples of the last month."""
    rows = session.exec(
        select(Reading.device_id, Reading.taken_at, Reading.facts)
        .where(col(Reading.device_id).in_(list(devices)))
        .where(col(Reading.taken_at) > now - BACK, col(Reading.reachable).is_(True))
        .order_by(col(Reading.taken_at))
    )
    found: dict[str, dict[str, list[tuple[datetime, float]]]] = {}
    for device, at, facts in rows:
        for fact in FACTS & facts.keys():
            value = number(facts[fact])
            if value is not None:
                found.setdefault(device, {}).setdefault(fact, []).append((at, value))
    return found


def coming(session: Session, sites: Iterable[str] | None = None) -> Sequence[Any]:
    """(Prediction, Device, Room) of what is to come (at these sites), the soonest first."""
    query = (
        select(Prediction, Device, Room)
        .join(Device, col(Device.id) == col(Prediction.device_id))
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(Device.service == Service.ACTIVE)
    )
    if sites is not None:
        query = query.where(col(Room.site_id).in_(list(sites)))
    return session.exec(query.order_by(col(Prediction.due_at), col(Prediction.device_id))).all()
