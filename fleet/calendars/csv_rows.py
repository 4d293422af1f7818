"""Reads a CSV export: any encoding and separator that spreadsheets and course software write."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, repeat
from typing import TextIO

from fleet.calendars import table
from fleet.calendars.contents import Contents, Unreadable, Wanted
from fleet.calendars.table import FAULT, LEFT_OUT, Row, folded

SEPARATORS = ";\t|,"
LINE_END = "\r\n"


def read(body: bytes, start: datetime, end: datetime, wanted: Wanted) -> Contents:
    """All lessons that overlap [start, end)."""
    text = _decode(body)
    if not text.strip() or text.lstrip()[:1] == "<" or "\x00" in text:
        return Contents(problem="not_a_calendar")
    kept = io.StringIO()
    head: list[str] = []  # filled with the first line
    try:
        rows = _rows(text, wanted.separator, head, kept)
        contents = table.read(rows, start, end, wanted, head)
    except (csv.Error, Unreadable) as error:
        return Contents(problem="unreadable", detail=str(error)[:200])
    if contents.problem != "no_columns":
        contents.kept = kept.getvalue()
        if not text.endswith("\n"):  # or a last line that was cut off would look whole
            contents.kept = contents.kept.removesuffix(LINE_END)
    return contents


def _decode(body: bytes) -> str:
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", errors="replace")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("cp1252", errors="replace")


def _rows(text: str, separator: str, head: list[str], kept: TextIO) -> Iterator[Row]:
    """Each line, which is written to `kept` once it was read: only what was used of it."""
    first = text.lstrip("\r\n").splitlines()[0]
    if not separator and first.lower().startswith("sep="):  # Excel's own word for it
        kept.write(first + LINE_END)
        separator = first[4:5]
        text = text.lstrip("\r\n")[len(first) :]
        first = (text.lstrip("\r\n").splitlines() or [""])[0]
    separator = separator or max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text.lstrip("\r\n")), delimiter=separator, strict=True)
    writer = csv.writer(kept, delimiter=separator, lineterminator=LINE_END)
    titles = next(reader)
    writer.writerow(titles)
    for name in titles:
        again = sum(known.partition(" #")[0] == folded(name) for known in head)
        head.append(f"{folded(name)} #{again + 1}" if again else folded(name))
    lines = text.lstrip("\r\n").count("\n") + 1
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            writer.writerow(cells)
            continue
        if len(cells) > len(head) and any(cell.strip() for cell in cells[len(head) :]):
            raise Unreadable(f"line {reader.line_num} has more cells than the first line")
        row = Row(zip(head, cells, strict=False))
        # Some spreadsheets leave empty cells out, but none within an unfinished last line.
        if len(cells) < len(head) and reader.line_num == lines:
            row[FAULT] = "is cut off"
        yield row
        writer.writerow(
            cell if name in row.used or not cell.strip() else LEFT_OUT
            for name, cell in zip(chain(head, repeat("")), cells, strict=False)
        )
