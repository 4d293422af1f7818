"""Reads an XML export: one element is one lesson; what it lacks, the elements around it say."""

from collections.abc import Iterator
from datetime import datetime
from xml.etree.ElementTree import Element, ParseError  # only the types; nothing is parsed by it

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from fleet.calendars import table
from fleet.calendars.contents import Contents, Unreadable, Wanted
from fleet.calendars.table import TWICE, Row, folded

USUAL = frozenset(
    {"termin", "kurstermin", "einzeltermin", "unterrichtstermin", "lesson", "appointment", "event",
     "veranstaltung", "kurs", "course", "row", "item", "datensatz"}
)  # fmt: skip
"""Names of elements that are a lesson, where no other of them is inside."""
DEEPEST = 30


def read(body: bytes, start: datetime, end: datetime, wanted: Wanted) -> Contents:
    """All lessons that overlap [start, end)."""
    if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"<" or b"<html" in body[:2000].lower():
        return Contents(problem="not_a_calendar")
    try:
        root = fromstring(body, forbid_dtd=True)
        rows = list(_rows(root, _lessons(root, wanted.rows), {}, 0))
    except DefusedXmlException:
        return Contents(problem="unreadable", detail="it defines entities, which is not allowed")
    except (ParseError, ValueError, LookupError) as error:  # or an encoding that nobody knows
        return Contents(problem="unreadable", detail=str(error)[:200])
    if not rows and len(root):
        names = sorted({_name(element) for element in root.iter()})
        wish = f"'{wanted.rows}'" if wanted.rows else "a lesson"
        detail = f"no element is {wish}; there are: {', '.join(names)}"
        return Contents(problem="no_columns", detail=detail[:500])
    return table.read(rows, start, end, wanted)


def _lessons(root: Element, wish: str) -> set[Element]:
    """The elements that are a lesson each: of that name, or the innermost of the usual names."""
    if wish:
        return {element for element in root.iter() if _name(element) == folded(wish)}
    found: set[Element] = set()
    for element in root.iter():
        # A mere text, such as <kurs>Yoga</kurs>, is a part of a lesson.
        if _name(element) in USUAL and (len(element) or element.attrib):
            found.add(element)
    return {each for each in found if not any(inner in found for inner in _below(each))}


def _below(element: Element) -> Iterator[Element]:
    inside = element.iter()
    next(inside)
    return inside


def _rows(element: Element, lessons: set[Element], around: Row, depth: int) -> Iterator[Row]:
    """Each lesson's own texts and attributes, over those of the elements around it."""
    if depth > DEEPEST:
        raise Unreadable("its elements are nested too deeply")
    known = {**around, **_texts(element, lessons)}
    if element in lessons:
        yield known
        return
    for child in element:
        if child in lessons or len(child):
            yield from _rows(child, lessons, known, depth + 1)


def _texts(element: Element, lessons: set[Element]) -> dict[str, str]:
    found = {folded(name.rpartition("}")[2]): value for name, value in element.attrib.items()}
    if element.text and element.text.strip() and not len(element):
        found[_name(element)] = element.text
    for child in element:
        if child in lessons:
            continue
        _add(found, _name(child), child.text)
        for key, value in child.attrib.items():
            _add(found, f"{_name(child)}/{folded(key.rpartition('}')[2])}", value)
        if element in lessons:
            for inner in child:
                _add(found, f"{_name(child)}/{_name(inner)}", inner.text)
    return found


def _add(found: dict[str, str], name: str, text: str | None) -> None:
    if not text or not text.strip():
        return
    if found.setdefault(name, text) != text:
        found[TWICE] = name


def _name(element: Element) -> str:
    return folded(str(element.tag).rpartition("}")[2])
