"""A laptop that really boots: systemd as its first process, on a disk and in a network of its own.

The disk is an overlay of this system's root, in memory; it outlives a boot and vanishes with the
test. Cables there are none: one port of 127.0.0.1 leads to the laptop's sshd, boot after boot.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, Self

import pytest

from tests.machine import child_of
from tests.parts import need

REPOSITORY = Path(__file__).parents[1]
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
LIFE_S = 900
"""A test that dies leaves nothing that lives longer."""
SERVICES = "ssh NetworkManager cups.service cups.socket"
WHOLE = """
unshare --mount --pid --fork --kill-child sh -c "$1" disk "$3" "$4"
unshare --mount sh -c "mount -t cgroup2 cgroup /mnt; find /mnt/$2 -depth -type d -exec rmdir {} +"
"""
"""All that runs there dies with the disk; afterwards its control groups go."""
DISK = """
set -e
mount --make-rprivate /
mount -t tmpfs -o size=4g,mode=755 disk /mnt
cd /mnt
mkdir upper work root cgroup own own/home own/opt own/srv own/media
mkdir -m 1777 own/tmp own/var_tmp
mkdir -m 700 own/root
chmod --reference=/ upper
mount -t overlay overlay root -o lowerdir=/,upperdir=upper,workdir=work
cd root
# What this system starts is nobody's business there.
rm -rf etc/systemd/system etc/fstab etc/crypttab etc/NetworkManager/system-connections \
    etc/NetworkManager/conf.d var/log/journal var/spool/cups var/lib/systemd/linger
mkdir -p etc/systemd/system var/log/journal
mkdir -m 700 etc/NetworkManager/system-connections
: > etc/fstab
install -g utmp -m 664 /dev/null var/log/wtmp
tr -d - < /proc/sys/kernel/random/uuid > etc/machine-id
chroot . systemctl -q enable $1
echo ready
exec sleep $2
"""
BOOT = """
set -e
[ -e /mnt/cgroup/cgroup.procs ] || mount -t cgroup2 cgroup /mnt/cgroup
mkdir -p /mnt/cgroup/$1
echo 0 > /mnt/cgroup/$1/cgroup.procs
shift
exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child sh -c "$@"
"""
INIT = """
set -e
mount --make-rprivate /
cd /mnt/root
mount -t proc proc proc
# The kernel is everybody's: nothing of it may be set from in there, whatever the boot tries.
for path in proc/sys proc/sysrq-trigger; do
    [ ! -e $path ] || { mount --bind $path $path; mount -o remount,bind,ro $path; }
done
cat /proc/sys/kernel/random/uuid > /mnt/boot_id
mount --bind /mnt/boot_id proc/sys/kernel/random/boot_id
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
for device in null zero full random urandom tty; do
    : > dev/$device
    mount --bind /dev/$device dev/$device
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0 1 2; do ln -s /proc/self/fd/$number dev/$number; done
ln -s 0 dev/stdin; ln -s 1 dev/stdout; ln -s 2 dev/stderr
for folder in home tmp srv media opt root; do mount --bind /mnt/own/$folder $folder; done
mount --bind /mnt/own/var_tmp var/tmp
for shown in "$@"; do
    mkdir -p ./$shown
    mount --rbind $shown ./$shown
    mount -o remount,bind,ro ./$shown
done
pivot_root . mnt
cd /
umount -l /mnt
exec env -i container=raumwart LC_ALL=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set -sys_module,-sys_time,-sys_rawio,-mknod,-syslog \
    /lib/systemd/systemd --system
"""
RELAY = """
import socket, threading
def pump(here, there):
    try:
        while data := here.recv(65536):
            there.sendall(data)
    except OSError:
        pass
    for one in (here, there):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
listener = socket.socket(fileno=0)
while True:
    near, _ = listener.accept()
    far = socket.socket()
    if far.connect_ex(("127.0.0.1", 22)):
        near.close()
        continue
    for pair in ((near, far), (far, near)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""
"""The listener is of our network, what it connects to of the laptop's."""


class Booted:
    """A laptop's disk, and the laptop itself between `boot` and `cut`. `shown` can be read there.

    Skips the calling test where none can be made.
    """

    def __init__(self, *shown: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root to boot a machine of its own")
        for part in ("/lib/systemd/systemd", "dbus-daemon", "NetworkManager", "cupsd", "lpadmin"):
            need(part)
        if not list(Path("/usr/lib").glob("*/security/pam_systemd.so")):
            _missing("libpam-systemd is not installed")
        self._shown = [*shown, REPOSITORY, Path(sys.prefix).resolve(), Path(sys.base_prefix)]
        self._name = f"raumwart-{os.getpid()}-{secrets.token_hex(4)}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        """The way to its sshd, also while it is off."""
        self._running: list[subprocess.Popen[bytes]] = []
        self._disk = subprocess.Popen(
            ["sh", "-c", WHOLE, "whole", DISK, self._name, SERVICES, str(LIFE_S)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._disk.stdout
        if self._disk.stdout.readline() != "ready\n":
            self._listener.close()
            _missing(self._disk.communicate()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def boot(self, *, wait: bool = True) -> None:
        """Switch it on; `wait`: until all its units have started, else until systemd answers."""
        disk = child_of(child_of(self._disk.pid))
        shown = [str(path) for path in self._shown if path != Path("/usr")]
        system = subprocess.Popen(
            [need("nsenter"), "-t", str(disk), "-m", "-p", "--", "sh", "-c", BOOT, "boot",
             self._name, INIT, "init", *shown],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._running.append(system)
        first = _first(system)
        self._enter = [str(need("nsenter")), "-t", first, "-a", "--", "sh", "-c"]
        self._running.append(
            subprocess.Popen(
                [need("nsenter"), "-t", first, "-n", "--", sys.executable, "-c", RELAY],
                stdin=self._listener,
            )
        )
        until(lambda: self.sh("systemctl list-jobs 2>/dev/null", check=False))
        if wait:
            self.sh("systemctl is-system-running --wait", check=False)

    def cut(self) -> None:
        """Its power goes: everything ends at once, the disk stays."""
        if self._running:
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(self._enter[2]), signal.SIGKILL)
            self.went_down()

    def went_down(self, seconds: float = 30) -> None:
        """Returns when it is off by itself."""
        for process in self._running:
            if process is self._running[0]:
                process.communicate(timeout=seconds)
            else:
                process.kill()
                process.wait()
        self._running = []

    def popen(self, script: str) -> subprocess.Popen[str]:
        """Start as the laptop's root; standard output and error in one."""
        return subprocess.Popen(
            [*self._enter, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT,
        )  # fmt: skip

    def sh(self, script: str, check: bool = True, seconds: float = 120) -> str:
        """Run as the laptop's root; its standard output."""
        done = subprocess.run(
            [*self._enter, script], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds, check=False, env=ENVIRONMENT,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(child_of(child_of(self._disk.pid)), signal.SIGKILL)
        self._disk.communicate(timeout=60)
        for process in self._running:
            process.kill()
            process.communicate()
        self._listener.close()


def _first(system: subprocess.Popen[bytes]) -> str:
    """The laptop's first process, as soon as systemd is what runs there."""
    for _ in range(500):
        if system.poll() is not None:
            _missing(system.communicate()[1].decode())
        with suppress(IndexError, OSError):
            pid = str(child_of(child_of(system.pid)))
            if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                return pid
        time.sleep(0.02)
    raise AssertionError("nothing boots")


def _missing(why: str) -> NoReturn:
    if os.environ.get("RAUMWART_ALL_PARTS"):
        pytest.fail(why)
    pytest.skip(f"no machine boots here: {why}")


def until(settled: Callable[[], object], seconds: float = 30) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not settled():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
