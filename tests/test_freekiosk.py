"""FreeKiosk: read right whatever its version calls things; clears what it can and says the rest."""

import asyncio
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.credentials import Credentials
from agents.driver import (
    Denied,
    DriverError,
    Garbled,
    HostKeyChanged,
    Misconfigured,
    MissingCredential,
    NoEnd,
    ResetFailed,
    TimedOut,
    Unreachable,
    WrongDevice,
)
from agents.drivers.freekiosk import FreeKiosk
from agents.facts import check_facts
from agents.freekiosk.info import Info
from agents.messages import Facts, Target
from agents.simulator import Mood
from agents.simulator.freekiosk import FreeTablet
from fleet.resets.proof import verify
from inventory.recipes import BUILT_IN
from tests.certificates import self_signed, server_context
from tests.tablets import SECOND, START, http, order, running, serving

pytestmark = pytest.mark.anyio
KEY = "geheimer-Schluessel-7"
RECIPE = BUILT_IN["tablet-start-page"]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAUMWART_SECRET_FREE", json.dumps({"key": KEY}))
    monkeypatch.setenv("RAUMWART_SECRET_WRONG", json.dumps({"key": "wrong"}))
    monkeypatch.setenv("RAUMWART_SECRET_ODD", json.dumps({"key": "a\r\nX-Other: b"}))


def driver(state: Path = Path()) -> FreeKiosk:
    return FreeKiosk(Credentials(None), state)


def target(port: int, **fields: Any) -> Target:
    given: dict[str, Any] = {
        "credential": "free",
        "address": "127.0.0.1",
        "options": {"start_page": START},
    }
    return Target(
        device="t1", room="r1", kind="tablet", driver="freekiosk", port=port, **(given | fields)
    )


def tablet(**options: Any) -> FreeTablet:
    return FreeTablet("Tablet 1", KEY, START, "R52-1", **options)


def told(status: dict[str, Any], start: str = "") -> Facts:
    return Info(status).facts(start)


class TestPoll:
    async def test_facts(self) -> None:
        device = tablet(battery=42)
        async with running(device) as port:
            facts = await driver().poll(target(port, serial="r52-1"), SECOND)
        assert check_facts(facts) == []
        assert facts == {
            "serial": "r52-1",
            "name": "Tablet 1",
            "model": "Tab M10",
            "vendor": "LENOVO",
            "firmware": "Android 13, FreeKiosk 1.2.4",
            "battery_ratio": 0.42,
            "plugged": True,
            "screen_on": True,
            "kiosk_locked": True,
            "on_start_page": True,
            "memory_ratio": 0.75,
            "disk_free_bytes": 38400 * 1024 * 1024,
            "disk_ratio": 0.25,
            "wifi_dbm": -58,
        }
        assert device.received == ["/api/status"]

    async def test_an_older_version_with_other_names(self) -> None:
        device = tablet(battery=42, old=True)
        device.plugged = False
        async with running(device) as port:
            facts = await driver().poll(target(port), SECOND)
        assert check_facts(facts) == []
        assert (facts["battery_ratio"], facts["plugged"], facts["wifi_dbm"]) == (0.42, False, -61)
        assert (facts["screen_on"], facts["on_start_page"]) == (True, True)
        assert (facts["kiosk_locked"], facts["serial"]) == (True, "R52-1")
        assert device.received == ["/api/status", "/api/battery", "/api/wifi"]

    async def test_a_version_that_tells_neither_battery_nor_network(self) -> None:
        device = tablet(old=True)
        device.told = {"battery": None, "wifi": "off"}
        async with running(device) as port:
            device.faults["/api/wifi"] = "Wi-Fi is off"
            with pytest.raises(Garbled, match="Wi-Fi is off"):
                await driver().poll(target(port), SECOND)
        sent = http(b'{"success":true,"data":{"screenOn":true}}')
        lost = http(b"<html>", status="404 Not Found")
        replies = iter([sent, lost, lost])

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(next(replies))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            assert await driver().poll(target(port), SECOND) == {"screen_on": True}

    @pytest.mark.parametrize(
        ("status", "facts"),
        [
            ({"battery": 85}, {"battery_ratio": 0.85}),
            ({"battery": {"level": 101}}, {}),
            ({"battery": {"level": True}}, {}),
            ({"battery": {"level": "full", "plugged": "usb"}}, {"plugged": True}),
            ({"battery": {"plugged": "none"}}, {"plugged": False}),
            ({"battery": {"plugged": "unknown", "charging": True}}, {"plugged": True}),
            ({"screen": False}, {"screen_on": False}),
            ({"wifi": {"signalStrength": 78}}, {}),
            ({"wifi": {"signalStrength": -5}}, {}),
            ({"wifi": {"rssi": -70.5}}, {"wifi_dbm": -70.5}),
            ({"storage": {"totalMB": 0, "availableMB": 0}}, {}),
            ({"storage": {"totalMB": 10, "availableMB": 11}}, {}),
            ({"storage": {"totalMB": 10**400, "availableMB": 10**399}}, {}),
            ({"memory": [1]}, {}),
            ({"device": {"hostname": "\x00\n"}}, {}),
            ({"device": {"deviceId": "unknown", "model": 7}}, {}),
            ({"webview": {"currentUrl": START + "/"}}, {"on_start_page": True}),
            ({"webview": {"currentUrl": "https://elsewhere.example"}}, {"on_start_page": False}),
        ],
    )
    def test_what_is_implausible_is_left_out(
        self, status: dict[str, Any], facts: dict[str, Any]
    ) -> None:
        assert told(status, START) == facts

    def test_without_the_option_nothing_is_said_of_the_page(self) -> None:
        assert "on_start_page" not in told({"webview": {"currentUrl": START}})

    async def test_keys(self) -> None:
        async with running(tablet()) as port:
            for credential in ("wrong", ""):
                with pytest.raises(Denied):
                    await driver().poll(target(port, credential=credential), SECOND)
            with pytest.raises(Misconfigured, match="key"):
                await driver().poll(target(port, credential="odd"), SECOND)
            with pytest.raises(MissingCredential):
                await driver().poll(target(port, credential="nobody"), SECOND)
        open_one = FreeTablet("Open", "", START)
        async with running(open_one) as port:
            assert await driver().poll(target(port, credential=""), SECOND)

    async def test_another_tablet(self) -> None:
        async with running(tablet()) as port:
            with pytest.raises(WrongDevice):
                await driver().poll(target(port, serial="zzz"), SECOND)

    async def test_a_tablet_that_tells_no_number_is_believed_without_one(self) -> None:
        device = FreeTablet("T", KEY, START, serial="")
        async with running(device) as port:
            facts = await driver().poll(target(port, serial="zzz"), SECOND)
        assert "serial" not in facts

    async def test_the_key_is_never_told(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        device = tablet()
        device.faults["/api/status"] = f"you said {KEY}"
        async with running(device) as port:
            with pytest.raises(Garbled, match="you said …") as caught:
                await driver().poll(target(port), SECOND)
        assert KEY not in str(caught.value) + caplog.text
        assert "HTTP Request: GET" in caplog.text


class TestAct:
    async def test_the_recipe_does_what_it_says_and_no_more(self) -> None:
        device = tablet()
        device.browse("https://elsewhere.example/")
        device.screen_on = False
        asked = order(**RECIPE.steps)
        async with running(device) as port:
            one = driver()
            before = await one.look(target(port), asked, SECOND)
            assert [wrong.fact for wrong in verify(RECIPE.expects, before, "x.1")] == [
                "on_start_page",
                "screen_on",
            ]
            await one.act(target(port), asked, 5 * SECOND)
            facts = await one.look(target(port), asked, SECOND)
        assert verify(RECIPE.expects, facts, "x.1") == []
        assert (device.cache, device.page, device.screen_on) == (0, START, True)
        assert device.cookies == 3  # which is why the recipe's name says so
        assert device.received[1:5] == [
            "/api/status",
            "/api/screen/on",
            "/api/clearCache",
            "/api/url",
        ]

    async def test_what_it_cannot_clear_is_refused_and_never_proved(self) -> None:
        """The usual recipe of tablets would pass for a full reset, so nothing is touched."""
        usual = BUILT_IN["tablet-reset"]
        device = tablet()
        async with running(device) as port:
            with pytest.raises(Misconfigured, match="cookies, lock, webstorage, webview") as caught:
                await driver().act(target(port), order(**usual.steps), SECOND)
        assert caught.value.permanent
        assert "tablet-start-page" in str(caught.value)
        assert device.connections == 0

    @pytest.mark.parametrize(
        "steps",
        [
            {"clear": ["history"]},
            {"clear": "cache"},
            {"clear": [["cookies"]]},
            {"start_page": "yes"},
            {"power": "on"},
        ],
    )
    async def test_steps_that_make_no_sense(self, steps: dict[str, Any]) -> None:
        with pytest.raises(Misconfigured, match="steps"):
            await driver().act(target(1), order(**steps), SECOND)

    async def test_a_start_page_that_nobody_named(self) -> None:
        with pytest.raises(Misconfigured, match="start_page"):
            await driver().act(target(1, options={}), order(start_page=True), SECOND)

    async def test_a_restart_where_it_is_device_owner(self) -> None:
        device = tablet()
        async with running(device) as port:
            await driver().act(target(port), order(restart=True), SECOND)
            assert (device.restarts, device.screen_on) == (1, True)
            device.owner = False
            with pytest.raises(ResetFailed, match="reboot: Device Owner"):
                await driver().act(target(port), order(restart=True), SECOND)

    async def test_a_command_that_its_version_does_not_know(self) -> None:
        device = tablet()
        async with running(device) as port:
            device.faults["/api/clearCache"] = f"broken, you sent {KEY}"
            with pytest.raises(ResetFailed, match="clearCache: broken") as caught:
                await driver().act(target(port), order(**RECIPE.steps), SECOND)
        assert KEY not in str(caught.value)

    async def test_remote_control_that_is_off_touches_nothing(self) -> None:
        status = http(b'{"success":true,"data":{"screenOn":true}}')
        replies = iter([status, http(b"{}", status="403 Forbidden")])

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(next(replies))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Denied, match="screen/on"):
                await driver().act(target(port), order(**RECIPE.steps), SECOND)

    async def test_gone_before_and_gone_in_the_middle(self) -> None:
        device = tablet()
        device.mood = Mood.OFF
        async with running(device) as port:
            with pytest.raises(Unreachable):
                await driver().act(target(port), order(**RECIPE.steps), SECOND)
            device.mood, device.dies_at = Mood.OK, "/api/url"
            with pytest.raises(NoEnd, match="url"):
                await driver().act(target(port), order(**RECIPE.steps), SECOND)

    async def test_the_wrong_tablet_is_not_touched(self) -> None:
        device = tablet()
        async with running(device) as port:
            with pytest.raises(WrongDevice):
                await driver().act(target(port, serial="z"), order(**RECIPE.steps), SECOND)
        assert device.received == ["/api/status"]


GOOD = http(b'{"success":true,"data":{"battery":{"level":50},"wifi":{}}}')
HOSTILE: dict[str, tuple[bytes, type[DriverError]]] = {
    "nothing": (b"", Garbled),
    "endless header": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000_000, Garbled),
    "endless body": (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 10_000_000, Garbled),
    "half a body": (GOOD[:-5], Garbled),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", Garbled),
    "redirect": (http(b"", "Location: http://127.0.0.1:1/", status="302 Found"), Garbled),
    "not found": (http(b"no", status="404 Not Found"), Garbled),
    "server error": (http(b"no", status="500 Oh"), Garbled),
    "error that says success": (http(b'{"success":true,"data":{}}', status="500 Oh"), Garbled),
    "not json": (http(b"<html>"), Garbled),
    "no success": (http(b'{"data":{}}'), Garbled),
    "data is a list": (http(b'{"success":true,"data":[1]}'), Garbled),
    "data is missing": (http(b'{"success":true}'), Garbled),
    "nothing known": (http(b'{"success":true,"data":{"battery":{},"wifi":{}}}'), Garbled),
    "deep": (http(b'{"success":true,"data":' + b'{"a":' * 100_000), Garbled),
    "compressed": (http(b"\x1f\x8b", "Content-Encoding: gzip"), Garbled),
}
KEYS = ["battery", "wifi", "screen", "device", "storage", "memory", "webview", "level", "totalMB"]
KEYS += ["availableMB", "plugged", "signalStrength", "currentUrl", "serial", "kioskMode", "on"]
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), VALUES | inner, max_size=6),
    max_leaves=20,
)


class TestHostile:
    @pytest.mark.parametrize("name", HOSTILE)
    async def test_answers(self, name: str) -> None:
        sent, error = HOSTILE[name]
        async with serving(sent) as port:
            with pytest.raises(error) as caught:
                await driver().poll(target(port), 3 * SECOND)
        assert KEY not in str(caught.value)

    async def test_a_body_that_never_ends(self) -> None:
        async with serving(GOOD[:-1], stay=True) as port:
            with pytest.raises(TimedOut):
                await driver().poll(target(port), timedelta(seconds=0.3))

    async def test_cut_after_each_byte(self) -> None:
        for left in range(len(GOOD)):
            async with serving(GOOD[:left]) as port:
                with pytest.raises((Garbled, Unreachable)):
                    await driver().poll(target(port), SECOND)
        async with serving(GOOD) as port:
            assert (await driver().poll(target(port), SECOND))["battery_ratio"] == 0.5

    @settings(max_examples=300, deadline=None)
    @given(OBJECTS)
    def test_whatever_it_tells(self, status: dict[str, Any]) -> None:
        info = Info(status)
        assert check_facts(info.facts(START)) == []
        assert info.belongs_to("x") in (True, False)

    @pytest.mark.parametrize(
        "options",
        [
            {"start_page": "javascript:alert(1)"},
            {"start_page": "https://a b"},
            {"start_page": 5},
            {"pin": "0" * 64},
            {"proxy": "x"},
        ],
    )
    async def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(Misconfigured, match="options"):
            await driver().poll(target(1, options=options), SECOND)

    async def test_the_certificate_of_what_stands_in_front_is_pinned(self, tmp_path: Path) -> None:
        first = tablet(tls=server_context(self_signed(tmp_path / "one.pem")[0]))
        wanted: dict[str, Any] = {"options": {"tls": True}}
        async with running(first) as port:
            assert await driver(tmp_path).poll(target(port, **wanted), 3 * SECOND)
        impostor = tablet(tls=server_context(self_signed(tmp_path / "two.pem")[0]))
        await impostor.start(port)
        try:
            with pytest.raises(HostKeyChanged):
                await driver(tmp_path).poll(target(port, **wanted), 3 * SECOND)
            assert impostor.received == []
        finally:
            await impostor.stop()
