"""Reads a region from YAML, keeping the line of every field.

Works on the parser's events, so that nothing hostile is ever built: no references (and so no
"billion laughs"), no tags, no deep nesting. In free-form objects plain words follow JSON: true,
false, null and numbers; every other word is a text, also `no`, `on` and `0012`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from inventory.region.faults import Fault, Place, not_known
from inventory.region.rows import SHEETS
from inventory.region.text_file import read_text, refused

DEEPEST = 12
MOST_NODES = 600_000
"""About 16,000 devices with every field written out; for more, use CSV."""
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INT = re.compile(r"-?(0|[1-9][0-9]{0,17})")
FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Raw = tuple[Place, dict[str, Any], frozenset[str]]


class Node(NamedTuple):
    """A value and the line where it begins. `plain`: a word that stands there without quotes."""

    line: int
    value: "str | list[Node] | dict[str, tuple[int, Node]]"
    plain: bool = False


def typed(word: str) -> Any:
    """A plain word of a free-form object."""
    if word in NULLS:
        return None
    if word in BOOLS:
        return BOOLS[word]
    if INT.fullmatch(word):
        return int(word)
    return float(word) if FLOAT.fullmatch(word) else word


def read_yaml(path: Path, faults: list[Fault]) -> dict[str, list[Raw]]:
    """Sheet name → its entries. What is wrong with single entries is added to `faults`.

    Raises ImportRefused when the rest of the file cannot be read.
    """
    root = _Builder(path).build()
    if not isinstance(root.value, dict):
        raise refused(path, root.line, f"must begin with one of: {', '.join(SHEETS)}")
    found: dict[str, list[Raw]] = {}
    for name, (line, node) in root.value.items():
        if name not in SHEETS:
            text = not_known("list", name, SHEETS.keys())
            faults.append(Fault(path.name, line, name, text))
        elif node.plain and node.value in NULLS:
            found[name] = []
        elif isinstance(node.value, list):
            found[name] = list(_entries(path, name, node.value, faults))
        else:
            faults.append(Fault(path.name, line, name, "must be a list, each entry begun by '-'"))
    return found


def _entries(path: Path, name: str, nodes: list[Node], faults: list[Fault]) -> Iterator[Raw]:
    for node in nodes:
        if not isinstance(node.value, dict):
            faults.append(
                Fault(path.name, node.line, name, "each entry must hold fields such as 'id: …'")
            )
            continue
        lines = {key: line for key, (line, _) in node.value.items()}
        values = {key: _field(value) for key, (_, value) in node.value.items()}
        filled = {key: value for key, value in values.items() if value != ""}
        yield Place(path.name, node.line, lines), filled, frozenset(lines)


def _field(node: Node) -> Any:
    """A field's text as it is written (a serial number 0012 stays so); objects are free-form."""
    if not isinstance(node.value, str):
        return _free(node)
    return "" if node.plain and node.value in NULLS else node.value


def _free(node: Node) -> Any:
    match node.value:
        case str(text):
            return typed(text) if node.plain else text
        case list(items):
            return [_free(item) for item in items]
        case Mapping() as fields:
            return {key: _free(value) for key, (_, value) in fields.items()}


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


class _Builder:
    """Builds the tree from the events of one document, or refuses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._nodes = 0
        self._line = 1
        self._events = iter(yaml.parse(read_text(path, excel=False), Loader=Loader))

    def build(self) -> Node:
        try:
            return self._document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else self._line
            raise refused(self._path, line, f"is no YAML: {error.problem}") from None
        except yaml.YAMLError:
            raise refused(self._path, self._line, "holds a sign that YAML does not allow") from None

    def _document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root:
                    self._refuse(event, "a second document begins; keep everything in one")
                root = self._node(self._next(), 1)
        return root or Node(1, {})

    def _next(self) -> yaml.Event:
        event: yaml.Event = next(self._events)
        self._line = _line(event)
        return event

    def _refuse(self, event: yaml.Event, text: str) -> None:
        raise refused(self._path, _line(event), text)

    def _node(self, event: yaml.Event, depth: int) -> Node:
        self._nodes += 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._refuse(event, "references (& and *) are not allowed; write the value out")
        if getattr(event, "tag", None):
            self._refuse(event, "tags (!) are not allowed; write plain values")
        if depth > DEEPEST:
            self._refuse(event, f"is nested deeper than {DEEPEST} levels")
        if self._nodes > MOST_NODES:
            self._refuse(event, f"has more than {MOST_NODES} values; split the file")
        line = _line(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(line, self._items(depth))
        if isinstance(event, yaml.MappingStartEvent):
            return Node(line, self._fields(depth))
        assert isinstance(event, yaml.ScalarEvent)  # nothing else is left
        return Node(line, event.value, plain=not event.style)

    def _items(self, depth: int) -> list[Node]:
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _fields(self, depth: int) -> dict[str, tuple[int, Node]]:
        fields: dict[str, tuple[int, Node]] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key.value, str):
                self._refuse(event, "a name must be one word")
            elif key.value in fields:
                self._refuse(event, f"'{key.value[:80]}' is there twice; name it once")
            else:
                fields[key.value] = (key.line, self._node(self._next(), depth + 1))
        return fields
