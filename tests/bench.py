"""`make bench`: what it costs. Prints, never fails; name parts to run only those."""

import importlib
import sys

from rich.console import Console
from rich.table import Table

PARTS = (
    "fleet",
    "pages",
    "ping",
    "snmp",
    "ssh",
    "resets",
    "resets_plan",
    "pjlink_kiosk",
    "region",
    "safety",
)


def main(chosen: list[str]) -> None:
    out = Console()
    for part in chosen or PARTS:
        table = Table("what", "value", "unit", title=part)
        for name, value, unit in importlib.import_module(f"tests.bench_{part}").bench():
            table.add_row(name, f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}", unit)
        out.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
