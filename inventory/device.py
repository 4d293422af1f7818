"""Devices, and the one current row of state that each of them has."""

import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import Field, SQLModel

from inventory.columns import json_column, moment, reference, sibling, word

CODE_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""No 0/o, 1/l/i: the code is also read aloud on the phone."""


class DeviceKind(StrEnum):
    LAPTOP = "laptop"
    TABLET = "tablet"
    PROJECTOR = "projector"
    ACCESS_POINT = "access_point"
    SWITCH = "switch"
    PRINTER = "printer"
    DISPLAY = "display"
    UPS = "ups"


class Service(StrEnum):
    """Whether a device is there to be used at all."""

    ACTIVE = "active"
    REPAIR = "repair"
    LENT = "lent"
    RETIRED = "retired"


class Health(StrEnum):
    """The verdict on one device. OFF is healthy: it is off and nobody needs it now."""

    OK = "ok"
    OFF = "off"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


def new_code() -> str:
    """The secret part of the address on a device's label: 10 letters and digits, 49 bits."""
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(10))


class Device(SQLModel, table=True):
    """One device as somebody wrote it down: what it is, where it stands, how to reach it."""

    id: str = Field(primary_key=True, max_length=63)
    room_id: str = Field(sa_column=reference("room.id"))
    name: str = Field(max_length=200)
    kind: DeviceKind = Field(sa_column=word(DeviceKind, index=True))
    model: str = Field(default="", max_length=200)
    serial: str = Field(default="", max_length=100)
    mac: str = Field(default="", max_length=17)
    driver: str = Field(max_length=32)
    """A name in `agents.drivers.DRIVERS`."""
    address: str = Field(max_length=253)
    port: int | None = Field(default=None, ge=1, le=65535)
    """None: the driver's usual port."""
    profile: str = Field(default="", max_length=63)
    """SNMP: a file in agents/profiles without its ending; empty: chosen by what the device says."""
    credential: str = Field(default="", max_length=63)
    """The *name* of a secret that only the site's agent can resolve."""
    options: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """What only this driver understands, for example `{"version": "3"}` for SNMP."""
    recipe_id: str | None = Field(
        default=None, sa_column=reference("recipe.id", nullable=True, keep=True)
    )
    """None: never reset."""
    uplink_id: str | None = Field(default=None, sa_column=sibling("device.id"))
    """The switch or access point through which its network comes."""
    power_id: str | None = Field(default=None, sa_column=sibling("device.id"))
    """The UPS that feeds it."""
    thresholds: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """Name of a threshold of `fleet.health.rules` → this device's own limit."""
    spare: bool = Field(default=False)
    """A reserve: a room does not need it, but may swap it in."""
    service: Service = Field(default=Service.ACTIVE, sa_column=word(Service))
    code: str = Field(default_factory=new_code, unique=True, max_length=32)
    note: str = Field(default="", max_length=2000)


class DeviceState(SQLModel, table=True):
    """What is known of a device now. Exactly one row per device that was ever heard of."""

    __tablename__ = "device_state"

    device_id: str = Field(
        primary_key=True, foreign_key="device.id", ondelete="CASCADE", max_length=63
    )
    taken_at: datetime = Field(sa_column=moment(nullable=False))
    """When the agent looked; older answers never replace newer ones."""
    reachable: bool
    problem: str = Field(default="", max_length=32)
    """A code of `agents.driver` when the poll failed, else empty."""
    detail: str = Field(default="", max_length=500)
    latency_ms: float | None = Field(default=None)
    facts: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """Fact name → value of the last poll that answered, in base units."""
    facts_at: datetime | None = Field(default=None, sa_column=moment())
    """When those facts were true: an unreachable device keeps its last facts."""
    failures: int = Field(default=0)
    """Polls that failed in a row."""
    losses: list[Any] = Field(default_factory=list, sa_column=json_column())
    """When it was lost lately (ISO 8601, UTC), the newest last."""
    cause: str = Field(default="", max_length=63)
    """What explains its silence: the id of a failed device, or `site`; empty: nothing does."""
    cut_off_at: datetime | None = Field(default=None, sa_column=moment())
    """When it was last found to be cut off."""
    trends_at: datetime | None = Field(default=None, sa_column=moment())
    """When its history was last searched for trouble to come."""
    kept_at: datetime | None = Field(default=None, sa_column=moment())
    """When a Reading was last kept, so that one is kept at least hourly."""
    health: Health = Field(default=Health.UNKNOWN, sa_column=word(Health, index=True))
    reason: str = Field(default="", max_length=64)
    health_since: datetime | None = Field(default=None, sa_column=moment())
    clean_run_id: str | None = Field(default=None, max_length=32)
    """The reset run that proved this device clean; None once it was used since."""
    clean_at: datetime | None = Field(default=None, sa_column=moment())
