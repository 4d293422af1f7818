"""Projectors: what they say is read right, and no answer of theirs breaks us."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
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
    Misconfigured,
    MissingCredential,
    NoEnd,
    Refused,
    ResetFailed,
    TimedOut,
    Unreachable,
    WrongDevice,
)
from agents.drivers.pjlink import Pjlink
from agents.facts import check_facts
from agents.messages import Order, Target
from agents.pjlink import protocol
from agents.simulator import Mood
from agents.simulator.pjlink import Projector
from tests.parts import need_module

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)
PASSWORD = "JBMIAProjectorLink"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAUMWART_SECRET_BEAMER", f'{{"password": "{PASSWORD}"}}')
    monkeypatch.setenv("RAUMWART_SECRET_WRONG", '{"password": "wrong"}')


def driver(**options: float) -> Pjlink:
    options = {"settle_s": 0.02, "answer_s": 0.3} | options
    return Pjlink(Credentials(None), Path(), **options)


def target(port: int, **options: Any) -> Target:
    return Target(
        device="b1",
        room="r1",
        kind="projector",
        driver="pjlink",
        address="127.0.0.1",
        port=port,
        **options,
    )


def order(**steps: Any) -> Order:
    at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    return Order(
        id="x.1", site="s", device="b1", room="r1", steps=steps, not_before=at, not_after=at
    )


@asynccontextmanager
async def running(projector: Projector) -> AsyncIterator[int]:
    port = await projector.start()
    try:
        yield port
    finally:
        await projector.stop()


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[int]:
    """A peer that does just what the test says, and nothing of the protocol."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def on(**options: Any) -> Projector:
    projector = Projector(transition_s=0.0, **options)
    projector.press_power()
    return projector


async def facts_of(projector: Projector, **options: Any) -> dict[str, Any]:
    async with running(projector) as port:
        facts = await driver().poll(target(port, **options), SECOND)
    assert check_facts(facts) == []
    return facts


class TestProtocol:
    def test_the_digest_is_the_published_one(self) -> None:
        assert protocol.digest("498e4a67", PASSWORD) == "5d8409bc1c3fa39749434aa3a5c38682"

    @pytest.mark.parametrize(
        ("line", "random"), [("PJLINK 0", ""), ("pjlink 1 498e4a67", "498e4a67")]
    )
    def test_greeting(self, line: str, random: str) -> None:
        assert protocol.greeting(line) == random

    @pytest.mark.parametrize(
        ("command", "value", "facts"),
        [
            ("POWR", "3", {"power": "warming"}),
            ("AVMT", "31", {"picture_muted": True, "sound_muted": True}),
            ("AVMT", "11", {"picture_muted": True, "sound_muted": False}),
            ("AVMT", "20", {"sound_muted": False}),
            ("INPT", "3a", {"input": "3A"}),
            ("LAMP", "812 1", {"lamp_s": 812 * 3600}),
            ("LAMP", "10 1 4000 0 7 1", {"lamp_s": 4000 * 3600}),
            ("LAMP", "0", {"lamp_s": 0}),
            ("FILT", "12", {"filter_s": 12 * 3600}),
            ("NAME", " Süd\x07 ", {"name": "Süd"}),
            ("INF1", "", {}),
        ],
    )
    def test_meaning(self, command: str, value: str, facts: dict[str, Any]) -> None:
        assert protocol.facts(command, value) == facts

    def test_each_fault_has_its_digit(self) -> None:
        assert protocol.facts("ERST", "012010") == {
            "fan_state": "ok",
            "lamp_state": "warning",
            "temperature_state": "error",
            "cover_state": "ok",
            "filter_state": "warning",
            "other_state": "ok",
        }

    @pytest.mark.parametrize(
        ("command", "value"),
        [
            ("POWR", "4"),
            ("POWR", "OK"),
            ("AVMT", "32"),
            ("INPT", "0"),
            ("ERST", "00000"),
            ("ERST", "000003"),
            ("LAMP", "many"),
            ("LAMP", "-1 0"),
            ("LAMP", "٣ 1"),
            ("FILT", "1e9"),
        ],
    )
    def test_nonsense_is_refused(self, command: str, value: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            protocol.facts(command, value)


class TestPoll:
    async def test_on(self) -> None:
        projector = on(name="Raum 1", lamp_hours=100)
        projector.errors |= {"filter": 1}
        assert await facts_of(projector) == {
            "power": "on",
            "input": "31",
            "picture_muted": False,
            "sound_muted": False,
            "lamp_s": 360_000,
            "fan_state": "ok",
            "lamp_state": "ok",
            "temperature_state": "ok",
            "cover_state": "ok",
            "filter_state": "warning",
            "other_state": "ok",
            "name": "Raum 1",
            "vendor": "EPSON",
            "model": "EB-W49",
        }

    async def test_standby_is_a_fact_and_tells_no_input(self) -> None:
        projector = Projector()
        facts = await facts_of(projector)
        assert facts["power"] == "standby"
        assert "%1INPT ?" not in projector.received
        assert {"input", "picture_muted", "sound_muted"}.isdisjoint(facts)

    async def test_warming_and_cooling_are_facts(self) -> None:
        projector = Projector(transition_s=0.1)
        async with running(projector) as port:
            states = []
            for _ in range(2):
                projector.press_power()
                states.append((await driver().poll(target(port), SECOND))["power"])
                await asyncio.sleep(0.11)
                states.append((await driver().poll(target(port), SECOND))["power"])
        assert states == ["warming", "on", "cooling", "standby"]

    async def test_class_2_tells_serial_firmware_and_filter(self) -> None:
        facts = await facts_of(Projector(serial="X9", pjlink_class=2), serial="x9")
        assert (facts["serial"], facts["firmware"]) == ("X9", "1.07")
        assert facts["filter_s"] == 40 * 3600

    async def test_a_laser_has_no_lamp(self) -> None:
        assert "lamp_s" not in await facts_of(Projector(lamp_hours=None))

    async def test_err4_is_a_warning_not_a_failure(self) -> None:
        projector = Projector()
        projector.failing.add("LAMP")
        facts = await facts_of(projector)
        assert facts["other_state"] == "warning"
        assert facts["power"] == "standby"

    async def test_padding_news_and_lower_case_are_tolerated(self) -> None:
        projector = on()
        projector.before = b"%2LKUP=aa:bb:cc:dd:ee:ff\r%2POWR=0\r"
        projector.after = b"\0\0\0"
        projector.lower_case = True
        facts = await facts_of(projector)
        assert facts["power"] == "on"

    async def test_names_are_asked_once_and_again_after_a_failure(self) -> None:
        projector = Projector()
        async with running(projector) as port:
            one = driver()
            for _ in range(3):
                facts = await one.poll(target(port), SECOND)
            assert facts["name"] == "Projektor"
            assert projector.received.count("%1NAME ?") == 1
            projector.name = "Neu"
            projector.mood = Mood.OFF
            with pytest.raises(Unreachable):
                await one.poll(target(port), SECOND)
            projector.mood = Mood.OK
            assert (await one.poll(target(port), SECOND))["name"] == "Neu"
            projector.name = "Neuer"
            assert (await one.look(target(port), order(), SECOND))["name"] == "Neuer"

    async def test_another_projector_is_noticed_at_once(self) -> None:
        projector = Projector(serial="X9", pjlink_class=2)
        async with running(projector) as port:
            one = driver()
            await one.poll(target(port, serial="X9"), SECOND)
            projector.serial = "Y1"
            with pytest.raises(WrongDevice):
                await one.poll(target(port, serial="X9"), SECOND)

    async def test_one_session_at_a_time(self) -> None:
        projector = Projector()
        projector.answer_s = 0.02
        async with running(projector) as port:
            one = driver()
            await asyncio.gather(*(one.poll(target(port), 5 * SECOND) for _ in range(4)))
        assert projector.rejected == 0
        assert projector.connections == 4

    async def test_a_close_instead_of_an_answer_is_tried_once_more(self) -> None:
        calls = 0

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal calls
            calls += 1
            writer.write(b"PJLINK 0\r%2LKUP=aa:bb:cc:dd:ee:ff\r")

        async with serving(talk) as port:
            with pytest.raises(Unreachable):
                await driver().poll(target(port), SECOND)
        assert calls == 2


class TestPassword:
    async def test_the_right_one(self) -> None:
        facts = await facts_of(Projector(password=PASSWORD), credential="beamer")
        assert facts["power"] == "standby"

    async def test_none_needed(self) -> None:
        assert await facts_of(Projector(), credential="beamer")

    @pytest.mark.parametrize("credential", ["wrong", ""])
    async def test_wrong_or_missing(self, credential: str) -> None:
        with pytest.raises(Denied) as caught:
            await facts_of(Projector(password=PASSWORD), credential=credential)
        assert caught.value.code == "denied"

    async def test_not_on_this_machine(self) -> None:
        with pytest.raises(MissingCredential):
            await facts_of(Projector(password=PASSWORD), credential="unknown")

    async def test_it_never_goes_over_the_wire(self) -> None:
        heard = b""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal heard
            writer.write(b"PJLINK 1 498e4a67\r")
            heard += await reader.readuntil(b"\r")
            writer.write(b"PJLINK ERRA\r")

        async with serving(talk) as port:
            with pytest.raises(Denied):
                await driver().poll(target(port, credential="beamer"), SECOND)
        assert heard == b"5d8409bc1c3fa39749434aa3a5c38682%1POWR ?\r"


class TestAct:
    async def act(self, projector: Projector, seconds: float = 2.0, **steps: Any) -> dict[str, Any]:
        async with running(projector) as port:
            one = driver()
            await one.act(target(port), order(**steps), timedelta(seconds=seconds))
            return await one.look(target(port), order(**steps), SECOND)

    async def test_from_standby_to_ready(self) -> None:
        projector = Projector(transition_s=0.1)
        facts = await self.act(projector, power="on", input="32", mute=False)
        assert (facts["power"], facts["input"], facts["picture_muted"]) == ("on", "32", False)
        assert projector.received.count("%1POWR 1") == 1

    async def test_already_ready_changes_nothing(self) -> None:
        projector = on()
        await self.act(projector, power="on", input="31", mute=False)
        assert all(command.endswith("?") for command in projector.received)

    async def test_a_guest_who_muted_and_switched(self) -> None:
        projector = on()
        projector.mute, projector.input = "31", "11"
        facts = await self.act(projector, power="on", input="31", mute=False)
        assert (facts["input"], facts["picture_muted"], facts["sound_muted"]) == (
            "31",
            False,
            False,
        )

    async def test_cooling_is_waited_for_then_switched_on_once(self) -> None:
        projector = Projector(transition_s=0.15)
        projector.press_power()
        await asyncio.sleep(0.16)
        projector.press_power()
        facts = await self.act(projector, power="on")
        assert facts["power"] == "on"
        assert projector.received.count("%1POWR 1") == 1

    async def test_to_standby(self) -> None:
        assert (await self.act(on(), power="standby"))["power"] == "standby"

    async def test_deaf_while_it_changes(self) -> None:
        projector = Projector(transition_s=0.2)
        projector.deaf_while_changing = True
        assert (await self.act(projector, power="on", input="11"))["input"] == "11"

    async def test_slow_to_admit_that_it_warms_up(self) -> None:
        projector = Projector(transition_s=0.4)
        projector.lazy_s = 0.2
        assert (await self.act(projector, power="on"))["power"] == "on"
        assert projector.received.count("%1POWR 1") == 1

    async def test_a_command_without_an_answer_is_not_sent_again(self) -> None:
        projector = Projector(transition_s=0.2)
        projector.lazy_s = 0.1
        projector.swallowed.add("POWR")
        assert (await self.act(projector, power="on"))["power"] == "on"
        assert projector.received.count("%1POWR 1") == 1

    async def test_no_steps_touch_nothing(self) -> None:
        projector = Projector()
        await self.act(projector)
        assert "%1POWR 1" not in projector.received

    async def test_it_never_warms_up(self) -> None:
        with pytest.raises(NoEnd, match="warming"):
            await self.act(Projector(transition_s=60), seconds=0.3, power="on")

    async def test_cooling_all_the_time_is_refused_untouched(self) -> None:
        projector = on()
        projector.transition_s = 60
        projector.press_power()
        with pytest.raises(Refused) as caught:
            await self.act(projector, seconds=0.3, power="on")
        assert caught.value.reason == "busy"

    async def test_the_lamp_goes_out_again(self) -> None:
        projector = Projector(transition_s=5)

        async def fails(port: int) -> None:
            with pytest.raises(ResetFailed, match="standby again"):
                await driver().act(target(port), order(power="on"), 2 * SECOND)

        async with running(projector) as port:
            acting = asyncio.create_task(fails(port))
            await asyncio.sleep(0.1)
            assert projector.power == "3"
            projector.burn_out()
            await acting

    async def test_cut_off_while_it_warms_up(self) -> None:
        projector = Projector(transition_s=0.2)
        async with running(projector) as port:
            acting = asyncio.create_task(
                driver().act(target(port), order(power="on"), timedelta(seconds=0.5))
            )
            await asyncio.sleep(0.1)
            assert projector.power == "3"
            projector.mood = Mood.OFF
            with pytest.raises(NoEnd):
                await acting

    async def test_input_in_standby_is_refused(self) -> None:
        with pytest.raises(Refused) as caught:
            await self.act(Projector(), input="31")
        assert caught.value.reason == "not_on"

    async def test_an_input_it_does_not_have(self) -> None:
        with pytest.raises(Misconfigured):
            await self.act(on(), power="on", input="59")

    async def test_it_says_that_it_failed(self) -> None:
        projector = on()
        projector.failing.add("INPT")
        with pytest.raises(ResetFailed, match="ERR4"):
            await self.act(projector, power="on", input="11")

    @pytest.mark.parametrize(
        "steps",
        [
            {"volume": 3},
            {"power": "off"},
            {"input": "hdmi"},
            {"input": 31},
            {"mute": "false"},
            {"power": "standby", "mute": False},
        ],
    )
    async def test_steps_that_make_no_sense(self, steps: dict[str, Any]) -> None:
        projector = Projector()
        with pytest.raises(Misconfigured, match="steps"):
            await self.act(projector, **steps)
        assert projector.connections == 0

    async def test_off_before_anything_was_touched(self) -> None:
        projector = Projector()
        projector.mood = Mood.OFF
        with pytest.raises(Unreachable):
            await self.act(projector, power="on")

    async def test_polls_go_on_during_an_act(self) -> None:
        projector = Projector(transition_s=0.2)
        async with running(projector) as port:
            one = driver()
            acting = asyncio.create_task(one.act(target(port), order(power="on"), 2 * SECOND))
            states = set()
            while not acting.done():
                states.add((await one.poll(target(port), SECOND))["power"])
            await acting
        assert "warming" in states
        assert projector.rejected == 0


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
        answers += ["INF1=E", "INF2=W", "CLSS=1"]
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


class TestPeer:
    async def test_an_independent_client_agrees_with_the_simulator(self) -> None:
        aiopjlink = need_module("aiopjlink")
        projector = Projector("Peer", password=PASSWORD, transition_s=0.05, pjlink_class=2)
        projector.errors["fan"] = 2
        async with (
            running(projector) as port,
            aiopjlink.PJLink("127.0.0.1", port=port, password=PASSWORD, timeout=1) as link,
        ):
            power = aiopjlink.Power
            assert await link.power.get() is power.OFF
            with pytest.raises(aiopjlink.PJLinkERR3):
                await link.sources.get()
            await link.power.turn_on()
            assert await link.power.get() is power.State.WARMING
            with pytest.raises(aiopjlink.PJLinkERR3):
                await link.power.turn_off()
            await asyncio.sleep(0.06)
            assert await link.power.get() is power.ON
            await link.sources.set(aiopjlink.Sources.Mode.DIGITAL, 2)
            assert await link.sources.get() == (aiopjlink.Sources.Mode.DIGITAL, "2")
            assert (await link.lamps.status())[0][0] == 812
            assert await link.info.serial_number() == "SIM0001"
            assert await link.info.software_version() == "1.07"
            assert await link.info.pjlink_class() is aiopjlink.PJClass.TWO
            assert await link.filter.hours() == 40
            await link.mute.video(True)
            assert await link.mute.status() == (True, False)
            errors = await link.errors.query()
            fan = aiopjlink.Errors.Category.FAN
            assert errors[fan] is aiopjlink.Errors.Level.ERROR

    async def test_and_is_refused_with_a_wrong_password(self) -> None:
        aiopjlink = need_module("aiopjlink")
        async with running(Projector(password=PASSWORD)) as port:
            with pytest.raises(aiopjlink.PJLinkPassword):
                async with aiopjlink.PJLink("127.0.0.1", port=port, password="no", timeout=1):
                    pass
