"""For each driver: a simulated device, how to reach it, and how it must fail in each mood."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.driver import Denied, DriverError, Garbled, Unreachable, WrongDevice
from agents.messages import Target
from agents.simulator import Mood, Simulated
from agents.simulator.freekiosk import FreeTablet
from agents.simulator.headwind import Managed, MdmServer
from agents.simulator.kiosk import Tablet
from agents.simulator.pjlink import Projector
from agents.simulator.snmp import SnmpDevice
from agents.simulator.ssh import Laptop

SECRET = "t4int-Ed7Yq"
"""Stands for every password and community; it must never come out anywhere."""
SERIAL = "SER-4711"

Errors = tuple[type[DriverError], ...]


class Door:
    """For ping: a TCP port that takes connections, or one behind which packets vanish."""

    def __init__(self) -> None:
        self._mood = Mood.OK
        self._port = 0
        self._sockets: list[socket.socket] = []

    @property
    def mood(self) -> Mood:
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._mood = mood
        if self._port:
            self._open()

    async def start(self, port: int = 0) -> int:
        self._port = port
        self._open()
        return self._port

    async def stop(self) -> None:
        for one in self._sockets:
            one.close()
        self._sockets = []

    def _open(self) -> None:
        for one in self._sockets:
            one.close()
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", self._port))
        self._port = door.getsockname()[1]
        off = self._mood is Mood.OFF
        door.listen(0 if off else 64)
        self._sockets = [door]
        for _ in range(4 if off else 0):  # a full queue: the kernel drops what comes next
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self._port))
            self._sockets.append(filler)


@dataclass(frozen=True)
class Rig:
    """`fails`: mood → the errors that fit it; `silent`: moods that show only by a time limit."""

    driver: str
    device: Callable[[Path], Simulated]
    credential: dict[str, str]
    fails: dict[Mood, Errors]
    silent: frozenset[Mood]
    options: dict[str, Any] = field(default_factory=dict)
    serial: str = SERIAL
    patience_s: float = 0.5
    """Enough to notice silence; a healthy device needs less."""
    every_s: float = 60.0
    """0: what was heard at one poll must not serve the next."""

    def target(self, port: int) -> Target:
        return Target(
            device="d1",
            room="r1",
            kind="thing",
            driver=self.driver,
            address="127.0.0.1",
            port=port,
            credential="rig" if self.credential else "",
            serial=self.serial,
            options=self.options,
            every_s=self.every_s,
        )

    def secret(self) -> str:
        return json.dumps(self.credential)


TCP_SILENT = frozenset({Mood.HANG, Mood.SLOW})
TCP: dict[Mood, Errors] = {
    Mood.OFF: (Unreachable,),
    Mood.HANG: (Unreachable,),
    Mood.SLOW: (Unreachable,),
    Mood.GARBAGE: (Garbled,),
    Mood.HALF: (Garbled, Unreachable),
    Mood.DENIED: (Denied,),
    Mood.WRONG_DEVICE: (WrongDevice,),
}


def _projector(folder: Path) -> Projector:
    projector = Projector("P", SECRET, SERIAL, transition_s=0.0, pjlink_class=2)
    projector.press_power()
    return projector


RIGS = [
    Rig(
        driver="ping",
        device=lambda folder: Door(),
        credential={},
        fails={Mood.OFF: (Unreachable,)},
        silent=frozenset({Mood.OFF}),
        options={"via": "tcp"},
        serial="",
    ),
    Rig(
        driver="snmp",
        device=lambda folder: SnmpDevice("printer", community=SECRET, seed=3, serial=SERIAL),
        credential={"community": SECRET},
        # A wrong community, a lost packet and a broken one look alike: nobody answers.
        fails=TCP
        | {
            Mood.GARBAGE: (Garbled, Unreachable),
            Mood.DENIED: (Denied, Unreachable),
        },
        silent=frozenset(Mood) - {Mood.OK, Mood.WRONG_DEVICE},
        patience_s=1.0,
    ),
    Rig(
        driver="ssh",
        device=lambda folder: Laptop(folder / "laptop", seed=3, serial=SERIAL, password=SECRET),
        credential={"user": "raumwart", "password": SECRET},
        fails=TCP | {Mood.GARBAGE: (Garbled, Unreachable)},
        silent=TCP_SILENT,
        patience_s=1.0,
    ),
    Rig(
        driver="pjlink",
        device=_projector,
        credential={"password": SECRET},
        fails=TCP,
        silent=TCP_SILENT,
    ),
    Rig(
        driver="kiosk",
        device=lambda folder: Tablet("T", SECRET, "https://start.example/", SERIAL),
        credential={"password": SECRET},
        fails=TCP,
        silent=TCP_SILENT,
    ),
    Rig(
        driver="freekiosk",
        device=lambda folder: FreeTablet("T", SECRET, "https://start.example/", SERIAL),
        credential={"key": SECRET},
        fails=TCP,
        silent=TCP_SILENT,
        options={"start_page": "https://start.example/"},
    ),
    Rig(
        driver="headwind",
        device=lambda folder: MdmServer("fleet", SECRET, [Managed("h1", SERIAL)]),
        credential={"user": "fleet", "password": SECRET},
        fails=TCP,
        silent=TCP_SILENT,
        options={"tls": False, "number": "h1"},
        every_s=0.0,
    ),
]
