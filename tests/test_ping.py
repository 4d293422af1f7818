"""Ping on real sockets: ICMP where it is allowed, TCP where it is not."""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.credentials import Credentials
from agents.driver import Misconfigured, Unreachable
from agents.drivers.ping import Ping, _checksum, _is_reply, _open, _request
from agents.messages import Target
from tests.parts import need

ROOT = Path(__file__).parents[1]
AMPLE = timedelta(seconds=5)


def target(address: str = "127.0.0.1", port: int | None = None, **options: Any) -> Target:
    return Target(
        device="d", room="r", kind="switch", driver="ping", address=address, port=port,
        options=options,
    )  # fmt: skip


def ping(to: Target, timeout: timedelta = AMPLE) -> dict[str, Any]:
    return asyncio.run(Ping(Credentials(None), Path()).poll(to, timeout))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_icmp_finds_what_is_there(address: str) -> None:
    if _open(":" in address) is None:
        pytest.skip("this user may send no ICMP")
    assert 0 < ping(target(address))["round_trip_s"] < 1


def test_a_refusal_is_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert ping(target(port=port, via="tcp"))["round_trip_s"] < 1


def test_silence_is_unreachable_and_takes_no_longer_than_allowed() -> None:
    async def silent() -> float:
        loop = asyncio.get_running_loop()
        with ExitStack() as opened:
            deaf = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(4):  # its queue is full: further knocks get no answer at all
                knock = opened.enter_context(socket.socket())
                knock.setblocking(False)
                knock.connect_ex(deaf.getsockname())
            await asyncio.sleep(0.05)
            began = loop.time()
            with pytest.raises(Unreachable):
                await Ping(Credentials(None), Path()).poll(
                    target(port=deaf.getsockname()[1], via="tcp"), timedelta(seconds=0.6)
                )
            return loop.time() - began

    assert asyncio.run(silent()) < 0.8


@pytest.mark.parametrize("answers", [0, 1, 2, 3])
def test_two_of_three_tries_must_be_answered(answers: int) -> None:
    """The first tries go unanswered: the door opens only after them."""
    from agents.drivers.ping import _answered

    tries = 0

    async def one_try() -> None:
        nonlocal tries
        tries += 1
        if tries <= 3 - answers:
            raise OSError

    if answers >= 2:
        assert len(asyncio.run(_answered(one_try, 1))) == 2
    else:
        with pytest.raises(Unreachable):
            asyncio.run(_answered(one_try, 1))
    assert tries == {0: 2, 1: 2, 2: 3, 3: 2}[answers]


def test_a_name_that_nobody_has_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        ping(target("no-such-name.invalid"))
    with pytest.raises(Unreachable):
        ping(target("a" * 64 + ".invalid"))


def test_an_unknown_way_is_misconfigured() -> None:
    with pytest.raises(Misconfigured):
        ping(target(via="pigeon"))


def test_only_our_own_reply_counts() -> None:
    token = os.urandom(16)
    request = _request(False, token)
    header = bytes([0x45, *[0] * 19])
    reply = b"\0" + request[1:]
    assert _checksum(request) == 0
    assert _is_reply(header + reply, False, token)
    assert _is_reply(reply, False, token)
    assert not _is_reply(header + request, False, token), "the request itself, seen on loopback"
    assert not _is_reply(reply, False, os.urandom(16))
    assert not _is_reply(b"", False, token)
    assert not _is_reply(reply[:10], False, token)
    assert _is_reply(b"\x81" + request[1:], True, token)


PROGRAM = """
import asyncio, os, sys
import encodings.idna  # while its file may still be read
from datetime import timedelta
from pathlib import Path
from agents.credentials import Credentials
from agents.driver import Unreachable
from agents.drivers.ping import Ping, _open
from agents.messages import Target
if sys.argv[1] != "0":
    os.setgroups([])
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[1]))
to = Target(device="d", room="r", kind="k", driver="ping", address="127.0.0.1")
try:
    facts = asyncio.run(Ping(Credentials(None), Path()).poll(to, timedelta(seconds=3)))
    print("icmp" if _open(False) else "tcp", "there", *facts)
except Unreachable:
    print("unreachable")
"""


def _apart(uid: int, before: str) -> str:
    """What the program says in a network of its own, where loopback is down until `before`."""
    unshare = need("unshare")
    if os.geteuid() != 0:
        pytest.skip("needs root to make a network of its own")
    code = f"import subprocess\nsubprocess.run({before!r}, shell=True, check=True)\n" + PROGRAM
    done = subprocess.run(
        [unshare, "-n", sys.executable, "-c", code, str(uid)],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_a_network_nothing_is_reachable() -> None:
    assert _apart(0, "true") == "unreachable"


@pytest.mark.parametrize(
    ("groups", "expected"),
    [("1 0", "tcp there round_trip_s"), ("0 2147483647", "icmp there round_trip_s")],
)
def test_an_ordinary_user_uses_what_the_kernel_allows(groups: str, expected: str) -> None:
    need("ip")
    allow = f"ip link set lo up && echo '{groups}' > /proc/sys/net/ipv4/ping_group_range"
    assert _apart(65534, allow) == expected
