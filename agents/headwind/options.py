"""How a tablet is found at its MDM server."""

from pydantic import Field

from agents.web import trust

PORT = 443


class Options(trust.Options):
    """`target.options`; address, port and credential of the target are the server's."""

    tls: bool = True
    """Unlike a tablet's own: an MDM password opens every tablet there is."""
    number: str = Field(default="", max_length=100)
    """The tablet's number at the server; empty: it is found by its serial number."""
    path: str = Field(default="/rest", pattern=r"^(/[A-Za-z0-9._~-]+)*$", max_length=100)
    silent_after_s: float = Field(default=3600, ge=60)
    """A report older than this says nothing of how the tablet is now."""
