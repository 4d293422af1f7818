"""What a region file says of what hangs on what, and of thresholds: right, or refused by name."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, delete
from sqlmodel import col, select

from fleet.health.rules import THRESHOLDS
from inventory import CourseKind, Device, Site
from inventory.db import reading, session
from inventory.importer import ImportRefused, apply, read_region

DRIVERS = ("snmp", "ssh")
REGION = """
sites:
  - {id: vhs, name: VHS, municipality: Erlental, thresholds: {laptop: {battery_low: 0.3}}}
  - {id: kita, name: Kita, municipality: Erlental}
rooms:
  - {id: saal, site: vhs, name: Saal}
  - {id: hof, site: kita, name: Hof}
course_kinds:
  - {id: ausflug, title: Unterwegs, profile: gross, thresholds: {laptop: {battery_low: 0.6}}}
devices:
  - {id: wlan, room: saal, name: WLAN, kind: access_point, driver: snmp, address: a, uplink: switch}
  - {id: switch, room: saal, name: Switch, kind: switch, driver: snmp, address: b, power: usv}
  - {id: usv, room: saal, name: USV, kind: ups, driver: snmp, address: c, uplink: switch}
  - {id: fern, room: hof, name: Switch, kind: switch, driver: snmp, address: d}
"""


def faults(folder: Path, text: str, engine: Engine) -> list[str]:
    path = folder / "region.yaml"
    path.write_text(text)
    with reading(engine) as opened, pytest.raises(ImportRefused) as refused:
        read_region(path, drivers=DRIVERS, thresholds=THRESHOLDS, session=opened)
    return [str(fault) for fault in refused.value.faults]


def test_links_may_point_forward_and_survive_a_missing_end(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "region.yaml").write_text(REGION)
    with session(engine) as opened:
        region = read_region(tmp_path / "region.yaml", drivers=DRIVERS, thresholds=THRESHOLDS)
        apply(opened, region)
    with session(engine) as opened:
        assert opened.get_one(Device, "wlan").uplink_id == "switch"
        assert opened.get_one(Site, "vhs").thresholds == {"laptop": {"battery_low": 0.3}}
        assert opened.exec(select(CourseKind.profile)).all() == ["gross"]
        opened.execute(delete(Device).where(col(Device.id) == "switch"))
    with reading(engine) as opened:
        assert opened.get_one(Device, "wlan").uplink_id is None
        assert opened.get_one(Device, "usv").uplink_id is None


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("power: usv", "uplink: wlan", "'wlan' would hang on itself"),
        ("uplink: switch}\n  - {id: s", "uplink: wlan}\n  - {id: s", "'wlan' would hang on itself"),
        ("power: usv", "power: usw", "there is no device 'usw'; did you mean 'usv'?"),
        ("power: usv", "power: fern", "device 'fern' stands at another site"),
        ("{battery_low: 0.3}", "{batery_low: 0.3}", "did you mean 'battery_low'?"),
        ("{battery_low: 0.3}", "{battery_low: viel}", "'battery_low' needs a number"),
        ("{laptop: {battery_low: 0.6}}", "{laptop: 3}", "needs thresholds with their numbers"),
        ("{laptop: {battery_low: 0.6}}", "{lap: {}}", "did you mean 'laptop'?"),
        ("address: d}", "address: d, thresholds: {battery_low: 1}}", "threshold of 'switch'"),
    ],
)
def test_what_cannot_be(engine: Engine, tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in REGION
    found = faults(tmp_path, REGION.replace(old, new), engine)
    assert any(fault in each for each in found), found
