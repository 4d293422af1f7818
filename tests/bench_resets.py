"""What resets cost: laptops of their own with a real sshd, beside the same through Ansible.

`RAUMWART_BENCH_RESETS` changes how many.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agents.messages import Order
from tests.laptops import Laptop, driver_for, laptops, prepared, target

RESETS = int(os.environ.get("RAUMWART_BENCH_RESETS", "1000"))
LAPTOPS = 10
BY_ANSIBLE = 10
"""Rounds over all laptops: Ansible is slow, its costs per reset are told soon."""
AMPLE = timedelta(seconds=300)
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Reset
      ansible.builtin.command:
        argv: [/usr/bin/sudo, -n, /usr/local/lib/raumwart/dispatch]
        stdin: "start\\n{{ lookup('env', 'JOB') | replace('NAME', inventory_hostname) }}"
"""


def bench() -> list[tuple[str, float, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with laptops(LAPTOPS, open_door=True) as room:
            ours = asyncio.run(_by_agent(folder, room))
            theirs = _by_ansible(folder, room)
    each, other = RESETS, BY_ANSIBLE * LAPTOPS
    return [
        (f"{each} resets, {LAPTOPS} laptops side by side", ours[0], "s"),
        ("reset and proof through the agent", ours[0] / each * 1000, "ms each"),
        ("the agent's own share", ours[1] / each * 1000, "ms CPU each"),
        (f"{other} resets through ansible-playbook, {LAPTOPS} forks", theirs[0], "s"),
        ("the same reset through ansible-playbook, no proof", theirs[0] / other * 1000, "ms each"),
        ("ansible-playbook's own share", theirs[1] / other * 1000, "ms CPU each"),
    ]


async def _by_agent(folder: Path, room: list[Laptop]) -> tuple[float, float]:
    """(wall, own CPU) seconds. The laptops' share is the same on both sides and not counted."""
    driver = driver_for(folder)

    async def one(number: int) -> None:
        for turn in range(RESETS // len(room)):
            order = _order(f"ours{number}.{turn + 1}")
            await driver.act(target(room[number], number), order, AMPLE)
            facts = await driver.look(target(room[number], number), order, AMPLE)
            assert facts["reset_id"] == order.id, facts
            assert (facts["home_clean"], facts["residue"]) == (True, 0), facts

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(number) for number in range(len(room))))
    took = time.perf_counter() - wall, time.process_time() - cpu
    await driver.close()
    return took


def _order(reset_id: str) -> Order:
    now = datetime.now(UTC)
    return Order(
        id=reset_id, site="s", device="d", room="r", steps={"tier": "quick"},
        not_before=now - timedelta(minutes=1), not_after=now + timedelta(minutes=5),
    )  # fmt: skip


def _by_ansible(folder: Path, room: list[Laptop]) -> tuple[float, float]:
    inventory = "".join(
        f"l{number} ansible_host=127.0.0.1 ansible_port={laptop.open_port} ansible_user=root"
        f" ansible_ssh_private_key_file={prepared() / 'key'}"
        " ansible_python_interpreter=/usr/bin/python3\n"
        for number, laptop in enumerate(room)
    )
    (folder / "hosts").write_text(inventory)
    (folder / "reset.yml").write_text(PLAYBOOK)
    wall, cpu = time.perf_counter(), _children_s()
    for turn in range(BY_ANSIBLE):
        now = datetime.now(UTC)
        job = {
            "v": 1, "reset_id": f"NAMEx.{turn + 1}", "sent_at": now.isoformat(),
            "not_before": (now - timedelta(minutes=1)).isoformat(),
            "not_after": (now + timedelta(minutes=5)).isoformat(),
            "next_start": None, "max_runtime_s": 120,
        }  # fmt: skip
        done = subprocess.run(
            [
                sys.executable, "-m", "ansible", "playbook", "-i", folder / "hosts",
                "-f", str(len(room)), folder / "reset.yml",
            ],
            env={
                **os.environ, "JOB": json.dumps(job), "ANSIBLE_HOST_KEY_CHECKING": "False",
                "ANSIBLE_PIPELINING": "1", "ANSIBLE_SSH_ARGS": "-o UserKnownHostsFile=/dev/null",
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]
    return time.perf_counter() - wall, _children_s() - cpu


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
