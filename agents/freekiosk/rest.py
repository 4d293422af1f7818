"""One request to a tablet under FreeKiosk, with the key in a header."""

from typing import Any

from pydantic import BaseModel, Field, ValidationError

from agents.driver import Denied, Garbled, Misconfigured
from agents.messages import Target
from agents.ssh.host_keys import HostKeys
from agents.web import trust
from agents.web.request import Web

PORT = 8080


class Options(trust.Options):
    """`target.options`. FreeKiosk speaks HTTP alone: `tls` where something in front adds it."""

    start_page: str = Field(default="", max_length=500, pattern="^(https?://[!-~]+)?$")
    """The tablet does not tell its own, so that it must be said here."""


class _Envelope(BaseModel):
    success: bool
    data: Any = None
    error: object = ""


class Complaint(Exception):
    """The tablet understood and said that it will not or cannot."""


class Missing(Complaint):
    """Its version does not know this question."""


class Rest:
    """Questions and commands to one tablet."""

    def __init__(self, target: Target, key: str, certificates: HostKeys) -> None:
        """Raises Misconfigured for an address, key or options that make no sense."""
        self.options = Options.of(target)
        self.web = Web(target, self.options, PORT, certificates)
        self._key = key
        if not (key.isascii() and key.isprintable()):
            raise Misconfigured("the credential's part 'key' holds what no header can")

    async def get(self, what: str) -> dict[str, Any]:
        """The data of one question. Raises Complaint, and DriverError for all else."""
        data = await self._ask("GET", what, None)
        if not isinstance(data, dict):
            raise Garbled(f"{what}: its data is no object")
        return data

    async def post(self, what: str, body: dict[str, str] | None = None) -> None:
        """Raises Complaint, and DriverError for all else."""
        await self._ask("POST", what, body or {})

    async def _ask(self, method: str, what: str, body: dict[str, str] | None) -> Any:
        headers = {"X-Api-Key": self._key} if self._key else {}
        answer = await self.web.ask(method, f"/api/{what}", json=body, headers=headers)
        if answer.status in (401, 403):
            raise Denied(f"{what}: it refuses our key, or remote control")
        if answer.status == 404:
            raise Missing(f"{what}: unknown to this version")
        try:
            envelope = _Envelope.model_validate_json(answer.body)
        except ValidationError:
            raise Garbled(f"{what}: not the JSON of FreeKiosk") from None
        if not envelope.success:
            said = "".join(filter(str.isprintable, str(envelope.error)))
            if self._key:
                said = said.replace(self._key, "…")
            raise Complaint(f"{what}: {said[:100]}")
        if answer.status != 200:
            raise Garbled(f"{what}: HTTP status {answer.status}")
        return envelope.data
