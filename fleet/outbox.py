"""Sends the messages that wait in the table of notices.

A message is claimed by a conditional UPDATE, tried again with growing pauses, and given up when
nobody needs it any more.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, String, and_, case, cast, func, or_, update
from sqlmodel import Session, col, select

from fleet.delivery import FINAL, NotDelivered, Parcel, deliver
from fleet.escalation import send_from
from fleet.settings import Settings
from inventory import OPEN_NOTICES, Alarm, Channel, Contact, Notice, NoticeState
from inventory.db import session

log = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=15)
STUCK = timedelta(minutes=5)
"""A process that took a message up and died: after this another one tries."""
AT_ONCE = 30
"""Messages sent in one round; the others wait for the next."""


def send(engine: Engine, clock: Callable[[], datetime], settings: Settings) -> int:
    """Send what is due; returns how many messages arrived. A mail server or webhook that cannot
    be reached is left alone for the rest of the round."""
    arrived = 0
    tired: set[str] = set()
    for _ in range(AT_ONCE):
        found = _take(engine, clock(), tired)
        if found is None:
            break
        taken, way = found
        problem = ""
        try:
            deliver(taken, settings, clock())
        except NotDelivered as failed:
            problem = failed.code
            tired.add(way)
        arrived += not problem
        with session(engine) as opened:
            _settle(opened, taken.id, problem, clock())
    return arrived


def _way() -> ColumnElement[str]:
    """By which mail server or webhook a message leaves: those of one that cannot be reached stand
    in nobody's way. As the contact is now: somebody may have changed it while the message waits."""
    channel = func.coalesce(cast(col(Contact.channel), String), cast(col(Notice.channel), String))
    one = channel + " " + func.coalesce(col(Contact.address), "")
    return case((channel == Channel.MAIL.value, "mail"), else_=one)


def _take(engine: Engine, now: datetime, tired: set[str]) -> tuple[Parcel, str] | None:
    """Claim the message that has waited longest, and tell its way; nobody else can take it then."""
    with session(engine) as opened:
        _give_up(opened, now)
        due = opened.exec(
            select(Notice, Contact, _way())
            .outerjoin(Contact, col(Contact.id) == col(Notice.contact_id))
            .where(col(Notice.state).in_(OPEN_NOTICES))
            .where(Notice.next_try_at <= now, _way().not_in(tired))
            .order_by(col(Notice.next_try_at), col(Notice.id))
            .limit(50)
        ).all()
        for notice, contact, way in due:
            later = _send_from(opened, notice, contact, now)
            if later > now:
                _claim(opened, notice, next_try_at=later)
                continue
            channel = contact.channel if contact else notice.channel
            sending = {"state": NoticeState.SENDING, "tries": notice.tries + 1}
            if _claim(opened, notice, channel=channel, next_try_at=now + STUCK, **sending):
                parcel = Parcel(
                    notice.id,
                    channel,
                    contact.address if contact else "",
                    contact.credential if contact else "",
                    notice.subject,
                    notice.text,
                    notice.link,
                    notice.level.value,
                    notice.site_id,
                    notice.room_id or "",
                )
                return parcel, way
    return None


def _claim(opened: Session, notice: Notice, **values: Any) -> bool:
    """Write these values, unless somebody else took it up since it was read."""
    claimed = opened.execute(
        update(Notice)
        .where(col(Notice.id) == notice.id, col(Notice.state) == notice.state)
        .where(col(Notice.next_try_at) == notice.next_try_at)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return bool(claimed.rowcount)  # type: ignore[attr-defined]


def _send_from(opened: Session, notice: Notice, contact: Contact | None, now: datetime) -> datetime:
    """A message that could not leave for hours may have come into the contact's quiet hours."""
    if contact is None or not contact.quiet:
        return now
    about = select(func.min(Alarm.course_start)).where(Alarm.bundle == notice.bundle)
    # A fault has no course that it could be urgent for; it is told until it is no news.
    return send_from(contact.quiet, opened.exec(about).one() or notice.expires_at, now)


def _give_up(opened: Session, now: datetime) -> None:
    over = and_(
        col(Notice.expires_at) <= now,
        or_(
            col(Notice.state) == NoticeState.WAITING,
            and_(col(Notice.state) == NoticeState.SENDING, col(Notice.next_try_at) <= now),
        ),
    )
    opened.execute(
        update(Notice)
        .where(over)
        .values(
            state=NoticeState.FAILED,
            problem=func.coalesce(func.nullif(col(Notice.problem), ""), "expired"),
        )
        .execution_options(synchronize_session=False)
    )


def _settle(opened: Session, notice_id: str, problem: str, now: datetime) -> None:
    notice = opened.get(Notice, notice_id)
    if notice is None:
        return
    notice.problem = problem
    if not problem:
        notice.state, notice.sent_at = NoticeState.SENT, now
    elif problem in FINAL:
        notice.state = NoticeState.FAILED
        log.warning("message %s is given up: %s", notice.id, problem)
    else:
        pause = min(FIRST_PAUSE * 2 ** min(notice.tries - 1, 10), LONGEST_PAUSE)
        notice.state, notice.next_try_at = NoticeState.WAITING, now + pause
