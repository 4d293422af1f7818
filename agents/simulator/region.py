"""A whole region of simulated devices in one process, living by a plan."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from agents.simulator import Mood, Simulated
from agents.simulator.kiosk import Tablet
from agents.simulator.pjlink import Projector
from agents.simulator.snmp import SnmpDevice
from agents.simulator.ssh import Laptop


class DevicePlan(BaseModel):
    """One device of the plan, and how it is at the start."""

    id: str
    driver: Literal["snmp", "pjlink", "kiosk", "ssh"]
    model: str = ""
    serial: str = ""
    secret: str = ""
    """The community or password that opens it."""
    start_url: str = ""
    used: bool = False
    """A guest was here before: traces to clean up."""
    dirty: bool = False
    """Its reset leaves something behind, so that the proof fails."""
    refuse: bool = False
    """Somebody is still working on it."""
    lamp: Annotated[int, Field(ge=0, le=2)] = 0
    """What the projector says of its lamp: 0 well, 1 warning, 2 failed."""


class Event(BaseModel):
    """Something that happens to a device while the region lives."""

    after_s: float
    device: str
    mood: Mood


class Plan(BaseModel):
    devices: list[DevicePlan]
    events: list[Event] = []


class Region:
    """The devices of a plan, each behind a port of its own on 127.0.0.1."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._devices = {
            device.id: _make(device, seed, folder) for seed, device in enumerate(plan.devices)
        }

    async def start(self) -> dict[str, int]:
        """Device → port, once every device listens."""
        ports = {}
        for id_, device in self._devices.items():
            ports[id_] = await device.start()
        return ports

    async def live(self) -> None:
        """Let the planned events happen, then go on for ever."""
        past = 0.0
        for event in sorted(self._plan.events, key=lambda event: event.after_s):
            await asyncio.sleep(event.after_s - past)
            past = event.after_s
            self._devices[event.device].mood = event.mood
        await asyncio.Event().wait()

    async def stop(self) -> None:
        for device in self._devices.values():
            await device.stop()


def _make(plan: DevicePlan, seed: int, folder: Path) -> Simulated:
    if plan.driver == "snmp":
        return SnmpDevice(plan.model, community=plan.secret, seed=seed, serial=plan.serial)
    if plan.driver == "pjlink":
        projector = Projector(
            plan.id,
            password=plan.secret,
            serial=plan.serial,
            lamp_hours=600 + 37 * (seed % 90),
            transition_s=4,
            pjlink_class=2,
            model=plan.model,
        )
        projector.errors["lamp"] = plan.lamp
        return projector
    if plan.driver == "kiosk":
        tablet = Tablet(
            plan.model, password=plan.secret, start_url=plan.start_url, serial=plan.serial
        )
        if plan.used:
            tablet.browse("https://example.org/guest")
        return tablet
    laptop = Laptop(folder.resolve() / plan.id, seed=seed, serial=plan.serial, password=plan.secret)
    laptop.dirty = plan.dirty
    laptop.refuse = plan.refuse
    if plan.used:
        laptop.plant_traces()
    return laptop
