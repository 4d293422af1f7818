"""Projectors are brought to a wished state, carefully."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.driver import (
    Misconfigured,
    NoEnd,
    Refused,
    ResetFailed,
    Unreachable,
)
from agents.simulator import Mood
from agents.simulator.pjlink import Projector
from tests.projectors import (
    SECOND,
    driver,
    on,
    order,
    running,
    set_passwords,
    target,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    set_passwords(monkeypatch)


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


class Unable(Projector):
    """Of class 2, and does not know the command that freezes."""

    def _class_2(self) -> Any:
        return {name: how for name, how in super()._class_2().items() if name != "FREZ"}


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

    async def test_a_course_soon_keeps_it_lit_and_mutes_it(self) -> None:
        for minutes, power, mute in ((29, "1", "31"), (31, "0", "30")):
            projector = on()
            async with running(projector) as port:
                asked = order(power="standby").model_copy(update={"next_start": after(minutes)})
                one = driver(now=lambda: NOW)
                await one.act(target(port), asked, 2 * SECOND)
                facts = await one.look(target(port), asked, SECOND)
            assert (projector.power, projector.mute) == (power, mute)
            assert facts["at_rest"] is True

    async def test_a_course_soon_does_not_light_what_is_dark(self) -> None:
        projector = Projector()
        async with running(projector) as port:
            asked = order(power="standby").model_copy(update={"next_start": after(5)})
            await driver(now=lambda: NOW).act(target(port), asked, SECOND)
        assert projector.power == "0"
        assert all(command.endswith("?") for command in projector.received)

    async def test_warming_is_waited_for_before_it_is_muted(self) -> None:
        projector = Projector(transition_s=0.2)
        projector.press_power()
        async with running(projector) as port:
            asked = order(power="standby").model_copy(update={"next_start": after(5)})
            await driver(now=lambda: NOW).act(target(port), asked, 2 * SECOND)
        assert (projector.power, projector.mute) == ("1", "31")

    async def test_a_lamp_that_was_just_lit_is_not_put_out(self) -> None:
        projector = Projector(transition_s=0.0)
        async with running(projector) as port:
            one = driver(burn_s=60)
            await one.act(target(port), order(power="on"), SECOND)
            with pytest.raises(Refused) as caught:
                await one.act(target(port), order(power="standby"), SECOND)
            assert caught.value.reason == "lamp_young"
            assert projector.power == "1"
            later = driver(burn_s=0.05)
            assert (await later.poll(target(port), SECOND))["at_rest"] is False
            await later.act(target(port), order(power="standby"), SECOND)
        assert projector.power == "0"

    async def test_a_guest_froze_the_picture(self) -> None:
        projector = on(pjlink_class=2)
        projector.frozen = "1"
        facts = await self.act(projector, power="on", freeze=False)
        assert (projector.frozen, facts["frozen"]) == ("0", False)

    async def test_one_that_cannot_freeze_is_not_frozen(self) -> None:
        projector = on(pjlink_class=1)
        await self.act(projector, power="on", freeze=False)
        assert not [sent for sent in projector.received if "FREZ" in sent]
        with pytest.raises(Misconfigured):
            await self.act(on(pjlink_class=1), power="on", freeze=True)
        unable = Unable(transition_s=0.0, pjlink_class=2)
        await self.act(unable, power="on", freeze=False)
        assert "%2FREZ 0" not in unable.received, "asked, and then let be"

    @pytest.mark.parametrize("start", ["standby", "warming", "on", "cooling"])
    @pytest.mark.parametrize("wanted", ["on", "standby"])
    async def test_from_each_state_to_each_with_one_command_at_most(
        self, start: str, wanted: str
    ) -> None:
        projector = Projector(transition_s=0.0)
        if start in ("on", "cooling"):
            projector.press_power()
        assert projector.power in ("0", "1")
        projector.transition_s = 0.15
        if start in ("warming", "cooling"):
            projector.press_power()
        facts = await self.act(projector, power=wanted)
        assert facts["power"] == wanted
        sent = [one for one in projector.received if "POWR" in one and not one.endswith("?")]
        assert len(sent) <= 1
        assert projector.rejected == 0

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
            with pytest.raises(NoEnd) as caught:
                await acting
            assert caught.value.step == "power"

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
        with pytest.raises(ResetFailed, match="ERR4") as caught:
            await self.act(projector, power="on", input="11")
        assert caught.value.step == "input"

    @pytest.mark.parametrize(
        "steps",
        [
            {"volume": 3},
            {"power": "off"},
            {"input": "hdmi"},
            {"input": 31},
            {"mute": "false"},
            {"power": "standby", "mute": False},
            {"power": "standby", "freeze": False},
            {"freeze": "no"},
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
