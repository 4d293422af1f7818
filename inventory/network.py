"""The networks of a site: the only ones that are ever searched for devices."""

from enum import StrEnum

from sqlmodel import Field, SQLModel

from inventory.columns import reference, word


class SnmpVersion(StrEnum):
    V1 = "1"
    V2C = "2c"
    V3 = "3"


class Network(SQLModel, table=True):
    """A range of addresses that belongs to a site, as somebody wrote it down."""

    id: str = Field(primary_key=True, max_length=63)
    site_id: str = Field(sa_column=reference("site.id"))
    range: str = Field(max_length=18)
    """Private IPv4, such as 192.168.10.0/24."""
    credential: str = Field(default="", max_length=63)
    """The *name* of a secret with which SNMP may be read there; empty: SNMP is not asked."""
    snmp: SnmpVersion = Field(default=SnmpVersion.V2C, sa_column=word(SnmpVersion))
