"""Projectors: what they say is read right."""

import asyncio
from typing import Any

import pytest

from agents.driver import (
    Denied,
    MissingCredential,
    Unreachable,
    WrongDevice,
)
from agents.pjlink import protocol
from agents.simulator import Mood
from agents.simulator.pjlink import Projector
from tests.projectors import (
    PASSWORD,
    SECOND,
    driver,
    facts_of,
    on,
    order,
    running,
    serving,
    set_passwords,
    target,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    set_passwords(monkeypatch)


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
            ("IRES", "-", {"signal": False}),
            ("IRES", "*", {"signal": True}),
            ("IRES", "1920X1080", {"signal": True, "resolution": "1920x1080"}),
            ("RRES", "1280x800", {"native_resolution": "1280x800"}),
            ("FREZ", "1", {"frozen": True}),
            ("RFIL", "ELPAF60 ELPAF32", {"filter_part": "ELPAF60 ELPAF32"}),
            ("RLMP", "", {}),
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
            ("IRES", "0x0"),
            ("RRES", "-"),
            ("FREZ", "2"),
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
            "at_rest": False,
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
            "inputs": ["11", "31", "32"],
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

    async def test_class_2_tells_picture_inputs_and_parts(self) -> None:
        facts = await facts_of(on(pjlink_class=2))
        assert facts["inputs"] == ["11 VGA", "31 HDMI 1", "32 HDMI 2"]
        assert (facts["signal"], facts["resolution"]) == (True, "1920x1080")
        assert facts["native_resolution"] == "1920x1200"
        assert facts["frozen"] is False
        assert (facts["lamp_part"], facts["filter_part"]) == ("ELPLP97", "ELPAF60 ELPAF32")

    async def test_no_signal_and_a_still_picture(self) -> None:
        projector = on(pjlink_class=2)
        projector.resolution, projector.frozen = "-", "1"
        facts = await facts_of(projector)
        assert (facts["signal"], facts["frozen"]) == (False, True)
        assert "resolution" not in facts

    async def test_nonsense_of_what_is_only_nice_to_know_is_left_out(self) -> None:
        projector = on(pjlink_class=2)
        projector.resolution, projector.inputs = "very large", ["31", "99", "x", "31"]
        projector.frozen = "perhaps"
        facts = await facts_of(projector)
        assert facts["power"] == "on"
        assert facts["inputs"] == ["31 HDMI 1"]
        assert {"signal", "frozen", "resolution"}.isdisjoint(facts)

    async def test_many_inputs_are_named_over_several_looks(self) -> None:
        projector = Projector(pjlink_class=2)
        projector.inputs = [f"3{n}" for n in "123456789ABC"]
        projector.input_names = {code: f"Port {code}" for code in projector.inputs}
        async with running(projector) as port:
            one = driver()
            named = []
            for _ in range(4):
                inputs = (await one.poll(target(port), SECOND))["inputs"]
                named.append(sum(len(text) > 2 for text in inputs))
        assert named == [4, 8, 12, 12]
        assert sum(line.startswith("%2INNM") for line in projector.received) == 12

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
