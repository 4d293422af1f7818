"""A real mail server and a real web server that take messages, fail, hang and come back."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class MailServer:
    """`answer`: what is said to a message; "250" takes it. Any user with the password may send."""

    def __init__(self, password: str = "", **more: Any) -> None:
        self.letters: list[EmailMessage] = []
        self.answer = "250 OK"
        self.hang_up = False
        outer = self

        class Handler:
            async def handle_DATA(  # noqa: N802 (the library's name)
                self, server: Any, _session: Any, envelope: Any
            ) -> str:
                if outer.answer.startswith("250"):
                    letter = message_from_bytes(envelope.content, policy=policy.default)
                    assert isinstance(letter, EmailMessage)
                    outer.letters.append(letter)
                if outer.hang_up:
                    await server.push(outer.answer)
                    server.transport.close()
                return outer.answer

        def authenticate(_server: Any, _session: Any, _envelope: Any, _how: str, data: Any) -> Any:
            return AuthResult(success=data.password == password.encode(), handled=False)

        with socket.socket() as probe:  # the library cannot find out which port it was given
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._controller = Controller(
            Handler(),
            hostname="127.0.0.1",
            port=self.port,
            authenticator=authenticate if password else None,
            auth_require_tls=True,
            **more,
        )
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()


class Hook:
    """A webhook's receiver. `answer`: the status; 0: it never answers."""

    def __init__(self) -> None:
        self.answer = 200
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append((self.path, dict(self.headers), body))
                if not outer.answer:
                    outer.released.wait(30)
                    return
                self.send_response(outer.answer)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def hook() -> Iterator[Hook]:
    server = Hook()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def mail_server(password: str = "", **more: Any) -> Iterator[MailServer]:
    server = MailServer(password, **more)
    try:
        yield server
    finally:
        server.stop()


def certificate(folder: Path, openssl: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signed itself, and its key."""
    crt, key = folder / "mail.crt", folder / "mail.key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", crt, "-days", "30", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
        timeout=30,
    )  # fmt: skip
    return crt, key
