"""What a CalDAV server is asked for, and what it answers: a calendar in each part of the answer."""

from datetime import UTC, datetime
from xml.etree.ElementTree import Element, ParseError  # only the types; nothing is parsed by it

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from fleet.calendars import ical
from fleet.calendars.contents import Contents, Wanted

DAV = "{DAV:}"
CALDAV = "{urn:ietf:params:xml:ns:caldav}"


def query(start: datetime, end: datetime) -> bytes:
    """The body of a REPORT that asks for every event in [start, end), series included."""
    span = " ".join(
        f'{name}="{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"'
        for name, moment in (("start", start), ("end", end))
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">'
        "<d:prop><d:getetag/><c:calendar-data/></d:prop>"
        '<c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT">'
        f"<c:time-range {span}/>"
        "</c:comp-filter></c:comp-filter></c:filter></c:calendar-query>"
    ).encode()


def read(body: bytes, start: datetime, end: datetime, wanted: Wanted) -> Contents:
    """All occurrences in the calendars of a multistatus answer that overlap [start, end)."""
    try:
        root = fromstring(body, forbid_dtd=True)
    except DefusedXmlException:
        return Contents(problem="unreadable", detail="it defines entities, which is not allowed")
    except (ParseError, ValueError, LookupError):
        whole = b"multistatus" in body[:500]
        return Contents(problem="unreadable" if whole else "not_a_calendar")
    if root.tag != f"{DAV}multistatus":
        return Contents(problem="not_a_calendar")
    texts, bad = [], []
    for response in root.iterfind(f"{DAV}response"):
        text, fault = _calendar(response)
        if fault:
            bad.append(fault)
        else:
            texts.append(text)
    return ical.read_many(texts, start, end, wanted, bad)


def _calendar(response: Element) -> tuple[str, str]:
    """The calendar of one part, or why it has none. A part that is refused, or says that the
    server cut the rest off (507), is a loss."""
    for status in (response.findtext(f"{DAV}status"), response.findtext(f"{DAV}error")):
        if status is not None and " 200" not in status:
            return "", f"the server says '{status.strip()[:60]}'"
    for part in response.iterfind(f"{DAV}propstat"):
        if " 200" not in (part.findtext(f"{DAV}status") or " 200"):
            continue
        text = part.findtext(f"{DAV}prop/{CALDAV}calendar-data")
        if text and text.strip():
            return text, ""
    return "", "a part of the answer holds no calendar"
