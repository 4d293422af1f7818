"""A small region with networks, and agents that tell what they found there."""

from datetime import datetime
from typing import Any

from sqlalchemy import Engine
from sqlmodel import select

from agents.messages import Found, FoundHost
from fleet import discovery, intake
from fleet.settings import Settings
from inventory import (
    Device,
    DeviceKind,
    DeviceState,
    Health,
    Network,
    Proposal,
)
from inventory.db import reading, session
from tests.rows import device, make_region

SETTINGS = Settings()
MAC = "02:00:00:00:00:01"


def region(engine: Engine, *more: Device) -> None:
    make_region(engine, *more)
    with session(engine) as opened:
        opened.add(Network(id="n", site_id="north", range="192.168.1.0/24"))
        opened.add(Network(id="s", site_id="south", range="192.168.1.0/24"))


def searching(engine: Engine, now: datetime, site: str = "north") -> str:
    with session(engine) as opened:
        discovery.ask(opened, site, now, "it")
        (order,) = discovery.claim(opened, now)
        return order.id


def host(address: str = "192.168.1.20", **said: Any) -> FoundHost:
    return FoundHost(**{"address": address, "ways": ["snmp"], "driver": "snmp", **said})


def tell(
    engine: Engine, now: datetime, *hosts: FoundHost, site: str = "north", **more: Any
) -> list[Proposal]:
    """One search that finds these, from its order to its end; the site's proposals afterwards."""
    found = Found(
        **{
            "sweep": searching(engine, now, site),
            "site": site,
            "at": now,
            "hosts": list(hosts),
            "done": True,
            "asked": 254,
            **more,
        }
    )
    intake.apply(engine, [found], now, SETTINGS, [site])
    with reading(engine) as opened:
        return list(opened.exec(select(Proposal).order_by(Proposal.id)))  # type: ignore[arg-type]


def projector(**more: Any) -> Device:
    more = {"serial": "PRJ-4711", "address": "192.168.1.10", **more}
    return device("beamer", "library", DeviceKind.PROJECTOR, **more)


def seen(engine: Engine, at: datetime, *, reachable: bool, name: str = "beamer") -> None:
    with session(engine) as opened:
        opened.merge(
            DeviceState(
                device_id=name,
                taken_at=at,
                reachable=reachable,
                problem="" if reachable else "unreachable",
                health=Health.OK if reachable else Health.FAILED,
            )
        )


def address(engine: Engine, name: str = "beamer") -> str:
    with reading(engine) as opened:
        return opened.get_one(Device, name).address
