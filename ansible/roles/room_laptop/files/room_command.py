"""The verbs, each answered on standard output in JSON, the last line being the answer."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from typing import Any, BinaryIO, Dict, List, Optional, Sequence

import room_warning
from room_events import follow
from room_gates import RESET_ID
from room_health import count_updates, disk, health, power
from room_machine import machine_for
from room_reach import reach
from room_reset import abort, resume, start, work
from room_state import BadConfig, Config, Journal, Lock, load_config
from room_verify import verify

MAX_JOB = 16 * 1024
LOOK_S = 60
VERBS = (
    "health", "status", "preflight", "start", "follow", "verify", "abort", "warn", "run", "resume",
    "reach",
)  # fmt: skip
EXIT = {"ok": 0, "refused": 10, "failed": 20}
EXIT_REFUSED = {
    "in_use": 10, "expired": 11, "too_late": 11, "too_early": 11, "aborted": 11, "busy": 12,
    "no_power": 13, "no_space": 14, "clock_in_doubt": 15, "bad_job": 64, "bad_config": 64,
}  # fmt: skip
NO_END, NOT_CLEAN, RESTART_MISSING = 20, 21, 22
BAD_REQUEST = 64


class Speaker:
    """Writes events. When nobody listens any more, what was begun goes on in silence."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._gone = False

    def __call__(self, event: Dict[str, Any]) -> None:
        if self._gone:
            return
        try:
            self._stream.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")
            self._stream.flush()
        except OSError:
            self._gone = True


def obey(config_path: str, verb: str, words: Sequence[str], job: BinaryIO, answer: BinaryIO) -> int:
    """Do one verb; returns the exit code, which is a hint only: the JSON counts."""
    speak = Speaker(answer)
    try:
        config = load_config(config_path)
    except BadConfig as problem:
        speak({"event": "end", "result": "refused", "reason": "bad_config", "detail": str(problem)})
        return BAD_REQUEST
    if verb == "start" and not words:
        return _start(config, config_path, job, speak)
    if verb == "follow" and len(words) == 2 and RESET_ID.fullmatch(words[0]):
        return _follow(config, words[0], int(words[1]), speak)
    if verb in ("run", "resume"):
        return _detached(config, words)
    if verb == "reach" and not words:
        speak(dict(v=1, **reach(config)))
        return 0
    signal.alarm(LOOK_S)  # a look that hangs on a guest's file system ends by itself
    return _look(config, verb, words, speak)


def _look(config: Config, verb: str, words: Sequence[str], speak: Speaker) -> int:
    """The verbs that are answered by one object."""
    named = len(words) == 1 and bool(RESET_ID.fullmatch(words[0]))
    if verb == "health" and not words:
        speak(health(config))
        count_updates(config)
    elif verb == "status" and not words:
        speak(_status(config))
    elif verb == "preflight" and not words:
        speak(_preflight(config))
    elif verb == "verify" and named:
        found = verify(config, words[0])
        speak(found)
        clean = found["home_clean"] and not found["residue"]
        return RESTART_MISSING if found["boot_fresh"] is False else 0 if clean else NOT_CLEAN
    elif verb == "abort" and named:
        speak(abort(config, words[0]))
    elif verb == "warn" and len(words) == 1:
        speak(room_warning.warn(int(words[0]), machine_for(config).announce))
    else:
        speak({"event": "end", "result": "refused", "reason": "bad_request"})
        return BAD_REQUEST
    return 0


def _start(config: Config, config_path: str, job: BinaryIO, speak: Speaker) -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    text = job.read(MAX_JOB + 1)
    if len(text) > MAX_JOB:
        speak({"event": "end", "result": "refused", "reason": "bad_job", "detail": "too long"})
        return BAD_REQUEST
    return _code(start(config, config_path, text.decode("utf-8", errors="replace"), speak))


def _follow(config: Config, reset_id: str, seq: int, speak: Speaker) -> int:
    if Journal(config).find(reset_id) is None:
        speak({"event": "unknown_reset", "reset_id": reset_id})
        return NO_END
    return _code(follow(config, reset_id, seq, speak))


def _detached(config: Config, words: Sequence[str]) -> int:
    """Without a listener: systemd's unit for one order, or the one at boot."""
    if not words:
        resume(config)
    elif RESET_ID.fullmatch(words[0]):
        work(config, words[0])
    return 0


def _code(end: Optional[Dict[str, Any]]) -> int:
    if end is None:
        return NO_END
    return (
        EXIT_REFUSED.get(end.get("reason", ""), 10)
        if end["result"] == "refused"
        else EXIT[end["result"]]
    )


def _status(config: Config) -> Dict[str, Any]:
    journal = Journal(config)
    return {"v": 1, "last": journal.last_done(), "open": journal.open_runs()}


def _preflight(config: Config) -> Dict[str, Any]:
    """What would speak against a reset, without a job and without touching anything."""
    lock = Lock(config)
    try:
        free = lock.take()
    finally:
        lock.close()
    sessions = machine_for(config).sessions()
    about = power()
    return {
        "v": 1,
        "now": time.time(),
        "busy": not free,
        "in_use": None if sessions is None else any(not session.idle for session in sessions),
        "profiles": sorted(os.listdir(config.skeletons)),
        "battery_ratio": about["battery_ratio"],
        "plugged": about["plugged"],
        "disk_free_bytes": disk().get("disk_free_bytes"),
    }


def main(arguments: List[str]) -> int:
    """By hand and for simulated laptops. The agent comes through `dispatch`, without options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("words", nargs="*")
    given = parser.parse_args(arguments)
    return obey(given.config, given.verb, given.words, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
