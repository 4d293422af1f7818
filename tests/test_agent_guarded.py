"""What the agent needs of the system while its unit forbids it netlink (`RestrictAddressFamilies`):
the kernel answers the same, by a filter in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROLE = Path(__file__).parents[1] / "ansible" / "roles" / "agent"
GUARDED = """
import asyncio, ctypes, json, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]  # socket()
rules = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, socket.AF_NETLINK),
         (0x06, 0, 0, 0x50061), (0x06, 0, 0, 0x7FFF0000)]  # EAFNOSUPPORT, or let through
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.create_string_buffer(program), 0, 0) == 0
try:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
except OSError as error:
    assert error.errno == 97
from agents.discovery import mdns
from agents.discovery.ranges import Ranges
from agents.networks import broadcasts
broadcasts()
ranges = Ranges(["127.0.0.0/20"])
asyncio.run(mdns.listen(["127.0.0.1"], ranges, 0.1))
print(json.dumps([len(list(ranges.hosts())), "127.0.0.1" in ranges.hosts()]))
"""


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="another processor")
def test_a_search_needs_nothing_that_the_unit_forbids() -> None:
    unit = (ROLE / "templates" / "raumwart-agent.service.j2").read_text()
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n" in unit
    done = subprocess.run(
        [sys.executable, "-c", GUARDED], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [4093, False]
