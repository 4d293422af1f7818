"""What a caretaker reads: plain German, the device, the place, one thing to do."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from dashboards import letters
from fleet.notify import Letter
from fleet.readiness import REASONS, Reason, Swap
from inventory import Course, Level, Room, Site, Verdict


def letter(now: datetime, level: Level = Level.CARETAKER, **more: Any) -> Letter:
    start = now + timedelta(minutes=30)
    told: dict[str, Any] = {
        "level": level,
        "room": Room(id="ahlendorf-1", site_id="a", name="Lernraum 1"),
        "site": Site(id="a", name="Bürgerhaus", municipality="Ahlendorf", phone="0123 45"),
        "courses": [
            Course(
                room_id="ahlendorf-1",
                uid="c",
                title="Fotos & <Bilder>",
                start=start,
                end=start + timedelta(hours=1),
            )
        ],
        "verdict": Verdict.NOT_READY,
        "reasons": [
            Reason("too_few", "laptop", have=5, need=6),
            Reason("device_failed", "laptop", "l7", detail="unreachable", name="Laptop 7"),
        ],
        "swaps": [],
    }
    return Letter(**(told | more))


def test_a_caretaker_reads_what_to_do(now: datetime) -> None:
    written = letters.write("https://raumwart.example", letter(now), now)
    assert written.subject == "Lernraum 1: Bitte helfen Sie bis 09:30 Uhr"
    assert written.link == "https://raumwart.example/raum/ahlendorf-1"
    assert written.text == (
        "Guten Tag,\n"
        "\n"
        "in Lernraum 1 (Bürgerhaus, Ahlendorf) beginnt um 09:30 Uhr ein Kurs: Fotos & <Bilder>.\n"
        "\n"
        "Der Raum ist nicht bereit:\n"
        "- Laptop 7 ist gestört. Antwortet nicht.\n"
        "\n"
        "Bitte tun Sie das:\n"
        "Prüfen Sie bei Laptop 7: Steckt der Stecker? Schalten Sie das Gerät ein.\n"
        "\n"
        "Mehr dazu steht hier:\n"
        "https://raumwart.example/raum/ahlendorf-1\n"
        "\n"
        "Raumwart versucht es weiter. Sobald alles bereit ist, bekommen Sie eine Nachricht.\n"
        "Fragen? Telefon 0123 45\n"
        "\n"
        "Diese Nachricht hat Raumwart von selbst geschickt.\n"
    )


def test_a_warning_that_waits_until_the_morning_still_names_the_right_day(now: datetime) -> None:
    """It is written on a Sunday evening, and read after the quiet hours, on Monday."""
    sunday = now - timedelta(hours=14)
    written = letters.write("", letter(now, Level.DAY_BEFORE), sunday)
    assert written.subject == "Lernraum 1: Am Montag klappt etwas nicht"
    assert "beginnt am Montag um 09:30 Uhr ein Kurs" in written.text
    assert "orgen" not in written.subject + written.text


def test_a_spare_is_the_first_thing_to_do(now: datetime) -> None:
    swaps = [Swap("laptop", "Laptop 7", "Reserve 2"), Swap("laptop", "Laptop 8", "Reserve 3")]
    text = letters.write("", letter(now, swaps=swaps), now).text
    assert "Stellen Sie Reserve 2 an den Platz von Laptop 7." in text
    more = [Swap("laptop", "", "Reserve 2")]
    assert "Stellen Sie Reserve 2 dazu." in letters.write("", letter(now, swaps=more), now).text


def test_the_end_of_trouble_asks_for_nothing(now: datetime) -> None:
    text = letters.write("", letter(now, Level.RECOVERED, verdict=Verdict.READY), now).text
    assert "Sie müssen nichts mehr tun" in text
    assert "Bitte tun Sie" not in text


def test_the_duty_is_not_told_more_than_is_known(now: datetime) -> None:
    told = {
        verdict: letters.write("", letter(now, Level.DUTY, verdict=verdict), now).subject
        for verdict in (Verdict.NOT_READY, Verdict.UNKNOWN)
    }
    assert "Nicht bereit" in told[Verdict.NOT_READY]
    assert "Unklar" in told[Verdict.UNKNOWN]


@pytest.mark.parametrize("code", REASONS)
@pytest.mark.parametrize("level", list(letters.SUBJECTS))
def test_every_reason_can_be_told(now: datetime, level: Level, code: str) -> None:
    reasons = [Reason(code, "laptop", "l1", name="{name} %s {{ 7*7 }}", detail="unreachable")]
    written = letters.write("https://x.example", letter(now, level, reasons=reasons * 9), now)
    assert "49" not in written.text
    assert "\n\n\n" not in written.text
    assert len(written.subject) < 100
    if level is not Level.RECOVERED:
        assert "- und 3 weitere" in written.text
