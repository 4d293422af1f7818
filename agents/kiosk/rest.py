"""One request to a tablet: the password in the body, a small answer, a pinned certificate."""

import base64
import hashlib
import ssl
from collections.abc import Callable
from functools import cache
from typing import Annotated

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from agents.driver import (
    Denied,
    DriverError,
    Garbled,
    HostKeyChanged,
    Misconfigured,
    Unreachable,
)
from agents.messages import Target
from agents.ssh.host_keys import HostKeys

PORT = 2323
LARGEST_ANSWER = 256 * 1024


def _bare(pin: object) -> object:
    return pin.replace(":", "").lower() if isinstance(pin, str) else pin


class Options(BaseModel):
    """`target.options`. With `tls` the certificate of the first meeting is pinned, or the one of
    `pin` (SHA-256 in hex); `authorities`: whatever the system's authorities have signed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tls: bool = False
    authorities: bool = False
    pin: Annotated[str, BeforeValidator(_bare), Field(pattern="^([0-9a-f]{64})?$")] = ""

    @classmethod
    def of(cls, target: Target) -> "Options":
        try:
            options = cls.model_validate(target.options)
        except ValidationError as error:
            wrong = sorted({str(fault["loc"][0])[:40] for fault in error.errors()})
            raise Misconfigured(f"options: {', '.join(wrong)}") from None
        if (options.pin or options.authorities) and not options.tls:
            raise Misconfigured("options: without tls no certificate protects anything")
        if options.pin and options.authorities:
            raise Misconfigured("options: either a pin or authorities")
        return options


class _Status(BaseModel):
    """The envelope around every answer but deviceInfo's."""

    status: object = ""
    statustext: object = ""


class Complaint(Exception):
    """The tablet understood and said Error, which Fully Kiosk does with HTTP status 200."""


class Rest:
    """Requests to one tablet, each over its own connection. `heard`: an answer has begun."""

    def __init__(self, target: Target, password: str, certificates: HostKeys) -> None:
        """Raises Misconfigured for an address or options that make no sense."""
        self._certificates = certificates
        self._objection: DriverError | None = None
        self._options = Options.of(target)
        scheme = "https" if self._options.tls else "http"
        port = PORT if target.port is None else target.port
        try:
            self._url = httpx.URL(scheme=scheme, host=target.address, port=port, path="/")
        except (httpx.InvalidURL, ValueError, TypeError):
            raise Misconfigured("this address cannot exist") from None
        if not 0 < port < 65536:
            raise Misconfigured("this port cannot exist")
        self._password = password
        self.heard = False

    async def ask(self, command: str, **about: str) -> bytes:
        """The JSON text of the answer. Raises Complaint, and DriverError for all else."""
        try:
            async with self._client() as client:
                body = await self._exchange(client, command, about)
        except httpx.RemoteProtocolError as error:
            raise Garbled(f"{command}: {error}"[:200]) from None
        except (httpx.InvalidURL, httpx.LocalProtocolError):
            raise Misconfigured("this address cannot exist") from None
        except httpx.HTTPError as error:
            self._explain(error)
            raise Unreachable(str(error)[:200] or type(error).__name__) from None
        self._check(command, body)
        return body

    async def _exchange(
        self, client: httpx.AsyncClient, command: str, about: dict[str, str]
    ) -> bytes:
        async with client.stream(
            "POST",
            self._url.copy_merge_params({"cmd": command, "type": "json"}),
            data={"password": self._password, **about},
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        ) as response:
            self.heard = True
            if response.status_code in (401, 403):
                raise Denied(f"HTTP status {response.status_code}")
            if response.status_code != 200:
                raise Garbled(f"HTTP status {response.status_code}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise Garbled("a compressed answer that was not asked for")
            body = b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    raise Garbled(f"more than {LARGEST_ANSWER} bytes")
            return body

    def _client(self) -> httpx.AsyncClient:
        """No proxy, no redirect, no kept connection; the caller bounds the time more tightly."""
        return httpx.AsyncClient(
            verify=self._trust(),
            trust_env=False,
            follow_redirects=False,
            timeout=60.0,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def _trust(self) -> ssl.SSLContext:
        """The system's authorities, or one certificate alone (tablets sign their own)."""
        if self._options.authorities:
            return _authorities()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.sslobject_class = type("Met", (_Met,), {"greet": staticmethod(self._greet)})
        return context

    def _greet(self, certificate: bytes) -> None:
        """Raises SSLCertVerificationError for a certificate that is not this tablet's."""
        if self._options.pin:
            right = hashlib.sha256(certificate).hexdigest() == self._options.pin
            self._objection = None if right else HostKeyChanged("not the certificate of its pin")
        else:
            shown = base64.b64encode(certificate).decode()
            place = (self._url.host, self._url.port or PORT)
            try:
                self._certificates.check(*place, "x509", shown)
            except DriverError as objection:
                self._objection = objection
        if self._objection:
            raise ssl.SSLCertVerificationError("not the certificate that was expected")

    def _explain(self, error: BaseException | None) -> None:
        """Raises the right error when the certificate was the reason."""
        while error is not None:
            if isinstance(error, ssl.SSLCertVerificationError):
                raise self._objection or Denied("no authority has signed its certificate")
            error = error.__cause__ or error.__context__

    def _check(self, command: str, body: bytes) -> None:
        try:
            status = _Status.model_validate_json(body)
        except ValidationError:
            raise Garbled(f"{command}: not the JSON of Fully Kiosk") from None
        if status.status == "Error":
            said = "".join(filter(str.isprintable, str(status.statustext)))
            if "login" in said.lower():
                raise Denied("it refuses the password")
            raise Complaint(f"{command}: {said.replace(self._password, '…')[:100]}")


@cache
def _authorities() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Met(ssl.SSLObject):
    """Looks at the certificate inside the handshake: before anything secret is sent."""

    greet: Callable[[bytes], None]

    def do_handshake(self) -> None:
        super().do_handshake()
        self.greet(self.getpeercert(binary_form=True) or b"")
