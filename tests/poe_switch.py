"""net-snmp's agent as a switch with one powered port, and a line to it that loses answers."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts import need
from tests.snmpsim import free_port, listens

PORT_OID = ".1.3.6.1.2.1.105.1.1.1.3.1.5"
_PORT = f'''
import sys
from pathlib import Path
history = Path(sys.argv[1])
while line := sys.stdin.readline():
    word = line.strip()
    if not word:  # a set ends with an empty line
        continue
    if word == "PING":
        print("PONG", flush=True)
        continue
    name = sys.stdin.readline().strip()
    if word == "set":
        value = sys.stdin.readline().split()[-1]
        with history.open("a") as file:
            file.write(value + "\\n")
        print("DONE", flush=True)
    elif word == "get" and name == "{PORT_OID}":
        value = history.read_text().split()[-1]
        print(name, "integer", value, sep="\\n", flush=True)
    else:
        print("NONE", flush=True)
'''


@contextmanager
def switch(folder: Path) -> Iterator[tuple[int, Path]]:
    """Its UDP port, and the file with every value that the powered port has had."""
    program = need("snmpd")
    history, script = folder / "history", folder / "port.py"
    history.write_text("1\n")
    script.write_text(_PORT)
    lines = [
        "rwcommunity schreiben 127.0.0.1",
        "rocommunity lesen 127.0.0.1",
        "createUser tech SHA-256 authentisch AES verschluesselt",
        "rwuser tech authPriv",
        "sysName lernraum-switch",
        "agentXSocket none",
        f"pass_persist .1.3.6.1.2.1.105 {sys.executable} {script} {history}",
    ]
    (folder / "snmpd.conf").write_text("\n".join(lines) + "\n")
    port = free_port()
    command = [
        *(str(program), "-f", "-C", "-c", str(folder / "snmpd.conf"), "-Lf", str(folder / "log")),
        *("-I", "-smux,-agentx", "-p", str(folder / "pid"), f"udp:127.0.0.1:{port}"),
    ]
    environment = {"SNMP_PERSISTENT_DIR": str(folder), "PATH": "/usr/bin:/bin", "MIBS": ""}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port, history
    finally:
        process.terminate()
        process.wait(10)


class Line(asyncio.DatagramProtocol):
    """A cable between agent and switch. `lost`: so many of the next answers vanish."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.lost = 0
        self.cut = False
        self._links: dict[tuple[str, int], asyncio.DatagramTransport] = {}

    async def start(self) -> int:
        loop = asyncio.get_running_loop()
        self._here, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        return int(self._here.get_extra_info("sockname")[1])

    def stop(self) -> None:
        for link in (self._here, *self._links.values()):
            link.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.cut:
            asyncio.get_running_loop().create_task(self._pass_on(data, addr))

    async def _pass_on(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr not in self._links:
            self._links[addr], _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Back(self, addr), remote_addr=("127.0.0.1", self._port)
            )
        self._links[addr].sendto(data)

    def answer(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.lost:
            self.lost -= 1
        elif not self.cut:
            self._here.sendto(data, addr)


class _Back(asyncio.DatagramProtocol):
    def __init__(self, line: Line, addr: tuple[str, int]) -> None:
        self._line, self._addr = line, addr

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._line.answer(data, self._addr)
