"""Whom to believe over TLS: one pinned certificate (devices sign their own), or the authorities."""

import base64
import hashlib
import ssl
from collections.abc import Callable
from functools import cache
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from agents.driver import Denied, DriverError, HostKeyChanged, Misconfigured
from agents.messages import Target
from agents.ssh.host_keys import HostKeys


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
    def of(cls, target: Target) -> Self:
        try:
            options = cls.model_validate(target.options)
        except ValidationError as error:
            wrong = sorted({str((*fault["loc"], "")[0])[:40] for fault in error.errors()})
            raise Misconfigured(f"options: {', '.join(wrong)}") from None
        if (options.pin or options.authorities) and not options.tls:
            raise Misconfigured("options: without tls no certificate protects anything")
        if options.pin and options.authorities:
            raise Misconfigured("options: either a pin or authorities")
        return options


class Trust:
    """Judges the certificate of one place, inside the handshake."""

    def __init__(self, options: Options, place: tuple[str, int], certificates: HostKeys) -> None:
        self._options = options
        self._place = place
        self._certificates = certificates
        self._objection: DriverError | None = None

    def context(self) -> ssl.SSLContext:
        if self._options.authorities:
            return _authorities()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.sslobject_class = type("Met", (_Met,), {"greet": staticmethod(self._greet)})
        return context

    def explain(self, error: BaseException | None) -> None:
        """Raises the right error when the certificate was the reason of this one."""
        while error is not None:
            if isinstance(error, ssl.SSLCertVerificationError):
                raise self._objection or Denied("no authority has signed its certificate")
            error = error.__cause__ or error.__context__

    def _greet(self, certificate: bytes) -> None:
        """Raises SSLCertVerificationError for a certificate that is not this device's."""
        if self._options.pin:
            right = hashlib.sha256(certificate).hexdigest() == self._options.pin
            self._objection = None if right else HostKeyChanged("not the certificate of its pin")
        else:
            shown = base64.b64encode(certificate).decode()
            try:
                self._certificates.check(*self._place, "x509", shown)
            except DriverError as objection:
                self._objection = objection
        if self._objection:
            raise ssl.SSLCertVerificationError("not the certificate that was expected")


@cache
def _authorities() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Met(ssl.SSLObject):
    """Looks at the certificate inside the handshake: before anything secret is sent."""

    greet: Callable[[bytes], None]

    def do_handshake(self) -> None:
        super().do_handshake()
        self.greet(self.getpeercert(binary_form=True) or b"")
