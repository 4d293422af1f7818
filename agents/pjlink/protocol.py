"""PJLink on paper: greeting, digests, lines, and what each answer means as facts.

Nothing here touches a socket. Every function raises ValueError for text that is not PJLink.
"""

import hashlib
import re
from collections.abc import Callable

from agents.messages import Facts

PORT = 4352
LONGEST_LINE = 160
"""Bytes; the specification allows 136 with the CR, some devices pad."""

OK = "OK"
UNDEFINED, OUT_OF_PARAMETER, UNAVAILABLE, FAILURE = "ERR1", "ERR2", "ERR3", "ERR4"
COMPLAINTS = frozenset({UNDEFINED, OUT_OF_PARAMETER, UNAVAILABLE, FAILURE})

_LEVEL_2 = re.compile("PJLINK 2 ([0-9a-f]{32})", re.IGNORECASE)
_GREETING = re.compile(r"PJLINK (?:(0)|1 (\S{1,32})|(ERRA))", re.IGNORECASE)
_INPUT = re.compile("[1-6][1-9A-Z]")
_SIZE = re.compile("[0-9]{2,5}x[0-9]{2,5}")
_LINE = re.compile(r"%([1-9])([A-Z0-9]{4})=(.*)", re.IGNORECASE | re.DOTALL)
_POWER = {"0": "standby", "1": "on", "2": "cooling", "3": "warming"}
_SEVERITY = {"0": "ok", "1": "warning", "2": "error"}
_FAULTS = ("fan", "lamp", "temperature", "cover", "filter", "other")
_MUTED: dict[str, Facts] = {
    "10": {"picture_muted": False},
    "11": {"picture_muted": True, "sound_muted": False},
    "20": {"sound_muted": False},
    "21": {"picture_muted": False, "sound_muted": True},
    "30": {"picture_muted": False, "sound_muted": False},
    "31": {"picture_muted": True, "sound_muted": True},
}


class Forbidden(Exception):
    """The projector said ERRA: wrong or missing password."""


def greeting(line: str) -> str:
    """The random number to sign; empty when no password is wanted. Raises Forbidden."""
    found = _GREETING.fullmatch(line)
    if not found:
        raise ValueError("no PJLink greeting")
    if found[3]:
        raise Forbidden
    return found[2] or ""


def digest(random: str, password: str) -> str:
    """What goes before the first command; the MD5 is the protocol's choice, not ours."""
    return hashlib.md5((random + password).encode(), usedforsecurity=False).hexdigest()


def level_2(line: str) -> str:
    """The projector's random number, when it accepts security level 2. Raises ValueError."""
    found = _LEVEL_2.fullmatch(line)
    if not found:
        raise ValueError("no security level 2")
    return found[1].lower()


def strong_digest(ours: str, theirs: str, password: str) -> str:
    """Security level 2: our random number, and the SHA-256 over both of them and the password."""
    mixed = bytes(a ^ b for a, b in zip(bytes.fromhex(ours), bytes.fromhex(theirs), strict=True))
    return ours + hashlib.sha256((mixed.hex() + password).encode()).hexdigest()


def answer(line: str, command: str, pjclass: str) -> str | None:
    """The value in an answer to this command, or None for a line that nobody asked for.

    Projectors of class 2 push `%2LKUP=…` and the like whenever they please. Raises Forbidden.
    """
    if re.fullmatch("PJLINK ERRA", line, re.IGNORECASE):
        raise Forbidden
    found = _LINE.fullmatch(line)
    if not found:
        raise ValueError("no PJLink line")
    if (found[1], found[2].upper()) == (pjclass, command):
        value = found[3]
        return value.upper() if value.upper() in COMPLAINTS | {OK} else value
    if found[1] == "1":
        raise ValueError("the answer to another command")
    return None


def facts(command: str, value: str) -> Facts:
    """What the value of a query says, in the words of `agents.facts.FACTS`."""
    return _MEANING[command](value)


def inputs(value: str) -> list[str]:
    """The inputs that an INST answer lists; what is none of PJLink's is left out."""
    listed = (part.upper() for part in value.split(" "))
    return list(dict.fromkeys(part for part in listed if _INPUT.fullmatch(part)))


def _power(value: str) -> Facts:
    if value not in _POWER:
        raise ValueError("unknown power state")
    return {"power": _POWER[value]}


def _input(value: str) -> Facts:
    if not _INPUT.fullmatch(value.upper()):
        raise ValueError("unknown input")
    return {"input": value.upper()}


def _mute(value: str) -> Facts:
    if value not in _MUTED:
        raise ValueError("unknown mute state")
    return dict(_MUTED[value])


def _errors(value: str) -> Facts:
    if not re.fullmatch("[012]{6}", value):
        raise ValueError("six digits of 0 to 2 expected")
    return {f"{fault}_state": _SEVERITY[digit] for fault, digit in zip(_FAULTS, value, strict=True)}


def _lamp(value: str) -> Facts:
    """`<hours> <lit>` for each lamp."""
    if not re.fullmatch(r"[0-9]{1,6}( [01])?( [0-9]{1,6} [01])*", value):
        raise ValueError("hours and state of each lamp expected")
    return {"lamp_s": max(int(hours) for hours in value.split(" ")[::2]) * 3600}


def _filter(value: str) -> Facts:
    if not re.fullmatch("[0-9]{1,6}", value):
        raise ValueError("hours expected")
    return {"filter_s": int(value) * 3600}


def _resolution(value: str) -> Facts:
    """`-`: no signal; `*`: a signal of which it does not know the size."""
    if value == "-":
        return {"signal": False}
    if value == "*":
        return {"signal": True}
    if not _SIZE.fullmatch(value.lower()):
        raise ValueError("width x height expected")
    return {"signal": True, "resolution": value.lower()}


def _native(value: str) -> Facts:
    if not _SIZE.fullmatch(value.lower()):
        raise ValueError("width x height expected")
    return {"native_resolution": value.lower()}


def _freeze(value: str) -> Facts:
    if value not in ("0", "1"):
        raise ValueError("0 or 1 expected")
    return {"frozen": value == "1"}


def _label(fact: str) -> Callable[[str], Facts]:
    def read(value: str) -> Facts:
        text = "".join(filter(str.isprintable, value)).strip()
        return {fact: text} if text else {}

    return read


_MEANING: dict[str, Callable[[str], Facts]] = {
    "POWR": _power,
    "INPT": _input,
    "AVMT": _mute,
    "ERST": _errors,
    "LAMP": _lamp,
    "FILT": _filter,
    "NAME": _label("name"),
    "INF1": _label("vendor"),
    "INF2": _label("model"),
    "SNUM": _label("serial"),
    "SVER": _label("firmware"),
    "INFO": _label("details"),
    "RLMP": _label("lamp_part"),
    "RFIL": _label("filter_part"),
    "IRES": _resolution,
    "RRES": _native,
    "FREZ": _freeze,
}
