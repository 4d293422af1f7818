"""Takes a person's word on a proposal: into the inventory as every import, or never again."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from inventory import Device, Proposal, ProposalState, Room, Service, Sort
from inventory.importer import ImportRefused, apply, single
from inventory.region.faults import Fault

REFUSALS: dict[str, str] = {
    "decided": "This find was decided already.",
    "not_acceptable": "This find cannot be taken over; it can only be ignored.",
    "other_site": "The room does not belong to the site where it was found.",
    "id_taken": "Another device has this id already.",
    "address_taken": "Another device of the site has this address in the inventory.",
    "faults": "The inventory does not allow it.",
}
TAKEN_OVER = frozenset({Sort.NEW, Sort.MOVED, Sort.RETIRED})
"""Of these something can be written into the inventory."""


class DiscoveryRefused(Exception):
    """`code` is a key of REFUSALS; `faults` are the inventory's own words."""

    def __init__(self, code: str, faults: Collection[Fault] = ()) -> None:
        super().__init__("; ".join([REFUSALS[code], *(fault.text for fault in faults)]))
        self.code = code
        self.faults = tuple(faults)


def accept(
    session: Session,
    proposal_id: int,
    fields: Mapping[str, Any],
    now: datetime,
    by: str,
    drivers: Collection[str],
) -> Device:
    """Write it into the inventory, by the same rules as an import.

    `fields`: for a new device id, room, name, kind, driver and perhaps credential, options and
    recipe; for a known one nothing. Raises DiscoveryRefused, having changed nothing.
    """
    proposal = _open(session, proposal_id)
    if proposal.sort not in TAKEN_OVER:
        raise DiscoveryRefused("not_acceptable")
    if proposal.sort is Sort.NEW:
        device = _new(session, proposal, fields, drivers)
    else:
        device = session.get_one(Device, proposal.device_id, with_for_update=True)
        _check_free(session, proposal, device)
        proposal.old_address, device.address = device.address, proposal.address
        if proposal.sort is Sort.RETIRED:
            device.service = Service.ACTIVE
    proposal.state, proposal.device_id = ProposalState.ACCEPTED, device.id
    proposal.decided_at, proposal.decided_by = now, by[:200]
    session.flush()
    return device


def ignore(session: Session, proposal_id: int, now: datetime, by: str) -> Proposal:
    """Never propose this again, as long as it means the same. Raises DiscoveryRefused."""
    proposal = _open(session, proposal_id)
    proposal.state = ProposalState.IGNORED
    proposal.decided_at, proposal.decided_by = now, by[:200]
    return proposal


def _open(session: Session, proposal_id: int) -> Proposal:
    proposal = session.get_one(Proposal, proposal_id, with_for_update=True)
    if proposal.state is not ProposalState.OPEN:
        raise DiscoveryRefused("decided")
    return proposal


def _new(
    session: Session, proposal: Proposal, fields: Mapping[str, Any], drivers: Collection[str]
) -> Device:
    seen = {
        "address": proposal.address,
        "port": proposal.port,
        "serial": proposal.serial,
        "mac": proposal.mac,
        "model": proposal.model,
    }
    values = {**seen, **fields}
    room = session.get(Room, str(values.get("room", "")))
    if room is None or room.site_id != proposal.site_id:
        raise DiscoveryRefused("other_site")
    if session.get(Device, str(values.get("id", ""))) is not None:
        raise DiscoveryRefused("id_taken")
    try:
        apply(session, single("devices", values, drivers=drivers))
    except ImportRefused as refused:
        raise DiscoveryRefused("faults", refused.errors) from None
    return session.get_one(Device, str(values["id"]))


def _check_free(session: Session, proposal: Proposal, device: Device) -> None:
    """An address may be there once per site, with its port."""
    same_port = (
        col(Device.port).is_(None) if device.port is None else col(Device.port) == device.port
    )
    other = session.exec(
        select(Device.id)
        .join(Room, col(Room.id) == col(Device.room_id))
        .where(
            Room.site_id == proposal.site_id,
            Device.address == proposal.address,
            same_port,
            Device.id != device.id,
            Device.service != Service.RETIRED,
        )
    ).first()
    if other:
        raise DiscoveryRefused("address_taken")
