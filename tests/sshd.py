"""A real OpenSSH server on an ephemeral port of 127.0.0.1, in a folder of its own."""

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from tests.parts import need

USER = pwd.getpwuid(os.geteuid()).pw_name


def new_key(path: Path, kind: str = "ed25519") -> str:
    """Write a private key (0600) and return its public line."""
    key = Ed25519PrivateKey.generate() if kind == "ed25519" else generate_private_key(65537, 2048)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.OpenSSH, pem.NoEncryption())
    )
    public = key.public_key().public_bytes(pem.Encoding.OpenSSH, pem.PublicFormat.OpenSSH)
    return public.decode()


@dataclass
class Sshd:
    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def sessions(self) -> list[int]:
        """The server's processes that serve a connection."""
        return _children(self.process.pid)

    def cut(self) -> None:
        """End every connection, as a lost network would."""
        for pid in self.sessions():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def sshd(folder: Path, command: str, public_key: str, *, settings: str = "") -> Iterator[Sshd]:
    """Serve with one forced command for one key. `folder/host_key` is made when it is missing."""
    program = need("sshd")
    host_key = folder / "host_key"
    if not host_key.exists():
        new_key(host_key)
    keys = folder / "authorized_keys"
    keys.write_text(f'restrict,command="{command}" {public_key}\n')
    keys.chmod(0o600)
    port = _free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {host_key}\nPidFile none\n"
        f"AuthorizedKeysFile {keys}\nStrictModes no\nUsePAM no\nMaxStartups 200\n"
        f"PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        # Whoever runs the tests: the settings of their shell do not count (and take time).
        f"PermitRootLogin forced-commands-only\nSetEnv HOME={folder}\n{settings}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", config], stderr=log)
        try:
            _wait(process, port, folder / "sshd.log")
            server = Sshd(port, folder, process)
            yield server
            server.cut()
        finally:
            process.terminate()
            process.wait(10)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise AssertionError(f"sshd ended: {log.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("sshd does not listen")


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            # The name in brackets may hold anything; the parent is the second field after it.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found
