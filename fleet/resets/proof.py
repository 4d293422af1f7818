"""What a look after a reset must show, and what of it is kept as evidence; pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.facts import FACTS

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,99}")
"""A hash, a code, an id: nothing that a guest could have written a sentence into."""
PERSONAL = frozenset({"name", "serial"})
"""Devices are named after people; who a device is stands in the inventory."""


@dataclass(frozen=True)
class Mismatch:
    """A fact that does not hold. `got` is None when the look did not tell it."""

    fact: str
    wanted: Any
    got: Any


def verify(expects: Mapping[str, Any], facts: Mapping[str, Any], order_id: str) -> list[Mismatch]:
    """What does not hold of `expects` (as in `Recipe.expects`); empty: the reset is proved.

    A fact that is not told does not hold, and a condition that nobody knows never holds.
    """
    return [
        Mismatch(fact, wanted, facts.get(fact))
        for fact, wanted in sorted(expects.items())
        if fact not in facts or not _holds(wanted, facts[fact], order_id)
    ]


def _holds(wanted: Any, got: Any, order_id: str) -> bool:
    if not isinstance(wanted, Mapping):
        return _same(wanted, got)
    return bool(wanted) and all(
        _condition(name, limit, got, order_id) for name, limit in wanted.items()
    )


def _condition(name: str, limit: Any, got: Any, order_id: str) -> bool:
    match name:
        case "min":
            return _number(got) and _number(limit) and bool(got >= limit)
        case "max":
            return _number(got) and _number(limit) and bool(got <= limit)
        case "in":
            return isinstance(limit, list) and any(_same(each, got) for each in limit)
        case "is":
            return bool(limit == "order" and got == order_id)
    return False


def _same(wanted: Any, got: Any) -> bool:
    """Equal and of one kind: to Python, True is 1."""
    return isinstance(wanted, bool) == isinstance(got, bool) and bool(wanted == got)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def evidence(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a look that may be kept: yes and no, numbers, hashes, single words."""
    return {
        name: value
        for name, value in facts.items()
        if name in FACTS and name not in PERSONAL and _harmless(value)
    }


def _harmless(value: Any) -> bool:
    if isinstance(value, str):
        return WORD.fullmatch(value) is not None
    if isinstance(value, list):
        return len(value) <= 50 and all(isinstance(v, str) and _harmless(v) for v in value)
    return isinstance(value, bool | int | float)
