"""Access points behind a controller, as rows to import: each becomes a device of its own."""

import re
from collections.abc import Iterable
from typing import Any

from sqlmodel import Session, select

from inventory import Device, DeviceKind
from inventory.exporter import dump
from inventory.region.spelling import UMLAUTS


def proposed(opened: Session, controller: Device, found: Iterable[tuple[str, str]]) -> str:
    """YAML for `fleet import` of those that the inventory does not have yet; empty if none."""
    devices = opened.exec(select(Device)).all()
    known = {device.mac for device in devices}
    known |= {str(device.options.get("access_point", "")).casefold() for device in devices}
    taken = {device.id for device in devices}
    rows = []
    for mac, name in found:
        if mac not in known:
            rows.append(_row(controller, mac, name, taken))
            taken.add(rows[-1]["id"])
    return dump({"devices": rows}) if rows else ""


def _row(controller: Device, mac: str, name: str, taken: set[str]) -> dict[str, Any]:
    options = {**controller.options, "access_point": mac}
    row: dict[str, Any] = {
        "id": _free(name or mac, taken),
        "room": controller.room_id,
        "name": name or mac,
        "kind": DeviceKind.ACCESS_POINT.value,
        "driver": controller.driver,
        "address": controller.address,
        "port": controller.port,
        "mac": mac,
        "profile": controller.profile,
        "credential": controller.credential,
        "options": options,
        "recipe": "none",
    }
    return {key: value for key, value in row.items() if value not in ("", None)}


def _free(name: str, taken: set[str]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower().translate(UMLAUTS)).strip("-")[:50].strip("-")
    plain = plain or "ap"
    numbered = (f"{plain}-{number}" for number in range(2, len(taken) + 3))
    return next(slug for slug in (plain, *numbered) if slug not in taken)
