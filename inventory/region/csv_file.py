"""Reads one sheet from a CSV file, as spreadsheets really write them."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from inventory.region.faults import Fault, ImportRefused, Place, not_known
from inventory.region.rows import Sheet
from inventory.region.text_file import read_text, refused

MOST_ROWS = 100_000
DELIMITERS = ";,\t"
FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r]")
"""What a spreadsheet would run instead of showing it, also behind apostrophes of our own."""

TOO_MANY = (
    "has {have} cells but the first line has {want}; put a text that holds the separator in quotes"
)

Raw = tuple[Place, dict[str, str], frozenset[str]]
"""Where, the cells that are not empty, and all columns of the file."""


def escape(text: str) -> str:
    """An apostrophe before what would be a formula; `unescape` takes exactly that one away."""
    return "'" + text if FORMULA.match(text) else text


def unescape(text: str) -> str:
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def read_csv(path: Path, sheet: Sheet, faults: list[Fault]) -> Iterator[Raw]:
    """The rows of a sheet. What is wrong with single rows is added to `faults`.

    Raises ImportRefused when the rest of the file cannot be read.
    """
    text = read_text(path, excel=True)
    skip = text.startswith("sep=")  # Excel's own way to name the delimiter
    if skip:
        text = text.partition("\n")[2]
    records = _records(path, text, sheet, 2 if skip else 1)
    line, header = next(records, (0, []))
    columns = _columns(Place(path.name, line), header, sheet)
    cells = header
    for count, (line, cells) in enumerate(records):
        place = Place(path.name, line)
        if count >= MOST_ROWS:
            raise refused(path, line, f"has more than {MOST_ROWS} rows; split the file")
        if any(cells[len(columns) :]):
            faults.append(place.fault("", TOO_MANY.format(have=len(cells), want=len(columns))))
            continue
        filled = {
            column: unescape(cell)
            for column, cell in zip(columns, cells, strict=False)
            if column and cell
        }
        yield place, filled, frozenset(columns) - {""}
    if len(cells) < len(columns) and not text.endswith("\n"):
        raise refused(path, line, "the file ends in the middle of this row; save it once more")


def _records(
    path: Path, text: str, sheet: Sheet, first_line: int
) -> Iterator[tuple[int, list[str]]]:
    """The line where each record that is not empty begins, and its cells without outer spaces."""
    header = text.lstrip("\n").partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_delimiter(header, sheet), strict=True
    )
    line = first_line
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield line, stripped
            line = first_line + reader.line_num
    except csv.Error as error:
        raise refused(
            path, line, f"a quote is opened or closed in the wrong place here ({error})"
        ) from None


def _delimiter(header: str, sheet: Sheet) -> str:
    """The sign that splits the header into the most known columns."""

    def known(delimiter: str) -> int:
        return len({name.strip(' "').lower() for name in header.split(delimiter)} & _names(sheet))

    return max(DELIMITERS, key=known)


def _names(sheet: Sheet) -> set[str]:
    return set(sheet.row.model_fields)


def _columns(place: Place, header: list[str], sheet: Sheet) -> list[str]:
    """The names of the columns; an empty one is a column that nobody named and nobody fills."""
    columns = [name.strip().lower() for name in header]
    named = [name for name in columns if name]
    if not named:
        raise ImportRefused([place.fault("", "is empty; the first line must name the columns")])
    faults = [
        place.fault(name, not_known("column", name, _names(sheet)))
        for name in named
        if name not in _names(sheet)
    ]
    faults += [
        place.fault(name, "this column is there twice; remove one")
        for name in sorted({name for name in named if named.count(name) > 1})
    ]
    faults += [
        place.fault(name, f"this column is missing; every {sheet.one} needs it")
        for name, field in sheet.row.model_fields.items()
        if field.is_required() and name not in named
    ]
    if faults:
        raise ImportRefused(faults)
    return columns
