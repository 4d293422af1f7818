"""Access points behind a controller: one address speaks for many, each is a device of its own."""

from typing import TypeVar

from agents.driver import Misconfigured, Unreachable
from agents.snmp.facts import text
from agents.snmp.message import Oid, Value, oid
from agents.snmp.profile import AccessPoints, Profile, Source, Term
from agents.snmp.session import Session

UNKNOWN = "its controller does not know this access point"
T = TypeVar("T", bound=Term)
_ADDRESS = 6
_PLACES = ("oid", "column", "times", "over", "label")


async def narrowed(session: Session, name: str, profile: Profile, mac: str) -> Profile:
    """The profile of one access point: only its own rows. Raises DriverError."""
    if profile.access_points is None:
        raise Misconfigured(f"the SNMP profile '{name}' knows no access points behind a device")
    index = await _index(session, profile.access_points, mac)
    facts = {
        fact: tuple(_moved(source, index) for source in sources)
        for fact, sources in profile.access_points.facts.items()
    }
    up = _moved(profile.access_points.up, index)
    behind = profile.access_points.model_copy(update={"up": up, "facts": facts})
    return profile.model_copy(update={"facts": facts, "access_points": behind})


async def listed(session: Session, known: AccessPoints) -> list[tuple[str, str]]:
    """(address, name) of all that the controller tells, in its order."""
    names = await _rows(session, known.name)
    if known.mac is None:
        return [
            (bytes(index[:_ADDRESS]).hex(":"), text(name))
            for index, name in names.items()
            if len(index) >= _ADDRESS and max(index[:_ADDRESS]) < 256
        ]
    addresses = await _rows(session, known.mac)
    return [
        (found, text(name))
        for index, name in names.items()
        if (found := _address(addresses.get(index)))
    ]


async def _index(session: Session, known: AccessPoints, mac: str) -> Oid:
    if known.mac is None:
        return tuple(bytes.fromhex(mac.replace(":", "")))
    for index, value in (await _rows(session, known.mac)).items():
        if _address(value) == mac:
            return index
    raise Unreachable(UNKNOWN)


async def _rows(session: Session, column: str) -> dict[Oid, Value]:
    return (await session.tables([oid(column)], {}))[oid(column)].rows


def _address(value: Value) -> str:
    """A hardware address from its six octets or from its text, else nothing."""
    if not isinstance(value, bytes):
        return ""
    if len(value) == _ADDRESS:
        return value.hex(":")
    digits = "".join(c for c in text(value).casefold() if c in "0123456789abcdef")
    return bytes.fromhex(digits).hex(":") if len(digits) == 2 * _ADDRESS else ""


def _moved(term: T, index: Oid) -> T:
    """The same term with this index behind all its places."""
    tail = "".join(f".{number}" for number in index)
    changed = {place: found + tail for place in _PLACES if (found := getattr(term, place))}
    where = tuple(w.model_copy(update={"column": w.column + tail}) for w in term.where)
    fields = dict(term) | changed | {"where": where}
    if isinstance(term, Source):
        per = term.per and _moved(term.per, index)
        fields |= {"minus": tuple(_moved(less, index) for less in term.minus), "per": per}
    return type(term)(**fields)  # anew: a copy would keep what the old one has worked out
