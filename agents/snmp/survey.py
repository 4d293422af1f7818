"""A device that no profile knows: what it tells, and a profile to begin with."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from agents.snmp.facts import Readings, fact, text
from agents.snmp.message import Missing, Oid, Value, oid
from agents.snmp.profile import FALLBACK, Profiles, Source
from agents.snmp.session import Column, Session

ENTERPRISES = oid("1.3.6.1.4.1")
_MIB_2 = "1.3.6.1.2.1"
_BRANCHES = ("1", "2", "17.1", "25.1", "25.2", "25.3", "31.1", "33", "43", "47.1", "99.1", "105.1")
_NET_SNMP = "1.3.6.1.4.1.8072"
_BASE_PORTS = oid("1.3.6.1.2.1.17.1.2.0")
_STANDARDS = {
    "ups-mib": ("on_battery", "battery_ratio"),
    "printer-mib": ("printer_state", "pages", "supply_ratio"),
    "switch": ("ports",),
    "uplink": ("in_bytes", "out_bytes"),
    "host-resources": ("cpu_ratio", "memory_ratio"),
}
"""Profile of a standard → facts, one of which must be told for it to be worth inheriting."""
_MAKER = 7
"""Numbers in an OID that names a maker, and no model."""
_PACKETS = 500
_SHOWN = 200
_TEXT = 60


@dataclass(frozen=True)
class Survey:
    sys_object_id: str
    sys_descr: str
    profile: str
    """The profile that is used now."""
    parts: dict[Oid, Column]
    """What was read, by the branch it was found in."""

    def rows(self) -> Iterator[tuple[Oid, Value]]:
        for root, part in self.parts.items():
            for index, value in part.rows.items():
                yield root + index, value

    @property
    def cut(self) -> bool:
        return not all(part.complete for part in self.parts.values())


async def walk(session: Session, sys_object_id: str, sys_descr: str, profile: str) -> Survey:
    """Standard branches and the makers' own; bounded in packets and rows."""
    roots = [oid(f"{_MIB_2}.{branch}") for branch in _BRANCHES]
    session.most_packets = _PACKETS
    parts = await session.tables([*roots, ENTERPRISES], dict.fromkeys([*roots, ENTERPRISES], 500))
    return Survey(sys_object_id, sys_descr, profile, parts)


def proposal(survey: Survey, profiles: Profiles) -> str:
    """A profile as TOML that can be used as it is, with what else was seen as comments."""
    told = told_by_standards(survey, profiles)
    lines = [
        "# A device model that no profile knows, as it was seen. Keep what you have checked, give",
        "# the file the model's name, and lay it into the folder profiles/ of the agent's state.",
        f"# It calls itself {_quoted(survey.sys_descr)}.",
    ]
    if survey.cut:
        lines.append("# Not everything was read: there is more than is read at once.")
    lines += [f"inherits = {json.dumps(list(told) or [FALLBACK])}", 'vendor = ""', ""]
    lines += ["[[match]]", *_rule(survey), ""]
    for standard, facts in told.items():
        lines.append(f"# By {standard}:")
        lines += [f"#   {name} = {_quoted(value)}" for name, value in facts.items()]
    lines += [
        "",
        "# [facts.model]",
        '# oid = "1.3.6.1.2.1.1.1.0"',
        '# pattern = "^(\\\\S+)"',
        "",
        "# Of its makers' own numbers; a table's columns with their first row.",
        *_candidates(survey),
    ]
    return "\n".join(lines) + "\n"


def told_by_standards(survey: Survey, profiles: Profiles) -> dict[str, dict[str, Any]]:
    """Standard profile → the facts that it finds on this device and that `generic` has not."""
    readings = _readings(survey, profiles)
    found: dict[str, dict[str, Any]] = {}
    for name, wanted in _STANDARDS.items():
        known = {*profiles[FALLBACK].facts, *(fact for facts in found.values() for fact in facts)}
        facts = {
            key: value
            for key, sources in profiles[name].facts.items()
            if key not in known and (value := _first(key, sources, readings)) is not None
        }
        if any(key in facts for key in wanted) and (name != "switch" or _is_bridge(readings)):
            found[name] = facts
    return found


def _first(key: str, sources: Iterable[Source], readings: Readings) -> Any:
    told = (fact(key, source, readings) for source in sources)
    return next((value for value in told if value is not None), None)


def _readings(survey: Survey, profiles: Profiles) -> Readings:
    rows = dict(survey.rows())
    columns: dict[Oid, Column] = {}
    for name in (*_STANDARDS, FALLBACK):
        for sources in profiles[name].facts.values():
            for source in sources:
                columns |= dict.fromkeys(source.needs[1], Column())
    for column in columns:
        inside = {o[len(column) :]: v for o, v in rows.items() if o[: len(column)] == column}
        columns[column] = Column(inside, complete=True)
    return Readings(scalars=rows, columns=columns)


def _is_bridge(readings: Readings) -> bool:
    return bool(readings.scalars.get(_BASE_PORTS))


def _rule(survey: Survey) -> list[str]:
    """The narrowest rule that the device gives: net-snmp's number is worn by everything."""
    number = survey.sys_object_id if _is_oid(survey.sys_object_id) else ""
    lines = [f'sys_object_id = ["{number}"]'] if number else []
    if number and not f"{number}.".startswith(_NET_SNMP) and len(number.split(".")) > _MAKER:
        return lines
    word = re.match(r"\S+", survey.sys_descr)
    lines.append(f"sys_descr = {json.dumps('^' + re.escape(word[0]) if word else '^$')}")
    own = (o for o, v in survey.rows() if o[-1] == 0 and _own(o) and not isinstance(v, Missing))
    if first := next(own, None):
        lines.append(f'probe = {{ oid = "{_dotted(first)}" }}')
    return lines


def _is_oid(told: str) -> bool:
    """A device may say anything, and this is written into a file."""
    return re.fullmatch(r"1\.3(\.\d{1,10})+", told) is not None


def _own(name: Oid) -> bool:
    """A maker's number, and not net-snmp's or UC Davis's."""
    return name[:6] == ENTERPRISES and len(name) > 6 and name[6] not in (8072, 2021)


def _candidates(survey: Survey) -> list[str]:
    scalars: list[str] = []
    tables: dict[Oid, list[Value]] = {}
    firsts: dict[Oid, Oid] = {}
    for name, value in survey.rows():
        if not _own(name):
            continue
        if name[-1] == 0:
            scalars.append(f"# {_dotted(name)} = {_quoted(value)}")
        else:
            tables.setdefault(name[:-1], []).append(value)
            firsts.setdefault(name[:-1], name)
    columns = [
        f"# {_dotted(firsts[at])} = {_quoted(values[0])}"
        + (f" … {len(values)} rows" if len(values) > 1 else "")
        for at, values in tables.items()
    ]
    return [*scalars[:_SHOWN], *columns[:_SHOWN]]


def _quoted(value: Any) -> str:
    """Safe within a comment: one line, no control characters, not long."""
    if isinstance(value, bool | int | float | list):
        return json.dumps(value, ensure_ascii=False)[:_TEXT]
    return json.dumps(text(value)[:_TEXT], ensure_ascii=False)


def _dotted(name: Oid) -> str:
    return ".".join(map(str, name))
