"""What this agent has begun and answered, on disk, so that no order is ever run twice."""

import logging
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from agents.messages import Order, Outcome, Step

log = logging.getLogger(__name__)

KEEP = timedelta(hours=48)
"""How long after its latest start an order is remembered; by then it is long dead."""

_TABLES = """
CREATE TABLE IF NOT EXISTS known (
    id TEXT PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, not_after TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answer (
    id TEXT NOT NULL, step TEXT NOT NULL, body TEXT NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (id, step));
"""


class JournalBroken(Exception):
    """The journal cannot be read or written: then nothing may be reset."""


class Journal:
    """Every write is on the disk when the call returns. Any method may raise JournalBroken."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, timeout=5, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLES)
        except sqlite3.Error as error:
            raise JournalBroken(f"{path}: {error}") from None
        path.chmod(0o600)

    def close(self) -> None:
        self._db.close()

    def knows(self, order_id: str) -> bool:
        return bool(self._run("SELECT 1 FROM known WHERE id = ?", order_id))

    def answers(self, order_id: str) -> list[Outcome]:
        """What was answered to this order, in the sequence in which it was."""
        rows = self._run("SELECT body FROM answer WHERE id = ? ORDER BY rowid", order_id)
        return [outcome for (body,) in rows if (outcome := _outcome(body))]

    def note(self, outcome: Outcome, order: Order | None = None) -> None:
        """Remember this answer (to this order, if it is new) before it is sent or acted upon."""
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                if order:
                    self._db.execute(
                        "INSERT OR IGNORE INTO known VALUES (?, ?, ?, ?)",
                        (order.id, order.site, order.device, _text(order.not_after)),
                    )
                self._db.execute(
                    "INSERT OR IGNORE INTO answer (id, step, body) VALUES (?, ?, ?)",
                    (outcome.order, outcome.step, outcome.model_dump_json()),
                )
        except sqlite3.Error as error:
            raise JournalBroken(str(error)) from None

    def sent(self, outcome: Outcome) -> None:
        """The courier has it."""
        sql = "UPDATE answer SET sent = 1 WHERE id = ? AND step = ?"
        self._run(sql, outcome.order, outcome.step)

    def unsent(self) -> list[tuple[str, Outcome]]:
        """(site, answer) that no courier has taken yet."""
        rows = self._run(
            "SELECT site, body FROM answer JOIN known USING (id)"
            " WHERE sent = 0 ORDER BY answer.rowid"
        )
        return [(site, outcome) for site, body in rows if (outcome := _outcome(body))]

    def interrupted(self) -> list[tuple[str, str, str]]:
        """(order, site, device) of what was begun and never ended: the agent was killed."""
        rows = self._run(
            "SELECT id, site, device FROM known WHERE id NOT IN"
            " (SELECT id FROM answer WHERE step NOT IN (?, ?))",
            Step.ACCEPTED,
            Step.ACTED,
        )
        return [(order, site, device) for order, site, device in rows]

    def forget(self, now: datetime) -> None:
        """Drop what is too old to come again."""
        old = _text(now - KEEP)
        self._run("DELETE FROM answer WHERE id IN (SELECT id FROM known WHERE not_after < ?)", old)
        self._run("DELETE FROM known WHERE not_after < ?", old)

    def _run(self, sql: str, *values: str) -> list[tuple[str, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise JournalBroken(str(error)) from None


def _outcome(body: str) -> Outcome | None:
    """None for what another version of this agent, or a failing disk, has written."""
    try:
        return Outcome.model_validate_json(body)
    except ValidationError as error:
        log.error("an answer in the journal cannot be read: %s", error.errors()[0]["msg"])
        return None


def _text(moment: datetime) -> str:
    """Sorts as text in the sequence of time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
