"""What a laptop answers over SSH, checked before anything of it is believed."""

import json
import time
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.driver import Garbled, Refused, ResetFailed, WrongDevice
from agents.messages import Facts, Target

Ratio = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Bytes = Annotated[int, Field(ge=0, le=1 << 60)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Text = Annotated[str, Field(max_length=200)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Code = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_]*$")]


class _Answer(BaseModel):
    """Null means: cannot be told. Unknown fields are a newer laptop's and left out."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=_Answer)


class Health(_Answer):
    """The answer to `health`: facts of `agents.facts`, and the laptop's clock."""

    now: Annotated[float, Field(ge=0, le=1e11)]
    """Unix time of the laptop when it answered."""
    vendor: Text | None = None
    model: Text | None = None
    serial: Text | None = None
    name: Text | None = None
    firmware: Text | None = None
    uptime_s: Seconds | None = None
    load_1m: Annotated[float, Field(ge=0, le=1e5)] | None = None
    memory_ratio: Ratio | None = None
    memory_total_bytes: Bytes | None = None
    disk_free_bytes: Bytes | None = None
    disk_ratio: Ratio | None = None
    disk_healthy: bool | None = None
    temperature_c: Annotated[float, Field(ge=-60, le=200)] | None = None
    battery_ratio: Ratio | None = None
    battery_wear_ratio: Ratio | None = None
    plugged: bool | None = None
    wifi_dbm: Annotated[float, Field(ge=-150, le=0)] | None = None
    sessions: Count | None = None
    failed_units: Count | None = None
    updates: Count | None = None
    security_updates: Count | None = None
    reboot_needed: bool | None = None
    reset_id: Text | None = None
    used_since: bool | None = None
    script_hash: Hash | None = None


class Verified(_Answer):
    """The answer to `verify`."""

    now: Annotated[float, Field(ge=0, le=1e11)]
    serial: Text | None = None
    reset_id: Text | None = None
    tier: Code | None = None
    sessions: Count | None = None
    processes: Count | None = None
    used_since: bool | None = None
    logins: Count | None = None
    home_hash: Hash | None = None
    home_clean: bool
    skeleton_hash: Hash | None = None
    residue: Count
    residue_places: Annotated[str, Field(max_length=500, pattern=r"^[a-z0-9_,]*$")]
    counts: Annotated[dict[Code, Count], Field(max_length=40)] = {}
    """Place → traces, also where there are none."""
    step_times: Annotated[dict[Code, Count], Field(max_length=40)] = {}
    """Step of the last reset → milliseconds."""
    foreign_networks: Count | None = None
    print_jobs: Count | None = None
    mounts: Count | None = None
    trash: Count | None = None
    lost_items: Count | None = None
    boot_id: Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")] | None = None
    boot_fresh: bool | None = None
    alarm_set: bool | None = None
    script_hash: Hash | None = None
    disk_free_bytes: Bytes | None = None
    disk_ratio: Ratio | None = None
    battery_ratio: Ratio | None = None
    plugged: bool | None = None
    canary_planted: Count | None = None
    canary_unseen: Count | None = None


class End(_Answer):
    """The last line of `start`; without it nobody knows what happened."""

    result: Annotated[str, Field(pattern=r"^(ok|refused|failed)$")]
    reset_id: Text = ""
    """A refusal may come before the laptop knew which reset it was asked for."""
    reason: Code = ""
    step: Code = ""
    detail: Annotated[str, Field(max_length=400)] = ""


def health_facts(answer: dict[str, Any], target: Target) -> Facts:
    """Raises Garbled or WrongDevice."""
    known = _check(Health, answer)
    _same_device(known.serial, target)
    facts: Facts = known.model_dump(exclude_none=True, exclude={"now"})
    facts["clock_offset_s"] = round(known.now - time.time(), 1)
    return facts


def verified_facts(answer: dict[str, Any], target: Target) -> Facts:
    """Raises Garbled or WrongDevice."""
    known = _check(Verified, answer)
    _same_device(known.serial, target)
    facts: Facts = known.model_dump(exclude_none=True, exclude={"now", "counts", "step_times"})
    if known.step_times:
        facts["step_times"] = [f"{step}:{ms}" for step, ms in known.step_times.items()]
    facts["residue_counts"] = [f"{place}:{found}" for place, found in sorted(known.counts.items())]
    facts["clock_offset_s"] = round(known.now - time.time(), 1)
    return facts


def judge_end(answer: dict[str, Any], reset_id: str) -> None:
    """Return when the laptop says it finished. Raises Refused, ResetFailed or Garbled."""
    end = _check(End, answer)
    if end.result == "refused":
        raise Refused(end.reason or "refused", end.detail)
    if end.reset_id != reset_id:
        raise Garbled("the end of another reset")
    if end.result == "failed":
        words = (end.reason, end.step, end.detail)
        raise ResetFailed(": ".join(word for word in words if word), end.step)


def parse_object(line: bytes) -> dict[str, Any] | None:
    """The JSON object in this line; None when it holds something else, such as a banner."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _same_device(serial: str | None, target: Target) -> None:
    expected = target.serial.strip().lower()
    if expected and serial is not None and serial.strip().lower() != expected:
        raise WrongDevice(f"serial number {serial[:60]!r}")


def _check(model: type[Model], answer: dict[str, Any]) -> Model:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Garbled(f"{where}: {first['msg']}"[:300]) from None
