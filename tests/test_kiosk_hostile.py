"""Whatever a tablet sends, and whoever pretends to be one: only a DriverError comes of it."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.driver import (
    Denied,
    DriverError,
    Garbled,
    HostKeyChanged,
    Misconfigured,
    TimedOut,
    Unreachable,
)
from agents.facts import check_facts
from agents.simulator.kiosk import Tablet
from agents.ssh.host_keys import HostKeys
from tests.certificates import self_signed, server_context
from tests.tablets import (
    PASSWORD,
    SECOND,
    driver,
    http,
    info,
    running,
    serving,
    set_passwords,
    tablet,
    target,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    set_passwords(monkeypatch)


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
    return self_signed(tmp_path_factory.mktemp("tls") / "tablet.pem")


class TestTls:
    @pytest.fixture
    def device(self, certificate: tuple[Path, str]) -> Tablet:
        return tablet(tls=server_context(certificate[0]))

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

    async def test_the_first_certificate_is_pinned_and_a_change_is_loud(
        self,
        device: Tablet,
        certificate: tuple[Path, str],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        wanted: dict[str, Any] = {"options": {"tls": True}}
        async with running(device) as port:
            assert await driver(tmp_path).poll(target(port, **wanted), 3 * SECOND)
            assert await driver(tmp_path).poll(target(port, **wanted), 3 * SECOND)
        impostor = tablet(tls=server_context(self_signed(tmp_path / "other.pem")[0]))
        await impostor.start(port)
        try:
            one = driver(tmp_path)
            for _ in range(2):
                with pytest.raises(HostKeyChanged, match="expected x509 SHA256:"):
                    await one.poll(target(port, **wanted), 3 * SECOND)
            assert impostor.received == []
            assert caplog.text.count("CERTIFICATE CHANGED at 127.0.0.1") == 1
            assert HostKeys(tmp_path / "certificates").forget("127.0.0.1", port)
            assert await one.poll(target(port, **wanted), 3 * SECOND)
        finally:
            await impostor.stop()

    async def test_a_broken_file_of_certificates_pins_nothing_anew(
        self, device: Tablet, tmp_path: Path
    ) -> None:
        (tmp_path / "certificates").write_text("half a li")
        async with running(device) as port:
            with pytest.raises(Misconfigured, match="line 1"):
                await driver(tmp_path).poll(target(port, options={"tls": True}), 3 * SECOND)
        assert device.received == []

    async def test_self_signed_where_authorities_are_asked(self, device: Tablet) -> None:
        async with running(device) as port:
            wanted = target(port, options={"tls": True, "authorities": True})
            with pytest.raises(Denied, match="authority"):
                await driver().poll(wanted, 3 * SECOND)
        assert device.received == []

    async def test_a_tablet_that_does_not_speak_tls(self) -> None:
        async with running(tablet()) as port:
            wanted = target(port, options={"tls": True, "pin": "0" * 64})
            with pytest.raises((Unreachable, Garbled)):
                await driver().poll(wanted, timedelta(seconds=0.5))

    @pytest.mark.parametrize(
        "options",
        [
            {"tls": "yes"},
            {"pin": "0" * 64},
            {"authorities": True},
            {"tls": True, "pin": "12"},
            {"tls": True, "pin": "0" * 64, "authorities": True},
            {"proxy": "x"},
        ],
    )
    async def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(Misconfigured, match="options"):
            await driver().poll(target(1, options=options), SECOND)
