"""Reads a timetable of any kind into occurrences, and is never silent about a loss.

What strangers wrote is read in a process of its own, with limits on time and memory and without
any of the service's secrets.
"""

import resource
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from fleet.calendars.contents import Contents, Occurrence, Wanted

__all__ = ["Contents", "Occurrence", "Wanted", "read", "read_apart"]

READ_S = 20.0
"""Time for a whole feed, the start of the process included."""
MEMORY_BYTES = 1024**3


def read_apart(
    body: bytes, start: datetime, end: datetime, wanted: Wanted, *, within_s: float = READ_S
) -> Contents:
    """`read` in a process of its own."""
    told = [start.isoformat(), end.isoformat(), wanted.model_dump_json()]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fleet.calendars", *told],
            input=body,
            capture_output=True,
            timeout=within_s,
            check=True,
            cwd=Path(__file__).parent.parent.parent,
            env={},  # none of the service's secrets
        )
        return Contents.model_validate_json(done.stdout)
    except subprocess.TimeoutExpired:
        return Contents(problem="too_slow")
    except (subprocess.CalledProcessError, ValidationError):
        return Contents(problem="unreadable", detail="the reader gave up")


def read(body: bytes, start: datetime, end: datetime, wanted: Wanted) -> Contents:
    """All occurrences that overlap [start, end). Uses a signal: main thread only."""
    # Only what is needed is loaded: a process is started for every reading.
    if wanted.kind == "csv":
        from fleet.calendars import csv_rows

        return csv_rows.read(body, start, end, wanted)
    if wanted.kind == "xml":
        from fleet.calendars import xml_rows

        return xml_rows.read(body, start, end, wanted)
    if wanted.kind == "caldav":
        from fleet.calendars import caldav

        return caldav.read(body, start, end, wanted)
    from fleet.calendars import ical

    return ical.read(body, start, end, wanted)


def main() -> None:
    """`python -m fleet.calendars START END WANTED`."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(READ_S), int(READ_S)))
    start, end = (datetime.fromisoformat(each) for each in sys.argv[1:3])
    wanted = Wanted.model_validate_json(sys.argv[3])
    contents = read(sys.stdin.buffer.read(), start, end, wanted)
    sys.stdout.write(contents.model_dump_json())
