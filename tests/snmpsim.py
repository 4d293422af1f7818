"""Starts snmpsim, an independent SNMP agent that serves recordings."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    """A UDP port that was free a moment ago; the programs started here cannot choose one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(program: Path, data: Path, cache: Path, user: dict[str, str]) -> Iterator[int]:
    """snmpsim over the recordings in `data` (at most 31: beyond that it thrashes). Yields its port.

    The community or v3 context name is the recording's name.
    """
    port = free_port()
    command = [
        str(program),
        f"--data-dir={data}",
        f"--cache-dir={cache}",
        f"--agent-udpv4-endpoint=127.0.0.1:{port}",
        "--logging-method=null",
        "--log-level=error",
        f"--v3-user={user['user']}",
        f"--v3-auth-key={user['auth_password']}",
        f"--v3-auth-proto={user['auth_protocol']}",
        f"--v3-priv-key={user['priv_password']}",
        f"--v3-priv-proto={user['priv_protocol'].removesuffix('128')}",
    ]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "SNMPSIM_ALLOW_ROOT": "true"},
            stdout=log,
            stderr=log,
        )
        try:
            _wait_until_it_listens(process, port)
            yield port
        except RuntimeError as error:
            log.seek(0)
            raise RuntimeError(log.read().decode(errors="replace")[-2000:]) from error
        finally:
            process.terminate()
            process.wait(10)


def listens(port: int) -> bool:
    """Whether somebody has bound this UDP port."""
    wanted = f":{port:04X}"
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(wanted) for line in lines)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"snmpsim ended with {process.returncode}")
        if listens(port):
            return
        time.sleep(0.05)
    raise RuntimeError("snmpsim does not listen")
