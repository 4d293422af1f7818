"""Writes down how each reset ended, and finds what was changed or taken away afterwards.

Each device has a chain of its own, written under the lock that judging the device takes anyway: no
reset waits for another device's. Seals over the ends of all chains hold them together.
"""

import hashlib
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, and_, func, select
from sqlmodel import Session, SQLModel, col

from inventory import Evidence, EvidenceSeal, ResetRun, RunState
from inventory.upsert import insert_missing, table_of

log = logging.getLogger(__name__)

KEPT = timedelta(days=365)
"""What is older may go, except the newest of it: the chain goes on from there."""
ENDS = frozenset({RunState.VERIFIED, RunState.FAILED, RunState.UNKNOWN})
HASH = re.compile(r"[0-9a-f]{16,100}")
COUNT = re.compile(r"([a-z0-9_]{1,40}):([0-9]{1,9})")
"""`place:number`, as a laptop tells where it counted traces."""
LATER = frozenset({"step"})
CODE = re.compile(r"[a-z0-9_]{0,64}")


@dataclass(frozen=True)
class Broken:
    """Where a chain does not hold. `chain`: a device, or empty: the seals."""

    chain: str
    number: int
    what: str


def record(session: Session, run: ResetRun, now: datetime) -> None:
    """Add the end of this run to its device's chain, in the caller's transaction.

    The caller holds the device's lock, else a second record of the same number is an error.
    """
    last = session.execute(
        select(col(Evidence.number), col(Evidence.hash))
        .where(col(Evidence.device_id) == run.device_id)
        .order_by(col(Evidence.number).desc())
        .limit(1)
    ).first()
    told = run.evidence if run.looked_at else {}
    row = {
        "device_id": run.device_id,
        "number": last.number + 1 if last else 1,
        "recorded_at": now,
        "reset_id": run.id,
        "attempt": run.attempts,
        "recipe": run.recipe_id,
        "tier": run.tier.value,
        "started": run.ordered_at,
        "finished": run.acted_at,
        "verified": run.looked_at if run.state is RunState.VERIFIED else None,
        **{name: _hash(told.get(name)) for name in ("script_hash", "skeleton_hash", "home_hash")},
        "counts": counts(told),
        "verdict": run.state.value,
        "reason": run.reason if CODE.fullmatch(run.reason) else "other",
        "step": run.step if CODE.fullmatch(run.step) else "other",
        "previous": last.hash if last else "",
    }
    session.execute(table_of(Evidence).insert(), [row | {"hash": digest(row)}])


def counts(facts: Mapping[str, Any]) -> dict[str, int | bool]:
    """The whole numbers and the yes and no of a look; traces by place as `traces.<place>`."""
    found: dict[str, int | bool] = {
        name: value for name, value in facts.items() if isinstance(value, int)
    }
    places = facts.get("residue_counts")
    for told in places if isinstance(places, list) else ():
        if isinstance(told, str) and (place := COUNT.fullmatch(told)):
            found[f"traces.{place[1]}"] = int(place[2])
    return found


def _hash(value: Any) -> str:
    return value if isinstance(value, str) and HASH.fullmatch(value) else ""


def digest(row: Mapping[str, Any]) -> str:
    """SHA-256 over all columns but the hash and the row's id, in one agreed form.

    A column that came later counts where it says something, so that older records keep their hash.
    """
    told = {name: value for name, value in row.items() if value or name not in LATER}
    plain = {name: _plain(value) for name, value in told.items() if name not in ("id", "hash")}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def seal(session: Session, now: datetime) -> None:
    """Hold the ends of all chains that grew since the last seal; of two processes one does."""
    last = session.execute(
        select(EvidenceSeal).order_by(col(EvidenceSeal.number).desc()).limit(1)
    ).scalar()
    # An hour back: what was committed late must not be missed. Twice sealed does no harm.
    since = last.sealed_at - timedelta(hours=1) if last else datetime.fromtimestamp(0, UTC)
    grown = (
        select(col(Evidence.device_id), func.max(col(Evidence.number)).label("number"))
        .where(col(Evidence.recorded_at) > since)
        .group_by(col(Evidence.device_id))
        .subquery()
    )
    ends = session.execute(
        select(col(Evidence.device_id), col(Evidence.number), col(Evidence.hash))
        .join(
            grown,
            and_(
                grown.c.device_id == col(Evidence.device_id),
                grown.c.number == col(Evidence.number),
            ),
        )
        .order_by(col(Evidence.device_id))
    )
    heads = {row.device_id: [row.number, row.hash] for row in ends}
    if not heads or (last and heads.items() <= last.heads.items()):
        return
    row = {
        "number": last.number + 1 if last else 1,
        "sealed_at": now,
        "heads": heads,
        "previous": last.hash if last else "",
    }
    row["hash"] = digest(row)
    session.execute(insert_missing(session, EvidenceSeal), [row])
    # Whoever keeps the service's log has a witness outside of the database.
    log.info("evidence sealed: number %d, %s", row["number"], row["hash"])


def check(session: Session, now: datetime) -> tuple[int, list[Broken]]:
    """How many records there are, and where the chains do not hold."""
    wanted: dict[str, dict[int, str]] = defaultdict(dict)
    broken: list[Broken] = []
    for row in _links(session, EvidenceSeal, "", "sealed_at", broken, now):
        for device, (number, told) in row["heads"].items():
            wanted[device][number] = told
    count, first = 0, dict[str, int]()
    for row in _links(session, Evidence, "device_id", "recorded_at", broken, now):
        count += 1
        device, number = row["device_id"], row["number"]
        first.setdefault(device, number)
        if wanted[device].pop(number, row["hash"]) != row["hash"]:
            broken.append(Broken(device, number, "another record was sealed"))
    for device, sealed in wanted.items():
        # What is older than the first record that is left has gone by its age.
        gone = [number for number in sealed if number >= first.get(device, 0)]
        broken += [Broken(device, number, "the sealed record is gone") for number in sorted(gone)]
    return count, broken


def _links(
    session: Session,
    model: type[SQLModel],
    chain: str,
    moment: str,
    broken: list[Broken],
    now: datetime,
) -> Iterator[Mapping[str, Any]]:
    """The rows of all chains of a table in order; what is wrong with them is added to `broken`.

    `chain`: the column that tells chains apart; empty: there is one.
    """
    table: Table = table_of(model)
    order = [table.c[chain]] if chain else []
    rows = session.execute(select(table).order_by(*order, table.c.number))
    before: Mapping[str, Any] | None = None
    for found in rows.yield_per(1000).mappings():
        row = dict(found)
        name = str(row[chain]) if chain else ""
        same = before is not None and (not chain or before[chain] == name)
        if what := _wrong(row, before if same else None, row[moment], now):
            broken.append(Broken(name, row["number"], what))
        yield row
        before = row


def _wrong(
    row: Mapping[str, Any], before: Mapping[str, Any] | None, at: datetime, now: datetime
) -> str:
    if digest(row) != row["hash"]:
        return "it was changed"
    if before is None:
        # Only what is old may have gone before it, and then it is old itself.
        whole = row["number"] == 1 and row["previous"] == ""
        return "" if whole or at < now - KEPT else "what was before it is gone"
    if row["number"] != before["number"] + 1:
        return "a record before it is gone"
    return "" if row["previous"] == before["hash"] else "it does not follow the one before"
