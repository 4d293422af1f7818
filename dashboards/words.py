"""The words of the pages for what the tables call `not_ready` or `wont_start`.

The German text is the source; `locale/en` translates it. `N_` only marks a text for the catalogue.
"""

from fleet.auth import MIN_PASSWORD
from inventory import (
    Audience,
    Channel,
    DeviceKind,
    FeedKind,
    Health,
    Impact,
    Level,
    NoticeState,
    Override,
    OverrideKind,
    Problem,
    ReportState,
    Role,
    RunState,
    Service,
    Verdict,
)
from inventory.recipes import BUILT_IN, CANARY


def N_(text: str) -> str:  # noqa: N802 - the catalogue tools look for this name
    """Mark a text for translation, and leave it as it is."""
    return text


YES, NO = N_("ja"), N_("nein")
HOURS, MINUTES, DAYS = N_("Std."), N_("Min."), N_("Tage")

NEAR_DAYS = {
    "de": {1: "morgen", -1: "gestern"},
    "en": {1: "tomorrow", -1: "yesterday"},
}

VERDICT = {
    Verdict.READY: N_("bereit"),
    Verdict.DEGRADED: N_("eingeschränkt"),
    Verdict.NOT_READY: N_("nicht bereit"),
    Verdict.UNKNOWN: N_("unbekannt"),
}

HEALTH = {
    Health.OK: N_("in Ordnung"),
    Health.OFF: N_("aus"),
    Health.WARNING: N_("Hinweis"),
    Health.FAILED: N_("gestört"),
    Health.UNKNOWN: N_("unbekannt"),
}

RUN_STATE = {
    RunState.PLANNED: N_("geplant"),
    RunState.ORDERED: N_("beauftragt"),
    RunState.ACTED: N_("ausgeführt"),
    RunState.VERIFIED: N_("geprüft"),
    RunState.FAILED: N_("fehlgeschlagen"),
    RunState.UNKNOWN: N_("unbekannt"),
    RunState.EXPIRED: N_("verfallen"),
    RunState.DROPPED: N_("entfallen"),
}

STEP = {
    "start": N_("Anfang"),
    "resume": N_("Fortsetzen nach einer Unterbrechung"),
    "canary": N_("Spuren für den Selbsttest legen"),
    "prepare": N_("neuen Gast-Ordner vorbereiten"),
    "countdown": N_("Zeit zum Speichern geben"),
    "lock": N_("Anmeldung sperren"),
    "sessions": N_("Gast abmelden"),
    "unmount": N_("Stick auswerfen"),
    "prints": N_("Druckaufträge löschen"),
    "network": N_("fremde WLAN-Netze löschen"),
    "home": N_("Gast-Ordner tauschen"),
    "residue": N_("Spuren an anderen Orten löschen"),
    "everywhere": N_("Dateien des Gasts auf der ganzen Festplatte löschen"),
    "settings": N_("Einstellungen herstellen"),
    "updates": N_("Updates einspielen"),
    "alarm": N_("Wecker stellen"),
    "restart": N_("Neustart"),
    "again": N_("nach dem Neustart noch einmal aufräumen"),
    "unlock": N_("Anmeldung freigeben"),
    "trash": N_("Papierkorb leeren"),
    "screen": N_("Bildschirm einschalten"),
    "cookies": N_("Cookies löschen"),
    "webstorage": N_("Daten von Webseiten löschen"),
    "cache": N_("Zwischenspeicher löschen"),
    "webview": N_("Browser zurücksetzen"),
    "start_page": N_("Startseite öffnen"),
    "kiosk_lock": N_("Kiosk-Modus sperren"),
    "configuration": N_("Einstellungen neu holen"),
    "power": N_("Ein- oder Ausschalten"),
    "input": N_("Eingang wählen"),
    "mute": N_("Bild und Ton"),
    "freeze": N_("Standbild lösen"),
    "power_off": N_("Strom abschalten"),
    "power_on": N_("Strom wieder einschalten"),
}
"""Every one of `agents.steps.STEPS`."""

REPORT_STATE = {
    ReportState.RECEIVED: N_("eingegangen"),
    ReportState.IN_PROGRESS: N_("in Arbeit"),
    ReportState.DONE: N_("erledigt"),
}

SERVICE = {
    Service.ACTIVE: N_("im Einsatz"),
    Service.REPAIR: N_("in Reparatur"),
    Service.LENT: N_("ausgeliehen"),
    Service.RETIRED: N_("ausgemustert"),
}

KIND = {
    DeviceKind.LAPTOP: N_("Laptop"),
    DeviceKind.TABLET: N_("Tablet"),
    DeviceKind.PROJECTOR: N_("Beamer"),
    DeviceKind.ACCESS_POINT: N_("WLAN-Zugang"),
    DeviceKind.SWITCH: N_("Netzwerk-Verteiler"),
    DeviceKind.PRINTER: N_("Drucker"),
    DeviceKind.DISPLAY: N_("Bildschirm"),
    DeviceKind.UPS: N_("Notstrom-Gerät"),
}

KINDS = {
    DeviceKind.LAPTOP: N_("Laptops"),
    DeviceKind.TABLET: N_("Tablets"),
    DeviceKind.PROJECTOR: N_("Beamer (Mehrzahl)"),
    DeviceKind.ACCESS_POINT: N_("WLAN-Zugänge"),
    DeviceKind.SWITCH: N_("Netzwerk-Verteiler (Mehrzahl)"),
    DeviceKind.PRINTER: N_("Drucker (Mehrzahl)"),
    DeviceKind.DISPLAY: N_("Bildschirme"),
    DeviceKind.UPS: N_("Notstrom-Geräte"),
}
"""Plurals. Where German has one word for one and many, the catalogue of each language says what
is shown."""

PROBLEM = {
    Problem.WONT_START: N_("Geht nicht an"),
    Problem.PICTURE: N_("Bild fehlt oder ist schlecht"),
    Problem.SOUND: N_("Ton fehlt oder ist schlecht"),
    Problem.INTERNET: N_("Kein Internet"),
    Problem.INPUT: N_("Tastatur, Maus oder Stift geht nicht"),
    Problem.DAMAGED: N_("Beschädigt"),
    Problem.MISSING: N_("Fehlt"),
    Problem.OTHER: N_("Etwas anderes"),
}

_ALWAYS = (Problem.DAMAGED, Problem.MISSING, Problem.OTHER)

PROBLEMS_OF = {
    DeviceKind.LAPTOP: (
        Problem.WONT_START,
        Problem.PICTURE,
        Problem.SOUND,
        Problem.INTERNET,
        Problem.INPUT,
        *_ALWAYS,
    ),
    DeviceKind.TABLET: (
        Problem.WONT_START,
        Problem.PICTURE,
        Problem.SOUND,
        Problem.INTERNET,
        Problem.INPUT,
        *_ALWAYS,
    ),
    DeviceKind.PROJECTOR: (Problem.WONT_START, Problem.PICTURE, Problem.SOUND, *_ALWAYS),
    DeviceKind.DISPLAY: (Problem.WONT_START, Problem.PICTURE, Problem.SOUND, *_ALWAYS),
    DeviceKind.ACCESS_POINT: (Problem.INTERNET, Problem.WONT_START, *_ALWAYS),
    DeviceKind.SWITCH: (Problem.INTERNET, Problem.WONT_START, *_ALWAYS),
    DeviceKind.PRINTER: (Problem.WONT_START, *_ALWAYS),
    DeviceKind.UPS: (Problem.WONT_START, *_ALWAYS),
}
"""What can be wrong with a device of this kind, the likely first."""

IMPACT = {
    Impact.NONE: N_("Ja, der Kurs kann weitergehen"),
    Impact.WITH_SPARE: N_("Ja, mit einem Ersatz-Gerät"),
    Impact.BLOCKED: N_("Nein, der Kurs kann nicht weitergehen"),
}

IMPACT_SHORT = {
    Impact.NONE: N_("Kurs läuft weiter"),
    Impact.WITH_SPARE: N_("Kurs läuft mit Ersatz"),
    Impact.BLOCKED: N_("Kurs kann nicht weitergehen"),
}

ROLE = {
    Role.REGION_ADMIN: N_("Verwaltung der Region"),
    Role.MUNICIPAL_IT: N_("IT der Gemeinde"),
    Role.CARETAKER: N_("Hausmeisterei"),
    Role.VIEWER: N_("nur ansehen"),
}

POINT = {
    "day": N_("Einen Tag vorher"),
    "hour": N_("Eine Stunde vorher"),
    "quarter": N_("Eine Viertelstunde vorher"),
    "start": N_("Zu Beginn"),
}
FITNESS = {
    "usable": N_("nutzbar"),
    "pending": N_("wird noch zurückgesetzt"),
    "unfit": N_("nicht nutzbar"),
    "unknown": N_("unbekannt"),
}
LEVEL = {
    Level.DAY_BEFORE: N_("Warnung am Tag vorher"),
    Level.CARETAKER: N_("Nachricht an die Hausmeisterei"),
    Level.DUTY: N_("Nachricht an Bereitschaft und Büro"),
    Level.START: N_("Auf der Übersicht gezeigt"),
    Level.RECOVERED: N_("Entwarnung"),
    Level.FAULT: N_("Störung"),
    Level.FAULT_OVER: N_("Störung behoben"),
}
AUDIENCE = {
    Audience.CARETAKER: N_("Hausmeisterei"),
    Audience.DUTY: N_("Bereitschaft"),
    Audience.OFFICE: N_("Büro"),
    Audience.IT: N_("IT"),
}
CHANNEL = {
    Channel.MAIL: N_("E-Mail"),
    Channel.WEBHOOK: N_("Webhook"),
    Channel.LOG: N_("Protokoll"),
}
NOTICE_STATE = {
    NoticeState.WAITING: N_("wartet"),
    NoticeState.SENDING: N_("wird gesendet"),
    NoticeState.SENT: N_("gesendet"),
    NoticeState.FAILED: N_("nicht angekommen"),
    NoticeState.DROPPED: N_("nicht mehr nötig"),
}

RECIPE = {
    BUILT_IN["laptop-reset"].name: N_("Laptop: frischer Gast-Ordner, keine Spur vom letzten Gast"),
    BUILT_IN["laptop-canary"].name: N_("Laptop: Selbsttest der Zurücksetzung mit gelegten Spuren"),
    BUILT_IN["tablet-reset"].name: N_("Tablet: Browser geleert, Startseite, Kiosk gesperrt"),
    BUILT_IN["tablet-start-page"].name: N_(
        "Tablet: Zwischenspeicher geleert, Startseite; Cookies und Eingaben der Gäste bleiben"
    ),
    BUILT_IN["tablet-configuration"].name: N_(
        "Tablet: Konfiguration neu geholt, Kiosk gesperrt; was Gäste hinterließen, bleibt"
    ),
    BUILT_IN["projector-ready"].name: N_("Beamer: an, erster HDMI-Eingang, Bild und Ton"),
    BUILT_IN["projector-stays-on"].name: N_("Beamer: an wie sonst, bleibt nach dem Kurs an"),
    BUILT_IN["projector-rest"].name: N_("Beamer: aus nach dem letzten Kurs des Tages"),
    BUILT_IN["access-point-check"].name: N_("WLAN-Zugang: läuft, nennt seine Geräte"),
    BUILT_IN["access-point-restart"].name: N_("WLAN-Zugang: neu gestartet, wo er das kann"),
    BUILT_IN["access-point-power-cycle"].name: N_("WLAN-Zugang: neu gestartet, Strom kurz aus"),
    BUILT_IN["look-only"].name: N_("Nur nachsehen: antwortet, sonst nichts"),
}
"""The built-in recipes; one that somebody renamed is shown by its own name."""

OVERRIDE = {
    OverrideKind.COURSE: N_("Kurs außer der Reihe"),
    OverrideKind.CANCEL: N_("Kurs fällt aus"),
    OverrideKind.BLOCK: N_("Raum gesperrt"),
    OverrideKind.SKIP: N_("Vor einem Kurs wird nicht zurückgesetzt"),
    OverrideKind.PAUSE: N_("Zurücksetzungen angehalten"),
    OverrideKind.MAINTENANCE: N_("Wartung"),
    OverrideKind.STOP: N_("Zu viele Fehlschläge: diese Zurücksetzung ist gestoppt"),
}
CANARY_OFF = N_("Selbsttest abgeschaltet")


def override(said: Override) -> str:
    """What was said by hand, as a text to translate."""
    of_canary = said.kind is OverrideKind.STOP and said.recipe_id == CANARY
    return CANARY_OFF if of_canary else OVERRIDE[said.kind]


MESSAGES = {
    "contact_saved": N_("Der Kontakt ist gespeichert."),
    "contact_gone": N_("Der Kontakt ist entfernt."),
    "reset_recalled": N_("Die Zurücksetzung wird zurückgenommen, wenn noch nichts gelöscht ist."),
    "reset_requested": N_("Die Zurücksetzung ist geplant. Unten sehen Sie, wie weit sie ist."),
    "timetable_confirmed": N_(
        "Danke. Der Stundenplan wird gleich neu gelesen. Danach gilt, was darin steht."
    ),
    "timetable_again": N_("Der Stundenplan wird in der nächsten halben Minute neu gelesen."),
    "calendar_gone": N_("Diese Adresse gilt nicht mehr."),
    "timetable_fine": N_("Hier gibt es nichts mehr zu bestätigen."),
    "service_set": N_("Der Einsatz-Zustand ist geändert."),
    "report_set": N_("Die Meldung ist geändert."),
    "search_asked": N_("Die Suche beginnt gleich. Sie dauert einige Minuten."),
    "find_accepted": N_("Das ist jetzt im Verzeichnis. Gleich wird zum ersten Mal nachgesehen."),
    "find_ignored": N_("Dieser Fund wird nicht mehr gezeigt."),
    "override_said": N_("Das gilt ab sofort."),
    "override_ended": N_("Das gilt nicht mehr."),
    "room_reset": N_("Die Geräte werden gleich zurückgesetzt."),
    "signed_out": N_("Sie sind abgemeldet."),
    "password_set": N_("Ihr neues Kennwort gilt ab jetzt. Alle anderen Anmeldungen sind beendet."),
    "me_too": N_("Danke. Ihr Hinweis ist bei der Meldung notiert."),
}
"""What a page says after something was done; chosen by `?hinweis=` in the address."""

FEED_KIND = {
    FeedKind.ICS: "iCalendar",
    FeedKind.CALDAV: "CalDAV",
    FeedKind.CSV: "CSV",
    FeedKind.XML: "XML",
}

PASSWORD_HINT = N_("Mindestens {count} Zeichen. Ein Satz ist leichter zu merken als ein Wort.")


def password_hint(translated: str) -> str:
    return translated.format(count=MIN_PASSWORD)
