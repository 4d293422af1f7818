"""What can be set from outside, read once at the start and handed down."""

import difflib
import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

OTHERS = {"FLEET_TOKEN", "FLEET_TOKEN_FILE", "FLEET_CREDENTIALS_DIR", "FLEET_RECORDINGS"}
"""Read by Ansible's inventory, compose and the tests, not by the service."""


def _networks(said: Any) -> Any:
    """`10.0.0.0/8, fd00::/8` → the list of them, each checked."""
    if not isinstance(said, str):
        return said
    return [str(ip_network(part.strip())) for part in said.split(",") if part.strip()]


Networks = Annotated[list[str], NoDecode, BeforeValidator(_networks)]
"""Networks as CIDR; in the environment with commas between them."""


class Settings(BaseSettings):
    """`FLEET_<NAME>` in the environment. An unknown or wrong value refuses to start."""

    model_config = SettingsConfigDict(env_prefix="FLEET_", extra="forbid")

    home: Path = Path("var")
    """Folder for what the service keeps beside the database: its signing key, pinned host keys."""
    db: str = ""
    """Database URL; empty: SQLite in `home`."""
    bus: str = "local:"
    """`local:` or `nats://host:port`."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    url: str = ""
    """How people reach the service, for links and codes; empty: http://host:port."""
    credentials: Path | None = None
    """Folder with the devices' secrets, for an agent on this machine."""
    poll_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """How often each device is polled."""
    reset_lead_s: Annotated[int, Field(ge=60, le=86400)] = 3600
    """How long before a course its devices are expected to be there and its reset is due."""
    reset_ahead_s: Annotated[int, Field(ge=60, le=7 * 86400)] = 16 * 3600
    """How long before a course its resets are made at the earliest: as soon as the room is free,
    for the first course of a day the evening before. A recipe's own lead time goes before."""
    reset_per_day: Annotated[int, Field(ge=1, le=100)] = 12
    """How often one device is reset by the plan within 24 hours at most."""
    reset_starts: Annotated[int, Field(ge=1, le=100_000)] = 600
    """How many resets may begin within five minutes, at all sites together."""
    reset_grace_s: Annotated[int, Field(ge=0, le=3600)] = 120
    """How long after a course's end nothing is touched: courses overrun."""
    reset_buffer_s: Annotated[int, Field(ge=0, le=3600)] = 300
    """How long before a course everything must be finished: people come early."""
    calendar_s: Annotated[int, Field(ge=10, le=86400)] = 300
    """How often the timetables are read."""
    calendar_networks: Networks = []
    """Internal networks (CIDR) from which timetables may be read; public addresses always may."""
    discovery_hour: Annotated[int, Field(ge=-1, le=23)] = 3
    """In which hour of the night the sites' networks are searched; -1: only when asked for."""
    metrics_networks: Networks = ["127.0.0.0/8", "::1/128"]
    """From where /metrics may be read without a token."""
    metrics_token: str = ""
    """Bearer token that opens /metrics from elsewhere."""

    mail_host: str = ""
    """The mail server that messages are sent through; empty: none are sent by e-mail."""
    mail_port: Annotated[int, Field(ge=1, le=65535)] = 587
    mail_tls: Literal["starttls", "tls", "none"] = "starttls"
    """`none` only for a mail server on this very machine."""
    mail_from: str = ""
    """The sender's address; empty: raumwart@ and the host of FLEET_URL."""
    mail_user: str = ""
    mail_credential: str = ""
    """Name of the credential with the part `password`."""
    mail_password_file: Path | None = None
    """A file with the password, instead of a credential."""
    webhook_networks: Networks = []
    """Internal networks (CIDR) that webhooks may lead to; public addresses always may."""

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_name(cls, values: Any) -> Any:
        """A misspelt setting would otherwise silently keep its default."""
        known = {f"FLEET_{name.upper()}" for name in cls.model_fields} | OTHERS
        for name in sorted(os.environ):
            if name.startswith("FLEET_") and name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"there is no setting {name}{hint}")
        return values

    @field_validator("bus")
    @classmethod
    def _bus_is_known(cls, said: str) -> str:
        parts = urlsplit(said)
        nats = parts.scheme in ("nats", "tls", "ws", "wss") and parts.hostname
        if said != "local:" and not nats:
            raise ValueError("must be local: or nats://host:port")
        return said

    @field_validator("url")
    @classmethod
    def _url_leads_somewhere(cls, said: str) -> str:
        parts = urlsplit(said)
        if said and not (parts.scheme in ("http", "https") and parts.hostname):
            raise ValueError("must begin with https:// or http:// and name a host")
        return said

    @field_validator("credentials")
    @classmethod
    def _credentials_are_there(cls, said: Path | None) -> Path | None:
        if said is not None and not said.is_dir():
            raise ValueError(f"there is no folder {said}")
        return said

    @property
    def database_url(self) -> str:
        return self.db or f"sqlite:///{self.home / 'fleet.db'}"

    @property
    def public_url(self) -> str:
        return self.url.rstrip("/") or f"http://{self.host}:{self.port}"
