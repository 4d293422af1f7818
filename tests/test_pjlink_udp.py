"""Searching projectors by broadcast, and their news: hints only, from known senders only."""

import asyncio
import json
import socket
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.credentials import Credentials
from agents.drivers.pjlink import Pjlink
from agents.messages import Reading, Target
from agents.pjlink import datagrams
from agents.pjlink.notify import Notifications
from agents.pjlink.search import search
from agents.poller import HINTED_S, Poller
from agents.simulator.pjlink import Projector
from agents.simulator.pjlink_udp import Announcer
from tests.projectors import running
from tests.test_poller import Bench, on_bench
from tests.test_poller import target as counted
from tests.twonets import end, line, two_networks
from tests.virtual_clock import VirtualClock, settle, until

MAC = "00:1a:2b:3c:4d:5e"


class TestDatagrams:
    def test_an_answer_to_a_search(self) -> None:
        assert datagrams.found_mac("%2ACKN=00:1A:2B:3C:4D:5E") == MAC
        assert datagrams.found_mac("%2ackn=00-1a-2b-3c-4d-5e") == MAC

    @pytest.mark.parametrize(
        "text", ["%2ACKN=", "%1ACKN=" + MAC, "%2ACKN=" + MAC + ":00", "%2SRCH", "%2ACKN=zz:" * 6]
    )
    def test_what_is_none(self, text: str) -> None:
        assert datagrams.found_mac(text) == ""

    @pytest.mark.parametrize(
        "text",
        ["%2LKUP=" + MAC, "%2POWR=0", "%2POWR=3", "%2INPT=3A", "%2ERST=000100", "%2powr=1"],
    )
    def test_news(self, text: str) -> None:
        assert datagrams.is_news(text)

    @pytest.mark.parametrize(
        "text",
        ["%2POWR=4", "%2LKUP=me", "%2ERST=00", "%2NAME=x", "%1POWR=1", "%2POWR=ERR3", "%2POWR=",
         "PJLINK 0", "%2INPT=" + "3" * 500],
    )  # fmt: skip
    def test_no_news(self, text: str) -> None:
        assert not datagrams.is_news(text)

    def test_several_lines_and_padding_share_a_datagram(self) -> None:
        data = b"%2POWR=1\r\0\0%2INPT=31\r\n%2ERST=000000\r"
        assert datagrams.lines(data) == ["%2POWR=1", "%2INPT=31", "%2ERST=000000"]

    def test_what_is_too_long_is_not_read(self) -> None:
        assert datagrams.lines(b"%2POWR=1\r" * 200) == []
        assert len(datagrams.lines(b"%2POWR=1\r" * 100)) == datagrams.MOST_LINES

    @given(st.binary(max_size=1500))
    def test_whatever_comes(self, data: bytes) -> None:
        for text in datagrams.lines(data):
            datagrams.is_news(text)
            datagrams.found_mac(text)


@pytest.mark.anyio
class TestSearch:
    async def test_answers_to_the_port_that_asked(self) -> None:
        one, silent, stranger = (Announcer(MAC) for _ in range(3))
        silent.mute = True
        port = await one.start("127.0.0.2")
        for other, host in ((silent, "127.0.0.3"), (stranger, "127.0.0.4")):
            await other.start(host, port)
        try:
            asked = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
            found = await search(asked, lambda who: who != "127.0.0.4", seconds=0.3, port=port)
        finally:
            for each in (one, silent, stranger):
                each.stop()
        assert found == {"127.0.0.2": MAC}
        assert [each.asked for each in (one, silent, stranger)] == [1, 1, 1]

    async def test_a_network_that_is_not_there_is_no_failure(self) -> None:
        assert await search(["192.0.2.255"], lambda _: True, seconds=0.05) == {}


PROJECTORS = """
import asyncio, socket, sys
from agents.simulator.pjlink_udp import Announcer
async def main():
    one = Announcer("02:00:00:00:00:01", to_port=int(sys.argv[1]) or None)
    await one.start("", 4352)
    print("ready", flush=True)
    while True:
        await asyncio.to_thread(sys.stdin.readline)
        one.tell("%2POWR=1", "10.77.0.1", 4352)
        print(one.asked, flush=True)
asyncio.run(main())
"""
SEARCHER = """
import asyncio, json
from agents.pjlink.search import search
ours = lambda address: address.startswith("10.77.0.")
print(json.dumps(asyncio.run(search(["10.77.0.255"], ours, seconds=1))))
"""


@pytest.mark.parametrize("to_port", ["0", "4352"], ids=["to the asking port", "to 4352"])
def test_a_broadcast_finds_projectors_whichever_way_they_answer(to_port: str) -> None:
    with two_networks("10.77.0.1/24", ["10.77.0.20/24"]) as (here, there):
        projectors = there.start(PROJECTORS, to_port)
        try:
            assert line(projectors.stdout) == "ready"
            searcher = here.start(SEARCHER)
            said, _ = searcher.communicate(timeout=30)
            assert json.loads(said) == {"10.77.0.20": "02:00:00:00:00:01"}
        finally:
            end(projectors)


def projector(device: str, address: str = "127.0.0.1", **options: object) -> Target:
    return Target(
        device=device, room="r", kind="projector", driver="pjlink", address=address, options=options
    )


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@pytest.mark.anyio
class TestNotifications:
    async def hear(self, targets: list[Target], *news: tuple[str, str]) -> list[tuple[str, str]]:
        """The hints that come of these (sender, text) datagrams."""
        hints: list[tuple[str, str]] = []
        port = free_port()
        heard = Notifications(lambda *hint: hints.append(hint), VirtualClock().clock, port=port)
        heard.follow("north", targets)
        running = asyncio.create_task(heard.run())
        try:
            await until(lambda: heard.listening)
            for sender, text in news:
                one = Announcer(MAC)
                await one.start(sender)
                one.tell(text, "127.0.0.1", port)
                one.stop()
            await asyncio.sleep(0.1)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return hints

    async def test_news_of_a_known_projector_are_a_hint(self) -> None:
        known = projector("b1", "127.0.0.5", notify=True)
        hints = await self.hear([known], ("127.0.0.5", "%2POWR=1"))
        assert hints == [("north", "b1")]

    async def test_a_stranger_is_not_heard_whatever_it_claims(self) -> None:
        known = projector("b1", "127.0.0.5", notify=True)
        assert await self.hear([known], ("127.0.0.6", "%2LKUP=" + MAC)) == []

    async def test_nonsense_is_not_heard(self) -> None:
        known = projector("b1", "127.0.0.5", notify=True)
        assert await self.hear([known], ("127.0.0.5", "%2POWR=on"), ("127.0.0.5", "hello")) == []

    async def test_a_projector_is_known_by_its_name_too(self) -> None:
        known = projector("b1", "localhost", notify=True)
        assert await self.hear([known], ("127.0.0.1", "%2POWR=0")) == [("north", "b1")]

    async def test_nobody_listens_when_no_projector_shall_tell(self) -> None:
        port = free_port()
        heard = Notifications(lambda *_: None, VirtualClock().clock, port=port)
        heard.follow("north", [projector("b1")])
        running = asyncio.create_task(heard.run())
        await settle()
        assert not heard.listening
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("", port))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def test_a_taken_port_is_said_once_and_tried_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        port, time = free_port(), VirtualClock()
        hints: list[str] = []
        heard = Notifications(lambda _, device: hints.append(device), time.clock, port=port)
        heard.follow("north", [projector("b1", "127.0.0.5", notify=True)])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("", port))
            running = asyncio.create_task(heard.run())
            await until(lambda: bool(caplog.records))
            for _ in range(3):
                await time.advance(61)
                await asyncio.sleep(0.05)
        assert len([r for r in caplog.records if "not heard" in r.message]) == 1
        one = Announcer(MAC)
        await one.start("127.0.0.5")
        try:
            async with asyncio.timeout(10):
                while not hints:
                    await time.advance(61)
                    one.tell("%2POWR=1", "127.0.0.1", port)
                    await asyncio.sleep(0.02)
        finally:
            one.stop()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def test_two_agents_of_one_process_share_the_port(self) -> None:
        port, hints = free_port(), defaultdict(int)
        tasks = []
        for site in ("north", "south"):
            heard = Notifications(
                lambda site, _: hints.__setitem__(site, 1), VirtualClock().clock, port=port
            )
            heard.follow(site, [projector("b1", "127.0.0.5", notify=True)])
            tasks.append(asyncio.create_task(heard.run()))
            await until(lambda heard=heard: heard.listening)
        one = Announcer(MAC)
        await one.start("127.0.0.5")
        one.tell("%2POWR=1", "127.0.0.1", port)
        await until(lambda: len(hints) == 2)
        one.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test_switched_off_by_hand_it_is_seen_at_once(self, tmp_path: Path) -> None:
        """Over real sockets: poller, driver and news together."""
        readings: list[Reading] = []
        time, port = VirtualClock(), free_port()
        poller = Poller(
            {"pjlink": Pjlink(Credentials(None), tmp_path)},
            lambda _, reading: readings.append(reading),
            defaultdict(asyncio.Lock),
            time.clock,
            timeout=timedelta(seconds=5),
        )
        heard = Notifications(poller.hint, time.clock, port=port)
        device, udp = Projector(transition_s=3600), Announcer(MAC)
        await udp.start("127.0.0.1")
        async with running(device) as tcp:
            known = projector("b1", notify=True).model_copy(update={"port": tcp, "every_s": 3600})
            poller.follow("north", [known])
            heard.follow("north", [known])
            tasks = [asyncio.create_task(poller.run()), asyncio.create_task(heard.run())]
            await time.advance(2)
            await until(lambda: len(readings) == 1 and heard.listening)
            device.press_power()
            udp.tell("%2POWR=3", "127.0.0.1", port)
            await asyncio.sleep(0.05)
            await time.advance(HINTED_S + 1)
            await until(lambda: len(readings) == 2)
            assert [r.facts["power"] for r in readings] == ["standby", "warming"]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        udp.stop()


@on_bench()
async def test_a_flood_of_hints_is_a_look_every_few_seconds(bench: Bench) -> None:
    bench.poller.follow("north", [counted("d1"), counted("d2")])
    await bench.time.advance(70)
    begun, others = len(bench.driver.times("d1")), len(bench.driver.times("d2"))
    for _ in range(1000):
        bench.poller.hint("north", "d1")
        bench.poller.hint("north", "unknown")
        await bench.time.advance(0.03)
    assert 30 / HINTED_S - 1 <= len(bench.driver.times("d1")) - begun <= 30 / HINTED_S + 2
    assert len(bench.driver.times("d2")) - others <= 1
    assert bench.driver.most == 1


@on_bench()
async def test_a_hint_during_a_look_is_not_lost_and_polls_go_on(bench: Bench) -> None:
    bench.poller.follow("north", [counted("d1")])
    await bench.time.advance(125)
    bench.driver.takes = 2
    await bench.time.advance(20)
    before = bench.driver.times("d1")
    bench.poller.hint("north", "d1")
    await bench.time.advance(1)
    bench.poller.hint("north", "d1")
    await bench.time.advance(10)
    hinted = bench.driver.times("d1")[len(before) :]
    assert len(hinted) == 2
    bench.driver.takes = 0
    before = bench.driver.times("d1")
    await bench.time.advance(600)
    assert len(bench.driver.times("d1")) - len(before) in (9, 10)
