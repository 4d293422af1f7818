"""Headwind MDM: one login and one list for all its tablets, and no old report passes for now."""

import asyncio
import json

import pytest

from agents.driver import (
    Denied,
    DriverError,
    Garbled,
    Misconfigured,
    NoEnd,
    ResetFailed,
    ServerSilent,
    Unreachable,
    WrongDevice,
)
from agents.facts import check_facts
from agents.headwind.tablets import Listing, Tablet
from agents.simulator import Mood
from agents.simulator.headwind import Managed
from agents.simulator.http import Said
from fleet.resets.proof import verify
from inventory.recipes import BUILT_IN
from tests.mdm import FAR, driver, server, set_passwords, target
from tests.tablets import SECOND, order, running

pytestmark = pytest.mark.anyio
RECIPE = BUILT_IN["tablet-configuration"]


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    set_passwords(monkeypatch)


class TestPoll:
    async def test_facts(self) -> None:
        mdm = server(Managed("h1", "R52-1", battery=42, silent_s=60))
        async with running(mdm) as port:
            facts = await driver().poll(target(port, serial="r52-1"), FAR)
        assert check_facts(facts) == []
        age = facts.pop("report_age_s")
        assert 55 <= age <= 70
        assert facts == {
            "serial": "r52-1",
            "name": "h1",
            "model": "Tab A9+",
            "firmware": "Android 13, Headwind 5.31",
            "battery_ratio": 0.42,
            "plugged": True,
            "kiosk_locked": True,
        }

    async def test_what_people_wrote_of_it_is_not_read(self) -> None:
        async with running(server()) as port:
            told = json.dumps(await driver().poll(target(port), FAR))
        assert "Muster" not in told
        assert "0171" not in told.replace(" ", "")
        assert "reader" not in told

    async def test_information_that_comes_as_text(self) -> None:
        mdm = server()
        mdm.info_as_text = True
        async with running(mdm) as port:
            assert (await driver().poll(target(port), FAR))["battery_ratio"] == 0.8
            mdm.tablets[0].extra["info"] = "{half"
            facts = await driver().poll(target(port, every_s=0), FAR)
        assert "battery_ratio" not in facts
        assert facts["name"] == "h1"

    async def test_an_old_report_is_not_reachable(self) -> None:
        mdm = server(Managed("h1", "R52-1", silent_s=3 * 3600))
        async with running(mdm) as port:
            with pytest.raises(Unreachable, match="180 minutes ago"):
                await driver().poll(target(port), FAR)
            patient = target(port, options={"silent_after_s": 4 * 3600})
            assert (await driver().poll(patient, FAR))["report_age_s"] > 10_000
            mdm.tablets[0].extra["lastUpdate"] = None
            with pytest.raises(Unreachable, match="never"):
                await driver().poll(target(port), FAR)
            mdm.tablets[0].extra["lastUpdate"] = 9e13
            with pytest.raises(Garbled, match="future"):
                await driver().poll(target(port), FAR)

    async def test_a_report_ages_while_the_list_is_shared(self) -> None:
        listing = Listing({}, began=0.0, read_at=100.0, server_time=5000.0)
        tablet = Tablet("h1", "", 4990.0, {})
        assert tablet.age(listing.server_time + 30, 3600) == 40
        with pytest.raises(Unreachable):
            tablet.age(listing.server_time + 3600, 3600)

    async def test_the_servers_own_clock_judges_its_stamps(self) -> None:
        mdm = server()
        for ahead in (-86400, 86400):
            mdm.ahead_s = ahead
            async with running(mdm) as port:
                assert (await driver().poll(target(port), FAR))["report_age_s"] < 20

    async def test_a_tablet_is_known_by_number_or_by_serial(self) -> None:
        mdm = server(Managed("h1", "R1"), Managed("h2", "R2"), Managed("h3", ""), Managed("x", "D"))
        mdm.tablets.append(Managed("y", "D"))
        async with running(mdm) as port:
            one = driver()
            assert (await one.poll(target(port, "H2"), FAR))["serial"] == "R2"
            assert (await one.poll(target(port, "", serial="r2"), FAR))["name"] == "h2"
            assert "serial" not in await one.poll(target(port, "h3", serial="R3"), FAR)
            with pytest.raises(WrongDevice):
                await one.poll(target(port, "h1", serial="R2"), FAR)
            for number, serial in (("h9", ""), ("", ""), ("", "R9"), ("", "D")):
                with pytest.raises(Misconfigured):
                    await one.poll(target(port, number, serial=serial), FAR)

    async def test_a_kiosk_that_is_not_in_charge_locks_nothing(self) -> None:
        mdm = server(Managed("h1", "R1", mdm=False), Managed("h2", "R2", charging=""))
        async with running(mdm) as port:
            one = driver()
            assert (await one.poll(target(port), FAR))["kiosk_locked"] is False
            assert (await one.poll(target(port, "h2"), FAR))["plugged"] is False

    async def test_a_silent_server_is_named_and_not_the_tablet(self) -> None:
        mdm = server()
        async with running(mdm) as port:
            for mood in (Mood.OFF, Mood.HANG, Mood.SLOW):
                mdm.mood = mood
                with pytest.raises(ServerSilent, match="its management server: "):
                    await driver().poll(target(port), SECOND / 2)
            mdm.mood = Mood.OK
            for status in (502, 503, 504):
                mdm.list_answer = Said({}, status)
                with pytest.raises(ServerSilent, match=f"HTTP status {status}"):
                    await driver().poll(target(port), FAR)

    async def test_a_silent_tablet_is_not_its_server(self) -> None:
        async with running(server(Managed("h1", "R1", silent_s=7200))) as port:
            with pytest.raises(Unreachable) as caught:
                await driver().poll(target(port), FAR)
        assert caught.value.code == "unreachable"

    async def test_of_what_the_server_tells_only_what_is_shown_is_kept(self) -> None:
        item = {"number": "h1", "description": "von Frau Muster", "lastUpdate": 5}
        info = {"phone": "+49 171", "applications": [{"pkg": "x"}] * 1000, "batteryLevel": 50}
        tablet = Tablet.of(item | {"info": info})
        assert tablet is not None
        assert tablet.view == {"batteryLevel": 50}


class TestSharing:
    async def test_one_login_and_one_list_for_all(self) -> None:
        mdm = server(*[Managed(f"h{n}", f"R{n}") for n in range(250)])
        async with running(mdm) as port:
            one = driver()
            polls = [one.poll(target(port, f"h{n}"), 10 * SECOND) for n in range(250)]
            facts = await asyncio.gather(*polls)
            assert [each["name"] for each in facts] == [f"h{n}" for n in range(250)]
            assert (mdm.logins, mdm.searches) == (1, 3)  # 250 tablets are three pages
            await one.poll(target(port, every_s=0), FAR)
            assert (mdm.logins, mdm.searches) == (1, 6)

    async def test_a_new_interval_asks_anew(self) -> None:
        mdm = server()
        async with running(mdm) as port:
            one = driver()
            await one.poll(target(port, every_s=60), FAR)
            mdm.tablets[0].battery = 10
            assert (await one.poll(target(port, every_s=60), FAR))["battery_ratio"] == 0.8
            assert (await one.poll(target(port, every_s=0.0), FAR))["battery_ratio"] == 0.1

    async def test_a_login_that_has_run_out_is_renewed_once(self) -> None:
        mdm = server()
        async with running(mdm) as port:
            one = driver()
            for logins in (1, 2):
                await asyncio.gather(*[one.poll(target(port, every_s=0), FAR) for _ in range(5)])
                assert mdm.logins == logins
                mdm.forget_tokens()

    async def test_a_wrong_password_is_not_tried_for_every_tablet(self) -> None:
        mdm = server(*[Managed(f"h{n}", f"R{n}") for n in range(20)])
        async with running(mdm) as port:
            one = driver()
            for n in range(20):
                with pytest.raises(Denied, match="account"):
                    await one.poll(target(port, f"h{n}", credential="wrong"), FAR)
            assert mdm.connections == 1

    async def test_a_new_password_counts_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        mdm = server()
        async with running(mdm) as port:
            one = driver()
            await one.poll(target(port), FAR)
            changed = {"user": "fleet", "password": "new"}
            monkeypatch.setenv("RAUMWART_SECRET_MDM", json.dumps(changed))
            with pytest.raises(Denied):
                await one.poll(target(port), FAR)
            mdm.password = "new"
            assert await one.poll(target(port, every_s=0), FAR)

    async def test_a_failure_is_shared_by_those_who_wait_for_it(self) -> None:
        mdm = server(*[Managed(f"h{n}", f"R{n}") for n in range(10)])
        mdm.mood = Mood.GARBAGE
        async with running(mdm) as port:
            one = driver()
            polls = [one.poll(target(port, f"h{n}"), FAR) for n in range(10)]
            answers = await asyncio.gather(*polls, return_exceptions=True)
            assert all(isinstance(answer, Garbled) for answer in answers)
            assert mdm.connections == 1
            mdm.mood = Mood.OK
            assert await one.poll(target(port), FAR)

    async def test_whoever_reads_may_be_cancelled_and_the_others_get_theirs(self) -> None:
        mdm = server()
        mdm.mood = Mood.HANG
        async with running(mdm) as port:
            one = driver()
            first = asyncio.create_task(one.poll(target(port), 10 * SECOND))
            await asyncio.sleep(0.1)
            second = asyncio.create_task(one.poll(target(port), 10 * SECOND))
            await asyncio.sleep(0.1)
            mdm.mood = Mood.OK
            first.cancel()
            assert await second

    async def test_two_servers_and_two_accounts_share_nothing(self) -> None:
        one, other = server(), server(Managed("h1", "OTHER"))
        async with running(one) as port, running(other) as second:
            here = driver()
            assert (await here.poll(target(port), FAR))["serial"] == "R52-1"
            assert (await here.poll(target(second), FAR))["serial"] == "OTHER"
            with pytest.raises(Denied):
                await here.poll(target(port, credential="wrong"), FAR)
            assert (await here.poll(target(port), FAR))["serial"] == "R52-1"


class TestAct:
    async def test_the_configuration_is_fetched_anew_and_the_report_proves_it(self) -> None:
        mdm = server(Managed("h1", "R1", kiosk=False))
        asked = order(**RECIPE.steps)
        async with running(mdm) as port:
            one = driver()
            before = await one.look(target(port), asked, FAR)
            assert [wrong.fact for wrong in verify(RECIPE.expects, before, "x.1")] == [
                "kiosk_locked"
            ]
            await one.act(target(port), asked, FAR)
            facts = await one.look(target(port), asked, FAR)
        assert mdm.pushed == [("h1", "configUpdated")]
        assert verify(RECIPE.expects, facts, "x.1") == []

    async def test_a_report_from_before_the_order_proves_nothing(self) -> None:
        mdm = server(Managed("h1", "R1", hears=False))
        mdm.tablets[0].extra["lastUpdate"] = mdm.stamp()
        asked = order(**RECIPE.steps)
        async with running(mdm) as port:
            one = driver()
            await one.act(target(port), asked, FAR)
            with pytest.raises(Unreachable, match="since the order"):
                await one.look(target(port), asked, FAR)
            mdm.tablets[0].extra["lastUpdate"] += 1
            assert await one.look(target(port), asked, FAR)

    async def test_a_restart(self) -> None:
        mdm = server()
        async with running(mdm) as port:
            await driver().act(target(port), order(refresh=True, restart=True), FAR)
        assert [message for _, message in mdm.pushed] == ["configUpdated", "reboot"]

    async def test_no_steps_touch_nothing(self) -> None:
        mdm = server()
        async with running(mdm) as port:
            await driver().act(target(port), order(), FAR)
        assert mdm.connections == 0

    async def test_what_it_cannot_clear_is_refused_and_never_proved(self) -> None:
        usual = BUILT_IN["tablet-reset"]
        with pytest.raises(Misconfigured, match="clear, lock, start_page, webview") as caught:
            await driver().act(target(1), order(**usual.steps), FAR)
        assert caught.value.permanent
        for steps in ({"refresh": "yes"}, {"wipe": True}):
            with pytest.raises(Misconfigured, match="steps"):
                await driver().act(target(1), order(**steps), FAR)

    async def test_what_is_not_heard_of_is_not_touched(self) -> None:
        mdm = server(Managed("h1", "R1", silent_s=7200))
        async with running(mdm) as port:
            with pytest.raises(Unreachable, match="minutes ago"):
                await driver().act(target(port), order(**RECIPE.steps), FAR)
            with pytest.raises(WrongDevice):
                await driver().act(target(port, serial="R2"), order(**RECIPE.steps), FAR)
        assert mdm.pushed == []

    @pytest.mark.parametrize(
        ("said", "error"),
        [
            (Said({}, 404), Misconfigured),
            (Said({}, 403), Denied),
            (Said({"status": "ERROR", "message": "error.permission.denied"}), Denied),
            (Said({"status": "ERROR", "message": "error.internal"}), ResetFailed),
            (Said({"what": 1}), ResetFailed),
            (Said({}, 400), NoEnd),
        ],
    )
    async def test_a_server_that_passes_nothing_on(
        self, said: Said, error: type[DriverError]
    ) -> None:
        mdm = server()
        mdm.push_answer = said
        async with running(mdm) as port:
            with pytest.raises(error):
                await driver().act(target(port), order(**RECIPE.steps), FAR)

    async def test_gone_while_it_was_told(self) -> None:
        mdm = server()
        mdm.dies_at = "private/push"
        async with running(mdm) as port:
            with pytest.raises(NoEnd, match="configUpdated"):
                await driver().act(target(port), order(**RECIPE.steps), FAR)
