"""The wire between the centre and a site: what is said, and nothing else.

Every message is one JSON object with a version. A field that a receiver does not know is ignored,
so that an older agent and a newer centre understand each other; a message that does not fit is
refused with a clear error and never half-used. All moments carry a zone.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(max_length=63)]
Facts = dict[str, Any]
"""Fact name of `agents.facts.FACTS` → value in that fact's unit."""


class Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    v: Literal[1] = 1


class Target(Message):
    """One device to look at, and how. Credentials travel as names, never as secrets."""

    device: Name
    room: Name
    kind: Name
    driver: Name
    address: Annotated[str, Field(max_length=253)]
    port: int | None = None
    profile: str = ""
    credential: str = ""
    serial: str = ""
    """When set, an answer with another serial number is another device's and counts as garbled."""
    mac: Annotated[str, Field(max_length=63)] = ""
    """Whom a packet that wakes it must name; empty: it cannot be woken over the network."""
    uplink: "Target | None" = None
    """An access point's switch, which may take its power away for a moment."""
    serves: list[Name] = []
    """Rooms in which an access point's restart would be felt."""
    options: dict[str, Any] = {}
    every_s: float = 60.0
    cleared: bool = False
    """Whether what people leave on it is deleted after their course, before the room's next one."""


class Busy(Message):
    """A course in a room, as the agent's own copy of the calendar."""

    room: Name
    start: AwareDatetime
    end: AwareDatetime


class Hold(Message):
    """No reset from here to there, said by hand: a pause, or work on a device."""

    room: Name = ""
    """Empty: every room of the site."""
    device: Name = ""
    """Empty: every device of the room."""
    start: AwareDatetime
    end: AwareDatetime | None = None
    """None: until the centre says otherwise."""
    reason: Annotated[str, Field(max_length=63)] = "paused"
    """A code: `paused`, `maintenance`, or `paused_everywhere` when it is said of every site."""


class Roster(Message):
    """Everything one site's agent has to know, complete each time: nothing to merge."""

    type: Literal["roster"] = "roster"
    site: Name
    revision: int
    """Grows with every change; an older roster than the one held is ignored."""
    sent_at: AwareDatetime
    targets: list[Target]
    busy: list[Busy]
    """Courses of the next 48 hours."""
    trusted_until: dict[str, AwareDatetime] = {}
    """Room → until when its calendar may be believed. A room missing here: no reset at all."""
    holds: list[Hold] = []
    """What was said by hand for the same time ahead as the courses."""
    plan_rev: int = 0
    """An order with a lower one was made from a plan that no longer holds."""
    recalled: list[Annotated[str, Field(max_length=40)]] = []
    """Orders that were sent and taken back."""


class Order(Message):
    """Reset one device. It expires, and every hop checks again."""

    type: Literal["order"] = "order"
    id: Annotated[str, Field(max_length=40)]
    """`<run>.<attempt>`; the same id again is answered from memory and does nothing."""
    site: Name
    device: Name
    room: Name
    steps: dict[str, Any] = {}
    not_before: AwareDatetime
    not_after: AwareDatetime
    """The latest start. Later than this the order is dead, on every hop."""
    next_start: AwareDatetime | None = None
    """When the next course in the room begins, if one is known."""
    max_runtime_s: int = 120
    settle_s: int = 0
    plan_rev: int = 0
    """From which plan it was made: an agent that knows a newer one refuses."""
    force: bool = False
    """Somebody wants it although the calendar is in doubt, or against a hold. A course that is
    known stops it all the same, and so does a person at the device, unless the steps say what is
    done with them."""
    force_all: bool = False
    """Also against a hold that is said of every site."""


class Reading(Message):
    """The result of one poll; a device that fails is a result too."""

    type: Literal["reading"] = "reading"
    device: Name
    taken_at: AwareDatetime
    reachable: bool
    problem: str = ""
    """A code of `agents.driver.DriverError`, empty when the poll succeeded."""
    detail: Annotated[str, Field(max_length=500)] = ""
    latency_ms: float | None = None
    facts: Facts = {}


class Step(StrEnum):
    """How far an order has come."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """By the agent or the device, before anything was touched."""
    ACTED = "acted"
    """The device said it finished. Not yet a proof."""
    LOOKED = "looked"
    """A separate look after the act; the centre judges its facts."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The order was sent and no end was heard."""


class Wake(Message):
    """What was tried to wake a device that did not answer when its order came."""

    method: Literal["magic_packet", "none"]
    result: Literal["woken", "asleep", "switched_off"]
    """`switched_off`: there is no way to wake it but a person's hand."""
    seconds: float | None = None
    """From the first packet to the first answer."""


class Outcome(Message):
    """What became of an order. Several come per order; they may repeat and overtake each other."""

    type: Literal["outcome"] = "outcome"
    order: Annotated[str, Field(max_length=40)]
    device: Name
    step: Step
    at: AwareDatetime
    reason: str = ""
    """Why refused, failed or unknown: a code such as `expired`, `course_running`, `in_use`."""
    detail: Annotated[str, Field(max_length=500)] = ""
    broke_at: Annotated[str, Field(max_length=64)] = ""
    """At which step of the device's own reset it broke, one of `agents.steps` or a newer one."""
    permanent: bool = False
    """Trying again cannot help (wrong password, wrong host key)."""
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    facts: Facts = {}
    """LOOKED: the facts of the look, taken at `at`."""
    wake: Wake | None = None
    """Only with the answer that follows ACCEPTED, so that each try to wake is counted once."""


class Heartbeat(Message):
    """The agent is alive; without it the centre would take silence for peace."""

    type: Literal["heartbeat"] = "heartbeat"
    site: Name
    at: AwareDatetime
    version: str = ""
    revision: int = 0
    """The roster it works from."""
    targets: int = 0
    polls: int = 0
    """Polls since it started."""
    late: int = 0
    """Polls that began more than one interval late since it started."""


class SweepRange(Message):
    """A range of addresses that may be looked at, and how SNMP is asked there, if at all."""

    range: Annotated[str, Field(max_length=18)]
    credential: Name = ""
    """Name of a read credential; empty: SNMP is not asked."""
    version: Literal["1", "2c", "3"] = "2c"


class Sweep(Message):
    """Look at what stands in the networks of a site, and nowhere else. Travels like an order."""

    type: Literal["sweep"] = "sweep"
    id: Annotated[str, Field(max_length=40)]
    site: Name
    ranges: Annotated[list[SweepRange], Field(max_length=64)]
    not_after: AwareDatetime
    """The latest start."""


Said = Annotated[str, Field(max_length=200)]


class FoundHost(Message):
    """One thing that answered."""

    address: Annotated[str, Field(max_length=15)]
    mac: Annotated[str, Field(max_length=17)] = ""
    serial: Said = ""
    name: Said = ""
    vendor: Said = ""
    model: Said = ""
    ways: Annotated[list[Name], Field(max_length=16)]
    """How it answered: snmp, pjlink, ssh, kiosk, freekiosk, printer."""
    kind: Name = ""
    """The likely kind of device; empty: no idea."""
    driver: Name = ""
    port: int | None = None
    proved: bool = False
    """The serial number came over a protocol in which the device proves who it is (SNMPv3)."""


class Found(Message):
    """What a sweep found, in parts; the last one says so."""

    type: Literal["found"] = "found"
    sweep: Annotated[str, Field(max_length=40)]
    site: Name
    at: AwareDatetime
    part: int = 0
    hosts: Annotated[list[FoundHost], Field(max_length=500)] = []
    done: bool = False
    problem: Name = ""
    """Why it ended early: `expired`, `bad_range`, `busy`, `failed`."""
    asked: int = 0
    """Addresses that were looked at, in the last part."""


AnyMessage = Annotated[
    Roster | Order | Reading | Outcome | Heartbeat | Sweep | Found, Field(discriminator="type")
]
