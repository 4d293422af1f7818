"""The reset itself: every step ensures a state, so that the same order resumes where it broke."""

from __future__ import annotations

import os
import signal
import stat
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator

import room_canary
import room_residue
from room_gates import Job, Refusal, check, parse_job
from room_machine import Machine, StillThere, machine_for
from room_state import Config, Journal, Lock
from room_tree import copy_tree, exchange, hash_tree, open_folder, remove

Emit = Callable[[Dict[str, Any]], None]


class StepFailed(Exception):
    pass


class TooLong(BaseException):
    """The watchdog: the time that was promised is over. Not an Exception, so no step eats it."""


def start(config: Config, text: str, emit: Emit) -> Dict[str, Any]:
    """Do one order, at most once; returns (and emits) its end event."""
    try:
        job = parse_job(text)
    except Refusal as refusal:
        return _refuse("", refusal, emit)
    machine, lock = machine_for(config), Lock(config)
    try:
        if not lock.take():
            return _refuse(job.reset_id, Refusal("busy"), emit)
        journal = Journal(config)
        known = journal.find(job.reset_id)
        if known and known["phase"] != "running":
            end: Dict[str, Any] = dict(known["end"], repeated=True)
            emit(end)
            return end
        try:
            check(job, config, machine, _now())
        except Refusal as refusal:
            return _refuse(job.reset_id, refusal, emit)
        return _Run(config, machine, journal, job, emit).perform()
    finally:
        lock.close()


def _refuse(reset_id: str, refusal: Refusal, emit: Emit) -> Dict[str, Any]:
    end = {
        "event": "end",
        "reset_id": reset_id,
        "result": "refused",
        "reason": refusal.reason,
        "detail": refusal.detail,
    }
    emit(end)
    return end


class _Run:
    def __init__(
        self, config: Config, machine: Machine, journal: Journal, job: Job, emit: Emit
    ) -> None:
        self._config, self._machine, self._journal = config, machine, journal
        self._job, self._emit = job, emit
        self._new = os.path.join(config.trash, job.reset_id + ".new")
        self._steps: Dict[str, Callable[[], Dict[str, Any]]] = {
            **({"canary": self._canary} if job.canary else {}),
            "prepare": self._prepare,
            "lock": self._lock,
            "sessions": self._sessions,
            "unmount": self._unmount,
            "prints": self._prints,
            "network": self._network,
            "home": self._home,
            "residue": self._residue,
            "unlock": self._unlock,
            "trash": self._trash,
        }

    def perform(self) -> Dict[str, Any]:
        reset_id, began = self._job.reset_id, time.monotonic()
        self._journal.note(reset_id, started_at=_now().isoformat(), profile=self._job.profile)
        evidence: Dict[str, Any] = {}
        end: Dict[str, Any] = {"event": "end", "reset_id": reset_id, "result": "ok"}
        name = "start"
        try:
            with _watchdog(self._job.max_runtime_s):
                for number, (name, step) in enumerate(self._steps.items(), 1):
                    evidence.update(self._one(name, number, step))
        except (StepFailed, TooLong) as problem:
            reason = "too_long" if isinstance(problem, TooLong) else "step_failed"
            end.update(result="failed", reason=reason, step=name, detail=str(problem)[:200])
        end["evidence"] = dict(evidence, ms=_since(began))
        phase = "done" if end["result"] == "ok" else "failed"
        self._journal.note(reset_id, phase=phase, finished_at=_now().isoformat(), end=end)
        self._emit(end)
        return end

    def _one(self, name: str, number: int, step: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
        began = time.monotonic()
        about: Dict[str, Any] = {"event": "step", "step": name, "n": number, "of": len(self._steps)}
        try:
            found = step()
        except (OSError, StillThere) as error:
            # An error's number, never its text: it may hold the name of a guest's file.
            code = getattr(error, "errno", None)
            detail = os.strerror(code) if code else str(error)
            self._emit(dict(about, status="failed", ms=_since(began), d={"error": detail}))
            raise StepFailed(detail) from None
        self._emit(dict(about, status="ok", ms=_since(began), d=found))
        return found

    def _canary(self) -> Dict[str, Any]:
        """Leave the traces of a guest, to see whether this reset finds and removes them."""
        return room_canary.plant(self._config, self._machine)

    def _prepare(self) -> Dict[str, Any]:
        """Build the new home where only root can reach it."""
        os.makedirs(self._config.trash, mode=0o700, exist_ok=True)
        trash = open_folder(self._config.trash)
        try:
            owner = os.fstat(trash)
            if owner.st_uid != os.geteuid() or stat.S_IMODE(owner.st_mode) & 0o077:
                raise PermissionError("others can reach the trash")
            name = os.path.basename(self._new)
            remove(name, trash)
            os.mkdir(name, 0o700, dir_fd=trash)
            source = open_folder(os.path.join(self._config.skeletons, self._job.profile))
            target = open_folder(name, trash)
            try:
                copied = copy_tree(source, target, self._config.uid, self._config.gid)
                return {"home_entries": copied, "home_hash": hash_tree(target, self._config.uid)}
            finally:
                os.close(source)
                os.close(target)
        finally:
            os.close(trash)

    def _lock(self) -> Dict[str, Any]:
        self._machine.lock()
        return {}

    def _sessions(self) -> Dict[str, Any]:
        return {"processes_ended": self._machine.end_sessions()}

    def _unmount(self) -> Dict[str, Any]:
        return self._machine.unmount()

    def _prints(self) -> Dict[str, Any]:
        return {"prints_removed": self._machine.remove_prints()}

    def _network(self) -> Dict[str, Any]:
        return {"networks_removed": self._machine.remove_networks()}

    def _home(self) -> Dict[str, Any]:
        """Exchange used and new home; the used one lies in the trash afterwards."""
        if os.path.lexists(self._config.home):
            exchange(self._new, self._config.home)
        else:
            os.rename(self._new, self._config.home)
        return {}

    def _residue(self) -> Dict[str, Any]:
        removed = room_residue.sweep(self._config, self._machine)
        left = room_residue.count(self._config, self._machine)
        del left["trash"]  # the last step's task
        if any(left.values()):
            raise StillThere("left in " + ", ".join(sorted(k for k, n in left.items() if n)))
        if self._job.canary and room_canary.harmed(self._config):
            raise StillThere("what the guest's links point to was touched")
        return {"residue_removed": removed}

    def _unlock(self) -> Dict[str, Any]:
        self._machine.unlock()
        return {}

    def _trash(self) -> Dict[str, Any]:
        return {"trash_removed": room_residue.empty_trash(self._config)}


@contextmanager
def _watchdog(seconds: int) -> Iterator[None]:
    """Bound what runs inside: only a bounded reset can be promised to end before a course."""

    def bark(number: int, frame: object) -> None:
        raise TooLong("the time limit was reached")

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
