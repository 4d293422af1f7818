"""A timetable over CalDAV: against a real server, and against servers that mean no good."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet import timetable
from fleet.settings import Settings
from fleet.timetable import feeds
from fleet.timetable.feeds import Fetched, FetchFailed, Login, Question, fetch
from inventory import Course, Feed, FeedKind, Room, Site
from inventory.db import reading, session
from tests.parts import need_module
from tests.webserver import Server

LOOPBACK = ["127.0.0.0/8", "::1/128"]
HOUR = timedelta(hours=1)
PATH = "/vhs/kurse/"


class Radicale:
    """A CalDAV server with one account and one calendar."""

    def __init__(self, folder: Path) -> None:
        need_module("radicale")
        users = folder / "users"
        users.write_text("vhs:geheim\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = folder / "config"
        config.write_text(
            f"[server]\nhosts = 127.0.0.1:{self.port}\n"
            f"[auth]\ntype = htpasswd\nhtpasswd_filename = {users}\n"
            "htpasswd_encryption = plain\ndelay = 0\n"
            f"[storage]\nfilesystem_folder = {folder / 'collections'}\n"
        )
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "radicale", "--config", str(config)],
            stdout=self._log,
            stderr=self._log,
        )
        self.client = httpx.Client(base_url=self.url(), auth=("vhs", "geheim"), trust_env=False)
        self._wait()
        made = self.client.request("MKCALENDAR", self.url())
        assert made.status_code == 201, made.text

    def _wait(self) -> None:
        for _ in range(300):
            try:
                self.client.get("/")
            except httpx.ConnectError:
                assert self._process.poll() is None
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the server does not come up")

    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def put(self, name: str, *lines: str) -> None:
        body = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", *lines, "END:VCALENDAR"])
        answer = self.client.put(
            f"{self.url()}{name}.ics", content=body, headers={"Content-Type": "text/calendar"}
        )
        assert answer.status_code == 201, answer.text

    def stop(self) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait(10)
        self._log.close()


@pytest.fixture
def radicale(tmp_path: Path) -> Iterator[Radicale]:
    made = Radicale(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


def event(uid: str, start: str, *more: str) -> list[str]:
    return [
        "BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", f"DTSTART{start}",
        "DURATION:PT1H", f"SUMMARY:Kurs {uid}", "LOCATION:Raum 1", *more, "END:VEVENT",
    ]  # fmt: skip


def secret(folder: Path, name: str, **parts: str) -> Settings:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(parts))
    path.chmod(0o600)
    return Settings(calendar_networks=LOOPBACK, calendar_s=10, credentials=folder)


def region(engine: Engine, url: str, **more: Any) -> None:
    with session(engine) as opened:
        opened.add(Site(id="vhs", name="VHS", municipality="Erlental"))
        opened.flush()
        opened.add(Room(id="r1", site_id="vhs", name="Raum 1"))
        opened.flush()
        opened.add(Feed(id="f", site_id="vhs", kind=FeedKind.CALDAV, url=url, **more))


def state(engine: Engine) -> tuple[str, list[str]]:
    with reading(engine) as opened:
        starts = [c.start for c in opened.exec(select(Course).order_by(col(Course.start)))]
        return opened.exec(select(Feed.problem)).one(), [f"{s:%m-%d %H}" for s in starts]


def test_courses_of_a_real_server(
    engine: Engine, radicale: Radicale, tmp_path: Path, now: datetime
) -> None:
    series = event("a", ";TZID=Europe/Berlin:20260914T100000", "RRULE:FREQ=WEEKLY;COUNT=13")
    moved = event("a", ":20261209T150000Z", "RECURRENCE-ID;TZID=Europe/Berlin:20261207T100000")
    radicale.put("a", *series, *moved)
    radicale.put("b", *event("b", ":20261125T080000Z"))
    radicale.put("old", *event("old", ":20200101T080000Z"))
    settings = secret(tmp_path, "nextcloud", host="127.0.0.1", user="vhs", password="geheim")
    region(engine, radicale.url(), credential="nextcloud")
    timetable.refresh(engine, settings, now)
    assert state(engine) == ("", ["11-23 09", "11-25 08", "11-30 09", "12-09 15"])

    radicale.client.delete(f"{radicale.url()}b.ics")
    timetable.refresh(engine, settings, now + HOUR)
    assert state(engine) == ("", ["11-23 09", "11-30 09", "12-09 15"])


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"host": "127.0.0.1", "user": "vhs", "password": "falsch"}, "denied"),
        ({"host": "cloud.example", "user": "vhs", "password": "geheim"}, "no_credential"),
        ({"user": "vhs", "password": "geheim"}, "no_credential"),
        ({"host": "127.0.0.1", "password": "geheim"}, "no_credential"),
        ({"host": "127.0.0.1"}, "no_credential"),
    ],
)
def test_a_credential_that_does_not_fit(
    engine: Engine,
    radicale: Radicale,
    tmp_path: Path,
    now: datetime,
    parts: dict[str, str],
    problem: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = secret(tmp_path, "nextcloud", **parts)
    region(engine, radicale.url(), credential="nextcloud")
    timetable.refresh(engine, settings, now)
    assert state(engine) == (problem, [])
    with reading(engine) as opened:
        feed = opened.exec(select(Feed)).one()
        assert "geheim" not in repr(feed) + caplog.text
        assert "falsch" not in repr(feed) + caplog.text


def test_a_secret_goes_only_to_its_host_and_never_in_the_open(server: Server) -> None:
    login = Login("127.0.0.1", "Basic abc")
    assert "abc" not in repr(Question(server.url(), login=login))
    server.pages["/a"] = (302, {"Location": server.url("/b", "localhost")}, b"")
    server.pages["/b"] = (200, {}, b"body")
    assert fetch(Question(server.url("/a"), login=login), LOOPBACK).body == b"body"
    assert [headers.get("Authorization") for _, headers in server.asked] == [
        "Basic abc", None
    ]  # fmt: skip


def test_an_unencrypted_address_of_the_web_gets_no_secret(server: Server) -> None:
    question = Question("http://93.184.216.34/", login=Login("93.184.216.34", "Basic abc"))
    with pytest.raises(FetchFailed) as failed:
        fetch(question, LOOPBACK)
    assert (failed.value.code, failed.value.detail) == (
        "refused_address", "a secret needs an address with https"
    )  # fmt: skip


def answer(*parts: str) -> bytes:
    return (
        '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" '
        f'xmlns:c="urn:ietf:params:xml:ns:caldav">{"".join(parts)}</d:multistatus>'
    ).encode()


def part(*lines: str, status: str = "HTTP/1.1 200 OK") -> str:
    body = "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *lines, "END:VCALENDAR"])
    return (
        "<d:response><d:href>/x</d:href><d:propstat><d:prop><c:calendar-data>"
        f"<![CDATA[{body}]]></c:calendar-data></d:prop><d:status>{status}</d:status>"
        "</d:propstat></d:response>"
    )


ONE, TWO = part(*event("a", ":20261124T090000Z")), part(*event("b", ":20261125T090000Z"))
CUT_OFF = "<d:response><d:href>/x</d:href><d:status>HTTP/1.1 507 Full</d:status></d:response>"
BOMB = b"<!DOCTYPE a [" + b"".join(
    b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"x") for n in range(9)
) + b"]><d:multistatus xmlns:d='DAV:'>&e8;</d:multistatus>"  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "problem", "courses"),
    [
        (207, answer(ONE, TWO), "", ["11-24 09", "11-25 09"]),
        (207, answer(ONE, CUT_OFF), "partly_unreadable", ["11-24 09"]),
        (207, answer(ONE, part("kaputt")), "partly_unreadable", ["11-24 09"]),
        (207, answer(ONE, part(status="HTTP/1.1 404 x")), "partly_unreadable", ["11-24 09"]),
        (207, answer(ONE, "<d:response/>"), "partly_unreadable", ["11-24 09"]),
        (207, answer(ONE, part(*event("b", ":20261125T09"))), "partly_unreadable", ["11-24 09"]),
        (207, answer(), "empty", []),
        (207, answer(ONE)[:-30], "unreadable", []),
        (207, BOMB, "unreadable", []),
        (207, b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "unreadable", []),
        (207, b"<d:response xmlns:d='DAV:'/>", "not_a_calendar", []),
        (207, b"", "not_a_calendar", []),
        (200, answer(ONE), "not_a_calendar", []),
        (200, b"<html>Anmelden</html>", "not_a_calendar", []),
        (404, b"", "http_error", []),
        (401, b"", "denied", []),
        (303, b"", "http_error", []),
    ],
)  # fmt: skip
def test_answers_of_strange_servers(
    engine: Engine,
    server: Server,
    now: datetime,
    status: int,
    body: bytes,
    problem: str,
    courses: list[str],
) -> None:
    region(engine, server.url(PATH))
    server.pages[PATH] = (status, {"Location": "/x"} if status == 303 else {}, body)
    timetable.refresh(engine, Settings(calendar_networks=LOOPBACK), now)
    assert state(engine) == (problem, courses)


def test_an_endless_answer_and_an_internal_redirect(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(handler: Any) -> None:
        handler.send_response(207)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"<a>" * 10_000)
        except OSError:
            handler.close_connection = True

    def ask(path: str, networks: list[str]) -> Fetched:
        return fetch(Question(server.url(path), report=b"<x/>"), networks)

    monkeypatch.setattr(feeds, "TOTAL_S", 10.0)
    server.pages["/endless"] = endless
    server.pages["/away"] = (307, {"Location": server.url("/x", "127.0.0.2")}, b"")
    for path, code in (("/endless", "too_large"), ("/away", "refused_address")):
        with pytest.raises(FetchFailed) as failed:
            ask(path, ["127.0.0.1/32"])
        assert failed.value.code == code
    with pytest.raises(FetchFailed) as failed:
        ask("/endless", [])
    assert failed.value.code == "refused_address"
    assert [path for path, _ in server.asked] == ["/endless", "/away"]
