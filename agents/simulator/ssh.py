"""A room laptop behind a real SSH server, which runs the laptop's real reset in its own folder."""

import asyncio
import logging
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)

from agents.simulator import Mood
from agents.simulator.laptop_folder import LaptopFolder
from agents.simulator.tcp import GARBAGE, TcpDevice

WAIT_S = 30.0
"""How long a client may take to sign in and to say what it wants."""
SLOW_S = 0.5
"""Pause after each byte of a slow laptop."""
MAX_JOB = 64 * 1024
WIRE_LOG = "agents.simulator.ssh.wire"
logging.getLogger(WIRE_LOG).setLevel(logging.CRITICAL)


class Laptop(TcpDevice):
    """One listening socket while idle, one short-lived thread for each connection.

    Opened by `password`, or by `key`: the public key's type and base64, as OpenSSH writes them.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        serial: str,
        user: str = "raumwart",
        password: str = "",
        key: str = "",
    ) -> None:
        super().__init__()
        self._folder = LaptopFolder(folder, seed, serial)
        self._user, self._password, self._key = user, password, key
        self._host_key = _host_key(folder / "host_key")
        self.dirty = False
        """Its reset leaves something behind, so that the proof fails."""
        self.refuse = False
        """Somebody is working on it."""

    @property
    def victim(self) -> Path:
        """A file outside the home that the guest's links point to: no reset may touch it."""
        return self._folder.victim

    @property
    def home(self) -> Path:
        return self._folder.home

    def plant_traces(self) -> None:
        """A guest was here: files, history, links that lead out of the home, a temporary file."""
        self._folder.plant_traces()

    def opens(self, user: str, password: str = "", key: str = "") -> bool:
        if self._mood is Mood.DENIED or user != self._user:
            return False
        by_password = bool(self._password) and password == self._password
        return by_password or (bool(self._key) and key == self._key)

    async def _serve(self, connection: socket.socket) -> None:
        self.connections += 1
        loop = asyncio.get_running_loop()
        try:
            with suppress(OSError):
                if self._mood is Mood.HANG:
                    while await loop.sock_recv(connection, 4096):
                        pass
                elif self._mood is Mood.GARBAGE:
                    await loop.sock_sendall(connection, GARBAGE)
                else:
                    await self._in_thread(connection)
        finally:
            connection.close()

    async def _in_thread(self, connection: socket.socket) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        # The thread gets a socket of its own: it may outlive this task for a moment.
        own = connection.dup()
        own.setblocking(True)

        def hold() -> None:
            try:
                self._hold(own)
            finally:
                with suppress(RuntimeError):  # the loop is gone already
                    loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=hold, daemon=True).start()
        try:
            await ended.wait()
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _hold(self, connection: socket.socket) -> None:
        door = _Door(self)
        transport = paramiko.Transport(connection)
        transport.set_log_channel(WIRE_LOG)
        # Its timer of the handshake is a thread that may outlive the connection; ours suffices.
        vars(transport.packetizer)["start_handshake"] = lambda timeout: None
        transport.add_server_key(self._host_key)
        try:
            transport.start_server(server=door)
            channel = transport.accept(WAIT_S)
            if channel and door.asked.wait(WAIT_S):
                self._answer(channel, door.command)
        except (paramiko.SSHException, EOFError, OSError):
            pass  # the client went away or could not sign in
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            transport.join(1.0)

    def _answer(self, channel: paramiko.Channel, command: str) -> None:
        channel.settimeout(WAIT_S)
        job = b""
        while command == "start" and len(job) < MAX_JOB and (more := channel.recv(4096)):
            job += more
        answer, code = self._folder.obey(
            command,
            job,
            in_use=self.refuse,
            leaves_traces=self.dirty,
            wrong_serial=self._mood is Mood.WRONG_DEVICE,
        )
        if self._mood is Mood.HALF:
            channel.sendall(answer[: len(answer) // 2])
            return
        if self._mood is Mood.SLOW:
            for number in range(len(answer)):
                channel.sendall(answer[number : number + 1])
                time.sleep(SLOW_S)
        else:
            channel.sendall(answer)
        channel.send_exit_status(code)
        channel.close()
        # The client hangs up; cutting the line first could overtake what we said.
        if channel.transport:
            channel.transport.join(WAIT_S)


class _Door(paramiko.ServerInterface):
    """Who may come in, and what they ask for."""

    def __init__(self, laptop: Laptop) -> None:
        self._laptop = laptop
        self.command = ""
        self.asked = threading.Event()

    def get_allowed_auths(self, username: str) -> str:
        return "password,publickey"

    def check_auth_password(self, username: str, password: str) -> int:
        return _auth(self._laptop.opens(username, password=password))

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return _auth(self._laptop.opens(username, key=f"{key.get_name()} {key.get_base64()}"))

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.command = command.decode("utf-8", "replace")
        self.asked.set()
        return True


def _auth(opened: bool) -> int:
    return AUTH_SUCCESSFUL if opened else AUTH_FAILED


def _host_key(path: Path) -> paramiko.PKey:
    """Kept in the laptop's folder: a restarted laptop is still the same one."""
    if not path.exists():
        path.write_bytes(
            Ed25519PrivateKey.generate().private_bytes(
                pem.Encoding.PEM, pem.PrivateFormat.OpenSSH, pem.NoEncryption()
            )
        )
        path.chmod(0o600)
    return paramiko.Ed25519Key(filename=str(path))
