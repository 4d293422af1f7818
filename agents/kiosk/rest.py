"""One request to a tablet under Fully Kiosk, with the password in the body."""

from pydantic import BaseModel, ValidationError

from agents.driver import Denied, Garbled
from agents.messages import Target
from agents.ssh.host_keys import HostKeys
from agents.web.request import Web
from agents.web.trust import Options

PORT = 2323


class _Status(BaseModel):
    """The envelope around every answer but deviceInfo's."""

    status: object = ""
    statustext: object = ""


class Complaint(Exception):
    """The tablet understood and said Error, which Fully Kiosk does with HTTP status 200."""


class Rest:
    """Commands to one tablet."""

    def __init__(self, target: Target, password: str, certificates: HostKeys) -> None:
        """Raises Misconfigured for an address or options that make no sense."""
        self.web = Web(target, Options.of(target), PORT, certificates)
        self._password = password

    async def ask(self, command: str, **about: str) -> bytes:
        """The JSON text of the answer. Raises Complaint, and DriverError for all else."""
        answer = await self.web.ask(
            "POST",
            params={"cmd": command, "type": "json"},
            form={"password": self._password, **about},
        )
        if answer.status in (401, 403):
            raise Denied(f"HTTP status {answer.status}")
        if answer.status != 200:
            raise Garbled(f"HTTP status {answer.status}")
        self._check(command, answer.body)
        return answer.body

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
