"""How names, addresses and numbers are written: each check returns the one spelling we keep.

A check raises ValueError with what is wrong and what would be right.
"""

import ipaddress
import re
import unicodedata
from typing import Any
from urllib.parse import urlsplit

from inventory.columns import SLUG
from inventory.device import DeviceKind
from inventory.region.faults import not_known

HOST = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*")
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Signs that turn the writing direction, so that a name reads as another than it is."""
UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


def visible(text: str) -> str:
    """Text without control signs; line breaks and tabulators may be."""
    for sign in text:
        if sign not in "\n\t" and (sign in TURNING or unicodedata.category(sign) in ("Cc", "Cs")):
            raise ValueError(f"holds the invisible sign U+{ord(sign):04X}; remove it")
    return text


def one_line(text: str) -> str:
    if "\n" in text or "\t" in text:
        raise ValueError("holds a line break or tabulator; write it in one line")
    return visible(text)


def slug(text: str) -> str:
    if re.fullmatch(SLUG, text):
        return text
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower().translate(UMLAUTS))[:63].strip("-")
    hint = f", for example '{plain}'" if plain else ""
    raise ValueError(f"'{text[:80]}' cannot be used; write a-z, 0-9 and hyphens only{hint}")


def quiet_hours(text: str) -> str:
    """Two times of the day, such as 20:00-07:00."""
    clock = r"([01][0-9]|2[0-3]):[0-5][0-9]"
    if text and (not re.fullmatch(f"{clock}-{clock}", text) or text[:5] == text[6:]):
        raise ValueError(f"'{text[:40]}' are no quiet hours; write them like 20:00-07:00")
    return text


def mail_address(text: str) -> str:
    if not re.fullmatch(r"[^@\s<>,;:\"()\[\]\\]{1,64}@[^@\s<>,;:\"()\[\]\\]{1,253}", text):
        raise ValueError(f"'{text[:80]}' is no e-mail address; write it like name@example.org")
    return text


def web_address(text: str) -> str:
    """An http(s) address without a secret in it: a webhook is signed, by the credential's name."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"'{text[:80]}' is no web address; write it like https://example.org/hook")
    if "@" in parts.netloc:
        raise ValueError("must hold no user and password; name a credential instead")
    return text


def mac(text: str) -> str:
    """Any common spelling of a hardware address becomes aa:bb:cc:dd:ee:ff."""
    digits = re.sub(r"[:.\-\s]", "", text.lower())
    if digits and not re.fullmatch(r"[0-9a-f]{12}", digits):
        raise ValueError(f"'{text[:40]}' is no MAC address; write it like 00:1a:2b:3c:4d:5e")
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def address(text: str) -> str:
    """An IP address in its shortest spelling, or a host name in lower case."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        name = text.lower().rstrip(".")
    if not HOST.fullmatch(name) or re.fullmatch(r"[\d.]+", name):
        raise ValueError(
            f"'{text[:80]}' is no address; write an IP address or a host name,"
            " and the port in its own column"
        )
    return name


PRIVATE = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8")
)
WIDEST = 20
"""Prefix of the widest range that is searched: 4,094 addresses."""


def private_range(text: str) -> str:
    """A private IPv4 range such as 192.168.10.0/24."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        try:
            meant = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            raise ValueError(
                f"'{text[:40]}' is no IPv4 range; write it like 192.168.10.0/24"
            ) from None
        raise ValueError(f"'{text[:40]}' does not begin a range; {meant} does") from None
    if not any(network.subnet_of(private) for private in PRIVATE):
        raise ValueError(f"{network} is not private; only a site's own networks are searched")
    if network.prefixlen < WIDEST:
        raise ValueError(f"{network} is too wide; write ranges of at most /{WIDEST}")
    return str(network)


def feed_url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    place = parts.path if parts.scheme == "file" else parts.hostname
    if parts.scheme not in ("http", "https", "file") or not place or re.search(r"\s", text):
        raise ValueError("is no timetable's address; it begins with https://, http:// or file:///")
    if parts.username or parts.password:
        raise ValueError("holds a user or password; the inventory must not hold secrets")
    return text


def code(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9_-]{6,32}", text):
        raise ValueError("is no label code; leave it empty and a new one is made")
    return text


def yes_no(value: Any) -> Any:
    """German and Excel's words too; all others are left to pydantic's own reading of a bool."""
    words = {"ja": True, "x": True, "wahr": True, "nein": False, "falsch": False}
    return words.get(value.strip().lower(), value) if isinstance(value, str) else value


def word(value: Any) -> Any:
    """`Access Point` is `access_point`."""
    return re.sub(r"[\s-]+", "_", value.strip().lower()) if isinstance(value, str) else value


def needs_of_cell(value: Any) -> Any:
    """`laptop=10 tablet=8/6` (eight wanted, at least six) is what a sheet's cell can hold."""
    if not isinstance(value, str):
        return value
    found: dict[str, Any] = {}
    for part in re.split(r"[\s,;]+", value.strip()):
        match = re.fullmatch(r"(\w+)=(\d{1,4})(?:/(\d{1,4}))?", part)
        if part and not match:
            raise ValueError(
                f"'{part[:40]}' is not understood; write for example laptop=10 ups=2/1"
            )
        if match and match[1] in found:
            raise ValueError(f"names '{match[1]}' twice; name each kind once")
        if match:
            wanted = int(match[2])
            found[match[1]] = {"wanted": wanted, "least": int(match[3])} if match[3] else wanted
    return found


def needs(found: dict[str, Any]) -> dict[str, Any]:
    """Device kind → a count, or `{"wanted": n, "least": m}` with m not above n."""
    for kind, need in found.items():
        if kind not in set(DeviceKind):
            raise ValueError(not_known("kind", kind, [str(kind) for kind in DeviceKind]))
        counts = [need]
        if isinstance(need, dict):
            if set(need) != {"wanted", "least"}:
                raise ValueError(f"'{kind}' needs a number, or both 'wanted' and 'least'")
            counts = [need["least"], need["wanted"]]
        if not all(type(count) is int and 0 <= count < 10_000 for count in counts):
            raise ValueError(f"'{kind}' needs a whole number from 0 to 9999")
        if counts != sorted(counts):
            raise ValueError(f"'{kind}' wants fewer than it needs at least; swap the numbers")
    return found


QUIET = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


def quiet(said: str) -> str:
    """Quiet hours: `20:00-07:00`."""
    said = said.replace(" ", "").replace("–", "-")
    if said and (not QUIET.fullmatch(said) or said[:5] == said[6:]):
        raise ValueError(f"'{said}' are no quiet hours; write 20:00-07:00")
    return said
