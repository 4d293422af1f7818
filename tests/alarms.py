"""What the tests of alarms and messages share: contacts of a site, and reading what was written."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import col, select

from fleet import notify
from fleet.notify import Letter, Written
from fleet.settings import Settings
from inventory import Alarm, Audience, Channel, Contact, Notice
from inventory.db import reading, session


def name_contacts(engine: Engine, **more: object) -> None:
    """The site `vhs` has a caretaker, somebody on duty and an office, each by e-mail."""
    with session(engine) as opened:
        for audience in (Audience.CARETAKER, Audience.DUTY, Audience.OFFICE):
            told: dict[str, object] = {
                "id": audience.value,
                "site_id": "vhs",
                "name": audience.value.title(),
                "audience": audience,
                "channel": Channel.MAIL,
                "address": f"{audience.value}@example.org",
            }
            opened.add(Contact.model_validate(told | more))


def spell_out(letter: Letter, _now: datetime) -> Written:
    """A writer for tests about when and to whom, not about words."""
    courses = ",".join(str(course.id) for course in letter.courses)
    return Written(f"{letter.level} {letter.room.id} {courses}", "text", "https://example.org")


def climb(engine: Engine, now: datetime, settings: Settings) -> None:
    with session(engine) as opened:
        notify.climb(opened, now, settings, spell_out)


def notices(engine: Engine) -> Sequence[Notice]:
    with reading(engine) as opened:
        return opened.exec(select(Notice).order_by(col(Notice.made_at), col(Notice.id))).all()


def told(engine: Engine) -> list[tuple[str, str | None]]:
    """Level and contact of every message, in the order of writing."""
    return [(each.level.value, each.contact_id) for each in sorted_notices(engine)]


def sorted_notices(engine: Engine) -> list[Notice]:
    return sorted(notices(engine), key=lambda each: (each.made_at, each.contact_id or ""))


def alarms(engine: Engine) -> Sequence[Alarm]:
    with reading(engine) as opened:
        return opened.exec(select(Alarm).order_by(col(Alarm.id))).all()
