"""From raw values to facts: cleaning, scaling, choosing rows, and never guessing."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from agents.facts import FACTS, LONGEST_TEXT, Fact, Kind
from agents.snmp.message import Missing, Oid, OidText, Value, oid
from agents.snmp.profile import Source, Term, Where
from agents.snmp.session import Column

_RANGES = {
    "ratio": (0.0, 1.0),
    "celsius": (-40.0, 130.0),
    "dbm": (-130.0, -1.0),
    "volts": (0.0, 1000.0),
    "watts": (0.0, 100_000.0),
}
_NOT_NEGATIVE = (0.0, 1e20)
_TRUTH = Fact("", Kind.STATE, "bool", "")
_MAX_TEXT = 200
_MAX_NAME = 32
_FILLERS = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass
class Readings:
    """What one poll has read so far."""

    scalars: dict[Oid, Value] = field(default_factory=dict)
    columns: dict[Oid, Column] = field(default_factory=dict)
    _selections: dict[tuple[Where, ...], set[Oid] | None] = field(default_factory=dict)

    def add(self, scalars: Mapping[Oid, Value], columns: Mapping[Oid, Column]) -> None:
        self.scalars.update(scalars)
        self.columns.update(columns)
        self._selections.clear()

    def selection(self, where: tuple[Where, ...]) -> set[Oid] | None:
        """Oides that fit all conditions; None when a column was not read to its end."""
        if where not in self._selections:
            self._selections[where] = self._select(where)
        return self._selections[where]

    def _select(self, where: Iterable[Where]) -> set[Oid] | None:
        chosen: set[Oid] | None = None
        for condition in where:
            column = self.columns.get(oid(condition.column), Column())
            if not column.complete:
                return None
            rows = {index for index, value in column.rows.items() if _fits(condition, value)}
            chosen = rows if chosen is None else chosen & rows
        return chosen


def text(value: Value) -> str:
    """Readable text: without NULs, padding and invalid UTF-8."""
    if value is None or isinstance(value, Missing):
        return ""
    raw = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return _FILLERS.sub(" ", raw.replace("\ufffd", "?")).strip()[:_MAX_TEXT]


def number(value: Value) -> float | None:
    """A number, also one that an agent tells as text with NULs or a percent sign."""
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        # No underscores, no "nan": Python's float() would take more than an agent may mean.
        found = re.fullmatch(rb"[\s\x00]*([+-]?\d{1,18}(?:\.\d+)?)\s*%?[\s\x00]*", value)
        return float(found[1]) if found else None
    return None


def fact(name: str, source: Source, readings: Readings) -> Any:
    """The value of a fact by this source, in the fact's unit, or None."""
    known = FACTS[name]
    main = _term(source, known, readings)
    if main is None or isinstance(main, bool | str | list):
        return _word(main, known)
    for term in source.minus:
        main -= _term(term, known, readings) or 0
    if source.per is not None:
        divisor = _term(source.per, known, readings)
        if not divisor or divisor < 0:
            return None
        main = main / divisor
    if source.complement:
        main = 1 - main
    low, high = source.range or _RANGES.get(known.unit, _NOT_NEGATIVE)
    if not low <= main <= high:
        return None
    whole = known.unit in ("", "bytes") and float(main).is_integer()
    return int(main) if whole else round(float(main), 6)


def truth(source: Source, readings: Readings) -> bool | None:
    """Whether what a source asks is so; None when the device does not say."""
    found = _term(source, _TRUTH, readings)
    return found if isinstance(found, bool) else None


def _term(term: Term, known: Fact, readings: Readings) -> Any:
    """The one value of a term; numbers are checked against a range only in `fact`, except rows."""
    if term.oid is not None:
        raw = readings.scalars.get(oid(term.oid))
        return None if raw is None else _convert(term, known, raw)
    rows = _rows(term, readings)
    if rows is None:
        return None
    if term.aggregate == "count":
        return _count(term, known, rows)
    values = {
        index: v
        for index, raw in rows.items()
        if (v := _row(term, known, readings, index, raw)) is not None
    }
    if not values:
        return None
    if term.label is not None:
        return _lines(term, values, readings.columns.get(oid(term.label), Column()))
    return _aggregate(term, known, list(values.values()))


def _rows(term: Term, readings: Readings) -> dict[Oid, Value] | None:
    column = readings.columns.get(oid(term.column or ""), Column())
    if not column.rows or not (column.complete or term.aggregate == "first"):
        return None
    rows = column.rows
    if term.where:
        chosen = readings.selection(term.where)
        if chosen is None:
            return None
        rows = {index: value for index, value in rows.items() if index in chosen}
    if term.named is not None:
        rows = {index: v for index, v in rows.items() if re.search(term.named, _name(index))}
    return rows


def _name(index: Oid) -> str:
    """An index that is a text: its length, then its characters."""
    return "".join(chr(number) for number in index[1:] if number < 128)


def _row(term: Term, known: Fact, readings: Readings, index: Oid, raw: Value) -> Any:
    value = _convert(term, known, raw)
    for other, divide in ((term.times, False), (term.over, True)):
        if other is None or value is None:
            continue
        column = readings.columns.get(oid(other), Column())
        factor = number(column.rows.get(index))
        if factor is None or factor <= 0:
            return None
        value = value / factor if divide else value * factor
    if isinstance(value, int | float) and not isinstance(value, bool) and term.range:
        low, high = term.range
        return value if low <= value <= high else None
    return value


def _count(term: Term, known: Fact, rows: dict[Oid, Value]) -> int | None:
    """How many rows there are, or with a `map` how many are true; None where there is no row."""
    if term.map is None:
        return len(rows) or None
    return sum(_convert(term, known, raw) is True for raw in rows.values()) if rows else None


def _lines(term: Term, values: dict[Oid, float], names: Column) -> list[str] | None:
    """A line for each name, in the table's order: "Lernraum: 14", shares as "Toner: 40 %".

    Counts of one name are added up; shares of one name, which nobody may add, are lines each.
    """
    named = [(text(names.rows.get(index))[:_MAX_NAME], value) for index, value in values.items()]
    if term.over is not None:
        lines = [f"{name}: {value * 100:.0f} %" for name, value in named if name]
    else:
        sums: dict[str, float] = defaultdict(int)
        for name, value in named:
            sums[name] += value
        lines = [f"{name}: {value:g}" for name, value in sums.items() if name]
    while sum(map(len, lines)) > LONGEST_TEXT:
        lines.pop()
    return lines or None


def _aggregate(term: Term, known: Fact, values: list[Any]) -> Any:
    if term.aggregate == "only":
        return values[0] if len(values) == 1 else None
    if term.aggregate == "worst":
        order = known.values or (False, True)
        return max(values, key=lambda v: order.index(v) if v in order else -1)
    chosen: dict[str, Callable[[list[Any]], Any]] = {
        "first": lambda found: found[0],
        "sum": sum,
        "max": max,
        "min": min,
        "mean": fmean,
    }
    return chosen[term.aggregate](values)


def _convert(term: Term, known: Fact, raw: Value) -> Any:
    if term.bits:
        return _bits(term.bits, raw)
    if term.type == "mac":
        return raw.hex(":") if isinstance(raw, bytes) and len(raw) == 6 and any(raw) else None
    if term.pattern is not None:
        found = re.search(term.pattern, text(raw))
        raw = found[found.re.groups and 1].encode() if found else None
    if term.map is not None:
        return term.map.get(text(raw))
    if term.type == "text" or (term.type is None and known.kind is Kind.LABEL):
        return text(raw) or None
    return _scaled(term, number(raw))


def _scaled(term: Term, value: float | None) -> float | None:
    if value is None or value in term.sentinels:
        return None
    if term.type == "channel":
        return _channel(value)
    if term.type == "channel_6g":
        return int(value - 5950) // 5 if 5955 <= value <= 7115 else None
    # Integers stay integers: a 64-bit counter does not fit into a float.
    scaled = value if term.scale == 1 else value * term.scale
    return scaled if term.offset == 0 else scaled + term.offset


def _bits(bits: Iterable[int], raw: Value) -> bool | None:
    if not isinstance(raw, bytes) or not raw:
        return None
    return any(bit // 8 < len(raw) and raw[bit // 8] >> (7 - bit % 8) & 1 for bit in bits)


def _channel(value: float) -> int | None:
    """A channel number, from itself or from its centre frequency in MHz."""
    if 1 <= value <= 196:
        return int(value)
    if value == 2484:
        return 14
    if 2412 <= value <= 2472:
        return int(value - 2407) // 5
    return int(value - 5000) // 5 if 5160 <= value <= 5885 else None


def _fits(condition: Where, value: Value) -> bool:
    if isinstance(value, Missing) or value is None:
        return False
    if condition.one_of and text(value) not in condition.one_of:
        return False
    if condition.matches is not None and not re.search(condition.matches, text(value)):
        return False
    if condition.between is not None:
        found = number(value)
        return found is not None and condition.between[0] <= found <= condition.between[1]
    return True


def _word(value: Any, known: Fact) -> Any:
    """A word or truth that this fact may have, else None."""
    if known.unit == "bool":
        return value if isinstance(value, bool) else None
    if known.values:
        return value if value in known.values else None
    return value.strip() if isinstance(value, str | OidText) else value
