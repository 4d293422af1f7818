"""Orders: begun at most once, carried on after a loss of connection, a kill or a restart."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator, Optional

import room_launch
from room_events import Emit, Events, follow, forget_old, run_file
from room_gates import Job, Refusal, check, parse_job
from room_machine import machine_for
from room_residue import empty_trash, in_trash
from room_run import Run, fate, let_in_again, spoil
from room_state import Config, Journal, Lock, write_json
from room_system import idle_priority

TAKE_S = 5.0
LET_GO_S = 5.0
SPACE_S = 15.0
"""So long an order for which there is no space may wait for the trash to be emptied."""
BOOT_S = 840.0
"""Less than raumwart-resume.service gets: what it would be killed in must not begin (updates)."""
AFTERWARDS_S = 900.0
"""How long a reset that has told its end may go on emptying the trash."""


def start(config: Config, config_path: str, text: str, emit: Emit) -> Optional[Dict[str, Any]]:
    """Begin one order, at most once, and follow it; returns its end event, None without one.

    What runs is detached: whoever listens may go away.
    """
    try:
        job = parse_job(text)
    except Refusal as refusal:
        return _refuse("", refusal, emit)
    with _lock(config) as lock:
        if _take(config, lock, job.reset_id):
            end = _begin(config, config_path, job, text, lock)
            if end:
                emit(end)
                return end
        elif lock.holder() != job.reset_id:
            return _refuse(job.reset_id, Refusal("busy"), emit)
    return follow(config, job.reset_id, 0, emit, handed=room_launch.by_systemd())


def _begin(
    config: Config, config_path: str, job: Job, text: str, lock: Lock
) -> Optional[Dict[str, Any]]:
    """With the lock held. Returns an end when there is nothing to begin."""
    journal = Journal(config)
    known = journal.find(job.reset_id)
    if known and known["phase"] not in ("running", "restarting"):
        return dict(known["end"], repeated=True)
    try:
        _check(config, job)
    except Refusal as refusal:
        if known is None or fate(config, job.reset_id) != "commit":
            return _refusal(job.reset_id, refusal)
        # Too late to go on, and no longer untouched: that is a failure, not a refusal.
        end = dict(_refusal(job.reset_id, refusal), result="failed", step="resume")
        journal.note(job.reset_id, phase="failed", finished_at=_now().isoformat(), end=end)
        return end
    for old in journal.open_runs():
        if old != job.reset_id:
            end = _refusal(old, Refusal("superseded"))
            journal.note(old, phase="failed", finished_at=_now().isoformat(), end=end)
    events = Events(config, job.reset_id)
    if known is None:
        events.clear()
        write_json(run_file(config, job.reset_id, "job"), json.loads(text))
        journal.note(job.reset_id, started_at=_now().isoformat())
        forget_old(config, list(journal.runs))
    if room_launch.by_systemd():
        lock.release()
        if room_launch.as_unit(config_path, job.reset_id, job.max_runtime_s):
            return None
        end = _refusal(job.reset_id, Refusal("no_unit"))
        journal.note(job.reset_id, phase="failed", finished_at=_now().isoformat(), end=end)
        return end
    room_launch.as_session(
        lambda: _perform(config, job, lock, AFTERWARDS_S),
        job.max_runtime_s,
        lambda: _was_killed(config, job.reset_id),
    )
    return None


def _check(config: Config, job: Job) -> None:
    """Raises Refusal. What earlier resets took away may be what there is no space for."""
    machine = machine_for(config)
    try:
        check(job, config, machine, _now())
    except Refusal as refusal:
        if refusal.reason != "no_space" or not in_trash(config):
            raise
        empty_trash(config, in_trash(config), SPACE_S)
        check(job, config, machine, _now())


def work(config: Config, reset_id: str, *, booted: bool = False) -> Optional[Dict[str, Any]]:
    """What systemd's unit does: the order that lies ready, in this process."""
    with _lock(config) as lock:
        if not lock.take_within(TAKE_S, reset_id):
            return None
        known = Journal(config).find(reset_id)
        if known is None or known["phase"] not in ("running", "restarting"):
            return None
        try:
            job = parse_job(run_file(config, reset_id, "job").read_text(encoding="utf-8"))
        except (OSError, ValueError, Refusal):
            machine_for(config).open_screen()
            return spoil(config, reset_id, "bad_job", "it cannot be read any more", result="failed")
        if booted and fate(config, reset_id) != "commit" and _now() > job.not_after:
            end = spoil(config, reset_id, "expired", "restarted before anything was touched")
            let_in_again(Journal(config), machine_for(config), reset_id)
            return end
        if booted:
            # People wait for the screen; the next reset empties what is left.
            return _perform(config, job, lock, 0.0, BOOT_S)
        return _perform(config, job, lock, AFTERWARDS_S)


def resume(config: Config) -> int:
    """At boot, before anybody can sign in: finish what was interrupted; returns how many."""
    machine_for(config).open_screen()
    interrupted = Journal(config).open_runs()
    for reset_id in interrupted:
        work(config, reset_id, booted=True)
    return len(interrupted)


def abort(config: Config, reset_id: str) -> Dict[str, Any]:
    """Stop an order before it ends anybody's session; afterwards it cannot be stopped."""
    known = Journal(config).find(reset_id)
    aborted = bool(known) and fate(config, reset_id, "abort") == "abort"
    return {"v": 1, "reset_id": reset_id, "aborted": aborted}


def _perform(
    config: Config, job: Job, lock: Lock, afterwards_s: float, most_s: float = math.inf
) -> Optional[Dict[str, Any]]:
    events = Events(config, job.reset_id)
    end = Run(config, machine_for(config), Journal(config), job, events, most_s).perform()
    rest = in_trash(config) if end else []
    lock.release()  # the next order need not wait until this process and its watchdog are gone
    if rest and afterwards_s:
        idle_priority()
        empty_trash(config, rest, afterwards_s)
    return end


def _take(config: Config, lock: Lock, reset_id: str) -> bool:
    """A reset that has told its end lets go of the lock a moment later."""
    if lock.take(reset_id):
        return True
    if lock.holder() in Journal(config).open_runs():
        return False
    return lock.take_within(LET_GO_S, reset_id)


def _was_killed(config: Config, reset_id: str) -> None:
    if reset_id not in Journal(config).open_runs():
        return  # it had told its end, and only emptied the trash
    spoil(config, reset_id, "too_long", "the watchdog ended it", result="failed")
    machine_for(config).open_screen()


def _refusal(reset_id: str, refusal: Refusal) -> Dict[str, Any]:
    return {
        "event": "end",
        "reset_id": reset_id,
        "result": "refused",
        "reason": refusal.reason,
        "detail": refusal.detail,
    }


def _refuse(reset_id: str, refusal: Refusal, emit: Callable[..., None]) -> Dict[str, Any]:
    end = _refusal(reset_id, refusal)
    emit(end)
    return end


@contextmanager
def _lock(config: Config) -> Iterator[Lock]:
    lock = Lock(config)
    try:
        yield lock
    finally:
        lock.close()


def _now() -> datetime:
    return datetime.now(timezone.utc)
