"""Reads an XML export: one element is one lesson; what it lacks, the elements around it say."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from xml.etree.ElementTree import Element, ParseError, indent  # nothing is parsed by it

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring, tostring

from fleet.calendars import table
from fleet.calendars.contents import Contents, Unreadable, Wanted
from fleet.calendars.table import LEFT_OUT, TWICE, Row, folded

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
        lessons = _lessons(root, wanted.rows)
        rows = list(_rows(root, lessons, _Told(), 0))
    except DefusedXmlException:
        return Contents(problem="unreadable", detail="it defines entities, which is not allowed")
    except (ParseError, ValueError, LookupError) as error:  # or an encoding that nobody knows
        return Contents(problem="unreadable", detail=str(error)[:200])
    if not rows and len(root):
        names = sorted({_name(element) for element in root.iter()})
        wish = f"'{wanted.rows}'" if wanted.rows else "a lesson"
        detail = f"no element is {wish}; there are: {', '.join(names)}"
        return Contents(problem="no_columns", detail=detail[:500])
    contents = table.read(rows, start, end, wanted)
    if contents.problem != "no_columns":
        contents.kept = _copy(root, lessons, rows)
    return contents


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


def _rows(
    element: Element, lessons: set[Element], around: "_Told", depth: int
) -> Iterator["_Told"]:
    """Each lesson's own texts and attributes, over those of the elements around it."""
    if depth > DEEPEST:
        raise Unreadable("its elements are nested too deeply")
    known = _texts(element, lessons).within(around)
    if element in lessons:
        yield known
        return
    for child in element:
        if child in lessons or len(child):
            yield from _rows(child, lessons, known, depth + 1)


def _texts(element: Element, lessons: set[Element]) -> "_Told":
    found = _Told()
    for key in element.attrib:
        found.put(_plain(key), element, key)
    if element.text and element.text.strip() and not len(element):
        found.put(_name(element), element)
    for child in element:
        if child in lessons:
            continue
        found.add(_name(child), child)
        for key in child.attrib:
            found.add(f"{_name(child)}/{_plain(key)}", child, key)
        if element in lessons:
            for inner in child:
                found.add(f"{_name(child)}/{_name(inner)}", inner)
    return found


class _Told(Row):
    """A row that knows where in the document each text stands."""

    def __init__(self, cells: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(cells)
        self.places: dict[str, list[Place]] = {}

    def put(self, name: str, element: Element, key: str = "") -> None:
        self[name] = _text(element, key)
        self.places[name] = [(element, key)]

    def add(self, name: str, element: Element, key: str = "") -> None:
        """One more text of that name, if it is none; another one than before is not lost unsaid."""
        text = _text(element, key)
        if not text.strip():
            return
        if name not in self:
            self.put(name, element, key)
        elif self[name] == text:
            self.places[name].append((element, key))
        else:
            self[TWICE + name] = ""
            self.places[TWICE + name] = self.places[name]

    def within(self, around: "_Told") -> "_Told":
        both = _Told([*around.items(), *self.items()])
        both.places = {**around.places, **self.places}
        return both


Place = tuple[Element, str]
"""A text: of an element, or of that attribute of it."""


def _text(element: Element, key: str) -> str:
    return (element.get(key) if key else element.text) or ""


def _copy(root: Element, lessons: set[Element], rows: list[_Told]) -> str:
    """The document without the texts that no row needed; it is changed in place."""
    used = {
        (id(element), key)
        for row in rows
        for name in row.used & row.places.keys()
        for element, key in row.places[name]
    }
    for lesson in lessons:
        for child in lesson:
            for inner in child:
                del inner[:]  # nothing is read below that
    for element in root.iter():
        element.tail = None
        if element.text and element.text.strip() and (id(element), "") not in used:
            element.text = LEFT_OUT
        for key in list(element.attrib):
            if _text(element, key).strip() and (id(element), key) not in used:
                element.set(key, LEFT_OUT)
    indent(root)
    return str(tostring(root, encoding="unicode"))


def _name(element: Element) -> str:
    return _plain(str(element.tag))


def _plain(name: str) -> str:
    """Without its namespace."""
    return folded(name.rpartition("}")[2])
