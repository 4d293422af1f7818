"""The verbs, each answered on standard output in JSON, the last line being the answer."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import Any, BinaryIO, Dict, List

from room_gates import RESET_ID
from room_health import count_updates, health
from room_machine import machine_for
from room_reset import start
from room_state import BadConfig, Config, Journal, Lock, load_config
from room_verify import verify

MAX_JOB = 16 * 1024
LOOK_S = 60
VERBS = ("health", "status", "preflight", "start", "verify")
EXIT = {"ok": 0, "refused": 10, "failed": 20}
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


def obey(config_path: str, verb: str, reset_id: str, job: BinaryIO, answer: BinaryIO) -> int:
    """Do one verb; returns the exit code, which is a hint only: the JSON counts."""
    speak = Speaker(answer)
    try:
        config = load_config(config_path)
    except BadConfig as problem:
        speak({"event": "end", "result": "refused", "reason": "bad_config", "detail": str(problem)})
        return BAD_REQUEST
    if verb == "start":
        return _start(config, job, speak)
    signal.alarm(LOOK_S)  # a look that hangs on a guest's file system ends by itself
    if verb == "health":
        speak(health(config))
        count_updates(config)
    elif verb == "status":
        speak({"v": 1, "last": Journal(config).last_done()})
    elif verb == "preflight":
        speak(_preflight(config))
    elif verb == "verify" and RESET_ID.fullmatch(reset_id):
        speak(verify(config, reset_id))
    else:
        speak({"event": "end", "result": "refused", "reason": "bad_request"})
        return BAD_REQUEST
    return 0


def _start(config: Config, job: BinaryIO, speak: Speaker) -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    text = job.read(MAX_JOB + 1)
    if len(text) > MAX_JOB:
        speak({"event": "end", "result": "refused", "reason": "bad_job", "detail": "too long"})
        return BAD_REQUEST
    end = start(config, text.decode("utf-8", errors="replace"), speak)
    return EXIT[end["result"]]


def _preflight(config: Config) -> Dict[str, Any]:
    """What would speak against a reset, without a job and without touching anything."""
    lock = Lock(config)
    try:
        free = lock.take()
    finally:
        lock.close()
    sessions = machine_for(config).sessions()
    return {
        "v": 1,
        "busy": not free,
        "in_use": None if sessions is None else any(not session.idle for session in sessions),
        "profiles": sorted(os.listdir(config.skeletons)),
    }


def main(arguments: List[str]) -> int:
    """By hand and for simulated laptops. The agent comes through `dispatch`, without options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("reset_id", nargs="?", default="")
    given = parser.parse_args(arguments)
    return obey(given.config, given.verb, given.reset_id, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
