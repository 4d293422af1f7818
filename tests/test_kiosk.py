"""Tablets: what they say is read right, a reset clears, the password stays secret."""

import asyncio
import logging
from typing import Any

import pytest

from agents.driver import (
    Denied,
    Garbled,
    Misconfigured,
    MissingCredential,
    NoEnd,
    ResetFailed,
    Unreachable,
    WrongDevice,
)
from agents.facts import check_facts
from agents.kiosk.info import DeviceInfo
from agents.simulator import Mood
from tests.parts import need_module
from tests.tablets import (
    PASSWORD,
    RESET,
    SECOND,
    START,
    driver,
    http,
    info,
    order,
    running,
    set_passwords,
    tablet,
    target,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    set_passwords(monkeypatch)


class TestInfo:
    def test_a_recorded_answer(self) -> None:
        """A public recording of an Amazon Fire, with the keys that matter."""
        body = info(
            deviceName="Amazon Fire",
            batteryLevel=100,
            isPlugged=True,
            SSID='"freewifi"',
            wifiSignalLevel=7,
            screenOn=True,
            batteryTemperature=27,
            plugged=True,
            serial="ABCDEF1234567890",
            androidVersion="5.1.1",
            internalStorageFreeSpace=11675512832,
            internalStorageTotalSpace=12938534912,
            ramUsedMemory=1077755904,
            ramFreeMemory=362373120,
            ramTotalMemory=1440129024,
            kioskLocked=True,
            kioskMode=True,
            startUrl="https://homeassistant.local",
            appVersionName="1.42.5",
            deviceModel="KFDOWI",
            deviceManufacturer="amzn",
            currentPage="https://homeassistant.local",
        )
        facts = DeviceInfo.of(body).facts()
        assert check_facts(facts) == []
        assert facts == {
            "serial": "ABCDEF1234567890",
            "name": "Amazon Fire",
            "model": "KFDOWI",
            "vendor": "amzn",
            "firmware": "Android 5.1.1, Fully Kiosk 1.42.5",
            "battery_ratio": 1.0,
            "plugged": True,
            "screen_on": True,
            "kiosk_locked": True,
            "on_start_page": True,
            "memory_ratio": 0.7484,
            "temperature_c": 27.0,
            "disk_free_bytes": 11675512832,
            "disk_ratio": 0.0976,
        }

    @pytest.mark.parametrize(
        ("page", "start", "same"),
        [
            ("https://a.example/", "https://a.example", True),
            ("https://A.example/x/", "https://a.example/x#", True),
            ("https://a.example/x?y=1", "https://a.example/x", False),
            ("https://a.example/X", "https://a.example/x", False),
            ("https://b.example", "https://a.example", False),
            ("http://a.example", "https://a.example", False),
            ("file:///sdcard/start.html", "file:///sdcard/start.html", True),
            ("http://[", "http://[", True),
            ("", "https://a.example", None),
            ("https://a.example", "", None),
        ],
    )
    def test_start_page(self, page: str, start: str, same: bool | None) -> None:
        facts = DeviceInfo.of(info(currentPage=page, startUrl=start)).facts()
        assert facts.get("on_start_page") is same

    @pytest.mark.parametrize(
        "told",
        [
            {"batteryLevel": -1},
            {"batteryLevel": 255},
            {"batteryLevel": ""},
            {"batteryLevel": None},
            {"batteryTemperature": 160000000},
            {"internalStorageFreeSpace": 5, "internalStorageTotalSpace": 0},
            {"internalStorageFreeSpace": 5, "internalStorageTotalSpace": 4},
            {"ramUsedMemory": 5},
            {"wifiSignalLevel": 7},
            {"deviceName": "\x00"},
            {"serial": "unknown"},
            {"newKey": {"deep": [1]}},
        ],
    )
    def test_what_is_implausible_is_left_out(self, told: dict[str, Any]) -> None:
        assert DeviceInfo.of(info(**told)).facts() == {"serial": "abcdef-123456"}

    def test_a_signal_in_dbm_is_told(self) -> None:
        assert DeviceInfo.of(info(wifiSignalLevel=-61)).facts()["wifi_dbm"] == -61


class TestPoll:
    async def test_facts(self) -> None:
        device = tablet(battery=42)
        async with running(device) as port:
            facts = await driver().poll(target(port, serial="ABCDEF-123456"), SECOND)
        assert check_facts(facts) == []
        assert facts["battery_ratio"] == 0.42
        assert facts["on_start_page"] is True
        assert facts["kiosk_locked"] is True
        assert "wifi_dbm" not in facts

    async def test_it_is_known_by_either_number(self) -> None:
        device = tablet()
        device.extra["serial"] = "R9WT"
        async with running(device) as port:
            for known, told in (("r9wt", "r9wt"), ("abcdef-123456", "abcdef-123456"), ("", "R9WT")):
                facts = await driver().poll(target(port, serial=known), SECOND)
                assert facts["serial"] == told

    async def test_a_guest_is_seen(self) -> None:
        device = tablet()
        device.browse("https://elsewhere.example/")
        async with running(device) as port:
            assert (await driver().poll(target(port), SECOND))["on_start_page"] is False

    async def test_wrong_password_comes_with_status_200(self) -> None:
        async with running(tablet()) as port:
            with pytest.raises(Denied):
                await driver().poll(target(port, credential="wrong"), SECOND)

    async def test_no_password_here(self) -> None:
        for credential in ("", "unknown"):
            with pytest.raises(MissingCredential):
                await driver().poll(target(1, credential=credential), SECOND)

    async def test_another_tablet(self) -> None:
        async with running(tablet()) as port:
            with pytest.raises(WrongDevice):
                await driver().poll(target(port, serial="zzz"), SECOND)

    async def test_another_complaint_is_garbled(self) -> None:
        device = tablet()
        device.faults["deviceInfo"] = "Something odd"
        async with running(device) as port:
            with pytest.raises(Garbled, match="odd"):
                await driver().poll(target(port), SECOND)

    async def test_the_password_travels_in_the_body_only(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        requests = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            requests.append((head, await reader.read(4096)))
            writer.write(
                http(b'{"status":"Error","statustext":"you said geheim%&=\xc3\xbc-tablet"}')
            )
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Garbled) as caught:
                await driver().poll(target(port), SECOND)
        head, body = requests[0]
        assert head.startswith(b"POST /?cmd=deviceInfo&type=json HTTP/1.1")
        assert b"geheim" not in head
        assert b"geheim" in body
        assert "geheim" not in str(caught.value) + caplog.text
        assert "HTTP Request: POST" in caplog.text


class TestAct:
    async def test_everything_is_cleared_in_order(self) -> None:
        device = tablet()
        device.browse("https://elsewhere.example/")
        device.screen_on, device.screensaver, device.kiosk_locked = False, True, False
        async with running(device) as port:
            one = driver()
            await one.act(target(port), order(**RESET), 5 * SECOND)
            facts = await one.look(target(port), order(**RESET), SECOND)
        left = (device.cookies, device.webstorage, device.cache, device.webview_history)
        assert left == (0, 0, 0, 0)
        assert (facts["on_start_page"], facts["kiosk_locked"], facts["screen_on"]) == (True,) * 3
        assert device.received == [
            "deviceInfo",
            "screenOn",
            "stopScreensaver",
            "clearCookies",
            "clearWebstorage",
            "clearCache",
            "resetWebview",
            "loadStartUrl",
            "lockKiosk",
            "deviceInfo",
        ]

    async def test_settings_are_put_right_and_read_back(self) -> None:
        device = tablet()
        wanted = {"startURL": START, "screenBrightness": "90", "showNavigationBar": False}
        device.settings |= {"startURL": "https://guest.example/", "showNavigationBar": True}
        asked = order(**RESET, settings=wanted)
        async with running(device) as port:
            one = driver()
            assert (await one.look(target(port), asked, SECOND))["settings_kept"] is False
            await one.act(target(port), asked, 5 * SECOND)
            facts = await one.look(target(port), asked, SECOND)
            assert facts["settings_kept"] is True
            assert check_facts(facts) == []
            device.settings["screenBrightness"] = 90  # how the app writes numbers
            assert (await one.look(target(port), asked, SECOND))["settings_kept"] is True
            del device.settings["screenBrightness"]
            assert (await one.look(target(port), asked, SECOND))["settings_kept"] is False
        assert device.received.index("setStringSetting") > device.received.index("resetWebview")
        assert device.received.index("loadStartUrl") > device.received.index("setBooleanSetting")

    async def test_settings_that_the_tablet_does_not_list(self) -> None:
        device = tablet()
        device.faults["listSettings"] = "Not licensed"
        async with running(device) as port:
            with pytest.raises(Garbled, match="listSettings"):
                await driver().look(target(port), order(settings={"startURL": START}), SECOND)

    async def test_only_what_was_asked_for(self) -> None:
        device = tablet()
        device.browse("https://elsewhere.example/")
        async with running(device) as port:
            await driver().act(target(port), order(clear=["cookies"]), SECOND)
        assert (device.cookies, device.cache, device.page) == (0, 5, "https://elsewhere.example/")

    async def test_no_steps_touch_nothing(self) -> None:
        device = tablet()
        async with running(device) as port:
            await driver().act(target(port), order(), SECOND)
        assert device.connections == 0

    @pytest.mark.parametrize(
        "steps",
        [
            {"clear": ["history"]},
            {"clear": "cookies"},
            {"lock": 1},
            {"reboot": True},
            {"settings": {"kioskPin": "1234"}},
            {"settings": {"remoteAdminPassword": "x"}},
            {"settings": {"a b": "x"}},
            {"settings": {"startURL": 5}},
        ],
    )
    async def test_steps_that_make_no_sense(self, steps: dict[str, Any]) -> None:
        device = tablet()
        async with running(device) as port:
            with pytest.raises(Misconfigured, match="steps"):
                await driver().act(target(port), order(**steps), SECOND)
        assert device.connections == 0

    async def test_a_step_that_fails(self) -> None:
        device = tablet()
        device.faults["resetWebview"] = f"broken, you sent {PASSWORD}"
        async with running(device) as port:
            with pytest.raises(ResetFailed, match="resetWebview: broken") as caught:
                await driver().act(target(port), order(**RESET), SECOND)
        assert PASSWORD not in str(caught.value)
        assert caught.value.step == "webview"
        assert "lockKiosk" not in device.received

    async def test_the_wrong_tablet_is_not_touched(self) -> None:
        device = tablet()
        async with running(device) as port:
            with pytest.raises(WrongDevice):
                await driver().act(target(port, serial="zzz"), order(**RESET), SECOND)
        assert device.received == ["deviceInfo"]

    async def test_off_before_anything_was_touched(self) -> None:
        device = tablet()
        device.mood = Mood.OFF
        async with running(device) as port:
            with pytest.raises(Unreachable):
                await driver().act(target(port), order(**RESET), SECOND)

    async def test_gone_in_the_middle(self) -> None:
        device = tablet()
        device.dies_at = "clearCache"
        async with running(device) as port:
            with pytest.raises(NoEnd, match="clearCache"):
                await driver().act(target(port), order(**RESET), SECOND)


class TestPeer:
    async def test_an_independent_client_agrees_with_the_simulator(self) -> None:
        fullykiosk = need_module("fullykiosk")
        aiohttp = need_module("aiohttp")
        device = tablet(battery=42)
        device.browse("https://elsewhere.example/")
        async with running(device) as port, aiohttp.ClientSession() as session:
            peer = fullykiosk.FullyKiosk(session, "127.0.0.1", port, PASSWORD)
            told = await peer.getDeviceInfo()
            assert (told["batteryLevel"], told["currentPage"]) == (42, "https://elsewhere.example/")
            await peer.clearCookies()
            await peer.clearCache()
            await peer.clearWebstorage()
            await peer.resetWebview()
            await peer.unlockKiosk()
            await peer.screenOff()
            await peer.loadStartUrl()
            await peer.setConfigurationString("screenBrightness", "7")
            await peer.setConfigurationBool("showMenuHint", "true")
            listed = await peer.getSettings()
            assert (listed["screenBrightness"], listed["showMenuHint"]) == ("7", True)
            assert (device.cookies, device.cache, device.page) == (0, 0, START)
            told = await peer.getDeviceInfo()
            assert (told["kioskLocked"], told["screenOn"]) == (False, False)
            stranger = fullykiosk.FullyKiosk(session, "127.0.0.1", port, "wrong")
            with pytest.raises(fullykiosk.FullyKioskError):
                await stranger.getDeviceInfo()
