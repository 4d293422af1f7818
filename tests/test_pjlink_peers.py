"""Independent clients of PJLink agree with our simulator; and the stronger password check."""

import asyncio
import hashlib

import pytest

from agents.driver import Denied, Misconfigured
from agents.pjlink import protocol
from agents.simulator.pjlink import Projector
from tests.parts import need_module
from tests.projectors import (
    PASSWORD,
    SECOND,
    driver,
    facts_of,
    on,
    running,
    set_passwords,
    target,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    set_passwords(monkeypatch)


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
