"""Profiles against recordings of real devices: what they tell must be what is true.

The folder of recordings is named by FLEET_RECORDINGS and is not part of this project.
"""

import asyncio
import json
import os
import shutil
import tempfile
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest

from agents.credentials import Credentials
from agents.drivers.snmp import Snmp
from agents.facts import check_facts
from agents.simulator.snmp import SnmpDevice
from agents.snmp.profile import load
from tests.conformance import (
    USER,
    Found,
    agrees,
    communities,
    from_memory,
    measure,
    table,
    target,
)
from tests.parts import need
from tests.snmp_answers import QUANTITIES, Answers
from tests.snmpsim import serving

README = Path(__file__).parents[1] / "agents" / "README.md"
RECOGNISED = {
    "aerohive": "hiveos-wireless hiveos-wireless_2 hiveos-wireless_320-n",
    "airos": "airos_airos8",
    "allied-ap": "allied-tq",
    "allied-switch": "allied_awplusv2",
    "apc-pdu": "apc_ap7900b",
    "apc-ups": "apc_powerchute apc_smt750x-nmc2 apc_sua750i",
    "aruba-controller": "arubaos_aruba7210 arubaos_vmc",
    "aruba-cx": "arubaos-cx_nac",
    "aruba-instant": "aruba-instant",
    "axis-audio": "axisaudio",
    "brother-printer": "brother",
    "cambium-cnpilot": "cnpilote cnpilotr_1",
    "cambium-epmp": "epmp",
    "canon-printer": "canonprinter_lbp",
    "cisco-codec": "vccodec",
    "cisco-sb-ap": "ciscosb ciscowap ciscowap_121",
    "cisco-sb-switch": "ciscosb_cbs220-48t-4x ciscosb_sg350-10",
    "cisco-wlc": "ciscowlc_cbw240ac",
    "clickshare": "clickshare_main",
    "cyberpower-pdu": "cyberpower_pdu81005",
    "cyberpower-ups": "cyberpower",
    "dell-ups": "dell-ups_tower1000w",
    "dlink-ap": "dlinkap_1",
    "dlink-switch": "dlink_dgs-1510-28",
    "draytek": "draytek",
    "eaton-mge": "eaton-mgeups_5px",
    "eaton-ups": "eatonups",
    "edgeos": "edgeos_erl",
    "engenius-ap": "engenius_2",
    "engenius-switch": "engenius-switch_ecs1552p",
    "epson-projector": "epson-projector_eb-4770w",
    "extreme-controller": "ewc",
    "fastpath-switch": "edgeswitch_es-24-250w",
    "fortiap": "fortiap_fap231g",
    "fortinet-wlc": "fortiwlc",
    "fortiswitch": "fortiswitch_s248ep",
    "grandstream-ap": "grandstream-ap_gwn7660",
    "gude-pdu": "gude-epc_1202",
    "hp-msm": "hpmsm",
    "hp-printer": "jetdirect jetdirect_m252dw",
    "hp-procurve": "procurve_nac",
    "konica-printer": "konica",
    "lancom-lcos": "lcos_oap-321",
    "lancom-lx": "lcoslx_lw500 lcoslx_ow602",
    "lancom-sx": "lcossx_xs5116qf",
    "liebert": "liebert",
    "linksys-switch": "linksys-ss_lgs318p",
    "linux-host": (
        "beagleboard freshtomato linux linux_ntc linux_raspberrypi linux_smart-v1 "
        "linux_systemd-v1 linux_ucd-diskio linux_ups-apcups-v1"
    ),
    "mac-host": "macosx",
    "meraki-ap": "merakimr_cw9176",
    "mikrotik": "routeros routeros_rb760igs routeros_rb952ui routeros_wifi",
    "mikrotik-swos": "swos swos_css326-24g-2s+",
    "moxa-awk": "moxa-awk_4131a",
    "netagent-ups": "netagent2",
    "netgear-switch": "netgear",
    "openwrt-ap": "asuswrt-merlin openwrt",
    "printer-mib": "dell-laser_mfp epson samsungprinter_clx xerox xerox_phaser",
    "ricoh-printer": "ricoh_mpc3002",
    "ruckus-ap": "ruckuswireless-hotzone",
    "ruckus-smartzone": "ruckuswireless-sz",
    "ruckus-zonedirector": "ruckuswireless_zd1100",
    "seh-usb": "seh-uds",
    "sharp-printer": "sharp",
    "synology": "dsm_ds214se-dsm6",
    "tplink-switch": "jetstream_sg2218p tplink_sg2008",
    "truenas": "truenas-scale_24.04.2.2",
    "ucd-host": "zenitel-ipstation",
    "unifi-ap": "unifi unifi_560 unifi_achd unifi_nanohd",
    "unifi-switch": "edgeswitch_usw-5-flex-v2",
    "ups-mib": "deltaups generex-ups_cs141 netmanplus_204 powerwalker-vfi_500r1u",
    "windows-host": "windows windows_7600c windows_svr_2019_1809",
    "zebra-printer": "zebra",
    "zyxel-controller": "zyxelwlc_nxc2500",
    "zyxel-gateway": "zyxelusg_usgflex100",
    "zyxel-nwa": "zyxelnwa",
    "zyxel-switch": "zynos_ges1316 zynos_xgs1935",
}
"""Profile → the recordings that it must recognise; all others are recognised by no other."""
WITHOUT_RECORDING = {"switch"}


def recordings() -> Path:
    folder = os.environ.get("FLEET_RECORDINGS")
    if folder:
        return Path(folder)
    reason = "FLEET_RECORDINGS names no folder of recordings"
    if os.environ.get("RAUMWART_ALL_PARTS"):
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def measured() -> list[Found]:
    """All recordings, polled once for all tests."""
    return measure(recordings(), need("snmpsim-command-responder"))


def test_every_recording_is_recognised() -> None:
    recordings()
    found = {one.recording: one.profile for one in measured()}
    expected = {name: profile for profile, names in RECOGNISED.items() for name in names.split()}
    assert found == expected
    rooted = {name for name, profile in load().items() if profile.match}
    assert rooted - RECOGNISED.keys() == WITHOUT_RECORDING


def test_no_recording_yields_a_wrong_value() -> None:
    recordings()
    assert "\n".join(line for one in measured() for line in one.wrong) == ""
    assert "\n".join(line for one in measured() for line in check_facts(one.facts)) == ""


def test_nearly_all_health_values_are_found() -> None:
    """Guards the test above, too: facts that vanish would leave nothing to disagree with."""
    recordings()
    health, right = sum(f.health for f in measured()), sum(f.right for f in measured())
    assert health > 450
    missing = "\n".join(line for one in measured() for line in one.missing)
    assert right >= 0.95 * health, missing


def test_the_table_in_the_readme_is_what_was_measured() -> None:
    recordings()
    assert table(measured()) in README.read_text(), "run: python -m tests.conformance --write"


@pytest.mark.parametrize("name", ["aruba-instant", "ciscowlc_cbw240ac"])
def test_each_recorded_access_point_tells_its_own_rows(name: str, driver: Snmp) -> None:
    """Behind a controller: the key's rows of one address against the facts of that device."""
    folder, key = recordings(), recordings() / "expected" / f"{name}.json"

    async def run() -> tuple[int, int]:
        compared = clients = 0
        with communities([name]) as credentials:
            device = SnmpDevice.from_recording(folder / f"{name}.snmprec", community=name)
            port = await device.start()
            whole = target(name, port, credentials[name])
            listed = await driver.access_points(whole, timedelta(seconds=5))
            for mac, called in listed:
                look = target(called, port, credentials[name], access_point=mac)
                facts = await driver.poll(look, timedelta(seconds=5))
                row = "".join(f".{octet}" for octet in bytes.fromhex(mac.replace(":", "")))
                answers = Answers(key, folder / f"{name}.snmprec", part=row)
                clients += facts["clients"]
                for fact in QUANTITIES:
                    if (allowed := answers.allowed(fact)) and fact in facts:
                        assert agrees(fact, facts[fact], allowed), f"{called}: {fact}, {allowed}"
                        compared += 1
            total = (await driver.poll(whole, timedelta(seconds=5)))["clients"]
            await device.stop()
        await driver.close()
        return compared, clients - total

    compared, difference = asyncio.run(run())
    assert difference == 0  # nobody is counted twice or lost
    assert compared >= (18 if name == "aruba-instant" else 0)


@pytest.fixture
def driver(tmp_path: Path) -> Snmp:
    return Snmp(Credentials(None), tmp_path)


def test_another_agent_tells_the_same(driver: Snmp, monkeypatch: pytest.MonkeyPatch) -> None:
    """snmpsim and the simulator's own agent; v1, v2c and v3."""
    names = ["unifi_nanohd", "ricoh_mpc3002", "lcoslx_lw500", "apc_sua750i", "swos", "sharp"]
    folder, program = recordings(), need("snmpsim-command-responder")
    monkeypatch.setenv("RAUMWART_SECRET_USER", json.dumps(USER))

    async def run(port: int, credentials: dict[str, str]) -> None:
        for name in names:
            own = credentials[name]
            known = await from_memory(driver, folder, name, own)
            looks = [
                target(f"{name}-2c", port, own),
                target(f"{name}-1", port, own, version="1"),
                target(f"{name}-3", port, "user", version="3", context=name),
            ]
            for look in looks:
                facts = await driver.poll(look, timedelta(seconds=15))
                differing = {
                    key
                    for key in known.keys() | facts.keys()
                    if key != "round_trip_s" and known.get(key) != facts.get(key)
                }
                if look.options.get("version") == "1":
                    differing -= {"in_bytes", "out_bytes"}  # no 64-bit counters in v1
                assert not differing, look.device
        await driver.close()

    with tempfile.TemporaryDirectory() as scratch, communities(names) as credentials:
        data = Path(scratch) / "data"
        data.mkdir()
        for name in names:
            shutil.copy(folder / f"{name}.snmprec", data)
        with serving(program, data, Path(scratch) / "cache", USER) as port:
            asyncio.run(run(port, dict(credentials)))
