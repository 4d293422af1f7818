"""The reset itself: every step ensures a state, so that the same order resumes where it broke."""

from __future__ import annotations

import math
import os
import signal
import stat
import time
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator, List, Optional

import room_canary
import room_residue
from room_events import Emit, Events, run_file
from room_gates import Job
from room_launch import TooLong
from room_machine import Machine, StillThere
from room_settings import ensure_settings, set_alarm
from room_state import Config, Journal, write_json
from room_system import idle_priority
from room_tree import TooBig, copy_tree, exchange, hash_tree, open_folder

QUICK = (
    "prepare", "lock", "sessions", "unmount", "prints", "network", "home", "residue", "settings",
    "alarm", "unlock", "trash",
)  # fmt: skip
STANDARD = (*QUICK[:-3], "everywhere", "alarm", "restart", "again", "unlock", "trash")
FULL = (*QUICK[:-3], "everywhere", "updates", "alarm", "restart", "again", "unlock", "trash")
TIERS = {"quick": QUICK, "standard": STANDARD, "full": FULL}
LEFT_AFTER_RESTART_S = 60.0
COUNT_S = 0.5
"""So often a countdown looks whether somebody is still there, or took the order back."""
SLEPT_S = 30.0
"""So long after its end, by the clock, a laptop slept meanwhile: who knows who opens it now."""
TRASH_S = 20.0
"""So long may emptying the trash hold up the end; the rest of it is nobody's reason to wait."""


class StepFailed(Exception):
    pass


class Aborted(Exception):
    """It ends before anything was touched: somebody took it back, or for another reason."""


class Restarting(BaseException):
    """The laptop goes down now; the rest is done when it is up again."""


def fate(config: Config, reset_id: str, wish: str = "") -> str:
    """What was decided first of an order: `commit` (it goes on) or `abort`. Empty: nothing yet."""
    path = run_file(config, reset_id, "fate")
    if wish and not path.exists():
        mine = path.with_suffix(f".{os.getpid()}")
        write_json(mine, wish)
        with suppress(FileExistsError):
            os.link(str(mine), str(path))  # whole, or not at all: somebody else may look just now
        mine.unlink()
    try:
        return "abort" if "abort" in path.read_text(encoding="ascii") else "commit"
    except FileNotFoundError:
        return ""


def let_in_again(journal: Journal, machine: Machine, reset_id: str) -> None:
    """After a reset that touched nothing, unless an earlier one had left the account locked."""
    if (journal.find(reset_id) or {}).get("kept_out") is False:
        machine.unlock()


def spoil(
    config: Config, reset_id: str, reason: str, detail: str, result: str = "refused"
) -> Dict[str, Any]:
    """Write the end of a run that could not tell its own."""
    end = {
        "event": "end", "reset_id": reset_id, "result": result, "reason": reason,
        "step": "", "detail": detail,
    }  # fmt: skip
    Journal(config).note(reset_id, phase="failed", finished_at=_now().isoformat(), end=end)
    Events(config, reset_id)(end)
    return end


class Run:
    def __init__(
        self,
        config: Config,
        machine: Machine,
        journal: Journal,
        job: Job,
        emit: Emit,
        most_s: float = math.inf,
    ) -> None:
        """`most_s`: so long at most, whatever the job allows."""
        self._config, self._machine, self._journal = config, machine, journal
        self._job, self._emit = job, emit
        self._new = os.path.join(config.trash, job.reset_id + ".new")
        self._known = journal.find(job.reset_id) or {}
        self._began = time.monotonic()
        self._most_s = most_s
        self._limit = min(job.max_runtime_s, most_s)
        self._evidence: Dict[str, Any] = {}

    def perform(self) -> Optional[Dict[str, Any]]:
        """Returns (and emits) the end event; None: the laptop restarts first."""
        reset_id, names = self._job.reset_id, self._names()
        begun = {"started_at": self._known.get("started_at", _now().isoformat())}
        self._journal.note(
            reset_id, profile=self._job.profile, tier=self._job.tier, phase="running", **begun
        )
        evidence: Dict[str, Any] = dict(self._known.get("evidence", {}))
        end: Dict[str, Any] = {"event": "end", "reset_id": reset_id, "result": "ok"}
        name = "start"
        try:
            with _watchdog(self._limit):
                for number, name in enumerate(names, 1):
                    evidence.update(self._one(name, number, len(names), evidence))
        except (StepFailed, TooLong) as problem:
            reason = "too_long" if isinstance(problem, TooLong) else "step_failed"
            end.update(result="failed", reason=reason, step=name, detail=str(problem)[:200])
        except Aborted as ended:
            let_in_again(self._journal, self._machine, reset_id)
            end.update(result="refused", reason=str(ended) or "aborted", step=name)
        except Restarting:
            return None  # the screen comes back with the system
        except BaseException:
            self._machine.open_screen()
            raise
        self._machine.open_screen()
        end["evidence"] = dict(evidence, ms=_since(self._began))
        phase = "done" if end["result"] == "ok" else "failed"
        # Who signs in while the trash is emptied has signed in after the reset.
        finished_at = self._known.get("opened_at", _now().isoformat())
        self._journal.note(reset_id, phase=phase, finished_at=finished_at, end=end)
        self._emit(end)
        return end

    def _names(self) -> List[str]:
        """The steps that are still to be done: all, or those after the restart, or after people
        were let in again: what they have left since is theirs."""
        names = [*(["canary"] if self._job.canary else []), *TIERS[self._job.tier]]
        if self._job.countdown_s:
            names.insert(names.index("lock"), "countdown")
        if "opened_at" in self._known:
            return names[names.index("unlock") :]
        before = self._known.get("restart_from")
        if before and before != self._machine.boot_id():
            self._limit = min(max(LEFT_AFTER_RESTART_S, self._left_s()), self._most_s)
            return names[names.index("restart") + 1 :]
        return names

    def _left_s(self) -> float:
        """Until the promised end, by the clock: a restart takes its share."""
        begun = datetime.fromisoformat(self._known["started_at"])
        return self._job.max_runtime_s - (_now() - begun).total_seconds()

    def _one(self, name: str, number: int, of: int, evidence: Dict[str, Any]) -> Dict[str, Any]:
        began = time.monotonic()
        about: Dict[str, Any] = {"event": "step", "step": name, "n": number, "of": of}
        step: Callable[[], Dict[str, Any]] = getattr(self, "_" + name)
        self._evidence = evidence
        try:
            found = step()
        except (OSError, StillThere, TooBig) as error:
            # An error's number, never its text: it may hold the name of a guest's file.
            code = getattr(error, "errno", None)
            detail = os.strerror(code) if code else str(error)
            self._emit(dict(about, status="failed", ms=_since(began), d={"error": detail}))
            raise StepFailed(detail) from None
        self._emit(dict(about, status="ok", ms=_since(began), d=found))
        return found

    def _note(self, **values: Any) -> None:
        self._journal.note(self._job.reset_id, **values)
        self._known.update(values)

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
            if name in os.listdir(trash):
                # Left by a broken attempt, perhaps a whole used home: deleting it can take long.
                room_residue.discard(name, trash, trash)
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

    def _countdown(self) -> Dict[str, Any]:
        """As long as somebody is signed in. They can still save, and unlock their screen."""
        seconds, began = self._job.countdown_s, time.monotonic()
        gone_on = fate(self._config, self._job.reset_id) == "commit"  # carried on after a kill
        if gone_on or self._machine.sessions() == []:
            return {"counted_down_s": 0}
        self._emit({"event": "countdown", "seconds": seconds})
        ends_at = time.time() + seconds
        self._machine.announce(ends_at, countdown=True)
        try:
            while time.monotonic() - began < seconds and self._machine.sessions() != []:
                self._stop_if_taken_back()
                time.sleep(COUNT_S)
                if time.time() > ends_at + SLEPT_S:
                    raise Aborted("expired")
        finally:
            self._machine.announce(0.0)
        return {"counted_down_s": round(time.monotonic() - began)}

    def _stop_if_taken_back(self) -> None:
        if fate(self._config, self._job.reset_id) == "abort":
            raise Aborted

    def _lock(self) -> Dict[str, Any]:
        self._stop_if_taken_back()
        if "kept_out" not in self._known:
            # By a reset that failed: then only one that succeeds may open it.
            self._note(kept_out=self._machine.locked())
        self._machine.lock()
        return {}

    def _sessions(self) -> Dict[str, Any]:
        """From here on the order cannot be taken back."""
        if fate(self._config, self._job.reset_id, "commit") == "abort":
            raise Aborted
        self._machine.close_screen()
        found = self._machine.count_processes()
        try:
            self._machine.end_sessions()
        except StillThere:
            if self._job.tier == "quick":
                raise
            return {"processes_ended": found, "stubborn": self._machine.count_processes()}
        return {"processes_ended": found, "stubborn": 0}

    def _unmount(self) -> Dict[str, Any]:
        found = self._machine.unmount()
        if found["lost_items"]:
            self._emit({"event": "lost_item", "count": found["lost_items"]})
        return dict(found)

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
        if any(left.values()) and not self._evidence.get("stubborn"):
            raise StillThere("left in " + ", ".join(sorted(k for k, n in left.items() if n)))
        if self._job.canary and room_canary.harmed(self._config):
            raise StillThere("what the guest's links point to was touched")
        return {"residue_removed": removed}

    def _everywhere(self) -> Dict[str, Any]:
        return {"removed_elsewhere": room_residue.sweep_everywhere(self._config)}

    def _settings(self) -> Dict[str, Any]:
        return ensure_settings(self._config)

    def _alarm(self) -> Dict[str, Any]:
        if self._job.wake_at is None:
            return {}
        return {"alarm_set": set_alarm(self._config.alarm, self._job.wake_at)}

    def _updates(self) -> Dict[str, Any]:
        return self._machine.install_updates(self._limit - (time.monotonic() - self._began))

    def _restart(self) -> Dict[str, Any]:
        """Where it is needed: after updates, for programs that cannot be ended, once a week."""
        stubborn = bool(self._evidence.get("stubborn"))
        reason = "stubborn" if stubborn else self._machine.restart_reason()
        if not reason and self._job.tier != "full":
            return {"restarted": False}
        self._journal.note(
            self._job.reset_id,
            restart_from=self._machine.boot_id(),
            phase="restarting",
            evidence=dict(self._evidence, restarted=True),
        )
        self._emit({"event": "restart", "reason": reason or "tier"})
        if not self._machine.restart():
            raise Restarting
        self._journal.note(self._job.reset_id, phase="running")
        return {"restarted": True}

    def _again(self) -> Dict[str, Any]:
        """After a restart nothing of the guest runs: what was still alive before is undone."""
        if not self._evidence.get("restarted"):
            return {}
        if self._evidence.get("stubborn"):
            self._evidence["stubborn"] = 0
            self._machine.lock()
            self._machine.end_sessions()
            self._prepare()
            self._home()
        return self._residue()

    def _unlock(self) -> Dict[str, Any]:
        if "opened_at" not in self._known:
            self._note(opened_at=_now().isoformat(), evidence=self._evidence)
        self._machine.unlock()
        return {}

    def _trash(self) -> Dict[str, Any]:
        """Last, with the lowest priority and for a short time: the laptop can be used already."""
        idle_priority()
        names = room_residue.in_trash(self._config)
        left_s = self._limit - (time.monotonic() - self._began)
        removed = room_residue.empty_trash(self._config, names, min(TRASH_S, left_s / 2))
        return {"trash_removed": removed, "trash": len(room_residue.in_trash(self._config))}


@contextmanager
def _watchdog(seconds: float) -> Iterator[None]:
    """Bound what runs inside: only a bounded reset can be promised to end before a course."""

    def bark(number: int, frame: object) -> None:
        raise TooLong("the time limit was reached")

    before = signal.signal(signal.SIGALRM, bark), signal.signal(signal.SIGTERM, bark)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before[0])
        signal.signal(signal.SIGTERM, before[1])


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
