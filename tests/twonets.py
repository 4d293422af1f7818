"""Two networks of their own, joined by one cable: here the agent, there the devices."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO

import pytest

from tests.parts import need

ROOT = Path(__file__).parents[1]
NUMBERS = count()


class Side:
    """One network namespace. `device`: its end of the cable."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.device = f"{name}-c"

    def run(self, *command: str) -> None:
        subprocess.run(["ip", "-n", self.name, *command], check=True, timeout=20)

    def start(self, code: str, *arguments: str) -> "subprocess.Popen[str]":
        """A Python program in this network."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


@contextmanager
def two_networks(here: str, there: list[str]) -> Iterator[tuple[Side, Side]]:
    """Two sides with these addresses (with prefix) on their ends of the cable."""
    need("ip")
    if os.geteuid() != 0:
        pytest.skip("needs root to make networks of its own")
    number = f"{os.getpid() % 100000}{next(NUMBERS)}"
    sides = Side(f"rw{number}a"), Side(f"rw{number}b")
    try:
        for side in sides:
            subprocess.run(["ip", "netns", "add", side.name], check=True, timeout=20)
            side.run("link", "set", "lo", "up")
        near, far = sides
        near.run("link", "add", near.device, "type", "veth", "peer", "name", far.device,
                 "netns", far.name)  # fmt: skip
        for side, addresses in ((near, [here]), (far, there)):
            for address in addresses:
                side.run("addr", "add", address, "broadcast", "+", "dev", side.device)
            side.run("link", "set", side.device, "up")
        yield sides
    finally:
        for side in sides:
            subprocess.run(["ip", "netns", "del", side.name], check=False, timeout=20)


def line(pipe: IO[str] | None) -> str:
    """The next line that a started program prints."""
    assert pipe
    return pipe.readline().strip()


def end(*programs: "subprocess.Popen[str]") -> None:
    for program in programs:
        program.kill()
        program.communicate()
