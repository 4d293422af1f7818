"""What is wrong with a file, and where: said once, in a sentence that a human can act on."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

SHOWN = 50
"""So many faults are listed; of the others only the number is told."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. Line 0: the file as a whole."""

    file: str
    line: int
    column: str
    text: str

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        column = f", {self.column}" if self.column else ""
        return f"{self.file}{line}{column}: {self.text}"


@dataclass(frozen=True)
class Place:
    """Where an entry stands. `lines`: the lines of its single fields, as far as they are known."""

    file: str
    line: int
    lines: Mapping[str, int] = field(default_factory=dict)

    def fault(self, column: str, text: str) -> Fault:
        return Fault(self.file, self.lines.get(column, self.line), column, text)


class ImportRefused(Exception):
    """Nothing was taken over. `errors`: the first 50 of all `faults`; `total`: their number."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = sorted(faults, key=lambda fault: (fault.file, fault.line))
        self.errors = self.faults[:SHOWN]
        self.total = len(self.faults)
        lines = [str(fault) for fault in self.errors]
        if self.total > SHOWN:
            lines.append(f"… and {self.total - SHOWN} more")
        super().__init__("\n".join(lines))


def not_known(what: str, word: str, known: Collection[str]) -> str:
    """A sentence for a word that is not in a list; names the nearest one, or the list."""
    said = f"there is no {what} '{word[:80]}'"
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.65)
    if near:
        return f"{said}; did you mean '{near[0]}'?"
    listed = ", ".join(sorted(known)[:12]) + (", …" if len(known) > 12 else "")
    return f"{said}; known: {listed}" if known else f"{said}; none is known yet"
