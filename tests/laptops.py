"""A room full of laptops: each a machine of its own, with the role applied and its own sshd."""

import atexit
import json
import secrets
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from agents.credentials import Credentials
from agents.drivers.ssh import Ssh
from agents.messages import Target
from tests.machine import Machine
from tests.parts import need
from tests.test_room_laptop import World

LAYERS = "etc usr/local var"
PACK = (
    "for layer in {layers}; do cd /mnt/$layer/upper;"
    " find . -mindepth 1 \\( -type f -o -type d -o -type l \\) -print0"
    " | tar --no-recursion --null -T - -rf /mnt/changes.tar --transform s,^./,$layer/,; done;"
    " tar -C / -rf /mnt/changes.tar home; base64 /mnt/changes.tar"
)

GUESTS = count(60_000 + secrets.randbelow(1_000_000) * 1_000)
OWN_GUEST = """
set -e
old=$(id -u kurs)
usermod --uid {uid} kurs
sed -i "s/\\b$old\\b/{uid}/g" /usr/local/lib/raumwart/laptop.json
"""
"""The kernel keeps keys by the number of their owner, for all machines side by side."""


@dataclass
class Laptop:
    machine: Machine
    port: int
    """The agent's way in."""
    open_port: int
    """An sshd without a forced command, for comparisons."""


class Prepared(Machine):
    """One of them, with its sshd on `port`; `folder` holds the agent's key."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = prepared()
        self.sh(f"set -e; tar -C / -xf {self.folder / 'changes.tar'}")
        self.sh(OWN_GUEST.format(uid=next(GUESTS)))
        self.port = self.serve()

    def guest(self, script: str) -> None:
        self.sh(f"su -s /bin/sh kurs -c '{script}'")


@cache
def prepared() -> Path:
    """A folder with what the role changes on a laptop: it is applied once in all tests."""
    for part in ("sshd", "sudo", "visudo", "tar"):
        need(part)
    folder = Path(mkdtemp(prefix="raumwart-role-"))
    atexit.register(rmtree, folder)
    folder.chmod(0o755)
    with World(folder) as world:
        (folder / "open_keys").write_text(world.public + "\n")
        played = world.play()
        assert "failed=0" in played, played
        # What the machine writes is lost with it, so its standard output carries the file.
        packed = b64decode(world.sh(PACK.format(layers=LAYERS)))
    (folder / "changes.tar").write_bytes(packed)
    return folder


@contextmanager
def laptops(number: int, *, open_door: bool = False) -> Iterator[list[Laptop]]:
    folder = prepared()
    with ExitStack() as stack, ThreadPoolExecutor(4) as threads:

        def one(_: int) -> Laptop:
            machine = Prepared()
            stack.callback(machine.close)
            door = 0
            if open_door:
                keys = f"-o AuthorizedKeysFile={folder / 'open_keys'} -o StrictModes=no"
                settings = "-f /dev/null -o HostKey=/etc/ssh/ssh_host_ed25519_key"
                door = machine.serve(f"{settings} {keys} -o UsePAM=no")
            return Laptop(machine, machine.port, door)

        yield list(threads.map(one, range(number)))


def driver_for(folder: Path) -> Ssh:
    credentials = folder / "credentials"
    credentials.mkdir()
    (credentials / "laptop.json").touch(mode=0o600)
    secret = {"user": "raumwart", "key_file": str(prepared() / "key")}
    (credentials / "laptop.json").write_text(json.dumps(secret))
    return Ssh(Credentials(credentials), folder / "state")


def target(laptop: Laptop, number: int) -> Target:
    return Target(
        device=f"d{number}", room="r", kind="laptop", driver="ssh", address="127.0.0.1",
        port=laptop.port, credential="laptop", serial="PF-9",
    )  # fmt: skip
