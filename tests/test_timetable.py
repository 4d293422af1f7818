"""From a feed's address to courses: fetched within bounds, stored so that nothing is lost, and
never believed further than it was read."""

import gzip
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet import feeds, timetable
from fleet.feeds import FetchFailed, fetch, may_read
from fleet.settings import Settings
from inventory import Course, Feed, Readiness, Room, Site, Verdict
from inventory.db import reading, session

LOOPBACK = ["127.0.0.0/8", "::1/128"]
HOUR = timedelta(hours=1)
Page = tuple[int, dict[str, str], bytes]


class Server:
    """A web server on loopback whose answers a test may change at any time."""

    def __init__(self) -> None:
        self.pages: dict[str, Page | Callable[[Any], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers)))
                page = outer.pages.get(self.path, (404, {}, b"nothing here"))
                if callable(page):
                    page(self)
                    return
                status, headers, body = page
                if headers.get("ETag") and self.headers["If-None-Match"] == headers["ETag"]:
                    status, body = 304, b""
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.socket = self._server
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str = "/kurse.ics", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def settings() -> Settings:
    return Settings(calendar_networks=LOOPBACK, calendar_s=300)


def ics(*lessons: str) -> bytes:
    """Each lesson: `uid day hour [location]`, in November 2026, UTC, one hour long."""
    events = []
    for lesson in lessons:
        uid, day, hour, *rest = lesson.split(maxsplit=3)
        events.append(
            f"BEGIN:VEVENT\r\nUID:{uid}\r\nSUMMARY:Kurs {uid}\r\n"
            f"DTSTART:202611{day}T{hour}0000Z\r\nDURATION:PT1H\r\n"
            f"LOCATION:{rest[0] if rest else ''}\r\nEND:VEVENT\r\n"
        )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{''.join(events)}END:VCALENDAR\r\n".encode()


def region(engine: Engine, url: str, *, room: str | None = "r1", **more: Any) -> None:
    with session(engine) as opened:
        opened.add(Site(id="vhs", name="VHS", municipality="Erlental"))
        opened.flush()
        opened.add(Room(id="r1", site_id="vhs", name="Raum 1"))
        opened.add(Room(id="r2", site_id="vhs", name="Großer Saal"))
        opened.flush()
        opened.add(Feed(id="f", site_id="vhs", room_id=room, url=url, **more))


def courses(engine: Engine) -> dict[str, Course]:
    with reading(engine) as opened:
        return {c.uid: c for c in opened.exec(select(Course).order_by(col(Course.start)))}


def feed(engine: Engine) -> Feed:
    with reading(engine) as opened:
        return opened.exec(select(Feed)).one()


def trusted(engine: Engine, now: datetime) -> dict[str, datetime]:
    with reading(engine) as opened:
        return timetable.trusted_until(opened, ["r1", "r2"], now)


# --- fetching ---


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.100.100.200", False),
        ("169.254.169.254", False),
        ("168.63.129.16", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::1", False),
    ],
)
def test_which_addresses_may_be_read(address: str, public: bool) -> None:
    assert may_read(ipaddress.ip_address(address), []) is public


def test_an_internal_network_may_be_named() -> None:
    named = [ipaddress.ip_network("10.1.0.0/16")]
    assert may_read(ipaddress.ip_address("10.1.2.3"), named)
    assert may_read(ipaddress.ip_address("::ffff:10.1.2.3"), named)
    assert not may_read(ipaddress.ip_address("10.2.2.3"), named)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1"])
def test_an_internal_address_is_never_contacted(server: Server, host: str) -> None:
    with pytest.raises(FetchFailed) as failed:
        fetch(server.url(host=host), etag="", modified="", networks=[])
    assert failed.value.code == "refused_address"
    assert server.asked == []


def test_the_name_is_resolved_once_and_that_address_is_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that shows another address the second time it is asked for reaches nothing else."""
    asked = []
    really = socket.getaddrinfo

    def rebinding(host: Any, *more: Any, **named: Any) -> Any:
        if host in (b"kurse.example", "kurse.example"):
            asked.append(host)
            return really("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *more, **named)
        return really(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    server.pages["/kurse.ics"] = (200, {}, b"body")
    got = fetch(server.url(host="kurse.example"), etag="", modified="", networks=["127.0.0.1/32"])
    assert (got.body, len(asked)) == (b"body", 1)
    assert server.asked[0][1]["Host"] == f"kurse.example:{server.port}"


def test_redirects_are_followed_a_little_and_judged_each(server: Server) -> None:
    server.pages["/a"] = (302, {"Location": "/b"}, b"")
    server.pages["/b"] = (301, {"Location": server.url("/c", "127.0.0.2")}, b"")
    server.pages["/loop"] = (302, {"Location": "/loop"}, b"")
    server.pages["/file"] = (302, {"Location": "file:///etc/hostname"}, b"")
    for path, code in {
        "/a": "refused_address",
        "/loop": "http_error",
        "/file": "refused_address",
    }.items():
        with pytest.raises(FetchFailed) as failed:
            fetch(server.url(path), etag="", modified="", networks=["127.0.0.1/32"])
        assert failed.value.code == code
    assert [path for path, _ in server.asked].count("/loop") == feeds.MAX_REDIRECTS + 1
    server.pages["/b"] = (200, {}, b"body")
    assert fetch(server.url("/a"), etag="", modified="", networks=LOOPBACK).body == b"body"


def test_too_large_is_refused_packed_or_not(server: Server) -> None:
    big = b"x" * (feeds.MAX_BYTES + 1)
    server.pages["/plain"] = (200, {}, big)
    server.pages["/packed"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(big * 20))
    server.pages["/small"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(b"small"))
    for path in ("/plain", "/packed"):
        with pytest.raises(FetchFailed) as failed:
            fetch(server.url(path), etag="", modified="", networks=LOOPBACK)
        assert failed.value.code == "too_large"
    assert fetch(server.url("/small"), etag="", modified="", networks=LOOPBACK).body == b"small"


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_drips_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def drip(handler: Any) -> None:
        if part == "body":
            handler.send_response(200)
            handler.send_header("Content-Length", "100000")
            handler.end_headers()
        while True:
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    def quiet(handler: Any) -> None:
        try:
            drip(handler)
        except OSError:
            handler.close_connection = True

    monkeypatch.setattr(feeds, "TOTAL_S", 0.6)
    server.pages["/kurse.ics"] = quiet
    began = time.monotonic()
    with pytest.raises(FetchFailed) as failed:
        fetch(server.url(), etag="", modified="", networks=LOOPBACK)
    assert failed.value.code == "timed_out"
    assert time.monotonic() - began < 3


def test_a_secret_address_is_never_repeated(server: Server) -> None:
    secret = "private-4711abc"
    server.pages[f"/{secret}"] = (403, {}, b"no")
    server.pages[f"/{secret}/x"] = (302, {"Location": f"http://{secret}.invalid/"}, b"")
    urls = [
        server.url(f"/{secret}"),
        server.url(f"/{secret}/x"),
        f"http://127.0.0.1:1/{secret}",
        f"http://{secret}.invalid/",
        f"http://127.0.0.1:99999/{secret}",
        f"gopher://{secret}/",
        f"http://{secret}\x00/",
        f"file:///{secret}",
    ]
    for url in urls:
        with pytest.raises(FetchFailed) as failed:
            fetch(url, etag="", modified="", networks=LOOPBACK)
        assert secret not in failed.value.detail
        assert failed.value.code in timetable.PROBLEMS


def test_a_certificate_is_checked_for_the_name(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - HOUR)
        .not_valid_after(today + HOUR)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "both.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(pem)
    server.socket.socket = shown.wrap_socket(server.socket.socket, server_side=True)
    server.pages["/kurse.ics"] = (200, {}, b"body")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    feeds._trust.cache_clear()
    try:
        url = server.url(host="localhost").replace("http:", "https:")
        assert fetch(url, etag="", modified="", networks=LOOPBACK).body == b"body"
        with pytest.raises(FetchFailed) as failed:
            fetch(url.replace("localhost", "127.0.0.1"), etag="", modified="", networks=LOOPBACK)
        assert failed.value.code == "unreachable"
    finally:
        feeds._trust.cache_clear()


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "Kurse Süd.ics"
    path.write_bytes(b"one")
    first = fetch(path.as_uri(), etag="", modified="", networks=[])
    assert first.body == b"one"
    assert fetch(path.as_uri(), etag=first.etag, modified="", networks=[]).body is None
    path.write_bytes(b"two!")
    assert fetch(path.as_uri(), etag=first.etag, modified="", networks=[]).body == b"two!"
    for odd in ("/dev/zero", str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(FetchFailed) as failed:
            fetch(f"file://{odd}", etag="", modified="", networks=[])
        assert failed.value.code == "missing_file"


# --- storing ---


def test_courses_come_move_and_go(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 12", "b 24 12", "c 25 12", "d 26 12"))
    timetable.refresh(engine, settings, now)
    before = courses(engine)
    assert [c.start.day for c in before.values()] == [23, 24, 25, 26]
    assert before["a"].end - before["a"].start == HOUR
    assert trusted(engine, now) == {"r1": now + 6 * HOUR}

    with session(engine) as opened:
        found = opened.get_one(Course, before["c"].id)
        opened.add(
            Readiness(course_id=found.id, room_id="r1", verdict=Verdict.READY, judged_at=now)
        )
    server.pages["/kurse.ics"] = (200, {}, ics("a 23 14", "d 26 12"))
    timetable.refresh(engine, settings, now + HOUR)
    after = courses(engine)
    assert after["a"].id == before["a"].id
    assert after["a"].start.hour == 14
    assert "b" not in after
    assert after["c"].cancelled, "something refers to it, so it stays"
    assert not after["d"].cancelled


def test_what_is_over_or_running_is_not_rewritten(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("over 23 05", "runs 23 08", "next 23 12"))
    timetable.refresh(engine, settings, now)
    server.pages["/kurse.ics"] = (200, {}, ics("over 24 05", "next 23 12"))
    timetable.refresh(engine, settings, now + timedelta(minutes=30))
    with reading(engine) as opened:
        held = opened.exec(select(Course).order_by(col(Course.start))).all()
    assert [(c.uid, c.start.day, c.start.hour) for c in held] == [
        ("over", 23, 5),
        ("runs", 23, 8),
        ("next", 23, 12),
        ("over", 24, 5),
    ]
    assert not any(c.cancelled for c in held)
    server.pages["/kurse.ics"] = (200, {}, ics("over 24 06", "next 23 12"))
    timetable.refresh(engine, settings, now + timedelta(minutes=40))
    with reading(engine) as opened:
        held = opened.exec(select(Course).where(Course.uid == "over")).all()
    assert sorted((c.start.day, c.start.hour) for c in held) == [(23, 5), (24, 6)]


def test_nothing_changed_costs_nothing_but_is_read_whole_once_a_day(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {"ETag": '"1"'}, ics("a 24 12"))
    timetable.refresh(engine, settings, now)
    timetable.refresh(engine, settings, now + timedelta(seconds=10))
    assert len(server.asked) == 1, "not due yet"
    timetable.refresh(engine, settings, now + HOUR)
    assert server.asked[1][1]["If-None-Match"] == '"1"'
    assert feed(engine).good_at == now + HOUR
    timetable.refresh(engine, settings, now + 24 * HOUR)
    assert "If-None-Match" not in server.asked[2][1]


def test_two_processes_read_a_feed_once(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12"))
    both = [
        threading.Thread(target=timetable.refresh, args=(engine, settings, now)) for _ in range(2)
    ]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert len(server.asked) == 1
    assert len(courses(engine)) == 1


BROKEN = {
    "empty": (b"", "not_a_calendar"),
    "login": (b"<html>Bitte anmelden</html>", "not_a_calendar"),
    "cut": (ics("a 24 12", "b 25 12")[:-30], "unreadable"),
    "no events": (ics(), "shrunk"),
    "fewer": (ics("a 24 12"), "shrunk"),
    "bomb": (
        ics("a 24 12", "b 25 12", "c 26 12", "e 27 12").replace(
            b"UID:e\r\n", b"UID:e\r\nRRULE:FREQ=SECONDLY\r\n"
        ),
        "partly_unreadable",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_feed_keeps_what_was_known_and_is_in_doubt(
    engine: Engine, server: Server, settings: Settings, now: datetime, kind: str
) -> None:
    body, problem = BROKEN[kind]
    region(engine, server.url())
    whole = ics("a 24 12", "b 25 12", "c 26 12", "d 27 12")
    server.pages["/kurse.ics"] = (200, {"ETag": '"1"'}, whole)
    timetable.refresh(engine, settings, now)
    server.pages["/kurse.ics"] = (200, {"ETag": '"2"'}, body)
    timetable.refresh(engine, settings, now + HOUR)
    assert feed(engine).problem == problem
    assert list(courses(engine)) == ["a", "b", "c", "d"]
    assert trusted(engine, now + HOUR) == {}

    server.pages.clear()
    timetable.refresh(engine, settings, now + 2 * HOUR)
    assert feed(engine).problem == problem, "going away makes it no better"
    assert trusted(engine, now + 2 * HOUR) == {}
    server.pages["/kurse.ics"] = (200, {"ETag": '"2"'}, body)
    timetable.refresh(engine, settings, now + 3 * HOUR)
    assert feed(engine).problem == problem, "nor does being unchanged"

    server.pages["/kurse.ics"] = (200, {}, whole)
    timetable.refresh(engine, settings, now + 4 * HOUR)
    assert trusted(engine, now + 4 * HOUR) == {"r1": now + 10 * HOUR}


def test_a_new_course_in_a_feed_in_doubt_is_protected_too(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    broken = ics("a 24 12", "b 25 12").replace(b"UID:b\r\n", b"UID:b\r\nRRULE:FREQ=NIE\r\n")
    server.pages["/kurse.ics"] = (200, {}, broken)
    timetable.refresh(engine, settings, now)
    assert list(courses(engine)) == ["a"]
    assert trusted(engine, now) == {}
    with reading(engine) as opened:
        start = datetime(2026, 11, 24, 12, tzinfo=UTC)
        assert [c.uid for c in timetable.busy(opened, ["r1"], start, start + HOUR)] == ["a"]
        assert timetable.busy(opened, ["r1"], start - HOUR, start) == []
        assert timetable.busy(opened, ["r1"], start + HOUR, start + 2 * HOUR) == []


def test_a_server_that_is_away_is_believed_until_the_age(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url(), max_age_s=7200)
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12"))
    timetable.refresh(engine, settings, now)
    server.pages.clear()
    timetable.refresh(engine, settings, now + HOUR)
    assert feed(engine).problem == "http_error"
    assert trusted(engine, now + HOUR) == {"r1": now + 2 * HOUR}
    assert trusted(engine, now + 2 * HOUR) == {}


def test_a_feed_that_really_shrank_can_be_confirmed(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12", "b 25 12", "c 26 12", "d 27 12"))
    timetable.refresh(engine, settings, now)
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12"))
    timetable.refresh(engine, settings, now + HOUR)
    with session(engine) as opened:
        timetable.confirm(opened, "f", now + HOUR)
    assert trusted(engine, now + HOUR) == {}, "not before it is read again"
    timetable.refresh(engine, settings, now + HOUR + timedelta(seconds=1))
    assert list(courses(engine)) == ["a"]
    assert "r1" in trusted(engine, now + HOUR + timedelta(seconds=1))


def test_a_feed_for_the_whole_site_names_the_room(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url(), room=None)
    server.pages["/kurse.ics"] = (
        200,
        {},
        ics("a 24 12 RAUM  1", "b 24 12 r2", "c 25 12 großer saal"),
    )
    timetable.refresh(engine, settings, now)
    assert {uid: c.room_id for uid, c in courses(engine).items()} == {
        "a": "r1",
        "b": "r2",
        "c": "r2",
    }
    assert trusted(engine, now).keys() == {"r1", "r2"}

    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12 Keller", "b 24 12 r1", "c 25 12 r2"))
    timetable.refresh(engine, settings, now + HOUR)
    held = {uid: c.room_id for uid, c in courses(engine).items()}
    assert held == {"a": "r1", "b": "r1", "c": "r2"}, "what is not understood stays protected"
    assert feed(engine).problem == "unknown_room"
    assert "Keller" in feed(engine).detail
    assert trusted(engine, now + HOUR) == {}


def test_the_worst_of_several_feeds_decides(
    engine: Engine, server: Server, settings: Settings, now: datetime
) -> None:
    region(engine, server.url())
    server.pages["/kurse.ics"] = (200, {}, ics("a 24 12"))
    server.pages["/haus.ics"] = (200, {}, b"<html>")
    timetable.refresh(engine, settings, now)
    with session(engine) as opened:
        opened.add(Feed(id="house", site_id="vhs", url=server.url("/haus.ics")))
    assert trusted(engine, now) == {}, "never read"
    timetable.refresh(engine, settings, now + HOUR)
    assert trusted(engine, now + HOUR) == {}
    server.pages["/haus.ics"] = (200, {}, ics("z 24 12 r2"))
    timetable.refresh(engine, settings, now + 2 * HOUR)
    assert trusted(engine, now + 2 * HOUR).keys() == {"r1", "r2"}
