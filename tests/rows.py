"""A small region for tests: two municipalities with a room each."""

from sqlalchemy import Engine

from inventory import Device, DeviceKind, Recipe, Room, Site
from inventory.db import session

DRIVERS = {
    DeviceKind.LAPTOP: "ssh",
    DeviceKind.TABLET: "kiosk",
    DeviceKind.PROJECTOR: "pjlink",
}


def device(id_: str, room: str, kind: DeviceKind = DeviceKind.LAPTOP, **more: object) -> Device:
    return Device.model_validate(
        {
            "id": id_,
            "room_id": room,
            "name": id_.title(),
            "kind": kind,
            "driver": DRIVERS.get(kind, "snmp"),
            "address": "127.0.0.1",
            **more,
        }
    )


def make_region(engine: Engine, *more: Device) -> None:
    """Sites `north` and `south` with the rooms `library` and `hall`; in the library a laptop, a
    projector and an access point, in the hall a laptop; and the devices that are given."""
    with session(engine) as opened:
        opened.merge(Recipe(id="laptop-reset", name="Laptop"))
        opened.add(Site(id="north", name="North", municipality="Nordheim"))
        opened.add(Site(id="south", name="South", municipality="Südhausen"))
        opened.flush()
        opened.add(Room(id="library", site_id="north", name="Library"))
        opened.add(Room(id="hall", site_id="south", name="Hall"))
        opened.flush()
        opened.add(device("laptop-1", "library", recipe_id="laptop-reset"))
        opened.add(device("projector-1", "library", DeviceKind.PROJECTOR))
        opened.add(device("ap-1", "library", DeviceKind.ACCESS_POINT))
        opened.add(device("laptop-2", "hall"))
        opened.add_all(more)
