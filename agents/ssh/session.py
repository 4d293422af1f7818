"""One conversation with a laptop over SSH, held in a thread and ended from any other.

paramiko blocks, and its time limits do not bound every wait (opening a channel, starting a
command). So the socket is shut down at the deadline from outside, which ends all of them. Its own
limits only ever come later: two clocks that strike at once would tell different reasons.
"""

import io
import logging
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import paramiko
from cryptography.hazmat.primitives import serialization as pem

from agents.credentials import CredentialProblem, Secret
from agents.driver import (
    Denied,
    DriverError,
    Garbled,
    MissingCredential,
    NoEnd,
    TimedOut,
    Unreachable,
)
from agents.messages import Target
from agents.ssh.answers import parse_object
from agents.ssh.host_keys import HostKeys
from agents.ssh.progress import Progress

Result = TypeVar("Result")

MAX_OUTPUT = 1 << 20
"""Bytes of output that a device may say in one conversation."""
MAX_GREETING = 1 << 17
"""Bytes that it may say before the connection is encrypted."""
LATER_S = 60.0
"""How much later than our deadline paramiko's own come; what they tell would be nonsense."""
RSA = ("rsa-sha2-512", "rsa-sha2-256")

# paramiko logs every failed handshake with a traceback; we report each failure ourselves.
WIRE_LOG = "agents.ssh.session.wire"
logging.getLogger(WIRE_LOG).setLevel(logging.CRITICAL)


class Session:
    """One conversation over one connection; used by one thread, ended by any."""

    def __init__(self, target: Target, secret: Secret, host_keys: HostKeys) -> None:
        self._target, self._secret, self._host_keys = target, secret, host_keys
        self._port = target.port or 22
        self._guard = threading.Lock()
        self._wire: Wire | None = None
        self._transport: paramiko.Transport | None = None
        self._aborted = False
        self._begun = False
        """From here on the device may have done what it was told."""

    def abort(self) -> None:
        """End the conversation now; every wait in its thread returns. Never blocks."""
        with self._guard:
            self._aborted = True
            if self._wire:
                self._wire.cut()

    def too_late(self) -> DriverError:
        if self._begun:
            return NoEnd("no end within the time limit")
        if self._wire is None:
            return Unreachable("no answer within the time limit")
        return TimedOut()

    def hold(self, what: Callable[["Session"], Result], seconds: float) -> Result:
        """Connect, sign in, and do `what`. Blocks; raises DriverError."""
        try:
            self._connect(seconds)
            self._sign_in()
            return what(self)
        except DriverError:
            raise
        except CredentialProblem as problem:
            raise MissingCredential(str(problem)) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._meaning(error) from None
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        """The thread that reads the socket closes it: its number is not reused meanwhile."""
        self.abort()
        if self._transport and self._transport.is_alive():
            self._transport.join(1.0)
        elif self._wire:
            self._wire.close()

    def ask(self, verb: str) -> dict[str, Any]:
        """The first JSON object of version 1 in the answer, whatever a banner says before it."""
        channel = self._run(verb)
        for line in _lines(channel):
            answer = parse_object(line)
            if answer and answer.get("v") == 1:
                return answer
        raise self._no_answer(channel)

    def reset(self, progress: Progress, job: bytes) -> None:
        """Begin a reset and hear it to its end."""
        channel = self._run("start")
        self._begun = progress.begun = True
        channel.sendall(job)
        channel.shutdown_write()
        self._hear(channel, progress)

    def follow(self, progress: Progress) -> None:
        """Hear on where another connection was lost."""
        self._begun = True
        self._hear(self._run(f"follow {progress.reset_id} {progress.seq}"), progress)

    def _hear(self, channel: paramiko.Channel, progress: Progress) -> None:
        for line in _lines(channel):
            event = parse_object(line)
            if event and progress.hear(event):
                return
        raise NoEnd(_complaint(channel))

    def _connect(self, seconds: float) -> None:
        connection = socket.create_connection((self._target.address, self._port), timeout=seconds)
        # Without this, small packets wait for each other; three times fewer commands per second.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._guard:
            self._wire = Wire(connection)
            if self._aborted:
                self._wire.cut()
        transport = paramiko.Transport(cast(socket.socket, self._wire))
        self._transport = transport
        transport.set_log_channel(WIRE_LOG)
        transport.daemon = True
        later = seconds + LATER_S
        transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = later
        # Its timer of the handshake is a thread that may outlive the connection; ours suffices.
        vars(transport.packetizer)["start_handshake"] = lambda timeout: None
        pinned = self._host_keys.find(self._target.address, self._port)
        if pinned:
            _prefer(transport, pinned[0])
        transport.start_client(timeout=later)
        self._wire.limit = 2 * MAX_OUTPUT

    def _sign_in(self) -> None:
        """Check who it is before telling it anything."""
        assert self._transport
        shown = self._transport.get_remote_server_key()
        self._host_keys.check(
            self._target.address, self._port, shown.get_name(), shown.get_base64()
        )
        key, user = _private_key(self._secret), self._secret["user"]
        if key:
            missing = self._transport.auth_publickey(user, key)
        else:
            missing = self._transport.auth_password(user, self._secret["password"], fallback=False)
        if missing:
            raise Denied("the device asks for a second proof of identity")

    def _run(self, command: str) -> paramiko.Channel:
        assert self._transport
        # The window bounds what it may say unread, on its error output too.
        channel = self._transport.open_session(window_size=MAX_OUTPUT)
        try:
            channel.exec_command(command)
        except paramiko.SSHException:
            if self._transport.is_active():
                raise Denied("the device runs no commands for this account") from None
            raise
        return channel

    def _no_answer(self, channel: paramiko.Channel) -> DriverError:
        assert self._wire
        assert self._transport
        if self._wire.flooded:
            return Garbled("more output than any answer needs")
        if not self._transport.is_active():
            return Unreachable("the connection was lost")
        return Garbled(_complaint(channel))

    def _meaning(self, error: Exception) -> DriverError:
        """What a failure below us says of the device."""
        if self._begun:
            return NoEnd("the connection was lost")
        if self._aborted:
            return self.too_late()
        if self._wire is None:
            return Unreachable(_cause(error))
        if self._wire.flooded:
            return Garbled("more output than any answer needs")
        if self._transport and self._transport.initial_kex_done:
            return _refusal(error, self._transport.is_active())
        return _handshake_failure(error, self._wire.received)


class Wire:
    """A socket that hangs up when it was told too much, and that another thread may cut."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.received = 0
        self.limit = MAX_GREETING

    @property
    def flooded(self) -> bool:
        return self.received > self.limit

    def recv(self, size: int) -> bytes:
        # paramiko asks for as much as a packet claims to hold: up to 4 GiB in one piece of memory.
        data = self._connection.recv(min(size, 1 << 16))
        self.received += len(data)
        return b"" if self.flooded else data

    def cut(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _lines(channel: paramiko.Channel) -> Iterator[bytes]:
    """Lines of the output as they come, at most MAX_OUTPUT bytes of them; the rest is not read."""
    rest, received = b"", 0
    while received < MAX_OUTPUT and (data := channel.recv(65536)):
        received += len(data)
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
    if received >= MAX_OUTPUT:
        raise Garbled("more output than any answer needs")
    yield rest


def _complaint(channel: paramiko.Channel) -> str:
    """Why there is no answer, in the device's own words if it has some."""
    text = channel.recv_stderr(400) if channel.recv_stderr_ready() else b""
    words = "".join(c for c in text.decode("utf-8", "replace") if c.isprintable() or c == "\n")
    return f"no answer in the output; {words.strip()[:300]}" if words else "no answer in the output"


def _handshake_failure(error: Exception, received: int) -> DriverError:
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return Garbled("no encryption in common: " + ascii(str(error))[:200])
    if isinstance(error, paramiko.SSHException) and received:
        return Garbled("not SSH: " + ascii(str(error))[:200])
    return Unreachable("the connection was lost")


def _refusal(error: Exception, alive: bool) -> DriverError:
    """After the handshake: a no of the device, or a lost connection."""
    if isinstance(error, paramiko.ChannelException):
        return Denied("the device opens no session for this account")
    if isinstance(error, paramiko.BadAuthenticationType):
        return Denied("the device does not take this kind of credential")
    if isinstance(error, paramiko.AuthenticationException) and alive:
        return Denied()
    return Unreachable("the connection was lost")


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return str(getattr(error, "strerror", None) or error)[:200]


def _prefer(transport: paramiko.Transport, kind: str) -> None:
    """Ask for the kind of key that is pinned: another kind would look like another device."""
    options = transport.get_security_options()
    wanted = RSA if kind == "ssh-rsa" else (kind,)
    offered = tuple(options.key_types)
    first = tuple(one for one in wanted if one in offered)
    options.key_types = first + tuple(one for one in offered if one not in first)


def _private_key(secret: Secret) -> paramiko.PKey | None:
    """None: the credential is a password. Raises CredentialProblem."""
    text = secret.get("key")
    if secret.get("key_file"):
        path = Path(secret["key_file"])
        try:
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise CredentialProblem("the key file can be read by others: chmod 600")
            text = path.read_text()
        except (OSError, UnicodeDecodeError):
            raise CredentialProblem("the key file cannot be read") from None
    return _parse_key(text) if text else None


@lru_cache(maxsize=64)
def _parse_key(text: str) -> paramiko.PKey:
    """A private key without passphrase, in OpenSSH's or PEM form."""
    load = pem.load_ssh_private_key if "BEGIN OPENSSH" in text else pem.load_pem_private_key
    try:
        loaded = cast(Any, load)(text.encode(), None)
        plain = loaded.private_bytes(
            pem.Encoding.PEM, pem.PrivateFormat.OpenSSH, pem.NoEncryption()
        ).decode()
    except (ValueError, TypeError):
        raise CredentialProblem("the key cannot be read, or it has a passphrase") from None
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        with suppress(paramiko.SSHException, ValueError):
            return kind.from_private_key(io.StringIO(plain))
    raise CredentialProblem("the key is of an unknown kind")
