"""Thirty laptops of a room, each a machine of its own with real accounts, sudo and sshd, are reset
and proved side by side."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agents.messages import Facts, Order
from tests.laptops import Laptop, driver_for, laptops, target

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(600)]
NUMBER = 30
AMPLE = timedelta(seconds=240)
TRACES = (
    "mkdir -p /mnt/victims; echo system > /mnt/victims/rc; chmod -R a+rX /mnt;"
    "su -s /bin/sh kurs -c '"
    "cd; echo private > letter.odt; rm -f .bashrc; ln -s /mnt/victims/rc .bashrc;"
    "ln -s /mnt/victims Downloads; echo x > /tmp/scan.pdf; touch /dev/shm/note;"
    "ipcmk -M 4096 -p 666 >/dev/null; setsid sleep 500 >/dev/null 2>&1 &'"
)


def an_order(number: int) -> Order:
    now = datetime.now(UTC)
    return Order(
        id=f"room{number}.1", site="s", device=f"d{number}", room="r", max_runtime_s=180,
        steps={"tier": "quick"}, not_before=now - timedelta(minutes=1),
        not_after=now + timedelta(minutes=5), next_start=now + timedelta(minutes=30),
    )  # fmt: skip


async def the_whole_room(folder: Path, room: list[Laptop]) -> tuple[list[Facts], list[Facts]]:
    driver = driver_for(folder)
    targets = [target(laptop, number) for number, laptop in enumerate(room)]
    orders = [an_order(number) for number in range(len(room))]

    async def looks() -> list[Facts]:
        pairs = zip(targets, orders, strict=True)
        return list(await asyncio.gather(*(driver.look(t, o, AMPLE) for t, o in pairs)))

    try:
        before = await looks()
        pairs = zip(targets, orders, strict=True)
        await asyncio.gather(*(driver.act(t, o, AMPLE) for t, o in pairs))
        return before, await looks()
    finally:
        await driver.close()


def test_thirty_laptops_are_reset_and_proved_side_by_side(tmp_path: Path) -> None:
    with laptops(NUMBER) as room:
        for laptop in room:
            laptop.machine.sh(TRACES)
        before, after = asyncio.run(the_whole_room(tmp_path, room))
        for number, (dirty, clean) in enumerate(zip(before, after, strict=True)):
            assert dirty["home_clean"] is False
            assert dirty["residue_places"] == "ipc,shm,tmp"
            assert dirty["processes"] == 1
            assert clean["reset_id"] == f"room{number}.1"
            assert clean["home_clean"] is True
            assert (clean["residue"], clean["processes"]) == (0, 0), clean
            assert clean["used_since"] is False
        assert len({facts["home_hash"] for facts in after}) == 1
        assert len({facts["script_hash"] for facts in after}) == 1
        for laptop in room:
            assert (
                laptop.machine.sh("cat /mnt/victims/rc; ls -A /home/.raumwart-trash") == "system\n"
            )
