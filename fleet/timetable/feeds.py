"""Fetches the bytes of a timetable from a file or the web, within bounds and never from inside.

The address of a feed comes from people of one municipality, the request from the service's own
network: without a guard a feed could read what only this machine may reach. So the name is
resolved once, every address is judged, and the connection goes to that very address.
"""

import asyncio
import ipaddress
import socket
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import httpx

from fleet.outward import Address, Network, may_read
from fleet.outward import trust as _trust

TOTAL_S = 20.0
"""Name, connection, redirects and body together."""
STEP_S = 8.0
"""One connection, or one wait for more bytes."""
MAX_BYTES = 5 * 1024 * 1024
MAX_REDIRECTS = 3
MAX_ADDRESSES = 3
NOT_PACKED = frozenset({"", "identity", "none", "utf-8", "utf8"})
"""Content-Encodings that are none; scripts that write a sheet often name the text's encoding."""


class FetchFailed(Exception):
    """`code` is a key of `fleet.timetable.PROBLEMS`; the detail carries no address of a feed,
    because the address itself is often the secret."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Fetched:
    """`body` is None when the source says that nothing changed."""

    body: bytes | None
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True)
class Login:
    """What opens a timetable, and the only host that it is shown to."""

    host: str
    header: str = field(repr=False)


@dataclass(frozen=True)
class Question:
    """One request. `report`: the body of a CalDAV REPORT; empty: a plain GET."""

    url: str = field(repr=False)
    etag: str = ""
    modified: str = ""
    report: bytes = b""
    login: Login | None = None

    @property
    def headers(self) -> dict[str, str]:
        told = {"Accept": "text/calendar, */*;q=0.5", "Accept-Encoding": "identity"}
        if self.report:
            return {**told, "Depth": "1", "Content-Type": "application/xml; charset=utf-8"}
        if self.etag:
            told["If-None-Match"] = self.etag
        if self.modified:
            told["If-Modified-Since"] = self.modified
        return told

    def login_for(self, url: httpx.URL, addresses: Sequence[Address]) -> dict[str, str]:
        """The header that opens it: only for its own host, and unencrypted only where every
        address is one that somebody named as internal."""
        if self.login is None or url.host.lower() != self.login.host.lower():
            return {}
        if url.scheme != "https" and not all(_is_inside(each) for each in addresses):
            raise FetchFailed("refused_address", "a secret needs an address with https")
        return {"Authorization": self.login.header}


def fetch(question: Question, networks: Sequence[str]) -> Fetched:
    """The timetable that is asked for.

    `networks`: internal networks (CIDR) that may be read. Blocks at most about TOTAL_S; must not
    be called on a thread that runs an event loop. Raises FetchFailed.
    """
    if question.url.startswith("file://"):
        return _read_file(question.url, question.etag)
    allowed = [ipaddress.ip_network(each, strict=False) for each in networks]
    _trust()  # before the server's time is counted
    return asyncio.run(_within_time(question, allowed))


def _read_file(url: str, etag: str) -> Fetched:
    path = Path(unquote(url.removeprefix("file://").removeprefix("localhost")))
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would block, a device has no end
            raise FetchFailed("missing_file", "not a regular file")
        version = f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"
        if version == etag:
            return Fetched(None, etag)
        with path.open("rb") as opened:
            body = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise FetchFailed("missing_file", error.strerror or "") from None
    if len(body) > MAX_BYTES:
        raise FetchFailed("too_large")
    return Fetched(body, version)


async def _within_time(question: Question, allowed: Sequence[Network]) -> Fetched:
    try:
        async with asyncio.timeout(TOTAL_S):
            return await _follow(question, allowed)
    except (TimeoutError, httpx.TimeoutException):
        raise FetchFailed("timed_out") from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        # The text of some of these errors repeats the address.
        raise FetchFailed("unreachable", type(error).__name__) from None


async def _follow(question: Question, allowed: Sequence[Network]) -> Fetched:
    wanted = httpx.URL(question.url)
    # No proxy from the environment: it would resolve the name a second time, unjudged.
    async with httpx.AsyncClient(timeout=STEP_S, trust_env=False, verify=_trust()) as client:
        for _ in range(MAX_REDIRECTS + 1):
            response, body = await _ask(client, wanted, question, allowed)
            if not response.has_redirect_location:
                return _answer(response, body, question)
            target = wanted.join(response.headers["location"])
            if wanted.scheme == "https" and target.scheme != "https":
                raise FetchFailed("refused_address", "redirected to an unencrypted address")
            if question.report and response.status_code == httpx.codes.SEE_OTHER:
                raise FetchFailed("http_error", "redirected to something else")
            wanted = target
    raise FetchFailed("http_error", "too many redirects")


async def _ask(
    client: httpx.AsyncClient, url: httpx.URL, question: Question, allowed: Sequence[Network]
) -> tuple[httpx.Response, bytes]:
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 65536:
        raise FetchFailed("refused_address", "not an http address")
    addresses = await _resolve(url, allowed)
    host = url.netloc.decode("ascii").rpartition("@")[2]
    headers = {**question.headers, **question.login_for(url, addresses), "Host": host}
    for place, address in enumerate(addresses):
        request = client.build_request(
            "REPORT" if question.report else "GET",
            url.copy_with(host=str(address), userinfo=b""),
            headers=headers,
            content=question.report or None,
            # The certificate is checked for the name, not for the address.
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        try:
            response = await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if place == len(addresses) - 1:
                raise
            continue
        try:
            return response, await _read(response)
        finally:
            await response.aclose()
    raise FetchFailed("unreachable", "the name has no address")


async def _resolve(url: httpx.URL, allowed: Sequence[Network]) -> list[Address]:
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            url.raw_host.decode("ascii"), port, type=socket.SOCK_STREAM
        )
    except OSError:
        raise FetchFailed("unreachable", "the name is not known") from None
    addresses = list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))
    for address in addresses:
        if not may_read(address, allowed):
            raise FetchFailed("refused_address", "an internal address")
    return addresses[:MAX_ADDRESSES]


def _is_inside(address: Address) -> bool:
    return not may_read(address, ())


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise FetchFailed("too_large")
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding in NOT_PACKED or not body:
        return bytes(body)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise FetchFailed("not_a_calendar", "packed in an unknown way")
    try:
        # Not httpx's own decoder: that one unpacks without a limit.
        unpacker = zlib.decompressobj(wbits=47)
        whole = unpacker.decompress(bytes(body), MAX_BYTES + 1)
    except zlib.error:
        raise FetchFailed("not_a_calendar", "broken packing") from None
    if len(whole) > MAX_BYTES:
        raise FetchFailed("too_large")
    if not unpacker.eof or unpacker.unused_data:
        raise FetchFailed("not_a_calendar", "the packing does not end where it should")
    return whole


def _answer(response: httpx.Response, body: bytes, question: Question) -> Fetched:
    if response.status_code == httpx.codes.NOT_MODIFIED:
        return Fetched(None)
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise FetchFailed("denied", f"status {response.status_code}")
    good = httpx.codes.MULTI_STATUS if question.report else httpx.codes.OK
    if question.report and response.status_code == httpx.codes.OK:
        raise FetchFailed("not_a_calendar", "the server does not speak CalDAV there")
    if response.status_code != good:
        raise FetchFailed("http_error", f"status {response.status_code}")
    etag = response.headers.get("etag", "")
    modified = response.headers.get("last-modified", "")
    # What does not fit into its column or a header is not sent back cut off, but not at all.
    fits = len(etag) <= 200 and etag.isascii()
    return Fetched(body, etag if fits else "", modified if len(modified) <= 100 else "")
