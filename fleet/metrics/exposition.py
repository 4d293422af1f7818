"""Prometheus' text format 0.0.4, written by hand: a hundred times faster than metric objects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import isnan

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@lru_cache(maxsize=50_000)
def _pair(name: str, value: str) -> str:
    """The same few stand in very many lines."""
    return f'{name}="{value.translate(_ESCAPES)}"'


def labels(values: Mapping[str, object]) -> str:
    """`site="north",room="library"`, with the values escaped."""
    return ",".join([_pair(name, str(value)) for name, value in values.items()])


def number(value: float) -> str:
    """A value as Prometheus reads it; true and false are 1 and 0."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isnan(value):
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def sample(name: str, text: str, value: float) -> str:
    """One line; `text`: what `labels` gave."""
    marked = f"{{{text}}}" if text else ""
    return f"{name}{marked} {number(value)}\n"


@dataclass
class Family:
    """One metric: all its lines stand together under its HELP and TYPE."""

    name: str
    type: str
    help: str
    lines: list[str] = field(default_factory=list)

    def add(self, value: float, **values: object) -> None:
        self.lines.append(sample(self.name, labels(values), value))

    def states(self, name: str, words: Iterable[str], current: str, **values: object) -> None:
        """A state set: 1 for the current word, 0 for the others."""
        for word in words:
            self.add(word == current, **values, **{name: word})

    def head(self) -> str:
        text = self.help.replace("\\", "\\\\").replace("\n", "\\n")
        return f"# HELP {self.name} {text}\n# TYPE {self.name} {self.type}\n"


def write(families: Iterable[Family]) -> bytes:
    """The page; a metric without a sample is left out."""
    parts: list[str] = []
    for family in families:
        if family.lines:
            parts.append(family.head())
            parts.extend(family.lines)
    return "".join(parts).encode()
