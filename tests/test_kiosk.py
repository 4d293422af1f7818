"""Tablets: what they say is read right, a reset clears, and the password stays a secret."""

import asyncio
import hashlib
import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
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
from agents.drivers.kiosk import Kiosk
from agents.facts import check_facts
from agents.kiosk.info import DeviceInfo
from agents.messages import Order, Target
from agents.simulator import Mood
from agents.simulator.kiosk import Tablet
from tests.parts import need_module

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)
PASSWORD = "geheim%&=ü-tablet"
START = "https://lernen.example/start"
RESET = {
    "clear": ["cookies", "webstorage", "cache"],
    "webview": True,
    "start_page": True,
    "lock": True,
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAUMWART_SECRET_TAB", json.dumps({"password": PASSWORD}))
    monkeypatch.setenv("RAUMWART_SECRET_WRONG", json.dumps({"password": "wrong"}))


def driver() -> Kiosk:
    return Kiosk(Credentials(None), Path())


def target(port: int, **options: Any) -> Target:
    fields: dict[str, Any] = {"credential": "tab", "address": "127.0.0.1"} | options
    return Target(device="t1", room="r1", kind="tablet", driver="kiosk", port=port, **fields)


def order(**steps: Any) -> Order:
    at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    return Order(
        id="x.1", site="s", device="t1", room="r1", steps=steps, not_before=at, not_after=at
    )


def tablet(**options: Any) -> Tablet:
    return Tablet("Tablet 1", PASSWORD, START, "abcdef-123456", **options)


@asynccontextmanager
async def running(device: Tablet) -> AsyncIterator[int]:
    port = await device.start()
    try:
        yield port
    finally:
        await device.stop()


@asynccontextmanager
async def serving(*pieces: bytes, pause: float = 0.0, stay: bool = False) -> AsyncIterator[int]:
    """A peer that sends these bytes to whoever comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if stay:
                await reader.read(-1)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def info(**changes: Any) -> bytes:
    return json.dumps({"deviceID": "abcdef-123456", **changes}).encode()


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
        "steps", [{"clear": ["history"]}, {"clear": "cookies"}, {"lock": 1}, {"reboot": True}]
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


GOOD = http(info(batteryLevel=50))
HOSTILE: dict[str, tuple[bytes, type[DriverError]]] = {
    "nothing": (b"", Garbled),
    "endless header": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000_000, Garbled),
    "endless body": (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 10_000_000, Garbled),
    "too long": (http(b" " * 300_000 + info()), Garbled),
    "half a body": (GOOD[:-5], Garbled),
    "binary": (bytes(range(256)), Garbled),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", Garbled),
    "redirect": (http(b"", "Location: http://127.0.0.1:1/", status="302 Found"), Garbled),
    "not found": (http(b"no", status="404 Not Found"), Garbled),
    "forbidden": (http(b"no", status="403 Forbidden"), Denied),
    "not json": (http(b"<html>"), Garbled),
    "a list": (http(b"[1]"), Garbled),
    "nothing known": (http(b"{}"), Garbled),
    "deep": (http(b"[" * 200_000), Garbled),
    "deep in a key": (http(b'{"deviceID":"a","x":' + b"[" * 100_000), Garbled),
    "compressed": (http(b"\x1f\x8b", "Content-Encoding: gzip"), Garbled),
    "wrong type": (http(info(batteryLevel=PASSWORD)), Garbled),
    "not UTF-8": (http(b'{"deviceID":"\xff\xfe"}'), Garbled),
    "negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", Garbled),
}


KEYS = ["deviceID", "batteryLevel", "plugged", "currentPage", "startUrl", "serial"]
KEYS += ["internalStorageFreeSpace", "internalStorageTotalSpace", "status", "statustext"]


class TestHostile:
    @pytest.mark.parametrize("name", HOSTILE)
    async def test_answers(self, name: str) -> None:
        sent, error = HOSTILE[name]
        async with serving(sent) as port:
            with pytest.raises(error) as caught:
                await driver().poll(target(port), 3 * SECOND)
        assert PASSWORD not in str(caught.value)

    async def test_one_byte_at_a_time(self) -> None:
        pieces = [GOOD[i : i + 1] for i in range(len(GOOD))]
        loop = asyncio.get_running_loop()
        async with serving(*pieces, pause=0.05) as port:
            began = loop.time()
            with pytest.raises(Unreachable):
                await driver().poll(target(port), timedelta(seconds=0.3))
            assert loop.time() - began < 0.6

    async def test_a_body_that_never_ends(self) -> None:
        async with serving(GOOD[:-1], stay=True) as port:
            with pytest.raises(TimedOut):
                await driver().poll(target(port), timedelta(seconds=0.3))

    async def test_many_interim_answers(self) -> None:
        async with serving(*[b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 2000, GOOD) as port:
            try:
                facts = await driver().poll(target(port), 2 * SECOND)
            except DriverError:
                return
        assert facts["battery_ratio"] == 0.5

    @pytest.mark.parametrize(
        ("address", "port"),
        [
            ("a" * 70, 2323),
            ("127.0.0.1", 70000),
            ("127.0.0.1", -1),
            ("a\0b", 2323),
            ("a b/c?d", 2323),
            ("user@host", 2323),
            ("", 2323),
        ],
    )
    async def test_addresses_that_cannot_exist(self, address: str, port: int) -> None:
        with pytest.raises((Misconfigured, Unreachable)):
            await driver().poll(target(port, address=address), SECOND)

    async def test_cut_after_each_byte(self) -> None:
        for left in range(len(GOOD)):
            async with serving(GOOD[:left]) as port:
                with pytest.raises((Garbled, Unreachable)):
                    await driver().poll(target(port), SECOND)
        async with serving(GOOD) as port:
            assert (await driver().poll(target(port), SECOND))["battery_ratio"] == 0.5

    @settings(max_examples=100, deadline=None)
    @given(
        st.binary(max_size=200)
        | st.binary(max_size=100).map(http)
        | st.dictionaries(
            st.sampled_from(KEYS),
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([{}]),
        ).map(lambda told: http(json.dumps({"deviceID": "x"} | told).encode()))
    )
    def test_whatever_it_answers(self, sent: bytes) -> None:
        async def poll() -> None:
            async with serving(sent) as port:
                try:
                    facts = await driver().poll(target(port), SECOND)
                except DriverError:
                    return
                assert check_facts(facts) == []

        asyncio.run(poll())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A self-signed certificate with its key in one file, and its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tablet")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "tablet.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    der = made.public_bytes(serialization.Encoding.DER)
    return path, hashlib.sha256(der).hexdigest()


class TestTls:
    @pytest.fixture
    def device(self, certificate: tuple[Path, str]) -> Tablet:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate[0])
        return tablet(tls=context)

    async def test_the_pinned_certificate(
        self, device: Tablet, certificate: tuple[Path, str]
    ) -> None:
        pin = certificate[1].upper()
        colons = ":".join(pin[i : i + 2] for i in range(0, 64, 2))
        async with running(device) as port:
            for one in (certificate[1], colons):
                wanted = target(port, options={"tls": True, "pin": one})
                assert await driver().poll(wanted, 3 * SECOND)

    async def test_another_certificate_never_sees_the_password(self, device: Tablet) -> None:
        async with running(device) as port:
            wanted = target(port, options={"tls": True, "pin": "0" * 64})
            with pytest.raises(HostKeyChanged):
                await driver().poll(wanted, 3 * SECOND)
        assert device.received == []

    async def test_self_signed_without_a_pin(self, device: Tablet) -> None:
        async with running(device) as port:
            with pytest.raises(Misconfigured, match="pin"):
                await driver().poll(target(port, options={"tls": True}), 3 * SECOND)
        assert device.received == []

    async def test_a_tablet_that_does_not_speak_tls(self) -> None:
        async with running(tablet()) as port:
            wanted = target(port, options={"tls": True, "pin": "0" * 64})
            with pytest.raises((Unreachable, Garbled)):
                await driver().poll(wanted, timedelta(seconds=0.5))

    @pytest.mark.parametrize(
        "options", [{"tls": "yes"}, {"pin": "0" * 64}, {"tls": True, "pin": "12"}, {"proxy": "x"}]
    )
    async def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(Misconfigured, match="options"):
            await driver().poll(target(1, options=options), SECOND)


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
            assert (device.cookies, device.cache, device.page) == (0, 0, START)
            told = await peer.getDeviceInfo()
            assert (told["kioskLocked"], told["screenOn"]) == (False, False)
            stranger = fullykiosk.FullyKiosk(session, "127.0.0.1", port, "wrong")
            with pytest.raises(fullykiosk.FullyKioskError):
                await stranger.getDeviceInfo()
