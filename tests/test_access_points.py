"""Access points: power taken away and always given back, never under a course; real net-snmp."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.checks import next_start, refusal
from agents.credentials import Credentials
from agents.driver import Denied, DriverError, Misconfigured, Refused, ResetFailed
from agents.drivers.snmp import Snmp
from agents.messages import Order, Target
from agents.snmp.acting import Acting
from agents.snmp.profile import Action, load
from fleet.wiring import wired
from tests.poe_switch import Line, switch
from tests.snmp_targets import secret
from tests.virtual_clock import until
from tests.worker_bench import NOW, a_roster, an_order, busy, minutes

pytestmark = pytest.mark.anyio
CYCLE = {"do": "power_cycle"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    secret(monkeypatch, "write", community="lesen", write_community="schreiben")
    secret(monkeypatch, "read", community="lesen", write_community="lesen")
    secret(
        monkeypatch,
        "v3",
        user="tech",
        auth_protocol="SHA256",
        auth_password="authentisch",
        priv_protocol="AES128",
        priv_password="verschluesselt",
    )


@pytest.fixture
def poe(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    with switch(tmp_path) as found:
        yield found


def access_point(port: int, credential: str = "write", **options: Any) -> Target:
    above = Target(
        device="switch",
        room="r1",
        kind="switch",
        driver="snmp",
        address="127.0.0.1",
        port=port,
        credential=credential,
        options=options,
    )
    return above.model_copy(
        update={"device": "ap", "kind": "access_point", "uplink": above, "serves": ["r1", "r2"]}
    )


def order(**steps: Any) -> Order:
    at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    return Order(
        id="x.1", site="s", device="ap", room="r1", steps=steps, not_before=at, not_after=at
    )


def acting(folder: Path, pause_s: float = 0.1) -> Acting:
    return Acting(Credentials(None), folder / "off", pause_s=pause_s)


def had(history: Path) -> list[str]:
    return history.read_text().split()


@pytest.mark.parametrize(
    ("credential", "options"), [("write", {"version": "2c"}), ("v3", {"version": "3"})]
)
async def test_its_power_goes_and_comes_back(
    poe: tuple[int, Path], tmp_path: Path, credential: str, options: dict[str, str]
) -> None:
    one = acting(tmp_path)
    target = access_point(poe[0], credential, **options)
    await one.act(target, order(**CYCLE), {}, poe_port="1.5")
    one.close()
    assert had(poe[1]) == ["1", "2", "1"]
    assert not list((tmp_path / "off").glob("*"))


async def test_the_driver_looks_acts_and_looks_again(
    poe: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.snmp.acting.POE_PAUSE_S", 0.1)
    one = Snmp(Credentials(None), tmp_path)
    target = access_point(poe[0], poe_port="1.5")
    try:
        await one.act(target, order(**CYCLE), timedelta(seconds=20))
        facts = await one.look(target, order(**CYCLE), timedelta(seconds=10))
        with pytest.raises(Misconfigured, match="restart"):
            await one.act(target, order(do="restart"), timedelta(seconds=20))
        stranger = target.model_copy(update={"serial": "another"})
        await one.act(stranger, order(), timedelta(seconds=5))
    finally:
        await one.close()
    assert facts["uptime_s"] >= 0
    assert had(poe[1]) == ["1", "2", "1"]


async def test_lost_answers_are_made_up_for_by_reading_back(
    poe: tuple[int, Path], tmp_path: Path
) -> None:
    line = Line(poe[0])
    port = await line.start()
    one = acting(tmp_path, 1)
    act = asyncio.create_task(one.act(access_point(port), order(**CYCLE), {}, poe_port="1.5"))
    await until(lambda: "2" in had(poe[1]))
    line.lost = 2
    await act
    one.close()
    line.stop()
    assert set(had(poe[1])[1:]) == {"1", "2"}
    assert had(poe[1])[-1] == "1"


async def test_a_switch_that_falls_silent_gets_its_port_back_later(
    poe: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.snmp.acting.TALK_S", 1.5)
    monkeypatch.setattr("agents.snmp.acting.TIDY_S", 0.1)
    line = Line(poe[0])
    port = await line.start()
    one = acting(tmp_path, 0.3)
    act = asyncio.create_task(one.act(access_point(port), order(**CYCLE), {}, poe_port="1.5"))
    await until(lambda: had(poe[1])[-1] == "2")
    line.cut = True
    with pytest.raises(DriverError):
        await act
    assert had(poe[1])[-1] == "2"
    tidying = asyncio.create_task(one.tidy())
    line.cut = False
    await until(lambda: had(poe[1])[-1] == "1")
    await until(lambda: not list((tmp_path / "off").glob("*")))
    tidying.cancel()
    one.close()
    line.stop()


async def test_cancelled_in_the_dark_it_is_switched_on_all_the_same(
    poe: tuple[int, Path], tmp_path: Path
) -> None:
    one = acting(tmp_path, 60)
    act = asyncio.create_task(one.act(access_point(poe[0]), order(**CYCLE), {}, poe_port="1.5"))
    await until(lambda: had(poe[1])[-1] == "2")
    act.cancel()
    with suppress(asyncio.CancelledError):
        await act
    one.close()
    assert had(poe[1])[-1] == "1"


_KILLED = """
import asyncio, sys
from pathlib import Path
from agents.messages import Target
from tests.test_access_points import CYCLE, acting, order
target = Target.model_validate_json(sys.argv[2])
asyncio.run(acting(Path(sys.argv[1]), 60).act(target, order(**CYCLE), {}, poe_port="1.5"))
"""


async def test_after_a_kill_the_next_agent_switches_it_on(
    poe: tuple[int, Path], tmp_path: Path
) -> None:
    target = access_point(poe[0])
    agent = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", _KILLED, str(tmp_path), target.model_dump_json()]
    )
    await until(lambda: had(poe[1])[-1] == "2", 30)
    agent.send_signal(signal.SIGKILL)
    agent.wait(10)
    assert "schreiben" not in (tmp_path / "off" / "ap.json").read_text()
    one = acting(tmp_path)
    tidying = asyncio.create_task(one.tidy())
    await until(lambda: had(poe[1])[-1] == "1")
    await until(lambda: not list((tmp_path / "off").glob("*")))
    tidying.cancel()
    one.close()


async def test_who_may_only_read_switches_nothing(poe: tuple[int, Path], tmp_path: Path) -> None:
    one = acting(tmp_path)
    with pytest.raises(Denied, match="write"):
        await one.act(access_point(poe[0], "read"), order(**CYCLE), {}, poe_port="1.5")
    one.close()
    assert had(poe[1]) == ["1"]
    assert not list((tmp_path / "off").glob("*"))


async def test_what_cannot_be_remembered_is_not_switched_off(
    poe: tuple[int, Path], tmp_path: Path
) -> None:
    (tmp_path / "off").write_text("a file is in the way")
    one = acting(tmp_path)
    with pytest.raises(Refused) as refused:
        await one.act(access_point(poe[0]), order(**CYCLE), {}, poe_port="1.5")
    one.close()
    assert refused.value.reason == "no_journal"
    assert not refused.value.permanent, "once the disk has room, it can be done"
    assert had(poe[1]) == ["1"]


async def test_a_port_that_somebody_switched_off_stays_off(
    poe: tuple[int, Path], tmp_path: Path
) -> None:
    poe[1].write_text("2\n")
    one = acting(tmp_path)
    with pytest.raises(ResetFailed, match="off already"):
        await one.act(access_point(poe[0]), order(**CYCLE), {}, poe_port="1.5")
    one.close()
    assert had(poe[1]) == ["2"]


async def test_what_cannot_be_done_is_said(poe: tuple[int, Path], tmp_path: Path) -> None:
    one = acting(tmp_path)
    target = access_point(poe[0])
    for steps, port in ((CYCLE, ""), (CYCLE, "x"), ({"do": "restart"}, ""), ({"do": "x"}, "")):
        with pytest.raises(Misconfigured):
            await one.act(target, order(**steps), {}, poe_port=port)
    alone = target.model_copy(update={"uplink": None})
    with pytest.raises(Misconfigured, match="uplink"):
        await one.act(alone, order(**CYCLE), {}, poe_port="1.5")
    one.close()
    assert had(poe[1]) == ["1"]


async def test_a_restart_is_sent_once_though_nobody_answers(
    poe: tuple[int, Path], tmp_path: Path
) -> None:
    line = Line(poe[0])
    port = await line.start()
    line.lost = 9
    one = acting(tmp_path)
    restart = Action(oid="1.3.6.1.2.1.105.1.1.1.3.1.5", value=7)
    await one.act(access_point(port), order(do="restart"), {"restart": restart}, poe_port="")
    one.close()
    line.stop()
    assert had(poe[1]) == ["1", "7"]


async def test_a_lost_answer_while_they_meet_loses_no_restart(
    poe: tuple[int, Path], tmp_path: Path
) -> None:
    line = Line(poe[0])
    port = await line.start()
    line.lost = 1
    one = acting(tmp_path)
    restart = Action(oid="1.3.6.1.2.1.105.1.1.1.3.1.5", value=7)
    target = access_point(port, "v3", version="3")
    await one.act(target, order(do="restart"), {"restart": restart}, poe_port="")
    one.close()
    line.stop()
    assert had(poe[1]) == ["1", "7"]


def test_no_restart_while_any_room_behind_it_has_a_course() -> None:
    roster = a_roster(
        busy=[busy(-5, 60, "r2")], trusted_until={"r1": minutes(99), "r2": minutes(99)}
    )
    point = roster.targets[0].model_copy(update={"serves": ["r1", "r2"]})
    roster = roster.model_copy(update={"targets": [point]})
    assert refusal(an_order(steps=CYCLE), roster, NOW) == "course_running"
    assert refusal(an_order(), roster, NOW) == ""  # to look disturbs nobody
    soon = roster.model_copy(update={"busy": [busy(1, 60, "r2")]})
    assert refusal(an_order(steps=CYCLE), soon, NOW) == "course_running"
    assert next_start(an_order(steps=CYCLE), soon, NOW) == minutes(1)
    assert next_start(an_order(), soon, NOW) is None
    doubt = roster.model_copy(update={"busy": [], "trusted_until": {"r1": minutes(99)}})
    assert refusal(an_order(steps=CYCLE), doubt, NOW) == "calendar_in_doubt"


def test_who_hangs_on_it() -> None:
    def one(device: str, kind: str, room: str) -> Target:
        return Target(device=device, room=room, kind=kind, driver="snmp", address="192.0.2.1")

    targets = [
        one("ap", "access_point", "hall"),
        one("ap-2", "access_point", "hall"),
        one("sw", "switch", "cellar"),
        one("l1", "laptop", "r1"),
        one("l2", "laptop", "r2"),
    ]
    uplinks = {"ap": "sw", "l1": "ap", "l2": "ap", "sw": None, "ap-2": "gone"}
    first, second, *others = wired(targets, uplinks, ["cellar", "hall", "r1", "r2", "r3"])
    assert first.uplink == targets[2]
    assert first.serves == ["hall", "r1", "r2"]
    assert second.uplink is None
    assert second.serves == ["cellar", "hall", "r1", "r2", "r3"]
    assert others == targets[2:]
    round_trip = Target.model_validate_json(json.dumps(first.model_dump(mode="json")))
    assert round_trip == first
    circle = wired(targets, {"ap": "ap-2", "ap-2": "ap"}, ["hall"])
    assert circle[0].serves == ["hall"]


def test_actions_are_inherited(tmp_path: Path) -> None:
    (tmp_path / "generic.toml").write_text('[actions.restart]\noid = "1.3.6.1"\nvalue = 1\n')
    (tmp_path / "own.toml").write_text(
        'inherits = ["generic"]\n[actions.kick]\ncolumn = "1.3.6.1.2.1.2.2.1.7"\n'
        'where = [{ column = "1.3.6.1.2.1.2.2.1.3", one_of = ["71"] }]\nvalue = 2\nundo = 1\n'
    )
    actions = load(tmp_path)["own"].actions
    assert set(actions) == {"kick", "restart"}
    assert actions["restart"].sent() == 1


def test_an_action_that_makes_no_sense_is_refused() -> None:
    for wrong in (
        {"value": 1},
        {"oid": "1.3", "column": "1.3", "value": 1},
        {"column": "1.3.6", "value": 2},
        {"oid": "1.3.6", "value": "x", "undo": 1},
        {"column": "1.3.6", "value": 2, "undo": 1, "where": [{"column": "1.3", "matches": "x"}]},
    ):
        with pytest.raises(ValueError, match="Action"):
            Action.model_validate(wrong)
