"""What Ansible is told: which devices it can reach, and in which groups."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from fastapi import Request
from sqlmodel import Session, col, select

from fleet.api.queries import Viewer, new_router
from inventory import Device, Room, Service
from inventory.db import reading

router = new_router()


def ansible_inventory(session: Session, sites: Collection[str]) -> dict[str, Any]:
    """The devices of these sites that are reached by SSH, in the form of a dynamic inventory.

    Groups are `site_…`, `room_…` and `kind_…`; a hyphen, which Ansible does not allow in the name
    of a group, becomes an underscore (no id has underscores, so no two become one).
    """
    query = (
        select(Device, Room.site_id)
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(
            col(Room.site_id).in_(sites),
            col(Device.driver) == "ssh",
            col(Device.service).in_((Service.ACTIVE, Service.REPAIR)),
        )
        .order_by(Device.id)
    )
    hosts: dict[str, dict[str, Any]] = {}
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for device, site in session.exec(query):
        about = {
            "ansible_host": device.address,
            "ansible_port": device.port,
            "raumwart_site": site,
            "raumwart_room": device.room_id,
            "raumwart_name": device.name,
            "raumwart_spare": device.spare,
        }
        hosts[device.id] = {name: value for name, value in about.items() if value is not None}
        for group in (f"site_{site}", f"room_{device.room_id}", f"kind_{device.kind.value}"):
            groups[group.replace("-", "_")].append(device.id)
    return {
        "_meta": {"hostvars": hosts},
        "all": {"children": sorted([*groups, "ungrouped"])},
        **{name: {"hosts": members} for name, members in sorted(groups.items())},
    }


@router.get("/ansible")
def ansible(request: Request, visitor: Viewer) -> dict[str, Any]:
    """Ansible's dynamic inventory: the devices that are reached by SSH, in groups `site_…`,
    `room_…` and `kind_…` (hyphens become underscores)."""
    with reading(request.app.state.engine) as opened:
        return ansible_inventory(opened, visitor.sites)
