"""Reads a file as text, and says so when it is none."""

import re
from pathlib import Path

from inventory.region.faults import Fault, ImportRefused

LARGEST = 16 * 2**20
"""Bytes; ten thousand devices take about four million."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path, *, excel: bool) -> str:
    """The text with "\\n" as line ends. `excel`: Windows-1252 and UTF-16 are read as well.

    Raises ImportRefused.
    """
    data = _read(path)
    if data.startswith(b"PK\x03\x04"):
        raise refused(path, 0, "is a workbook or archive; save the sheet as 'CSV UTF-8'")
    encodings = ["utf-8-sig", *(["cp1252"] if excel else [])]
    if excel and data.startswith(UTF16_MARKS):
        encodings = ["utf-16"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
    else:
        raise refused(path, line, "holds signs that are not UTF-8; save the file as UTF-8 text")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    control = CONTROL.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        raise refused(path, line, f"holds the sign U+{ord(control[0]):04X}; this is no text file")
    return text


def refused(path: Path, line: int, text: str) -> ImportRefused:
    """The error for a fault that makes the rest of the file unreadable."""
    return ImportRefused([Fault(path.name, line, "", text)])


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise refused(path, 0, "there is no such file")
    try:
        with path.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except OSError as error:
        raise refused(path, 0, f"cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise refused(path, 0, f"is larger than {LARGEST // 2**20} MB; split it into several files")
    return data
