"""The SSH host keys of the devices: pinned at the first meeting, and nothing else from then on."""

import base64
import fcntl
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from agents.driver import HostKeyChanged, Misconfigured

log = logging.getLogger(__name__)

Place = tuple[str, int]
Key = tuple[str, str]
"""Type and base64, as in known_hosts."""


class HostKeys:
    """A file in the form of OpenSSH's known_hosts, one `[host]:port type key` per line.

    Safe for several threads and processes; a change by another process is seen at once. A file
    that cannot be read in full pins nothing anew: it refuses.
    """

    def __init__(self, path: Path, thing: str = "host key") -> None:
        """`thing`: what is pinned, for the log. A certificate is of the type `x509`."""
        self._path, self._thing = path, thing
        self._guard = Lock()
        self._keys: dict[Place, Key] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._told: dict[Place, str] = {}
        """Which foreign key was already logged: a change is told once, not at every poll."""

    def find(self, host: str, port: int) -> Key | None:
        """The pinned key. Raises Misconfigured when the file is broken."""
        with self._guard:
            self._refresh()
            return self._keys.get((host, port))

    def check(self, host: str, port: int, kind: str, key: str) -> None:
        """Accept the pinned key, pin the first one, and refuse every other.

        Raises HostKeyChanged, or Misconfigured when the file is broken or cannot be written.
        """
        place, shown = (host, port), (kind, key)
        with self._guard:
            self._refresh()
            known = self._keys.get(place)
            if known is None:
                with self._changing():
                    known = self._keys.setdefault(place, shown)
                log.info("pinned the %s of %s:%d: %s", self._thing, host, port, fingerprint(key))
            if known == shown:
                self._told.pop(place, None)
                return
            detail = (
                f"expected {known[0]} {fingerprint(known[1])}, was shown {kind} {fingerprint(key)}"
            )
            if self._told.get(place) != key:
                self._told[place] = key
                log.error("%s CHANGED at %s:%d: %s", self._thing.upper(), host, port, detail)
            raise HostKeyChanged(detail)

    def forget(self, host: str, port: int) -> bool:
        """Drop a pinned key, so that the next meeting pins anew; False: there was none."""
        with self._guard, self._changing():
            return self._keys.pop((host, port), None) is not None

    def _refresh(self) -> None:
        try:
            about = self._path.stat()
        except FileNotFoundError:
            self._keys, self._stamp = {}, None
            return
        except OSError as error:
            raise Misconfigured(f"host key file: {error.strerror}") from None
        stamp = (about.st_ino, about.st_mtime_ns, about.st_size)
        if stamp != self._stamp:
            self._keys = _parse(self._path)
            self._stamp = stamp

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Read, change and write as one, also against other processes."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._refresh()
                before = dict(self._keys)
                yield
                if self._keys != before:
                    self._write()
        except OSError as error:
            self._stamp = None  # what could not be written is not pinned: read the file anew
            raise Misconfigured(f"host key file: {error.strerror}") from None

    def _write(self) -> None:
        lines = [f"[{host}]:{port} {kind} {key}\n" for (host, port), (kind, key) in self._sorted()]
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".host_keys-")  # mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except OSError:
            Path(name).unlink()  # else a full disk fills with them, one at each poll
            raise
        self._stamp = None

    def _sorted(self) -> list[tuple[Place, Key]]:
        return sorted(self._keys.items())


def fingerprint(key: str) -> str:
    """As ssh-keygen -l shows it."""
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _parse(path: Path) -> dict[Place, Key]:
    keys: dict[Place, Key] = {}
    number = 0
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            number += 1
            if not line.strip() or line.startswith("#"):
                continue
            place, kind, key = line.split()
            host, _, port = place.removeprefix("[").rpartition("]:")
            base64.b64decode(key, validate=True)
            if not host:
                raise ValueError
            keys[host, int(port)] = (kind, key)
    except OSError as error:
        raise Misconfigured(f"host key file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Misconfigured("host key file: not a text") from None
    except ValueError:
        raise Misconfigured(f"host key file: line {number} cannot be read") from None
    return keys
