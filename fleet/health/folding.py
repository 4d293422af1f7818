"""What one newer report changes in what is known of a device; pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from agents.facts import FACTS, Kind
from agents.messages import Heartbeat, Outcome, Reading
from fleet.health import FLAPS, PATIENCE
from fleet.health.judging import STATE, State
from inventory import Health

Report = Reading | Outcome | Heartbeat

AHEAD = timedelta(seconds=60)
"""An agent's clock may be ahead of ours by so much; what is further ahead is not believed."""
KEEP_EVERY = timedelta(hours=1)
SAME = ("reset_id", "script_hash")
"""Facts that stay as they were when a reset was proved."""
CONDITIONS = frozenset(f.name for f in FACTS.values() if f.kind in (Kind.STATE, Kind.LABEL))
"""Facts of which every change is worth a Reading."""


def set_back(messages: Sequence[Report], now: datetime) -> tuple[list[Report], dict[str, float]]:
    """The messages, with moments too far ahead set back to now in the order of arrival; and the
    device or site of those → by how many seconds they were ahead."""
    believed: list[Report] = []
    fast: dict[str, float] = {}
    for place, message in enumerate(messages):
        moment = message.taken_at if isinstance(message, Reading) else message.at
        ahead = moment - now
        if ahead > AHEAD:
            about = message.site if isinstance(message, Heartbeat) else message.device
            fast[about] = ahead.total_seconds()
            back = ahead - timedelta(microseconds=place)
            names = ("taken_at", "at", "started_at", "finished_at")
            moments = {n: v - back for n in names if (v := getattr(message, n, None))}
            believed.append(message.model_copy(update=moments))
        else:
            believed.append(message)
    return believed, fast


def fold(state: State | None, reading: Reading) -> tuple[State, dict[str, Any] | None]:
    """The state after one newer reading, and the row to keep of it, if any."""
    answered = reading.reachable and not reading.problem
    problem = text(reading.problem, 32)
    facts = clean(reading.facts) if answered else {}
    old = state or _fresh(reading.device)
    changed = (
        state is None
        or (old["reachable"], old["problem"]) != (reading.reachable, problem)
        or (answered and _conditions(facts) != _conditions(old["facts"]))
    )
    keep = changed or old["kept_at"] is None or reading.taken_at - old["kept_at"] >= KEEP_EVERY
    latency = reading.latency_ms
    failures = 0 if answered else old["failures"] + 1
    new = old | {
        "taken_at": reading.taken_at,
        "reachable": reading.reachable,
        "problem": problem,
        "detail": text(reading.detail, 500),
        "latency_ms": latency if latency is not None and isfinite(latency) else None,
        "failures": failures,
        "losses": _losses(old["losses"], reading) if failures == PATIENCE else old["losses"],
        "cause": "" if answered else old["cause"],
        "facts": facts if answered else old["facts"],
        "facts_at": reading.taken_at if answered else old["facts_at"],
        "kept_at": reading.taken_at if keep else old["kept_at"],
    }
    row = {
        "device_id": reading.device,
        "taken_at": reading.taken_at,
        "reachable": reading.reachable,
        "problem": problem,
        "facts": facts,
    }
    return new, row if keep else None


def _fresh(device: str) -> State:
    empty: State = dict.fromkeys(STATE.c.keys())
    return empty | {
        "device_id": device,
        "facts": {},
        "failures": 0,
        "losses": [],
        "cause": "",
        "health": Health.UNKNOWN,
        "reason": "",
    }


def _losses(known: list[str], reading: Reading) -> list[str]:
    """The last losses with the one that this reading makes certain."""
    return [*known, reading.taken_at.astimezone(UTC).isoformat()][-FLAPS:]


def _conditions(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name in CONDITIONS}


def used_since_clean(state: State, proof: Mapping[str, Any]) -> bool:
    """Whether a look that is newer than the proof of a reset shows that it holds no more: somebody
    used the device, something else reset it, or it runs other scripts than those that proved it.

    `proof`: the facts of the look that proved it.
    """
    if state["clean_run_id"] is None or not state["facts_at"]:
        return False
    if state["clean_at"] and state["facts_at"] <= state["clean_at"]:
        return False
    facts = state["facts"]
    if facts.get("used_since") is True or (facts.get("sessions") or 0) > 0:
        return True
    return any(name in facts and facts[name] != proof[name] for name in SAME if name in proof)


def clean(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that are in `agents.facts` and have a value of their kind; the rest does not
    exist. Whatever a device says can be stored afterwards."""
    good: dict[str, Any] = {}
    for name, value in facts.items():
        fact = FACTS.get(name)
        if fact is None:
            continue
        if fact.unit == "bool":
            if isinstance(value, bool):
                good[name] = value
        elif isinstance(value, bool):
            continue
        elif isinstance(value, int | float):
            if abs(value) < 1e18 and fact.kind not in (Kind.LABEL, Kind.DETAIL) and not fact.values:
                good[name] = value
        elif fact.kind in (Kind.STATE, Kind.LABEL) and isinstance(value, str):
            if not fact.values or value in fact.values:
                good[name] = text(value, 200)
        elif fact.kind in (Kind.LABEL, Kind.DETAIL) and isinstance(value, list):
            good[name] = [text(part, 200) for part in value[:50] if isinstance(part, str)]
    return good


def text(value: str, length: int) -> str:
    """PostgreSQL takes no NUL."""
    return value.replace("\0", "")[:length]
