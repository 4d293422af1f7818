"""What Prometheus is told of every device: only what changed is written anew at a scrape."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, String, select, type_coerce
from sqlmodel import Session, col

from agents.facts import FACTS, Fact, Kind
from fleet.health import MAINTENANCE
from fleet.health.judging import STATE
from fleet.metrics.exposition import Family, labels, number, sample
from inventory import Device, Health, Room, Service

DEVICE = "raumwart_device_"
UNITS = {"s": ("_s", "_seconds"), "celsius": ("_c", "_celsius"), "volts": ("_v", "_volts")}
INFO = ("model", "vendor", "firmware", "serial", "profile")
"""Labels of the info metric. Not the name that a device gives itself: it may be a person's."""
WORDS = (Kind.LABEL, Kind.DETAIL)
SILENT = frozenset({"no_news", Service.LENT.value})
"""Reasons with which the last facts say nothing about now: better no curve than a flat one."""


AWAY = frozenset({Service.REPAIR.value, Service.LENT.value, MAINTENANCE})
"""Reasons with which nobody expects anything of a device."""


def metric_name(fact: Fact) -> str:
    """`cpu_ratio` → raumwart_device_cpu_ratio, `lamp_s` → raumwart_device_lamp_seconds_total."""
    name = fact.name
    old, new = UNITS.get(fact.unit, ("", ""))
    if old and name.endswith(old):
        name = name.removesuffix(old) + new
    return DEVICE + name + ("_total" if fact.kind is Kind.COUNTER else "")


def _families() -> dict[str, tuple[str, str]]:
    """Metric → type and help, in the order of the page."""
    found = {
        DEVICE + "info": ("gauge", "What the device is, as it says itself or else the inventory"),
        DEVICE + "up": ("gauge", "Whether the device answered the last look"),
        DEVICE + "health": ("gauge", "Verdict on the device, 1 for the present one"),
        DEVICE + "spare": ("gauge", "Whether the device is a reserve that no course needs"),
        DEVICE + "last_seen_timestamp_seconds": ("gauge", "When the agent last looked"),
        DEVICE + "health_since_timestamp_seconds": ("gauge", "Since when the verdict stands"),
        DEVICE + "away": (
            "gauge",
            "1 for a device of which nobody expects anything, with the reason",
        ),
        DEVICE + "clean": ("gauge", "Whether a reset is proved and nobody used it since"),
        DEVICE + "last_verified_reset_timestamp_seconds": ("gauge", "When a reset was last proved"),
    }
    for fact in FACTS.values():
        if fact.kind not in WORDS:
            type_ = "counter" if fact.kind is Kind.COUNTER else "gauge"
            found[metric_name(fact)] = (type_, fact.help)
    return found


FAMILIES = _families()
_NAMES = {fact.name: metric_name(fact) for fact in FACTS.values() if fact.kind not in WORDS}

_MOMENTS = ("taken_at", "health_since", "clean_at")
_COLUMNS = (
    col(Device.id),
    col(Device.room_id),
    col(Room.site_id),
    # As the database holds them: most rows are only compared with what they were before.
    *(type_coerce(column, String) for column in (col(Device.kind), col(Device.service))),
    col(Device.spare),
    col(Device.model),
    col(Device.serial),
    col(Device.profile),
    STATE.c.reachable,
    STATE.c.problem,
    type_coerce(STATE.c.health, String),
    STATE.c.reason,
    STATE.c.clean_run_id,
    *(type_coerce(STATE.c[name], String) for name in _MOMENTS),
)
(_ID, _ROOM, _SITE, _KIND, _SERVICE, _SPARE, _MODEL, _SERIAL, _PROFILE, _REACHABLE, _PROBLEM,
 _HEALTH, _REASON, _CLEAN, _TAKEN_AT, _SINCE, _CLEAN_AT) = range(17)  # fmt: skip

Row = Sequence[Any]

_TIMES = (
    (DEVICE + "last_seen_timestamp_seconds", _TAKEN_AT),
    (DEVICE + "health_since_timestamp_seconds", _SINCE),
    (DEVICE + "last_verified_reset_timestamp_seconds", _CLEAN_AT),
)
_INFO, _UP, _SPARE_, _CLEAN_, _HEALTH_, _AWAY = (
    DEVICE + name for name in ("info", "up", "spare", "clean", "health", "away")
)


@dataclass(frozen=True, slots=True)
class _Block:
    """The lines of one device: for each metric, all of its lines in one piece."""

    row: Row
    names: tuple[str, ...]
    lines: tuple[str, ...]


class _Cache:
    """The blocks of one database; holds exactly the devices that are in the inventory."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.blocks: dict[str, _Block] = {}


_CACHES: WeakKeyDictionary[Engine, _Cache] = WeakKeyDictionary()


def device_families(session: Session, engine: Engine) -> list[Family]:
    """Every metric of every device that is not retired."""
    cache = _CACHES.setdefault(engine, _Cache())
    rows = session.execute(
        select(*_COLUMNS)
        .join(Room, col(Room.id) == col(Device.room_id))
        .outerjoin(STATE, STATE.c.device_id == col(Device.id))
        .where(col(Device.service) != Service.RETIRED)
        .order_by(col(Device.id))
    ).all()
    with cache.lock:
        old = cache.blocks
        changed = [r[_ID] for r in rows if (b := old.get(r[_ID])) is None or b.row != r]
        facts = _facts(session, changed, len(rows))
        cache.blocks = {
            r[_ID]: _block(r, facts[r[_ID]]) if r[_ID] in facts else old[r[_ID]] for r in rows
        }
        blocks = list(cache.blocks.values())
    return _together(blocks)


def _facts(session: Session, ids: list[str], of: int) -> dict[str, Mapping[str, Any]]:
    """The facts of these devices; an empty mapping for one that was never heard of."""
    query = select(STATE.c.device_id, STATE.c.facts)
    found: dict[str, Mapping[str, Any]] = {}
    if len(ids) > of / 2:
        found.update((row[0], row[1]) for row in session.execute(query))
    else:
        for start in range(0, len(ids), 500):
            some = query.where(STATE.c.device_id.in_(ids[start : start + 500]))
            found.update((row[0], row[1]) for row in session.execute(some))
    return {id_: found.get(id_, {}) for id_ in ids}


def _together(blocks: Iterable[_Block]) -> list[Family]:
    """The blocks' lines, by metric. Devices with the same metrics are turned over at once."""
    alike: defaultdict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for block in blocks:
        alike[block.names].append(block.lines)
    families = {name: Family(name, *about) for name, about in FAMILIES.items()}
    for names, lines in alike.items():
        for name, column in zip(names, zip(*lines, strict=True), strict=True):
            families[name].lines.extend(column)
    return list(families.values())


def _block(row: Row, facts: Mapping[str, Any]) -> _Block:
    base = _base(row[_SITE], row[_ROOM], row[_ID], row[_KIND])
    answered = bool(row[_REACHABLE]) and not row[_PROBLEM] and row[_REASON] not in SILENT
    lines = _about(row, base, facts, answered)
    if answered:
        for fact, value in facts.items():
            name = _NAMES.get(fact)
            if name is None:
                continue
            if type(value) in (float, int):  # most are; the rest may take its time
                lines[name] = f"{name}{{{base}}} {value}\n"
            elif isinstance(value, str):
                lines[name] = _state(name, base, value)
            elif isinstance(value, bool):
                lines[name] = f"{name}{{{base}}} {value:d}\n"
    return _Block(row, tuple(lines), tuple(lines.values()))


def _about(row: Row, base: str, facts: Mapping[str, Any], answered: bool) -> dict[str, str]:
    """Metric → lines of what is known of the device beside its facts."""
    told = {"model": row[_MODEL], "serial": row[_SERIAL], "profile": row[_PROFILE]}
    health = Health.UNKNOWN.value if row[_TAKEN_AT] is None else row[_HEALTH]
    lines = {
        _INFO: _info(base, *[str(facts.get(name) or told.get(name, "")) for name in INFO]),
        _UP: f"{_UP}{{{base}}} {answered:d}\n",
        _SPARE_: f"{_SPARE_}{{{base}}} {bool(row[_SPARE]):d}\n",
        _CLEAN_: f"{_CLEAN_}{{{base}}} {row[_CLEAN] is not None:d}\n",
        _HEALTH_: _health(base, health),
    }
    if row[_REASON] in AWAY:
        lines[_AWAY] = sample(_AWAY, f"{base},{labels({'reason': row[_REASON]})}", 1)
    for name, place in _TIMES:
        if row[place] is not None:
            lines[name] = f"{name}{{{base}}} {number(_timestamp(row[place]))}\n"
    return lines


# What hardly ever changes from one look to the next is written only once.


@lru_cache(maxsize=20_000)
def _base(site: str, room: str, device: str, kind: str) -> str:
    return labels({"site": site, "room": room, "device": device, "kind": kind})


@lru_cache(maxsize=20_000)
def _info(base: str, *values: str) -> str:
    return sample(_INFO, f"{base},{labels(dict(zip(INFO, values, strict=True)))}", 1)


@lru_cache(maxsize=20_000)
def _health(base: str, health: str) -> str:
    return "".join(
        sample(_HEALTH_, f'{base},health="{word.value}"', word == health) for word in Health
    )


@lru_cache(maxsize=50_000)
def _state(name: str, base: str, value: str) -> str:
    return sample(name, f"{base},{labels({'state': value})}", 1)


def _timestamp(value: str | datetime) -> float:
    """Seconds since 1970 of a moment as the database holds it (SQLite: text, in UTC)."""
    if isinstance(value, datetime):
        return value.timestamp()
    return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
