"""A timetable's bytes: within bounds of time and size, and never from an internal network."""

import gzip
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet import timetable
from fleet.timetable import feeds
from fleet.timetable.feeds import Fetched, FetchFailed, Question, may_read
from tests.webserver import Server


def fetch(url: str, *, etag: str, modified: str, networks: list[str]) -> Fetched:
    return feeds.fetch(Question(url, etag, modified), networks)


LOOPBACK = ["127.0.0.0/8", "::1/128"]
HOUR = timedelta(hours=1)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


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


def test_what_is_packed_and_cut_off_is_no_timetable(server: Server) -> None:
    packed = gzip.compress(b"Datum;Von\n" + b"24.11.2026;09:00\n" * 500)
    for body in (packed[:-8], packed[: len(packed) // 2]):
        server.pages["/cut"] = (200, {"Content-Encoding": "gzip"}, body)
        with pytest.raises(FetchFailed) as failed:
            fetch(server.url("/cut"), etag="", modified="", networks=LOOPBACK)
        assert failed.value.code == "not_a_calendar"


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


@pytest.mark.parametrize("said", ["UTF-8", "utf8", "none", "", "x-gzip"])
def test_what_is_called_packed_and_is_not_is_read(server: Server, said: str) -> None:
    body = gzip.compress(b"Datum;Von\n") if said == "x-gzip" else b"Datum;Von\n"
    server.pages["/kurse.csv"] = (200, {"Content-Encoding": said}, body)
    fetched = fetch(server.url("/kurse.csv"), etag="", modified="", networks=LOOPBACK)
    assert fetched.body == b"Datum;Von\n"
    server.pages["/packed"] = (200, {"Content-Encoding": "br"}, b"\x8b\x04\x80Datum\x03")
    with pytest.raises(FetchFailed) as failed:
        fetch(server.url("/packed"), etag="", modified="", networks=LOOPBACK)
    assert failed.value.code == "not_a_calendar"


def test_a_version_that_no_header_may_carry_is_not_sent_back(server: Server) -> None:
    server.pages["/kurse.ics"] = (200, {"ETag": '"März"'}, b"BEGIN:VCALENDAR")
    first = fetch(server.url(), etag="", modified="", networks=LOOPBACK)
    again = fetch(server.url(), etag=first.etag, modified="", networks=LOOPBACK)
    assert again.body == b"BEGIN:VCALENDAR"
