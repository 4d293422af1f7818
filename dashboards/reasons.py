"""A plain sentence for every reason that the service can give for a verdict or a reset's end.

About a device the sentence has no subject, so that it stands beside the device's name.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from gettext import NullTranslations
from typing import Any

from dashboards import words
from dashboards.words import N_
from fleet.readiness import Reason
from inventory import DeviceKind

HEALTH = {
    "address_followed": N_("Hat eine neue Adresse und hat bewiesen, wer es ist."),
    "never_seen": N_("Hat sich noch nie gemeldet."),
    "no_news": N_("Seit längerer Zeit keine Nachricht."),
    "waiting": N_("Eine Abfrage blieb ohne Antwort. Die nächste entscheidet."),
    "cut_off": N_("Nicht erreichbar, weil etwas davor ausgefallen ist."),
    "flapping": N_("Fällt immer wieder aus."),
    "off": N_("Aus. Gerade wird es nicht gebraucht."),
    "asleep": N_("Schläft. Gerade wird es nicht gebraucht."),
    "standby": N_("In Bereitschaft."),
    "cooling": N_("Schaltet sich gerade aus."),
    "warming": N_("Wird gerade warm."),
    "maintenance": N_("Daran wird gerade gearbeitet."),
    "repair": N_("In Reparatur."),
    "lent": N_("Ausgeliehen."),
    "retired": N_("Ausgemustert."),
    "denied": N_("Nimmt die Zugangsdaten nicht an."),
    "host_key_changed": N_(
        "Zeigt einen anderen Schlüssel als früher: ausgetauscht oder gefälscht."
    ),
    "wrong_device": N_("Unter der Adresse antwortet ein anderes Gerät."),
    "misconfigured": N_("Die Angaben zum Gerät passen nicht zusammen."),
    "missing_credential": N_("Am Standort fehlen die Zugangsdaten."),
    "unreachable": N_("Antwortet nicht."),
    "server_silent": N_("Der Verwaltungs-Server antwortet nicht."),
    "asleep_wifi": N_("Schläft, ist aber noch im WLAN zu sehen."),
    "timed_out": N_("Antwortet zu langsam."),
    "garbled": N_("Antwortet unverständlich."),
    "refused": N_("Lehnt die Abfrage ab."),
    "failed": N_("Die Abfrage schlägt fehl."),
    "lamp_fault": N_("Die Lampe ist kaputt."),
    "fan_fault": N_("Der Lüfter ist kaputt."),
    "too_hot": N_("Zu heiß. Es schaltet sich bald ab."),
    "cover_open": N_("Die Abdeckung ist offen."),
    "device_fault": N_("Meldet einen Fehler."),
    "disk_full": N_("Der Datenträger ist voll."),
    "ups_empty": N_("Weniger als drei Minuten Notstrom."),
    "lamp_worn": N_("Die Lampe sollte bald gewechselt werden."),
    "fan_worn": N_("Der Lüfter meldet eine Warnung."),
    "hot": N_("Wird zu warm."),
    "filter_clogged": N_("Der Filter muss gereinigt oder gewechselt werden."),
    "filter_dirty": N_("Der Filter sollte gereinigt werden."),
    "device_warning": N_("Meldet eine Warnung."),
    "disk_failing": N_("Der Datenträger geht bald kaputt."),
    "disk_nearly_full": N_("Der Datenträger ist fast voll."),
    "battery_low": N_("Der Akku ist fast leer. Bitte ans Netzteil."),
    "battery_worn": N_("Der Akku hält nur noch halb so lange."),
    "lamp_old": N_("Die Lampe hat ihre Lebensdauer erreicht."),
    "filter_old": N_("Der Filter hat seine Lebensdauer erreicht."),
    "paper_jam": N_("Papierstau."),
    "paper_empty": N_("Kein Papier."),
    "supply_low": N_("Toner oder Tinte ist fast leer."),
    "door_open": N_("Eine Klappe ist offen."),
    "printer_stopped": N_("Der Drucker ist angehalten."),
    "on_battery": N_("Kein Strom. Läuft auf Batterie."),
    "ups_battery_low": N_("Die Notstrom-Batterie ist fast leer."),
    "overloaded": N_("Fast überlastet."),
    "cpu_busy": N_("Der Prozessor ist dauernd ausgelastet."),
    "memory_low": N_("Der Arbeitsspeicher ist fast voll."),
    "clock_wrong": N_("Die Uhr geht falsch."),
    "services_failed": N_("Dienste des Betriebssystems sind ausgefallen."),
    "kiosk_unlocked": N_("Der Kiosk-Modus ist nicht gesperrt."),
    "weak_wifi": N_("Das WLAN-Signal ist schwach."),
}
"""Every key of `fleet.health.REASONS`."""

INCIDENT = {
    "site": N_("Keines der Geräte ist erreichbar."),
    "agent_silent": N_("Vom Standort kommt keine Nachricht mehr."),
}
"""Every key of `fleet.incidents.SITE_REASONS`."""

TREND = {
    "supply_empty_soon": N_("Toner oder Tinte geht zur Neige."),
    "disk_full_soon": N_("Der Datenträger läuft voll."),
    "battery_worn_soon": N_("Der Akku nutzt sich ab."),
    "lamp_worn_soon": N_("Die Lampe erreicht ihre Lebensdauer."),
    "filter_dirty_soon": N_("Der Filter muss gereinigt werden."),
}
"""Every code of `fleet.health.trends.TRENDS`."""

RUN = {
    "not_sent": N_("Konnte bis zum Kurs nicht begonnen werden."),
    "no_answer": N_("Vom Gerät kam keine Antwort mehr."),
    "no_end": N_("Das Ende wurde nie gemeldet."),
    "interrupted": N_("Der Agent wurde mitten darin neu gestartet."),
    "not_clean": N_("Die Prüfung fand noch Spuren oder falsche Einstellungen."),
    "look_too_old": N_("Die Prüfung war älter als die Zurücksetzung."),
    "reset_failed": N_("Ein Schritt schlug fehl."),
    "step_failed": N_("Ein Schritt schlug fehl."),
    "too_long": N_("Die Zurücksetzung dauerte zu lange."),
    "refused": N_("Das Gerät lehnte ab und hat nichts verändert."),
    "failed": N_("Die Zurücksetzung schlug fehl."),
    "unknown": N_("Was geschah, ist unbekannt."),
    "asleep": N_("Es schläft und ließ sich nicht wecken. Bitte einschalten."),
    "switched_off": N_("Es antwortet nicht und ist wohl aus. Bitte einschalten."),
    "in_use": N_("Jemand war am Gerät angemeldet."),
    "sessions_unknown": N_("Es war nicht zu erkennen, ob jemand am Gerät sitzt."),
    "busy": N_("Auf dem Gerät läuft schon eine Zurücksetzung."),
    "site_busy": N_("Am Standort laufen schon genug Zurücksetzungen. Diese wartet."),
    "course_changed": N_("Der Kurs ist ausgefallen oder verlegt."),
    "course_running": N_("Im Raum läuft ein Kurs."),
    "too_close": N_("Der nächste Kurs beginnt zu bald."),
    "too_late": N_("Der nächste Kurs beginnt zu bald."),
    "gap_too_short": N_("Die Pause zwischen zwei Kursen ist zu kurz."),
    "calendar_in_doubt": N_("Der Stundenplan ist unsicher. Es könnte ein Kurs laufen."),
    "expired": N_("Der Auftrag kam zu spät an."),
    "too_early": N_("Der Auftrag kam zu früh an."),
    "clock_in_doubt": N_("Die Uhren stimmen nicht überein."),
    "no_roster": N_("Der Standort kennt seine Geräte noch nicht."),
    "roster_old": N_("Der Standort hat zu lange nichts von der Zentrale gehört."),
    "unknown_device": N_("Der Standort kennt dieses Gerät nicht."),
    "wrong_room": N_("Das Gerät steht in einem anderen Raum."),
    "bug": N_("Ein Fehler in Raumwart selbst. Er ist notiert."),
    "no_journal": N_("Der Agent kann sich Aufträge nicht merken."),
    "not_on": N_("Der Beamer ist nicht an."),
    "lamp_young": N_("Der Beamer ging gerade erst an. Er bleibt an, das schont die Lampe."),
    "unavailable_now": N_("Der Beamer nimmt gerade keinen Befehl an."),
    "bad_job": N_("Das Gerät versteht den Auftrag nicht."),
    "bad_request": N_("Das Gerät versteht den Auftrag nicht."),
    "bad_config": N_("Das Gerät ist falsch eingerichtet."),
    "unknown_profile": N_("Das Gerät kennt diese Art der Zurücksetzung nicht."),
    "unsupported_tier": N_("Das Gerät kennt diese Art der Zurücksetzung nicht."),
    "no_power": N_("Akku zu leer und kein Netzteil angeschlossen."),
    "no_space": N_("Auf dem Datenträger ist zu wenig Platz."),
    "aborted": N_("Der Auftrag wurde rechtzeitig zurückgenommen."),
    "recalled": N_("Von Hand zurückgenommen, bevor etwas gelöscht war."),
    "superseded": N_("Ein neuerer Auftrag kam dazwischen."),
    "no_unit": N_("Das Gerät konnte die Zurücksetzung nicht starten."),
    "plan_changed": N_("Der Plan hat sich geändert. Es wird neu geplant."),
    "paused": N_("Die Zurücksetzungen sind von Hand angehalten."),
    "paused_everywhere": N_("Die Zurücksetzungen sind an allen Standorten angehalten."),
    "no_banner": N_("Das Gerät kann keinen Hinweis auf den Bildschirm bringen."),
    "capacity": N_("Am Standort sind zu viele Geräte auf einmal an der Reihe."),
    "skipped": N_("Von Hand abgesagt."),
    "recipe_stopped": N_("Zu viele Zurücksetzungen dieser Art schlugen fehl. Sie sind gestoppt."),
    "quiet_hours": N_("Es ist Ruhezeit. Danach geht es weiter."),
    "no_device_time": N_("Die Vorlaufzeit des Geräts ist kürzer als seine Zurücksetzung."),
    "not_active": N_("Das Gerät ist nicht im Einsatz."),
    "too_often": N_("Das Gerät wurde heute schon zu oft zurückgesetzt."),
    "storm": N_("Gerade beginnen überall sehr viele Zurücksetzungen. Diese wartet."),
    "fleet_busy": N_("Überall laufen schon genug Zurücksetzungen. Diese wartet."),
    "room_busy": N_("Im Raum starten schon genug Geräte neu. Dieses wartet."),
    "uplink_busy": N_("Am WLAN-Zugang starten schon genug Geräte neu. Dieses wartet."),
    "line_busy": N_("Am Standort laden schon genug Geräte Updates. Dieses wartet."),
    "maintenance": N_("Hier wird gerade gearbeitet. Bis dahin wird nichts zurückgesetzt."),
}
"""Why a reset run is where it is. Besides these a run carries the codes of a poll that failed."""

REFUSAL = {
    "decided": N_("Über diesen Fund ist schon entschieden."),
    "not_acceptable": N_("Dieser Fund kann nicht übernommen werden."),
    "other_site": N_("Der Raum gehört nicht zu dem Standort, an dem es gefunden wurde."),
    "id_taken": N_("Diese Kennung hat schon ein anderes Gerät."),
    "address_taken": N_("Diese Adresse steht im Verzeichnis bei einem anderen Gerät."),
    "faults": N_("So geht es nicht:"),
    "unknown_device": N_("Dieses Gerät gibt es nicht."),
    "not_active": N_("Das Gerät ist nicht im Einsatz. Deshalb wird es nicht zurückgesetzt."),
    "no_recipe": N_("Für dieses Gerät ist nicht festgelegt, wie es zurückgesetzt wird."),
    "no_canary": N_("Nur Laptops können die Zurücksetzung an sich selbst testen."),
    "calendar_in_doubt": N_("Der Stundenplan ist unsicher. Es könnte ein Kurs laufen."),
    "course_running": N_("Ein Kurs läuft, ist gerade vorbei oder beginnt gleich."),
    "too_close": N_("Der nächste Kurs beginnt zu bald."),
    "no_such_tier": N_("So gründlich kann dieses Gerät nicht zurückgesetzt werden."),
    "why_needed": N_("Bitte geben Sie einen Grund an."),
    "in_use": N_("Jemand ist am Gerät angemeldet."),
    "paused": N_("Die Zurücksetzungen sind von Hand angehalten."),
    "paused_everywhere": N_(
        "Alle Standorte sind angehalten. Dagegen kann nur die Verwaltung der Region zurücksetzen."
    ),
    "no_countdown": N_("Dieses Gerät kann vorher keinen Hinweis auf dem Bildschirm zeigen."),
    "countdown_alone": N_("Das geht nur zusammen mit „Trotzdem zurücksetzen“."),
    "maintenance": N_("Hier wird gerade gearbeitet. Bis dahin wird nichts zurückgesetzt."),
    "quiet_hours": N_("Es ist Ruhezeit im Raum."),
    "too_late_to_recall": N_("Diese Zurücksetzung lässt sich nicht mehr zurücknehmen."),
    "already_open": N_("Eine Zurücksetzung ist schon geplant oder läuft."),
    "unknown_place": N_("Diesen Ort, dieses Gerät oder diesen Kurs gibt es nicht."),
    "course_over": N_("Dieser Kurs ist schon vorbei."),
    "already_cancelled": N_("Dieser Kurs fällt schon aus."),
    "ends_before_it_begins": N_("Das Ende muss in der Zukunft liegen."),
    "too_long": N_("Das Ende liegt zu weit in der Zukunft."),
    "end_needed": N_("Bitte geben Sie an, bis wann."),
}
"""Every key of `fleet.resets.REFUSALS` and `fleet.overrides.REFUSALS`."""

TIMETABLE = {
    "unreachable": N_("Der Stundenplan ist nicht erreichbar."),
    "timed_out": N_("Der Stundenplan antwortet zu langsam."),
    "http_error": N_("Der Stundenplan wird nicht ausgeliefert."),
    "denied": N_("Der Stundenplan nimmt unsere Zugangsdaten nicht an."),
    "no_credential": N_("Die Zugangsdaten für den Stundenplan fehlen oder passen nicht."),
    "missing_file": N_("Die Datei mit dem Stundenplan fehlt."),
    "refused_address": N_("Die Adresse des Stundenplans ist nicht erlaubt."),
    "too_large": N_("Der Stundenplan ist zu groß."),
    "not_a_calendar": N_("Statt eines Stundenplans kam etwas anderes."),
    "unreadable": N_("Der Stundenplan ist beschädigt."),
    "no_columns": N_("Im Stundenplan ist nicht zu erkennen, welche Spalte was enthält."),
    "partly_unreadable": N_("Einige Kurse im Stundenplan sind nicht lesbar."),
    "too_many": N_("Der Stundenplan hat zu viele Kurse."),
    "too_slow": N_("Den Stundenplan zu lesen dauert zu lange."),
    "unknown_room": N_("Im Stundenplan stehen Orte, die kein Raum sind."),
    "not_taken_over": N_(
        "Raumwart kann den Stundenplan wegen eines eigenen Fehlers nicht übernehmen. Bitte sagen"
        " Sie der IT Bescheid."
    ),
    "no_feed": N_("Für den Raum gibt es keinen Stundenplan."),
    "too_old": N_("Der Stundenplan ist zu alt."),
    "shrunk": N_("Mehr als die Hälfte der Kurse ist auf einmal weg. Bitte prüfen Sie das."),
    "empty": N_("Der Stundenplan enthält noch keinen Kurs. Bitte prüfen Sie das."),
}
"""Every key of `fleet.timetable.PROBLEMS`, and what a room's trust adds."""

FEED_WARNING = {
    "unknown_zone": N_("Unbekannte Zeitzone. Die Zeiten gelten als Ortszeit."),
    "no_zone": N_("Zeiten ohne Zeitzone. Sie gelten als Ortszeit."),
    "no_end": N_("Kurse ohne Ende. Ihre Dauer ist angenommen."),
    "ends_before_start": N_("Kurse, die vor ihrem Anfang enden. Das ist berichtigt."),
    "until_a_day": N_("Reihen, die an einem Tag enden. Dieser Tag zählt mit."),
    "utc_weekday": N_(
        "Reihen um Mitternacht in Weltzeit. Sie können sich mit der Uhr verschieben."
    ),
    "utc_series": N_("Reihen in Weltzeit. Bei der Zeitumstellung verschiebt sich ihre Uhrzeit."),
    "taken_out_and_changed": N_(
        "Termine, die in einer Reihe gestrichen und zugleich geändert sind. Sie zählen als Kurs."
    ),
    "reused_uid": N_("Mehrere Kurse mit derselben Kennung. Ihr Anfang unterscheidet sie."),
    "all_day_ignored": N_("Einträge ohne Uhrzeit, etwa Ferien. Sie zählen nicht als Kurs."),
    "twice": N_("Derselbe Kurs steht mehrmals da. Er zählt einmal."),
    "elsewhere": N_("Kurse an Orten, die laut Einstellung nicht zu uns gehören."),
}
"""Every key of `fleet.timetable.WARNINGS`."""
"""Every key of `fleet.timetable.PROBLEMS`, and why a timetable without a problem is in doubt."""

READINESS = {
    "no_devices": N_("Im Raum steht kein Gerät."),
    "service_was_down": N_(
        "Raumwart lief nicht, als der Kurs begann. Zum nächsten Kurs urteilt es wieder."
    ),
    "moment_missed": N_("Raumwart lief zu dieser Zeit nicht. Es hat nicht nachgesehen."),
    "learned_late": N_("Raumwart erfuhr von dem Kurs erst, als er schon lief."),
    "calendar_in_doubt": N_("Der Stundenplan ist unsicher. Deshalb wird nichts zurückgesetzt."),
    "agent_silent": N_("Vom Standort kommt keine Nachricht mehr."),
    "canary_failed": N_("Der Selbsttest der Zurücksetzung ist nicht bestanden."),
    "canary_stale": N_("Der Selbsttest der Zurücksetzung ist seit Tagen nicht bestanden."),
    "too_few": N_("{kind}: {have} nutzbar, {need} nötig."),
    "spare_needed": N_("{kind}: {have} nutzbar, {need} nötig. Bitte Reserve-Geräte aufstellen."),
    "device_failed": N_("{name} ist gestört."),
    "in_maintenance": N_("An {name} wird gerade gearbeitet."),
    "reported_broken": N_("{name} wurde als kaputt gemeldet."),
    "battery_low": N_("{name}: Akku unter 40 %. Bitte ans Netzteil anschließen."),
    "device_unknown": N_("{name}: Zustand unbekannt."),
    "gap_too_short": N_("{name}: Die Pause vor dem Kurs reicht nicht zum Zurücksetzen."),
    "reset_failed": N_("{name}: Zurücksetzen fehlgeschlagen."),
    "reset_unknown": N_("{name}: Ob das Zurücksetzen klappte, ist unbekannt."),
    "reset_expired": N_("{name}: Nicht rechtzeitig zurückgesetzt."),
    "reset_again": N_("{name}: Wird noch einmal zurückgesetzt."),
    "not_proved": N_("{name}: Nicht als zurückgesetzt bewiesen."),
    "used_since": N_("{name}: Nach dem Zurücksetzen benutzt."),
    "no_course": N_("In den nächsten zwei Wochen ist kein Kurs geplant."),
}
"""Every key of `fleet.readiness.REASONS`."""

CAUSE = {
    "no_devices": N_("kein Gerät im Raum"),
    "service_was_down": N_("Raumwart lief nicht"),
    "moment_missed": N_("Raumwart lief vorher nicht"),
    "learned_late": N_("Kurs zu spät bekannt"),
    "calendar_in_doubt": N_("Stundenplan unsicher"),
    "agent_silent": N_("keine Nachricht vom Standort"),
    "too_few": N_("zu wenige Geräte"),
    "spare_needed": N_("Reserve nötig"),
    "device_failed": N_("Gerät gestört"),
    "reported_broken": N_("als kaputt gemeldet"),
    "battery_low": N_("Akku fast leer"),
    "device_unknown": N_("Zustand eines Geräts unbekannt"),
    "gap_too_short": N_("Pause zu kurz"),
    "reset_failed": N_("Zurücksetzen fehlgeschlagen"),
    "reset_unknown": N_("Ende des Zurücksetzens unbekannt"),
    "reset_expired": N_("nicht rechtzeitig zurückgesetzt"),
    "reset_again": N_("Zurücksetzen wurde wiederholt"),
    "not_proved": N_("nicht als zurückgesetzt bewiesen"),
    "used_since": N_("nach dem Zurücksetzen benutzt"),
    "no_course": N_("kein Kurs"),
    "canary_failed": N_("Selbsttest nicht bestanden"),
    "canary_stale": N_("Selbsttest zu alt"),
    "in_maintenance": N_("hier wurde gearbeitet"),
}
"""Every key of `fleet.readiness.REASONS` in a few words, for counting."""

DETAIL = {
    "calendar_in_doubt": "timetable",
    "device_failed": "health",
    "device_unknown": "health",
    "reset_failed": "run",
    "reset_unknown": "run",
    "reset_expired": "run",
    "reset_again": "run",
}
"""Of which domain the further code of a readiness reason is."""

DELIVERY = {
    "no_contact": N_("Niemand ist dafür eingetragen."),
    "no_mail_server": N_("Es ist kein Mail-Server eingestellt (FLEET_MAIL_HOST)."),
    "no_secret": N_("Das Geheimnis ist nicht lesbar."),
    "unreachable": N_("Mail-Server oder Webhook sind nicht erreichbar."),
    "timed_out": N_("Mail-Server oder Webhook antworten zu langsam."),
    "denied": N_("Der Mail-Server nimmt das Kennwort oder den Absender nicht an."),
    "busy": N_("Mail-Server oder Webhook nehmen gerade nichts an."),
    "refused": N_("Mail-Server oder Webhook lehnen die Nachricht ab."),
    "refused_address": N_("Die Adresse führt in ein internes Netz."),
    "expired": N_("Die Zeit war um."),
}
"""Every key of `fleet.delivery.PROBLEMS`."""

PLACE = re.compile(r"\{(kind|name|have|need)\}")
TIER = {"quick": N_("schnell"), "standard": N_("gründlich"), "full": N_("vollständig")}
"""How thorough a reset is: every `inventory.Tier`."""

DOMAINS = {
    "delivery": DELIVERY,
    "health": HEALTH,
    "run": {**HEALTH, **RUN},
    "refusal": REFUSAL,
    "timetable": TIMETABLE,
    "incident": {**HEALTH, **INCIDENT},
    "trend": TREND,
    "feed_warning": FEED_WARNING,
    "tier": TIER,
    "step": words.STEP,
}


def sentence(code: str, domain: str) -> str:
    """The German sentence for a code; an unknown one is shown as it is, rather than hidden."""
    return DOMAINS[domain].get(code, code)


def reason(one: Reason | Mapping[str, Any], texts: NullTranslations) -> str:
    """A readiness reason, also one that was frozen as JSON, in the language of `texts`."""
    told = dict(one) if isinstance(one, Mapping) else asdict(one)
    code, kind, detail = told["code"], told.get("kind"), told.get("detail")
    said = texts.gettext(READINESS.get(code, code))
    named = {
        "kind": texts.gettext(words.KINDS[DeviceKind(kind)]) if kind else "",
        "name": told.get("name") or told.get("device", ""),
        "have": told.get("have", 0),
        "need": told.get("need", 0),
    }
    said = PLACE.sub(lambda found: str(named.get(found[1], found[0])), said)
    further = sentence(detail, DETAIL[code]) if detail and code in DETAIL else ""
    return f"{said} {texts.gettext(further)}" if further else said
