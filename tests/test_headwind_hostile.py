"""Whatever an MDM server sends, and whoever pretends to be one: only a DriverError comes of it."""

import hashlib
import json
import logging
from contextlib import suppress
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
    MissingCredential,
    Unreachable,
)
from agents.facts import check_facts
from agents.headwind.tablets import Tablet
from agents.simulator import Mood
from agents.simulator.http import Said
from tests.certificates import self_signed, server_context
from tests.mdm import FAR, PASSWORD, driver, server, set_passwords, target
from tests.tablets import SECOND, http, running, serving

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    set_passwords(monkeypatch)


TOKEN = http(b'{"id_token":"abc"}')
HOSTILE: dict[str, tuple[bytes, type[DriverError]]] = {
    "nothing": (b"", Garbled),
    "not json": (http(b"<html>"), Garbled),
    "no token": (http(b'{"id_token":5}'), Garbled),
    "a token with a line in it": (http(b'{"id_token":"a\\r\\nX: y"}'), Garbled),
    "an endless token": (http(b'{"id_token":"' + b"a" * 9000 + b'"}'), Garbled),
    "an empty token": (http(b'{"id_token":""}'), Garbled),
    "an error with status 200": (http(b'{"status":"ERROR","message":"x"}'), Denied),
    "redirect": (http(b"", "Location: http://127.0.0.1:1/", status="302 Found"), Garbled),
    "server error": (http(b"", status="500 Oh"), Garbled),
    "deep": (http(b"[" * 200_000), Garbled),
    "endless": (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 10_000_000, Garbled),
    "no list": (TOKEN, Garbled),
}
FIELDS = ["number", "lastUpdate", "info", "serial", "batteryLevel", "batteryCharging", "model"]
FIELDS += ["androidVersion", "mdmMode", "kioskMode", "deviceId"]
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


class TestHostile:
    @pytest.mark.parametrize("name", HOSTILE)
    async def test_answers(self, name: str) -> None:
        sent, error = HOSTILE[name]
        async with serving(sent) as port:
            with pytest.raises(error) as caught:
                await driver().poll(target(port), FAR)
        assert PASSWORD not in str(caught.value)

    @pytest.mark.parametrize(
        "data",
        [
            None,
            [],
            {},
            {"devices": []},
            {"devices": {"items": {}}},
            {"devices": {"items": [1, None, {}, {"number": ""}, {"number": 5}]}},
        ],
    )
    async def test_lists_that_hold_no_tablet(self, data: Any) -> None:
        mdm = server()
        mdm.list_answer = Said({"status": "OK", "data": data})
        async with running(mdm) as port:
            with pytest.raises((Garbled, Misconfigured)):
                await driver().poll(target(port), FAR)

    async def test_a_list_that_never_ends(self) -> None:
        mdm = server()
        items = [{"number": f"n{n}"} for n in range(100)]
        mdm.list_answer = Said({"status": "OK", "data": {"devices": {"items": items}}})
        async with running(mdm) as port:
            with pytest.raises(Misconfigured, match="no tablet"):
                await driver().poll(target(port), timedelta(seconds=30))
        assert mdm.searches == 100

    @settings(max_examples=300, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(FIELDS),
            VALUES | st.dictionaries(st.sampled_from(FIELDS), VALUES),
        )
    )
    def test_whatever_it_tells_of_a_tablet(self, item: dict[str, Any]) -> None:
        tablet = Tablet.of(item)
        if tablet is None:
            return
        assert check_facts(tablet.facts()) == []
        with suppress(Unreachable, Garbled):
            assert 0 <= tablet.age(1_764_000_000.0, 3600) <= 3600

    @pytest.mark.parametrize(
        "options",
        [
            {"path": "rest"},
            {"path": "/a/../b?c"},
            {"silent_after_s": 5},
            {"number": 5},
            {"authorities": True},
            {"proxy": "x"},
        ],
    )
    async def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(Misconfigured, match="options"):
            await driver().poll(target(1, options=options), FAR)

    async def test_half_a_credential(self) -> None:
        for credential in ("half", "nobody", ""):
            with pytest.raises(MissingCredential):
                await driver().poll(target(1, credential=credential), FAR)


class TestSecrets:
    async def test_neither_password_nor_token_is_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        mdm = server()
        one = driver()
        async with running(mdm) as port:
            said = [json.dumps(await one.poll(target(port), FAR))]
            mdm.mood = Mood.DENIED
            with pytest.raises(Denied) as caught:
                await one.poll(target(port, every_s=0), FAR)
        said += [str(caught.value), repr(vars(one)), caplog.text]
        form = hashlib.md5(PASSWORD.encode()).hexdigest().upper()
        for text in said:
            for secret in (PASSWORD, form, "eyJ.token"):
                assert secret not in text
        assert "HTTP Request: POST" in caplog.text

    async def test_tls_is_usual_and_its_certificate_is_pinned(self, tmp_path: Path) -> None:
        first = server(tls=server_context(self_signed(tmp_path / "one.pem")[0]))
        wanted: dict[str, Any] = {"options": {"tls": True}}
        async with running(first) as port:
            assert await driver(tmp_path).poll(target(port, **wanted), FAR)
        impostor = server(tls=server_context(self_signed(tmp_path / "two.pem")[0]))
        await impostor.start(port)
        try:
            with pytest.raises(HostKeyChanged):
                await driver(tmp_path).poll(target(port, **wanted), FAR)
            assert impostor.logins == 0
        finally:
            await impostor.stop()
        plain = server()
        async with running(plain) as port:
            usual = target(port).model_copy(update={"options": {"number": "h1"}})
            with pytest.raises((Unreachable, Garbled)):
                await driver(tmp_path).poll(usual, SECOND)
        assert plain.logins == 0
