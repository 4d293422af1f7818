"""From the bytes of an iCalendar file to its text, and whether that is all of it."""

import re
from contextlib import suppress

_BRACKET = re.compile(r"^(BEGIN|END):(.*?)\s*$", re.I | re.M)
_FOLD = re.compile(rb"\r?\n[ \t]")


def whole(text: str) -> tuple[str, str]:
    """Why this is no whole calendar: problem and detail, or both empty."""
    if not text.upper().startswith("BEGIN:VCALENDAR"):
        return "not_a_calendar", ""
    if not text.upper().endswith("END:VCALENDAR"):
        return "unreadable", "the end is missing"
    if not _balanced(text):
        return "unreadable", "the end of a part is missing"
    return "", ""


def decode(body: bytes) -> str:
    for told in (body, _FOLD.sub(b"", body)):  # some fold a line in the middle of a letter
        with suppress(UnicodeDecodeError):
            return told.decode("utf-8-sig")
    return body.decode("cp1252", errors="replace")


def _balanced(text: str) -> bool:
    """Whether every part is closed: the library drops an unclosed one without a word."""
    open_parts: list[str] = []
    for bracket, part in _BRACKET.findall(text):
        if bracket.upper() == "BEGIN":
            open_parts.append(part.upper())
        elif not open_parts or open_parts.pop() != part.upper():
            return False
    return not open_parts
