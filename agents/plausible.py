"""What a device says of itself, if it can be true; None for what cannot."""

from urllib.parse import urlsplit


def share(part: float | None, whole: float | None) -> float | None:
    """From 0 to 1."""
    if part is None or not whole or not 0 <= part <= whole < float("inf"):
        return None
    return round(part / whole, 4)


def between(value: float | None, low: float, high: float) -> float | None:
    return value if value is not None and low <= value <= high else None


def label(text: str) -> str | None:
    return "".join(filter(str.isprintable, text)).strip()[:200] or None


def same_page(shown: str, wanted: str) -> bool:
    return _page(shown) == _page(wanted)


def _page(address: str) -> tuple[str, ...]:
    """An address without what makes no difference: case of the host, last slash, bare `#`."""
    try:
        scheme, host, path, query, fragment = urlsplit(address.strip())
    except ValueError:
        return (address,)
    return scheme.lower(), host.lower(), path.rstrip("/"), query, fragment
