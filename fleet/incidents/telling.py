"""Writes the messages about incidents: one to each of the site's IT when a fault begins, one to
those who were told when it is over."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import update
from sqlmodel import Session, col, select

from fleet import escalation
from fleet.notify import Written
from inventory import (
    Audience,
    Channel,
    Contact,
    Device,
    Incident,
    Level,
    Notice,
    NoticeState,
    Room,
    Site,
)

USEFUL = timedelta(days=1)
"""After so long a message about a fault is no news."""


@dataclass(frozen=True)
class Fault:
    """What is to be said: an incident, where it is, and whether it is over."""

    incident: Incident
    site: Site
    device: Device | None
    room: Room | None
    over: bool = False


Writer = Callable[[Fault], Written]
"""Puts it into words; the pages know how."""


def tell_begun(session: Session, found: Iterable[Incident], now: datetime, write: Writer) -> None:
    """In the transaction that opened them."""
    for incident in found:
        contacts = session.exec(
            select(Contact)
            .where(Contact.site_id == incident.site_id, Contact.audience == Audience.IT)
            .order_by(col(Contact.id))
        ).all()
        _post(session, _fault(session, incident), contacts, now, write)


def tell_over(session: Session, found: Iterable[Incident], now: datetime, write: Writer) -> None:
    """In the transaction that closed them. What was not sent yet is not sent any more."""
    for incident in found:
        begun = col(Notice.bundle) == _bundle(incident, over=False)
        told = session.exec(
            select(Contact)
            .join(Notice, col(Notice.contact_id) == col(Contact.id))
            .where(begun, col(Notice.state).in_([NoticeState.SENT, NoticeState.SENDING]))
            .order_by(col(Contact.id))
        ).all()
        session.execute(
            update(Notice)
            .where(begun, col(Notice.state) == NoticeState.WAITING)
            .values(state=NoticeState.DROPPED)
            .execution_options(synchronize_session=False)
        )
        _post(session, _fault(session, incident, over=True), told, now, write)


def too_late(session: Session, now: datetime) -> Sequence[str]:
    """Messages of faults that are over: they were on their way at that moment, and came back."""
    ended = session.exec(select(Incident).where(col(Incident.closed_at) > now - USEFUL))
    return session.exec(
        select(Notice.id)
        .where(col(Notice.bundle).in_([_bundle(incident, over=False) for incident in ended]))
        .where(Notice.state == NoticeState.WAITING)
    ).all()


def drop(session: Session, notices: Sequence[str]) -> None:
    """These messages are not sent any more, as far as they were not."""
    session.execute(
        update(Notice)
        .where(col(Notice.id).in_(notices), col(Notice.state) == NoticeState.WAITING)
        .values(state=NoticeState.DROPPED)
        .execution_options(synchronize_session=False)
    )


def _fault(session: Session, incident: Incident, *, over: bool = False) -> Fault:
    device = session.get(Device, incident.device_id) if incident.device_id else None
    room = session.get(Room, device.room_id) if device else None
    return Fault(incident, session.get_one(Site, incident.site_id), device, room, over)


def _bundle(incident: Incident, *, over: bool) -> str:
    return f"incident-{incident.id}" + ("-over" if over else "")


def _post(
    session: Session, fault: Fault, contacts: Iterable[Contact], now: datetime, write: Writer
) -> None:
    written = write(fault)
    for contact in contacts:
        session.add(
            Notice(
                id=uuid4().hex,
                bundle=_bundle(fault.incident, over=fault.over),
                contact_id=contact.id,
                site_id=fault.site.id,
                room_id=fault.room.id if fault.room else None,
                level=Level.FAULT_OVER if fault.over else Level.FAULT,
                channel=contact.channel or Channel.LOG,
                subject=written.subject[:200],
                text=written.text[:10_000],
                link=written.link,
                made_at=now,
                # No course waits for it: the quiet hours hold.
                next_try_at=escalation.send_from(contact.quiet, now + USEFUL, now),
                expires_at=now + USEFUL,
            )
        )
    session.flush()
