"""From the name of a credential to the secret, on the agent's own machine and nowhere else."""

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path


class CredentialProblem(Exception):
    """A credential cannot be used; the message never holds the secret itself."""


@dataclass(frozen=True)
class Secret:
    """The parts of one credential. `repr` never shows them."""

    parts: dict[str, str] = field(repr=False)

    def get(self, part: str, default: str = "") -> str:
        return self.parts.get(part, default)

    def __getitem__(self, part: str) -> str:
        try:
            return self.parts[part]
        except KeyError:
            raise CredentialProblem(f"the credential has no part '{part}'") from None


class Credentials:
    """Looks a name up: first `RAUMWART_SECRET_<NAME>` (JSON), then `<folder>/<name>.json`.

    The JSON object holds the parts, for example `{"community": "…"}`, `{"user": …, "auth": …}`,
    `{"password": …}` or `{"user": …, "key_file": …}`. A file that others can read is refused.
    Read anew at each look-up, so a changed password needs no restart.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def find(self, name: str) -> Secret:
        """The secret of that name. Raises CredentialProblem when it is missing or unsafe."""
        text = os.environ.get("RAUMWART_SECRET_" + name.upper().replace("-", "_"))
        if text is None:
            text = self._read(name)
        try:
            parts = json.loads(text)
        except ValueError:
            raise CredentialProblem(f"credential '{name}' is not JSON") from None
        if not isinstance(parts, dict) or not all(isinstance(v, str) for v in parts.values()):
            raise CredentialProblem(f"credential '{name}' is not a JSON object of texts")
        return Secret(parts)

    def _read(self, name: str) -> str:
        if self._folder is None or not name or name != Path(name).name or name.startswith("."):
            raise CredentialProblem(f"credential '{name}' is not known here")
        path = self._folder / f"{name}.json"
        try:
            mode = path.stat().st_mode
            text = path.read_text()
        except OSError:
            raise CredentialProblem(f"credential '{name}' is not known here") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CredentialProblem(
                f"credential file '{path.name}' can be read by others: chmod 600"
            )
        return text
