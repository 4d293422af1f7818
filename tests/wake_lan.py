"""A small network of two namespaces: an agent's worker, and a laptop that sleeps behind a cable.

`unshare -n python -m tests.wake_lan SCENARIO` prints what became of one order as JSON. Asleep, the
laptop has no address and answers nothing, not even ARP; its network card waits for the packet.
"""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agents.clock import Clock
from agents.credentials import Credentials
from agents.journal import Journal
from agents.messages import Order, Outcome, Roster, Target
from agents.wake import Waker
from agents.worker import Worker
from tests.line_device import LineDevice, LineDriver

HERE, THERE, MAC, OTHER = "192.0.2.1", "192.0.2.7", "02:00:00:aa:bb:07", "02-00-00-AA-BB-08"
PORT = 4000
LAPSE = 10
"""Time in the agent runs so much faster."""
EVERYTHING = 3
"""ETH_P_ALL: the card sees every frame."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


async def laptop(wakes: bool) -> None:
    """Waits for its packet, starts up for a second, and then serves."""
    sys.stdin.readline()
    ip("link", "set", "lan1", "up")
    card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
    card.bind(("lan1", EVERYTHING))
    card.setblocking(False)
    print("asleep", flush=True)
    wanted = b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) * 16
    while wanted not in await asyncio.get_running_loop().sock_recv(card, 4096) or not wakes:
        pass
    await asyncio.sleep(1)
    ip("address", "add", f"{THERE}/24", "dev", "lan1")
    device = LineDevice()
    server = await asyncio.start_server(device._serve, THERE, PORT)
    async with server:
        await server.serve_forever()


def plug_in(sleeper: subprocess.Popen[str]) -> None:
    """A cable between the two namespaces."""
    assert sleeper.stdin
    assert sleeper.stdout
    ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan1", "netns", str(sleeper.pid))
    ip("address", "add", f"{HERE}/24", "broadcast", "192.0.2.255", "dev", "lan0")
    ip("link", "set", "lan0", "up")
    sleeper.stdin.write("\n")
    sleeper.stdin.flush()
    sleeper.stdout.readline()


async def order(mac: str, folder: Path) -> list[Outcome]:
    """What the worker answers to an order for the laptop, told to it under this MAC address."""
    clock = Clock(
        now=lambda: datetime.now(UTC),
        monotonic=lambda: time.monotonic() * LAPSE,
        sleep=lambda seconds: asyncio.sleep(seconds / LAPSE),
    )
    now = clock.now()
    later = now + timedelta(minutes=10)
    target = Target(
        device="l7", room="r1", kind="laptop", driver="line", address=THERE, port=PORT, mac=mac
    )
    roster = Roster(
        site="s", revision=1, sent_at=now, targets=[target], busy=[], trusted_until={"r1": later}
    )
    answers: list[Outcome] = []
    worker = Worker(
        {"line": LineDriver(Credentials(None), folder)},
        lambda _: roster,
        lambda _, outcome: answers.append(outcome),
        defaultdict(asyncio.Lock),
        Journal(folder / "orders.db"),
        clock,
        waker=Waker(clock, boot_s={"laptop": 40}),
    )

    async def ack() -> None: ...

    asked = Order(id="7.1", site="s", device="l7", room="r1", not_before=now, not_after=later)
    await worker.handle(asked, ack)
    return answers


def main(scenario: str) -> None:
    told = {"wrong_mac": OTHER, "no_mac": "", "no_address": "not a MAC"}.get(scenario, MAC)
    program = [sys.executable, "-m", "tests.wake_lan", f"laptop_{scenario}"]
    with subprocess.Popen(
        ["unshare", "-n", *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sleeper:
        try:
            plug_in(sleeper)
            with tempfile.TemporaryDirectory() as folder:
                answers = asyncio.run(order(told, Path(folder)))
        finally:
            sleeper.kill()
    print(json.dumps([answer.model_dump(mode="json") for answer in answers]))


if __name__ == "__main__":
    if sys.argv[1].startswith("laptop_"):
        asyncio.run(laptop(sys.argv[1] != "laptop_never"))
    else:
        main(sys.argv[1])
