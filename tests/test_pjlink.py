"""Projectors: what they say is read right."""

import asyncio
import hashlib
from typing import Any

import pytest

from agents.driver import (
    Denied,
    Misconfigured,
    MissingCredential,
    Unreachable,
    WrongDevice,
)
from agents.pjlink import protocol
from agents.simulator import Mood
from agents.simulator.pjlink import Projector
from tests.parts import need_module
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


class TestLevel2:
    def test_the_digest(self) -> None:
        ours, theirs = "00" * 15 + "ff", "00" * 15 + "0f"
        mixed = "00" * 15 + "f0"
        signed = hashlib.sha256(f"{mixed}{PASSWORD}".encode()).hexdigest()
        assert protocol.strong_digest(ours, theirs, PASSWORD) == ours + signed

    @pytest.mark.parametrize("security", ["sha256", "auto"])
    async def test_sha_256_where_it_is_known(self, security: str) -> None:
        projector = Projector(password=PASSWORD, pjlink_class=2)
        projector.level_2 = True
        options = {"security": security}
        assert await facts_of(projector, credential="beamer", options=options)
        assert projector.connections == 1

    async def test_md5_where_it_is_not_and_that_is_remembered(self) -> None:
        projector = Projector(password=PASSWORD)
        one = driver()
        async with running(projector) as port:
            place = target(port, credential="beamer", options={"security": "auto"})
            for _ in range(3):
                assert (await one.poll(place, SECOND))["power"] == "standby"
        assert projector.connections == 4

    async def test_never_md5_when_sha_256_is_demanded(self) -> None:
        options = {"security": "sha256"}
        with pytest.raises(Denied):
            await facts_of(Projector(password=PASSWORD), credential="beamer", options=options)

    @pytest.mark.parametrize("security", ["sha256", "auto"])
    async def test_a_wrong_password_is_denied(self, security: str) -> None:
        projector = Projector(password=PASSWORD)
        projector.level_2 = True
        with pytest.raises(Denied):
            await facts_of(projector, credential="wrong", options={"security": security})

    async def test_an_unknown_word_is_a_mistake_of_the_inventory(self) -> None:
        with pytest.raises(Misconfigured, match="security"):
            await facts_of(Projector(), options={"security": "sha1"})


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

    async def test_of_what_class_2_adds(self) -> None:
        aiopjlink = need_module("aiopjlink")
        projector = on(password=PASSWORD, pjlink_class=2)
        async with (
            running(projector) as port,
            aiopjlink.PJLink("127.0.0.1", port=port, password=PASSWORD, timeout=1) as link,
        ):
            two = aiopjlink.PJClass.TWO
            mode = aiopjlink.Sources.Mode
            assert (mode.DIGITAL, "1") in await link.sources.available(two)
            assert await link.sources.get_source_name(mode.DIGITAL, 1) == "HDMI 1"
            assert await link.sources.resolution() == (1920, 1080)
            assert await link.sources.recommended_resolution() == (1920, 1200)
            assert await link.lamps.replacement_models() == ["ELPLP97"]
            assert await link.filter.replacement_models() == ["ELPAF60", "ELPAF32"]
            await link.freeze.set(True)
            assert await link.freeze.get() is True
            await link.speaker.turn_up()
            await link.speaker.turn_up()
            await link.microphone.turn_down()
        assert (projector.frozen, projector.volume) == ("1", 11)

    async def test_a_second_independent_client_agrees(self) -> None:
        pypjlink = need_module("pypjlink")
        projector = on(name="Zweiter", password=PASSWORD)
        projector.errors["filter"] = 1

        def talk(port: int) -> None:
            with pypjlink.Projector.from_address("127.0.0.1", port, timeout=2) as link:
                assert link.authenticate(PASSWORD) is True
                assert link.get_power() == "on"
                assert link.get_inputs() == [("RGB", 1), ("DIGITAL", 1), ("DIGITAL", 2)]
                link.set_input("RGB", 1)
                assert link.get_input() == ("RGB", 1)
                link.set_mute(pypjlink.MUTE_VIDEO, True)
                assert link.get_mute() == (True, False)
                assert link.get_errors()["filter"] == "warning"
                assert link.get_lamps() == [(812, True)]
                assert link.get_name() == "Zweiter"
                assert link.get_product_name() == "EB-W49"

        async with running(projector) as port:
            await asyncio.to_thread(talk, port)
