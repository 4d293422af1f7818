"""Puts messages about rooms into plain German words, with one thing to do."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from babel.dates import format_date, format_datetime, format_time

from dashboards.view import environment, local
from fleet.incidents import Fault, name_of
from fleet.notify import Letter, Written
from fleet.readiness import Reason
from inventory import Level, Verdict

SUBJECTS = {
    Level.DAY_BEFORE: "{room}: Am {day} klappt etwas nicht",
    Level.CARETAKER: "{room}: Bitte helfen Sie bis {time} Uhr",
    Level.DUTY: "{room}: Nicht bereit für den Kurs um {time} Uhr",
    Level.RECOVERED: "{room}: Jetzt ist alles bereit",
}
UNCLEAR = "{room}: Unklar, ob bereit für den Kurs um {time} Uhr"
"""Instead of the duty's usual subject: nobody may be told more than is known."""
SWITCH_ON = "Prüfen Sie bei {name}: Steckt der Stecker? Schalten Sie das Gerät ein."
LAY_ASIDE = "Legen Sie {name} zur Seite. Es ist nicht sicher, dass es geleert ist."
CALL = "Sie müssen nichts tun. Die IT sieht danach."
ACTIONS = {
    "agent_silent": "Prüfen Sie, ob im Haus Strom und Internet gehen.",
    "reported_broken": "Sehen Sie nach {name}. Geht es wieder? Dann melden Sie es als erledigt.",
    "canary_failed": CALL,
    "canary_stale": CALL,
    "in_maintenance": CALL,
    "device_failed": SWITCH_ON,
    "battery_low": "Stecken Sie {name} an das Netzteil.",
    "device_unknown": SWITCH_ON,
    "gap_too_short": "Planen Sie zwischen den beiden Kursen mehr Pause ein.",
    "reset_failed": LAY_ASIDE,
    "reset_unknown": LAY_ASIDE,
    "reset_expired": LAY_ASIDE,
    "reset_again": "Lassen Sie {name} eingeschaltet stehen. Raumwart versucht es noch einmal.",
    "not_proved": LAY_ASIDE,
    "used_since": LAY_ASIDE,
    "calendar_in_doubt": CALL,
}
"""Reason → what somebody in the room can do about it."""
OTHERWISE = "Sehen Sie bitte im Raum nach."
MOST = 6
"""Reasons in one message: the others are on the page."""


def write(public_url: str, letter: Letter, now: datetime) -> Written:
    german = environment("de").overlay(autoescape=False)
    german.filters["said"] = partial(_said, now)
    link = f"{public_url}/raum/{letter.room.id}"
    shown = [each for each in letter.reasons if each.device or not _has_devices(letter.reasons)]
    text = german.get_template("letter.txt").render(
        now=now,
        letter=letter,
        action=action(letter),
        shown=shown[:MOST],
        more=len(shown) - MOST,
        link=link,
    )
    time = format_time(local(letter.courses[0].start), "HH:mm", locale="de")
    unclear = letter.level is Level.DUTY and letter.verdict is Verdict.UNKNOWN
    subject = UNCLEAR if unclear else SUBJECTS[letter.level]
    day = _day(letter.courses[0].start)
    subject = subject.format(room=letter.room.name, time=time, day=day)
    return Written(subject, text.strip() + "\n", link)


def write_fault(public_url: str, fault: Fault) -> Written:
    german = environment("de").overlay(autoescape=False)
    name = fault.device.name if fault.device else name_of(fault.incident) or fault.site.name
    place = f"{fault.room.name}, {fault.site.name}" if fault.room else fault.site.municipality
    link = f"{public_url}/geraet/{fault.device.id}" if fault.device else f"{public_url}/stoerungen"
    text = german.get_template("fault.txt").render(
        fault=fault,
        name=name,
        place=place,
        since=format_datetime(local(fault.incident.since), "d. MMMM, HH:mm", locale="de"),
        link=link,
    )
    subject = f"{name} ({place}): {'Störung behoben' if fault.over else 'Störung'}"
    return Written(subject, text.strip() + "\n", link)


def _said(now: datetime, start: datetime) -> str:
    """um 9:30 Uhr; on another day: am Montag um 9:30 Uhr. Never "morgen", for a message that waits
    until quiet hours are over is read on the day itself."""
    day = "" if local(start).date() == local(now).date() else f"am {_day(start)} "
    return f"{day}um {format_time(local(start), 'HH:mm', locale='de')} Uhr"


def _day(start: datetime) -> str:
    return format_date(local(start), "EEEE", locale="de")


def _has_devices(reasons: Sequence[Reason]) -> bool:
    return any(each.device for each in reasons)


def action(letter: Letter) -> str:
    """The one thing to do: put a spare there, else what the gravest reason asks for."""
    for swap in letter.swaps:
        if swap.out:
            return f"Stellen Sie {swap.into} an den Platz von {swap.out}."
        return f"Stellen Sie {swap.into} dazu."
    for reason in letter.reasons:
        if reason.code in ACTIONS:
            return ACTIONS[reason.code].replace("{name}", reason.name or reason.device)
    return OTHERWISE
