"""Pages that nobody needs every day: they stand together on one page, not in the menu."""

from dashboards.words import N_
from fleet.auth import Action

PLACES = (
    ("/statistik", N_("Statistik"), N_("Wie oft Räume bereit waren, nach Monat"), Action.VIEW),
    ("/kalender", N_("Kurse im eigenen Kalender"), N_("Eine Adresse für das Telefon oder Outlook"),
     Action.VIEW),
    ("/selbsttest", N_("Selbsttest der Zurücksetzung"),
     N_("Nachts beweist ein Laptop in jedem Raum, dass nichts zurückbleibt"), Action.VIEW),
    ("/eingreifen", N_("Eingriffe von Hand"),
     N_("Was jemand gesperrt, abgesagt oder angehalten hat"), Action.WORK),
    ("/stundenplaene", N_("Stundenpläne"), N_("Woher die Kurse kommen, und was gelesen wurde"),
     Action.EDIT),
    ("/kontakte", N_("Kontakte"), N_("Wem Raumwart Bescheid sagt, und was zuletzt gesagt wurde"),
     Action.EDIT),
    ("/gefunden", N_("Gefundene Geräte"), N_("Neue Geräte im Netz und geänderte Adressen"),
     Action.EDIT),
    ("/kennwort", N_("Kennwort"), N_("Das eigene Kennwort ändern"), Action.VIEW),
)  # fmt: skip
"""Address, name, what is there, and what an account must be allowed to do."""
ADDRESSES = frozenset(address for address, *_ in PLACES)
