"""Whatever a projector sends or leaves out, only a DriverError comes of it."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.driver import (
    Denied,
    DriverError,
    Garbled,
    Misconfigured,
    TimedOut,
    Unreachable,
)
from agents.facts import check_facts
from tests.projectors import (
    SECOND,
    driver,
    serving,
    set_passwords,
    target,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    set_passwords(monkeypatch)


HOSTILE = {
    "nothing": (b"", Unreachable),
    "endless line": (b"A" * 10_000_000, Garbled),
    "endless answer": (b"PJLINK 0\r%1POWR=" + b"1" * 10_000_000, Garbled),
    "binary": (bytes(range(256)) * 4, Garbled),
    "http": (b"HTTP/1.1 400 Bad Request\r\n\r\n", Garbled),
    "another command": (b"PJLINK 0\r%1LAMP=1 1\r", Garbled),
    "half a packet": (b"PJLINK 0\r%1PO", Garbled),
    "no value": (b"PJLINK 0\r%1POWR\r", Garbled),
    "ok to a question": (b"PJLINK 0\r%1POWR=OK\r", Garbled),
    "only news": (b"PJLINK 0\r" + b"%2LKUP=aa:bb:cc:dd:ee:ff\r" * 1000, Garbled),
    "only padding": (b"\r\0" * 5000, Garbled),
    "locked out": (b"PJLINK ERRA\r", Denied),
    "nothing known": (b"PJLINK 0\r" + b"%1POWR=ERR1\r", DriverError),
}


class TestHostile:
    @pytest.mark.parametrize("name", HOSTILE)
    async def test_answers(self, name: str) -> None:
        sent, error = HOSTILE[name]

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()
            await reader.read()

        async with serving(talk) as port:
            with pytest.raises(error):
                await driver().poll(target(port), SECOND)

    async def test_one_byte_at_a_time(self) -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(b"P")
                await writer.drain()
                await asyncio.sleep(0.02)

        loop = asyncio.get_running_loop()
        async with serving(talk) as port:
            began = loop.time()
            with pytest.raises(TimedOut):
                await driver().poll(target(port), timedelta(seconds=0.3))
            assert loop.time() - began < 0.5

    @pytest.mark.parametrize(
        ("address", "port"),
        [("a" * 70, 4352), ("127.0.0.1", 70000), ("127.0.0.1", -1), ("a\0b", 4352)],
    )
    async def test_addresses_that_cannot_exist(self, address: str, port: int) -> None:
        wrong = target(port).model_copy(update={"address": address})
        with pytest.raises((Misconfigured, Unreachable)):
            await driver().poll(wrong, SECOND)

    @pytest.mark.parametrize("reset", [True, False], ids=["reset", "end"])
    async def test_the_line_breaks_at_each_byte(self, reset: bool) -> None:
        """A whole session is recorded, then played again and cut after each of its bytes."""
        answers = ["POWR=1", "INPT=31", "AVMT=30", "ERST=000000", "LAMP=8 1", "NAME=B"]
        answers += ["INF1=E", "INF2=W", "CLSS=1", "INFO=", "INST=31"]
        session = [b"PJLINK 0\r", *(f"%1{answer}\r".encode() for answer in answers)]
        whole = sum(map(len, session))
        left = 0

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            budget = left
            for number, piece in enumerate(session):
                if number:
                    await reader.readuntil(b"\r")
                writer.write(piece[:budget])
                await writer.drain()
                budget -= len(piece)
                if budget < 0:
                    if reset:
                        writer.transport.abort()
                    return
            await reader.read()

        async with serving(talk) as port:
            for cut in range(whole):
                left = cut
                with pytest.raises((Unreachable, Garbled)):
                    await driver().poll(target(port), SECOND)
            left = whole
            assert (await driver().poll(target(port), SECOND))["power"] == "on"

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.binary(max_size=40)
            | st.text(max_size=20).map(lambda text: text.encode())
            | st.sampled_from([b"1", b"000000", b"ERR1", b"ERR3", b"ERR4", b"ERRA", b"OK", b""]),
            max_size=12,
        ),
        st.booleans(),
    )
    def test_whatever_it_answers(self, values: list[bytes], frame: bool) -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"PJLINK 0\r")
            for value in values:
                question = await reader.readuntil(b"\r")
                writer.write(question[:6] + b"=" + value + b"\r" if frame else value + b"\r")
                await writer.drain()

        async def poll() -> None:
            async with serving(talk) as port:
                try:
                    facts = await driver().poll(target(port), timedelta(seconds=0.5))
                except DriverError:
                    return
                assert check_facts(facts) == []

        asyncio.run(poll())
