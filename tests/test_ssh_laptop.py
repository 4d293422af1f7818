"""The whole way over a real socket: a simulated laptop that really runs the laptop's reset."""

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.credentials import Credentials
from agents.driver import DriverError, NoEnd, Refused, WrongDevice
from agents.drivers.ssh import Ssh
from agents.facts import check_facts
from agents.messages import Facts, Order, Target
from agents.simulator import Mood
from agents.simulator.ssh import Laptop
from tests.sshd import new_key

pytestmark = pytest.mark.anyio
AMPLE = timedelta(seconds=20)
SECRET = "a laptop's password"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Room:
    """One laptop and the driver that looks after it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(
            "RAUMWART_SECRET_LAPTOP", json.dumps({"user": "raumwart", "password": SECRET})
        )
        self.laptop = Laptop(folder / "laptop", seed=1, serial="PF-0001", password=SECRET)
        self.driver = Ssh(Credentials(None), folder / "state")
        self.target = Target(
            device="d", room="r", kind="laptop", driver="ssh", address="127.0.0.1",
            credential="laptop", serial="PF-0001",
        )  # fmt: skip

    async def open(self) -> None:
        self.target = self.target.model_copy(update={"port": await self.laptop.start()})

    async def poll(self) -> Facts:
        return await self.driver.poll(self.target, AMPLE)

    async def act(self, order: Order) -> None:
        await self.driver.act(self.target, order, AMPLE)

    async def look(self, order: Order) -> Facts:
        return await self.driver.look(self.target, order, AMPLE)


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    room = Room(tmp_path, monkeypatch)
    await room.open()
    yield room
    await room.driver.close()
    await room.laptop.stop()


def an_order(number: int = 1, **changes: Any) -> Order:
    now = datetime.now(UTC)
    values = {
        "id": f"01JRUN.{number}", "site": "s", "device": "d", "room": "r",
        "steps": {"tier": "quick"},
        "not_before": now - timedelta(minutes=1), "not_after": now + timedelta(minutes=5),
        "next_start": now + timedelta(minutes=30),
    }  # fmt: skip
    return Order(**(values | changes))


async def test_from_a_guests_traces_to_the_proof(room: Room) -> None:
    room.laptop.plant_traces()
    order = an_order()
    before = await room.look(order)
    assert before["home_clean"] is False
    assert before["residue"] == 1
    assert before["residue_places"] == "tmp"
    assert "reset_id" not in before

    await room.act(order)
    after = await room.look(order)
    assert check_facts(after) == []
    assert after["reset_id"] == order.id
    assert after["home_clean"] is True
    assert after["residue"] == 0
    assert after["used_since"] is False
    assert after["sessions"] == 0
    assert len(after["home_hash"]) == 64
    steps = [told.partition(":")[0] for told in after["step_times"]]
    assert steps == ["prepare", "lock", "sessions", "unmount", "prints", "network", "home",
                     "residue", "settings", "alarm", "unlock", "trash"]  # fmt: skip
    assert room.laptop.victim.read_text() == "not a guest's\n"
    assert not (room.laptop.home / "Downloads").exists()

    health = await room.poll()
    assert health["reset_id"] == order.id
    assert health["used_since"] is False
    room.laptop.plant_traces()
    assert (await room.poll())["used_since"] is True
    used = await room.look(order)
    assert used["used_since"] is True
    assert used["home_clean"] is False


async def test_the_same_order_is_done_once(room: Room) -> None:
    await room.act(an_order())
    room.laptop.plant_traces()
    await room.act(an_order())
    assert (room.laptop.home / "Downloads").exists(), "the second time nothing was done"
    await room.act(an_order(2))
    assert not (room.laptop.home / "Downloads").exists()


async def test_a_dirty_laptop_says_ok_and_does_not_pass_the_look(room: Room) -> None:
    room.laptop.dirty = True
    await room.act(an_order())
    facts = await room.look(an_order())
    assert facts["reset_id"] == an_order().id
    assert facts["residue"] == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"not_after": datetime(2020, 1, 1, tzinfo=UTC)}, "expired"),
        ({"not_before": datetime(2120, 1, 1, tzinfo=UTC)}, "too_early"),
        ({"next_start": datetime.now(UTC) + timedelta(seconds=100)}, "too_late"),
        ({"steps": {"tier": "gold"}}, "unsupported_tier"),
        ({"steps": {"profile": "unknown"}}, "unknown_profile"),
        ({"steps": {"profile": "../../etc"}}, "bad_job"),
        ({"max_runtime_s": 0}, "bad_job"),
    ],
)
async def test_the_laptop_itself_refuses(room: Room, changes: dict[str, Any], reason: str) -> None:
    room.laptop.plant_traces()
    with pytest.raises(Refused) as caught:
        await room.act(an_order(**changes))
    assert caught.value.reason == reason
    assert (room.laptop.home / "Downloads").exists()


async def test_a_laptop_in_use_refuses_unless_told_to_end_the_session(room: Room) -> None:
    room.laptop.refuse = True
    assert (await room.poll())["sessions"] == 1
    with pytest.raises(Refused) as caught:
        await room.act(an_order())
    assert caught.value.reason == "in_use"
    await room.act(an_order(steps={"on_active_session": "end"}))
    counted = {"tier": "quick", "on_active_session": "countdown", "countdown_s": 1}
    await room.act(an_order(2, steps=counted))


async def test_an_end_cut_in_half_is_no_end(room: Room) -> None:
    room.laptop.mood = Mood.HALF
    with pytest.raises(NoEnd):
        await room.act(an_order())


async def test_another_laptop_at_this_address_is_not_reset(room: Room) -> None:
    room.laptop.plant_traces()
    room.laptop.mood = Mood.WRONG_DEVICE
    with pytest.raises(WrongDevice):
        await room.poll()
    with pytest.raises(WrongDevice):
        await room.look(an_order())
    with pytest.raises(Refused) as caught:
        await room.act(an_order())
    assert caught.value.reason == "wrong_device"
    assert (room.laptop.home / "Downloads").exists()


async def test_a_restarted_laptop_is_still_the_same(room: Room, tmp_path: Path) -> None:
    await room.poll()
    await room.laptop.stop()
    room.laptop = Laptop(tmp_path / "laptop", seed=1, serial="PF-0001", password=SECRET)
    assert room.target.port is not None
    await room.laptop.start(room.target.port)
    assert await room.poll()


async def test_a_key_opens_too(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = new_key(tmp_path / "key")
    laptop = Laptop(tmp_path / "other", seed=2, serial="PF-2", key=public)
    secret = {"user": "raumwart", "key": (tmp_path / "key").read_text()}
    monkeypatch.setenv("RAUMWART_SECRET_LAPTOP", json.dumps(secret))
    target = room.target.model_copy(update={"port": await laptop.start(), "serial": ""})
    assert (await room.driver.poll(target, AMPLE))["serial"] == "PF-2"
    await laptop.stop()


async def test_idle_laptops_cost_no_thread(tmp_path: Path, room: Room) -> None:
    await room.poll()
    before = threading.active_count()
    more = [Laptop(tmp_path / f"l{n}", seed=n, serial=f"S{n}", password=SECRET) for n in range(50)]
    ports = [await laptop.start() for laptop in more]
    assert threading.active_count() <= before
    targets = [room.target.model_copy(update={"port": port, "serial": ""}) for port in ports]
    answers = await asyncio.gather(*(room.driver.poll(target, AMPLE) for target in targets))
    assert [answer["serial"] for answer in answers] == [f"S{n}" for n in range(50)]
    for laptop in more:
        await laptop.stop()


async def test_batteries_drain_and_charge(room: Room) -> None:
    folder = room.laptop._folder
    folder._plugged, folder._battery = False, 0.9
    folder._looked -= 3600
    assert (await room.poll())["battery_ratio"] == pytest.approx(0.65, abs=0.01)
    folder._looked -= 3600
    facts = await room.poll()
    assert facts["battery_ratio"] < 0.45
    assert facts["plugged"] is True, "somebody puts it back into the cart"
    folder._looked -= 1800
    assert (await room.poll())["battery_ratio"] == pytest.approx(0.65, abs=0.02)


async def test_two_orders_at_once_one_of_them_waits_its_turn(room: Room) -> None:
    both = [room.act(an_order(number)) for number in (1, 2)]
    results = await asyncio.gather(*both, return_exceptions=True)
    errors = [one for one in results if isinstance(one, DriverError)]
    assert len(errors) <= 1
    assert all(isinstance(one, Refused) and one.reason == "busy" for one in errors)
    facts = await room.look(an_order())
    assert facts["home_clean"] is True
