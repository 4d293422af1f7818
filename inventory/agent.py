"""When the agent of a site was last heard, and how it was doing."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from inventory.columns import moment


class AgentContact(SQLModel, table=True):
    """The newest heartbeat of one site's agent. Without it silence would look like peace."""

    __tablename__ = "agent_contact"

    site_id: str = Field(primary_key=True, foreign_key="site.id", ondelete="CASCADE", max_length=63)
    at: datetime = Field(sa_column=moment(nullable=False))
    """When it said so; a clock that runs ahead is set back to when we heard it."""
    ahead_s: float = Field(default=0)
    """How far its clock ran ahead of ours when that was too much to believe, else 0."""
    version: str = Field(default="", max_length=63)
    revision: int = Field(default=0, sa_type=BigInteger)
    """The roster it works from."""
    targets: int = Field(default=0)
    polls: int = Field(default=0, sa_type=BigInteger)
    """Polls since the agent started."""
    late: int = Field(default=0, sa_type=BigInteger)
    """Polls that began more than one interval late since it started."""
