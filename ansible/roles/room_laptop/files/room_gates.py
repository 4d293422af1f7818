"""Whether a reset may begin now: the last hop's own check, before anything is touched."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Optional

from room_health import power
from room_machine import Machine
from room_state import Config, moment

RESET_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,31}\.[0-9]{1,4}")
PROFILE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
MAX_SKEW = timedelta(seconds=30)
MAX_RUNTIME_S = 3600
COUNTDOWN_S, MAX_COUNTDOWN_S = 60, 600
LEAST_CHARGE = 0.3


class Refusal(Exception):
    """No, and nothing was touched. `reason` is a code."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Job:
    reset_id: str
    sent_at: datetime
    not_before: datetime
    not_after: datetime
    """The latest start."""
    next_start: Optional[datetime]
    """When the next course begins: the reset must be over by then."""
    max_runtime_s: int
    profile: str
    serial: str
    end_sessions: bool
    """End a session that is in use instead of refusing."""
    countdown_s: int
    """So long whoever is signed in is shown that they have to save; 0: not at all."""
    canary: bool
    """Plant traces first, to see whether the reset finds and removes them."""
    tier: str
    wake_at: Optional[datetime]
    """When the laptop should wake itself for its next reset."""


def parse_job(text: str) -> Job:
    """Raises Refusal('bad_job')."""
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or values.get("v") != 1:
            raise ValueError("not a job of version 1")
        next_start = values.get("next_start")
        in_use = values.get("on_active_session", "refuse")
        countdown_s = _countdown(values) if in_use == "countdown" else 0
        job = Job(
            reset_id=_text(values, "reset_id", RESET_ID),
            sent_at=moment(values["sent_at"]),
            not_before=moment(values["not_before"]),
            not_after=moment(values["not_after"]),
            next_start=None if next_start is None else moment(next_start),
            max_runtime_s=_runtime(values["max_runtime_s"], countdown_s),
            profile=_text(values, "profile", PROFILE, "standard"),
            serial=_text(values, "serial", re.compile(r".{0,100}"), ""),
            end_sessions=in_use in ("end", "countdown"),
            countdown_s=countdown_s,
            canary=values.get("canary", False) is True,
            tier=_text(values, "tier", re.compile(r"[a-z]{1,20}"), "quick"),
            wake_at=moment(values["wake_at"]) if values.get("wake_at") else None,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refusal("bad_job", str(error)[:200]) from None
    if job.tier not in ("quick", "standard", "full"):
        raise Refusal("unsupported_tier")
    return job


def _text(values: dict[str, Any], name: str, form: re.Pattern[str], default: str = "-") -> str:
    value = values.get(name, default)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{name} has the wrong form")
    return value


def _runtime(value: object, countdown_s: int) -> int:
    """With the countdown in it."""
    most = MAX_RUNTIME_S + countdown_s
    if not isinstance(value, int) or isinstance(value, bool) or not countdown_s < value <= most:
        raise ValueError(f"max_runtime_s must be between {countdown_s + 1} and {most}")
    return value


def _countdown(values: dict[str, Any]) -> int:
    value = values.get("countdown_s", COUNTDOWN_S)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_COUNTDOWN_S:
        raise ValueError(f"countdown_s must be between 1 and {MAX_COUNTDOWN_S}")
    return value


def check(job: Job, config: Config, machine: Machine, now: datetime) -> None:
    """Raises Refusal with the first reason that speaks against it."""
    if job.serial and machine.serial().strip().lower() != job.serial.strip().lower():
        raise Refusal("wrong_device")
    if abs(now - job.sent_at) > MAX_SKEW:
        raise Refusal("clock_in_doubt", f"{(now - job.sent_at).total_seconds():.0f} s apart")
    if now < job.not_before:
        raise Refusal("too_early")
    if now > job.not_after:
        raise Refusal("expired")
    if job.next_start and now + timedelta(seconds=job.max_runtime_s) > job.next_start:
        raise Refusal("too_late")
    if not os.path.isdir(os.path.join(config.skeletons, job.profile)):
        raise Refusal("unknown_profile")
    sessions = machine.sessions()
    if sessions is None:
        raise Refusal("sessions_unknown")
    used = any(not session.idle for session in sessions)
    if not job.end_sessions and (used or (sessions and machine.moved())):
        raise Refusal("in_use")
    if job.countdown_s and sessions and not machine.has_banner():
        raise Refusal("no_banner")
    _check_means(job, config)


def _check_means(job: Job, config: Config) -> None:
    """Whether power and disk last until the end."""
    about = power()
    charge, plugged = about["battery_ratio"], about["plugged"]
    if job.tier == "full" and charge is not None and not plugged:
        raise Refusal("no_power")
    if charge is not None and charge < LEAST_CHARGE and not plugged:
        raise Refusal("no_power")
    disk = os.statvfs(config.state)
    # What is kept free for root counts: a guest who filled the disk cannot keep it from a reset.
    if disk.f_bfree * disk.f_frsize < config.space_bytes * (1 if job.tier == "quick" else 4):
        raise Refusal("no_space")
