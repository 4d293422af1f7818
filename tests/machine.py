"""A whole machine of its own: accounts, services, processes and traces that vanish with it.

Private namespaces hold it: overlays lie over its folders, in memory. Only the network is shared.
"""

import os
import socket
import subprocess
import time
from typing import Self

import pytest

from tests.parts import need

BUILD = """
set -e
mount --make-rprivate /
mount -t tmpfs world /mnt
for folder in etc opt usr/local var tmp; do
    mkdir -p /mnt/$folder/upper /mnt/$folder/work
    chmod --reference=/$folder /mnt/$folder/upper
    mount -t overlay overlay /$folder \
        -o lowerdir=/$folder,upperdir=/mnt/$folder/upper,workdir=/mnt/$folder/work
done
for folder in /home /run /dev/shm /media; do mount -t tmpfs -o mode=755 world $folder; done
chmod 1777 /dev/shm
[ ! -d /lib/modules ] || mount -t tmpfs world /lib/modules
mkdir /mnt/root
echo ready
exec sleep 7200
"""
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/mnt/root",
    "LC_ALL": "C.UTF-8",
}


class Machine:
    """Runs until closed. Skips the calling test where no machine of its own can be made."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root to make a machine of its own")
        enter = str(need("nsenter"))
        self._root = subprocess.Popen(
            [
                need("unshare"), "--mount", "--pid", "--ipc", "--uts", "--fork", "--mount-proc",
                "--kill-child", "sh", "-c", BUILD,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._root.stdout
        if self._root.stdout.readline() != "ready\n":
            _, errors = self._root.communicate()
            if os.environ.get("RAUMWART_ALL_PARTS"):
                pytest.fail(errors)
            pytest.skip(f"no machine of its own here: {errors}")
        pid = str(child_of(self._root.pid))
        self._enter = [enter, "-t", pid, "-m", "-p", "-i", "-u", "--", "sh", "-c"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def popen(self, script: str) -> subprocess.Popen[str]:
        """Start as the machine's root; standard output and error in one."""
        return subprocess.Popen(
            [*self._enter, script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=ENVIRONMENT,
        )  # fmt: skip

    def sh(self, script: str, check: bool = True, seconds: float = 120) -> str:
        """Run as the machine's root; its standard output."""
        done = subprocess.run(
            [*self._enter, script],
            capture_output=True, text=True, timeout=seconds, check=False, env=ENVIRONMENT,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self, settings: str = "") -> int:
        """Start the machine's sshd on 127.0.0.1 with these further options; its port."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        self.sh(
            "mkdir -p -m 755 /run/sshd;"
            f"{need('sshd')} -p {port} -o ListenAddress=127.0.0.1 -E /mnt/sshd.log {settings}"
        )
        for _ in range(250):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return port
        raise AssertionError(self.sh("cat /mnt/sshd.log"))

    def close(self) -> None:
        self._root.kill()
        self._root.communicate()


def child_of(parent: int) -> int:
    """The only child of a process. Raises IndexError while there is none."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    return int(listed.stdout.split()[0])
