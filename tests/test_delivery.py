"""Messages reach a real mail server and a real webhook, also ones that fail, hang and come back."""

import hashlib
import hmac
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from fleet import delivery, notify, outbox
from fleet.delivery import NotDelivered, Parcel, deliver
from fleet.settings import Settings
from inventory import Channel, Contact, Course, Notice, NoticeState
from inventory.db import session
from tests.alarms import notices, spell_out
from tests.parts import need
from tests.receivers import certificate, hook, mail_server
from tests.room import MINUTE, add_course, change, furnish, heard
from tests.test_escalation import furnished, spoil, step

LOOPBACK = ["127.0.0.0/8"]
PARCEL = Parcel(
    "n1",
    Channel.MAIL,
    "hausmeisterei@example.org",
    "",
    "Lernraum 1: Bitte helfen Sie",
    "Grüße aus dem Lernraum\n",
    "https://raumwart.example/raum/r1",
    "caretaker",
    "vhs",
    "r1",
)


def mail_settings(port: int, **more: Any) -> Settings:
    told: dict[str, Any] = {"mail_host": "127.0.0.1", "mail_port": port, "mail_tls": "none"}
    return Settings(**(told | more))


def hook_to(url: str) -> Parcel:
    return replace(PARCEL, channel=Channel.WEBHOOK, address=url)


def why(parcel: Parcel, settings: Settings, now: datetime) -> str:
    with pytest.raises(NotDelivered) as failed:
        deliver(parcel, settings, now)
    assert not parcel.address or parcel.address not in str(failed.value)
    return failed.value.code


def test_a_letter_arrives_whole(now: datetime) -> None:
    with mail_server() as server:
        settings = mail_settings(server.port, url="https://raumwart.example")
        deliver(PARCEL, settings, now)
        deliver(replace(PARCEL, subject="two\r\nBcc: x@example.org"), settings, now)
    letter, other = server.letters
    assert letter["To"] == "hausmeisterei@example.org"
    assert letter["From"] == "raumwart@raumwart.example"
    assert letter["Subject"] == "Lernraum 1: Bitte helfen Sie"
    assert letter["Message-ID"] == "<n1@raumwart.example>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter.get_content().replace("\r\n", "\n") == "Grüße aus dem Lernraum\n"
    assert (other["Subject"], other["Bcc"]) == ("two Bcc: x@example.org", None)


def test_only_encrypted_and_with_the_password(
    now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crt, key = certificate(tmp_path, need("openssl"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "mail.json").write_text('{"password": "right"}')
    (secrets / "mail.json").chmod(0o600)
    (tmp_path / "password").write_text("wrong\n")
    login = {"mail_user": "raumwart", "mail_credential": "mail", "credentials": secrets}
    with mail_server("right", tls_context=context, require_starttls=True) as server:
        settings = mail_settings(server.port, mail_tls="starttls", **login)
        delivery._trust.cache_clear()
        assert why(PARCEL, settings, now) == "unreachable", "nobody knows this certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(crt))
        delivery._trust.cache_clear()
        deliver(PARCEL, settings, now)
        wrong = settings.model_copy(update={"mail_password_file": tmp_path / "password"})
        assert why(PARCEL, wrong, now) == "denied"
        nowhere = settings.model_copy(update={"mail_credential": "other"})
        assert why(PARCEL, nowhere, now) == "no_secret"
        assert len(server.letters) == 1
    delivery._trust.cache_clear()
    with mail_server() as server:  # one that cannot encrypt gets nothing
        assert why(PARCEL, mail_settings(server.port, mail_tls="starttls"), now) == "unreachable"
        assert server.letters == []


def test_a_mail_server_that_will_not(now: datetime) -> None:
    assert why(PARCEL, Settings(), now) == "no_mail_server"
    assert why(replace(PARCEL, address=""), Settings(), now) == "no_contact"
    with mail_server() as server:
        settings = mail_settings(server.port)
        for answer, code in (("451 later", "busy"), ("550 never", "refused")):
            server.answer = answer
            assert why(PARCEL, settings, now) == code
        server.answer, server.hang_up = "250 OK", True
        deliver(PARCEL, settings, now)  # taken, and then the line was cut
        assert len(server.letters) == 1
    assert why(PARCEL, settings, now) == "unreachable"


def test_what_a_mail_server_says_of_us_is_no_word_about_the_message(now: datetime) -> None:
    with mail_server("geheim", auth_required=True) as server:
        code = why(PARCEL, mail_settings(server.port), now)
    assert (code, code in delivery.FINAL) == ("denied", False)
    with socket.create_server(("127.0.0.1", 0)) as closed:

        def turn_away() -> None:
            with closed.accept()[0] as line:
                line.sendall(b"554 not now\r\n")
                line.recv(100)

        threading.Thread(target=turn_away, daemon=True).start()
        assert why(PARCEL, mail_settings(closed.getsockname()[1]), now) == "busy"


def test_a_webhook_is_signed(now: datetime, tmp_path: Path) -> None:
    (tmp_path / "desk.json").write_text('{"secret": "s3cret"}')
    (tmp_path / "desk.json").chmod(0o600)
    with hook() as server:
        settings = Settings(credentials=tmp_path, webhook_networks=LOOPBACK)
        deliver(replace(hook_to(server.url), credential="desk"), settings, now)
        path, headers, body = server.asked[0]
        assert why(replace(hook_to(server.url), credential="gone"), settings, now) == "no_secret"
        assert len(server.asked) == 1
    assert path == "/hook"
    at = headers["X-Raumwart-Timestamp"]
    assert at == str(int(now.timestamp()))
    signed = hmac.new(b"s3cret", at.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Raumwart-Signature"] == f"sha256={signed}"
    assert headers["Idempotency-Key"] == "n1"
    assert json.loads(body) == {
        "id": "n1",
        "level": "caretaker",
        "site": "vhs",
        "room": "r1",
        "subject": PARCEL.subject,
        "text": PARCEL.text,
        "link": PARCEL.link,
    }


@pytest.mark.parametrize(
    ("answer", "code"), [(500, "busy"), (429, "busy"), (404, "refused"), (302, "refused")]
)
def test_a_webhook_that_will_not(now: datetime, answer: int, code: str) -> None:
    with hook() as server:
        server.answer = answer
        assert why(hook_to(server.url), Settings(webhook_networks=LOOPBACK), now) == code
        assert len(server.asked) == 1, "no redirect is followed"


def test_a_webhook_that_hangs(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "TOTAL_S", 0.3)
    with hook() as server:
        server.answer = 0
        assert why(hook_to(server.url), Settings(webhook_networks=LOOPBACK), now) == "timed_out"


def test_no_webhook_leads_inside(now: datetime) -> None:
    with hook() as server:
        for address in (server.url, server.url.replace("127.0.0.1", "localhost")):
            assert why(hook_to(address), Settings(), now) == "refused_address"
        assert server.asked == []
    for address in ("ftp://example.org/x", "file:///etc/passwd", "nonsense"):
        assert why(hook_to(address), Settings(), now) == "refused_address"


# --- the outbox -----------------------------------------------------------------------------


def written(engine: Engine, now: datetime, **more: Any) -> None:
    """One message of the caretaker's that waits to be sent."""
    furnished(engine, now)
    for contact in ("duty", "office"):
        change(engine, Contact, contact, audience="it")
    change(engine, Contact, "caretaker", **more)
    add_course(engine, now + 30 * MINUTE)
    spoil(engine, "r1-l1")
    step(engine, now)
    assert len(notices(engine)) == 1


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def test_a_receiver_that_comes_back_gets_it_once(engine: Engine, now: datetime) -> None:
    with hook() as server:
        settings = Settings(webhook_networks=LOOPBACK)
        written(engine, now, channel=Channel.WEBHOOK, address=server.url)
        server.answer = 503
        assert outbox.send(engine, at(now), settings) == 0
        assert outbox.send(engine, at(now + timedelta(seconds=29)), settings) == 0
        assert len(server.asked) == 1, "it is left alone for a while"
        assert outbox.send(engine, at(now + timedelta(seconds=30)), settings) == 0
        later = notices(engine)[0]
        assert (later.tries, later.problem, later.state) == (2, "busy", "waiting")
        assert later.next_try_at == now + timedelta(seconds=90), "the pauses grow"
        server.answer = 200
        assert outbox.send(engine, at(later.next_try_at), settings) == 1
        assert outbox.send(engine, at(now + timedelta(hours=9)), settings) == 0
        keys = [headers["Idempotency-Key"] for _, headers, _ in server.asked]
        assert keys == [later.id] * 3
    sent = notices(engine)[0]
    assert (sent.state, sent.sent_at, sent.problem) == ("sent", later.next_try_at, "")


def test_what_nobody_needs_any_more_is_given_up(engine: Engine, now: datetime) -> None:
    written(engine, now)
    assert outbox.send(engine, at(now), Settings()) == 0
    outbox.send(engine, at(now + timedelta(hours=3)), Settings())
    given_up = notices(engine)[0]
    assert (given_up.state, given_up.problem, given_up.tries) == ("failed", "no_mail_server", 1)


def test_an_address_that_refuses_is_asked_once(engine: Engine, now: datetime) -> None:
    with hook() as server:
        settings = Settings(webhook_networks=LOOPBACK)
        written(engine, now, channel=Channel.WEBHOOK, address=server.url)
        server.answer = 410
        for minutes in range(3):
            outbox.send(engine, at(now + minutes * MINUTE), settings)
        assert len(server.asked) == 1
    assert (notices(engine)[0].state, notices(engine)[0].problem) == ("failed", "refused")


def test_a_process_that_died_with_a_message_does_not_keep_it(engine: Engine, now: datetime) -> None:
    with hook() as server:
        settings = Settings(webhook_networks=LOOPBACK)
        written(engine, now, channel=Channel.WEBHOOK, address=server.url)
        assert outbox._take(engine, now, set()) is not None
        assert outbox._take(engine, now, set()) is None, "nobody else takes it"
        assert outbox.send(engine, at(now + MINUTE), settings) == 0
        assert outbox.send(engine, at(now + outbox.STUCK), settings) == 1
        assert len(server.asked) == 1


def test_loading_the_certificates_is_not_the_receivers_time(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = ssl.create_default_context

    def slowly() -> ssl.SSLContext:
        time.sleep(1.1)
        return really()

    monkeypatch.setattr(ssl, "create_default_context", slowly)
    monkeypatch.setattr(delivery, "TOTAL_S", 1)
    delivery._trust.cache_clear()
    with hook() as server:
        deliver(hook_to(server.url), Settings(webhook_networks=LOOPBACK), now)
        assert len(server.asked) == 1


def test_one_that_hangs_does_not_keep_the_others_waiting(
    engine: Engine, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TOTAL_S", 1.5)  # the good one needs it on a busy machine
    with hook() as bad, hook() as good:
        bad.answer = 0
        settings = Settings(webhook_networks=LOOPBACK)
        furnished(engine, now)
        for contact, server in (("caretaker", bad), ("duty", bad), ("office", good)):
            change(
                engine, Contact, contact,
                channel=Channel.WEBHOOK, address=server.url, audience="caretaker",
            )  # fmt: skip
        add_course(engine, now + 30 * MINUTE)
        spoil(engine, "r1-l1")
        step(engine, now)
        assert outbox.send(engine, at(now), settings) == 1
        assert (len(bad.asked), len(good.asked)) == (1, 1)


def test_a_mail_server_that_is_away_keeps_no_webhook_waiting(engine: Engine, now: datetime) -> None:
    with hook() as server:
        settings = Settings(webhook_networks=LOOPBACK)
        written(engine, now, channel=Channel.WEBHOOK, address=server.url)
        (one,) = notices(engine)
        with session(engine) as opened:
            for number in range(60):
                mail = {"id": f"mail{number}", "bundle": f"mail{number}", "channel": Channel.MAIL}
                earlier = {"contact_id": "office", "next_try_at": now - MINUTE}
                opened.add(Notice(**(one.model_dump() | mail | earlier)))
        assert outbox.send(engine, at(now), settings) == 1
        assert len(server.asked) == 1


def test_in_quiet_hours_it_waits(engine: Engine, now: datetime) -> None:
    written(engine, now)
    change(engine, Notice, notices(engine)[0].id, next_try_at=now + 10 * MINUTE)
    outbox.send(engine, at(now + 9 * MINUTE), Settings())
    assert notices(engine)[0].tries == 0


def test_what_could_not_leave_before_the_quiet_hours_waits_for_their_end(
    engine: Engine, now: datetime
) -> None:
    """Nine o'clock in Berlin: tomorrow's course is warned of at 13:58, quiet it is from 14:00."""
    with hook() as server:
        settings = Settings(webhook_networks=LOOPBACK)
        furnished(engine, now)
        hooked = {"channel": Channel.WEBHOOK, "address": server.url}
        change(engine, Contact, "caretaker", quiet="14:00-20:00", **hooked)
        change(engine, Contact, "office", audience="it")
        add_course(engine, now + timedelta(days=1))
        spoil(engine, "r1-l1")
        warned = now + timedelta(hours=5) - 2 * MINUTE
        heard(engine, warned)
        with session(engine) as opened:
            notify.warn(opened, warned, settings, spell_out)
        server.answer = 503
        assert outbox.send(engine, at(warned), settings) == 0
        server.answer = 200
        assert outbox.send(engine, at(warned + 3 * MINUTE), settings) == 0
        (one,) = notices(engine)
        assert (one.state, one.next_try_at) == ("waiting", now + timedelta(hours=11))
        assert len(server.asked) == 1
        assert outbox.send(engine, at(one.next_try_at), settings) == 1


def test_a_message_that_waits_goes_the_way_that_the_contact_has_now(
    engine: Engine, now: datetime
) -> None:
    with hook() as server:
        settings = Settings(webhook_networks=LOOPBACK)
        written(engine, now)  # by e-mail, and there is no mail server
        assert outbox.send(engine, at(now), settings) == 0
        change(engine, Contact, "caretaker", channel=Channel.WEBHOOK, address=server.url)
        assert outbox.send(engine, at(now + MINUTE), settings) == 1
        assert len(server.asked) == 1
    (sent,) = notices(engine)
    assert (sent.state, sent.channel) == ("sent", "webhook")


def test_nobody_is_sent_to_a_room_that_the_course_has_left(engine: Engine, now: datetime) -> None:
    furnished(engine, now)
    furnish(engine, now, room="r2", laptops=0)
    course = add_course(engine, now + 30 * MINUTE)
    spoil(engine, "r1-l1")
    step(engine, now)
    change(engine, Course, course, room_id="r2")
    step(engine, now + MINUTE)
    first, *others = notices(engine)
    assert (first.room_id, first.state) == ("r1", "dropped")
    assert {each.room_id for each in others} == {"r2"}, "there is no device"


def test_the_log_holds_the_line(
    engine: Engine, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    written(engine, now, channel=Channel.LOG, address="")
    with caplog.at_level(logging.WARNING):
        assert outbox.send(engine, at(now), Settings()) == 1
    assert "caretaker r1 1 (https://example.org)" in caplog.text
    assert notices(engine)[0].state is NoticeState.SENT
