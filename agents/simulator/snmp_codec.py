"""The simulator's own BER: what an SNMP agent reads and writes, apart from the driver's code."""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

GET, GET_NEXT, RESPONSE, SET, GET_BULK, REPORT = 0xA0, 0xA1, 0xA2, 0xA3, 0xA5, 0xA8
NO_SUCH_OBJECT, NO_SUCH_INSTANCE, END_OF_VIEW = b"\x80\x00", b"\x81\x00", b"\x82\x00"
TOO_BIG, NO_SUCH_NAME = 1, 2


class Malformed(Exception):
    """A request that no agent would answer."""


def wrap(tag: int, body: bytes) -> bytes:
    n = len(body)
    if n < 128:
        return bytes([tag, n]) + body
    if n < 256:
        return bytes([tag, 0x81, n]) + body
    return bytes([tag, 0x82, n >> 8, n & 255]) + body


def signed(value: int) -> bytes:
    return wrap(2, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True))


def unsigned(tag: int, value: int) -> bytes:
    return wrap(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def counter32(value: float) -> bytes:
    return unsigned(0x41, int(value) % 2**32)


def gauge(value: float) -> bytes:
    return unsigned(0x42, max(int(value), 0))


def ticks(value: float) -> bytes:
    return unsigned(0x43, int(value) % 2**32)


def counter64(value: float) -> bytes:
    return unsigned(0x46, int(value) % 2**64)


def octets(value: str | bytes) -> bytes:
    return wrap(4, value.encode() if isinstance(value, str) else value)


def pack(ids: tuple[int, ...]) -> bytes:
    """Content of an OID."""
    out = bytearray([ids[0] * 40 + ids[1]]) if len(ids) > 1 else bytearray([0])
    for number in ids[2:]:
        chunk, rest = [number & 127], number >> 7
        while rest:
            chunk.insert(0, rest & 127 | 128)
            rest >>= 7
        out += bytes(chunk)
    return bytes(out)


def unpack(content: bytes) -> tuple[int, ...]:
    if not content:
        raise Malformed
    ids, n = [content[0] // 40, content[0] % 40], 0
    for octet in content[1:]:
        n = n << 7 | octet & 127
        if octet < 128:
            ids.append(n)
            n = 0
    return tuple(ids)


def dotted(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.strip(".").split("."))


def oid(text: str) -> bytes:
    return wrap(6, pack(dotted(text)))


def take(data: bytes, at: int) -> tuple[int, bytes, int]:
    """(tag, content, where the next begins)."""
    try:
        tag, n = data[at], data[at + 1]
        at += 2
        if n > 127:
            size = n - 128
            n = int.from_bytes(data[at : at + size], "big")
            at += size
    except IndexError:
        raise Malformed from None
    if at + n > len(data):
        raise Malformed
    return tag, data[at : at + n], at + n


def whole(data: bytes, at: int) -> tuple[int, int]:
    tag, content, at = take(data, at)
    if tag != 2 or not content:
        raise Malformed
    return int.from_bytes(content, "big", signed=True), at


@dataclass(slots=True)
class Request:
    kind: int
    number: int
    first: int
    """Non-repeaters of a GETBULK."""
    second: int
    """Max-repetitions of a GETBULK."""
    names: list[bytes]
    values: list[bytes]
    """As they came, each with its tag: what a SET wants."""


def read_request(data: bytes) -> Request:
    kind, body, _ = take(data, 0)
    number, at = whole(body, 0)
    first, at = whole(body, at)
    second, at = whole(body, at)
    _, binds, _ = take(body, at)
    names, values, at = [], [], 0
    while at < len(binds):
        _, bind, at = take(binds, at)
        tag, name, after = take(bind, 0)
        if tag != 6:
            raise Malformed
        names.append(name)
        values.append(bind[after:])
    return Request(kind, number, first, second, names, values)


Value = bytes | Callable[["object"], bytes]


class Living(Protocol):
    """One device among those that share a tree."""

    @property
    def written(self) -> dict[bytes, Value]:
        """What differs from the tree since somebody wrote it: name → value."""


class Tree:
    """The objects of a model, in order. Values are encoded bytes or made when asked for."""

    def __init__(self, values: dict[tuple[int, ...], Value]) -> None:
        self._ids = sorted(values)
        self._names = [pack(ids) for ids in self._ids]
        self._values = [values[ids] for ids in self._ids]
        self._places = {name: at for at, name in enumerate(self._names)}

    def __len__(self) -> int:
        return len(self._ids)

    def get(self, name: bytes, life: Living) -> bytes | None:
        at = self._places.get(name)
        return None if at is None else self._value(at, life)

    def after(self, name: bytes) -> int:
        """Place of the first object behind `name`; equal to len() at the end."""
        at = self._places.get(name)
        return at + 1 if at is not None else bisect_right(self._ids, unpack(name))

    def at(self, place: int, life: Living) -> tuple[bytes, bytes]:
        return self._names[place], self._value(place, life)

    def _value(self, place: int, life: Living) -> bytes:
        value = life.written.get(self._names[place], self._values[place])
        return value if isinstance(value, bytes) else value(life)


def answer(tree: Tree, request: Request, life: Living, *, v1: bool, limit: int) -> bytes | None:
    """The response PDU, or None for what an agent ignores."""
    if request.kind == GET:
        found = [(name, tree.get(name, life)) for name in request.names]
    elif request.kind == GET_NEXT:
        found = [_next(tree, name, life) for name in request.names]
    elif request.kind == GET_BULK and not v1:
        return _bulk(tree, request, life, limit)
    else:
        return None
    if v1:
        for at, (_, value) in enumerate(found):
            if value is None or value[0] == 0x46:
                return refuse(request, NO_SUCH_NAME, at + 1)
    missing = NO_SUCH_INSTANCE if request.kind == GET else END_OF_VIEW
    binds = b"".join(_bind(name, value or missing) for name, value in found)
    if len(binds) > limit:
        return _response(request, TOO_BIG, 0, b"")
    return _response(request, 0, 0, binds)


def _next(tree: Tree, name: bytes, life: Living) -> tuple[bytes, bytes | None]:
    place = tree.after(name)
    return tree.at(place, life) if place < len(tree) else (name, None)


def _bulk(tree: Tree, request: Request, life: Living, limit: int) -> bytes:
    once = max(min(request.first, len(request.names)), 0)
    binds, size = [], 0
    for name in request.names[:once]:
        found, value = _next(tree, name, life)
        binds.append(_bind(found, value or END_OF_VIEW))
    places = [(name, tree.after(name)) for name in request.names[once:]]
    for row in range(max(request.second, 0) if places else 0):
        for name, start in places:
            place = start + row
            if place < len(tree):
                bind = _bind(*tree.at(place, life))
            else:
                bind = _bind(tree.at(len(tree) - 1, life)[0] if row else name, END_OF_VIEW)
            size += len(bind)
            if size > limit:
                return _response(request, 0, 0, b"".join(binds))
            binds.append(bind)
    return _response(request, 0, 0, b"".join(binds))


def _bind(name: bytes, value: bytes) -> bytes:
    return wrap(0x30, wrap(6, name) + value)


def refuse(request: Request, error: int, place: int) -> bytes:
    """`place`: which of what was asked for is at fault, from 1."""
    echo = b"".join(_bind(name, b"\x05\x00") for name in request.names)
    return _response(request, error, place, echo)


def grant(request: Request) -> bytes:
    """The answer to a SET that was done."""
    binds = zip(request.names, request.values, strict=True)
    return _response(request, 0, 0, b"".join(_bind(name, value) for name, value in binds))


def _response(request: Request, error: int, index: int, binds: bytes) -> bytes:
    head = signed(request.number) + signed(error) + signed(index)
    return wrap(RESPONSE, head + wrap(0x30, binds))


def report(number: int, counter: str, value: int) -> bytes:
    binds = _bind(pack(dotted(counter)), counter32(value))
    return wrap(REPORT, signed(number) + signed(0) + signed(0) + wrap(0x30, binds))


def from_text(lines: Iterable[str]) -> dict[tuple[int, ...], Value]:
    """The objects of a recording in snmprec form, `OID|tag|value`, without unreadable lines."""
    values: dict[tuple[int, ...], Value] = {}
    for line in lines:
        parts = line.rstrip("\r\n").split("|", 2)
        if len(parts) != 3:
            continue
        try:
            values.setdefault(dotted(parts[0]), _recorded(parts[1], parts[2]))
        except ValueError:
            continue
    return values


def _recorded(tag: str, text: str) -> bytes:
    raw = bytes.fromhex(text) if tag.endswith("x") else text.encode("latin-1", "replace")
    kind = int(tag.rstrip("x"))
    if kind == 2:
        return signed(int(text))
    if kind in (65, 66, 67, 70):
        return unsigned(kind, int(text))
    if kind == 6:
        return oid(text)
    if kind == 64:
        return wrap(64, raw if tag.endswith("x") else bytes(dotted(text)))
    if kind in (4, 5, 68):
        return wrap(kind, raw)
    raise ValueError(tag)
