"""One MDM server under one account: one login, one list of tablets, shared by all who ask."""

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from agents.driver import Denied, DriverError, Garbled, Misconfigured, Unreachable
from agents.headwind.tablets import Listing, Tablet
from agents.web.request import Answer, Web

PAGE = 100
MOST_PAGES = 100
LARGEST_ANSWER = 8 * 1024 * 1024
"""A page of the list: each tablet brings its programs and files with it."""
_DENIED = ("permission", "denied", "forbidden", "auth")


class Complaint(Exception):
    """The server understood and said ERROR, which it does with HTTP status 200."""


@dataclass(frozen=True)
class Login:
    """`repr` never shows the password."""

    user: str
    password: str = field(repr=False)


class _Envelope(BaseModel):
    status: object = ""
    message: object = ""
    data: Any = None


class _Token(BaseModel):
    id_token: str


@dataclass(frozen=True)
class _Failure:
    """`lasts`: 1 for a refusal, which holds as long as a list would: an account that is tried for
    every tablet is soon locked."""

    at: float
    error: DriverError

    @property
    def lasts(self) -> int:
        return int(isinstance(self.error, Denied))

    def again(self) -> DriverError:
        return type(self.error)(str(self.error))


class Server:
    """Remembers the token and the list; each call brings its own connection and its patience."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._reading = asyncio.Lock()
        self._entering = asyncio.Lock()
        self._login: Login | None = None
        self._token = ""
        self._listing: Listing | None = None
        self._failure: _Failure | None = None

    async def tablets(self, web: Web, login: Login, max_age: float) -> Listing:
        """The list, begun to be read at most `max_age` seconds before this call.

        Whoever comes while it is read waits for it; a failure is shared like an answer."""
        now = asyncio.get_running_loop().time
        came = now()
        async with self._reading:
            self._notice(login)
            if self._listing and self._listing.began >= came - max_age:
                return self._listing
            if self._failure and self._failure.at >= came - self._failure.lasts * max_age:
                raise self._failure.again()
            began = now()
            try:
                self._listing = await self._read(web, login, began)
            except DriverError as error:
                self._failure = _Failure(now(), error)
                raise
            self._failure = None
            return self._listing

    async def push(self, web: Web, login: Login, number: str, message: str) -> None:
        """Hand one message to the server for one tablet. Raises Complaint, and DriverError for
        all else; that it was handed over says nothing of the tablet."""
        about = {"deviceNumbers": [number], "messageType": message, "payload": ""}
        await self._ask(web, login, "push", about)

    def _notice(self, login: Login) -> None:
        """What was told to another account is not this one's."""
        if login != self._login:
            self._login, self._token, self._listing, self._failure = login, "", None, None

    async def _read(self, web: Web, login: Login, began: float) -> Listing:
        tablets: dict[str, Tablet] = {}
        server_time = 0.0
        for page in range(1, MOST_PAGES + 1):
            about = {"value": "", "pageNum": page, "pageSize": PAGE}
            try:
                data, answer = await self._ask(web, login, "devices/search", about)
            except Complaint as complaint:
                raise Garbled(str(complaint)) from None
            items, total = _page(data)
            found = [tablet for tablet in map(Tablet.of, items) if tablet]
            tablets |= {tablet.number.casefold(): tablet for tablet in found}
            server_time = _date(answer)
            if len(items) < PAGE or page * PAGE >= total:
                break
        now = asyncio.get_running_loop().time()
        return Listing(tablets, began, now, server_time)

    async def _ask(
        self, web: Web, login: Login, what: str, about: dict[str, Any]
    ) -> tuple[Any, Answer]:
        """One private question; with a new login where the old one has run out."""
        for _ in range(2):
            token = await self._enter(web, login)
            answer = await web.ask(
                "POST",
                f"{self._path}/private/{what}",
                json=about,
                headers={"Authorization": f"Bearer {token}"},
            )
            _check_there(answer)
            if answer.status not in (401, 403):
                return self._data(what, answer), answer
            if self._token == token:
                self._token = ""
        raise Denied(f"{what}: the server lets this account in, but not to this")

    async def _enter(self, web: Web, login: Login) -> str:
        async with self._entering:
            if not self._token:
                self._token = await self._new_token(web, login)
            return self._token

    async def _new_token(self, web: Web, login: Login) -> str:
        # The server wants this form, and keeps its own hash of it: to it, this is the password.
        form = hashlib.md5(login.password.encode(), usedforsecurity=False).hexdigest().upper()
        about = {"login": login.user, "password": form}
        answer = await web.ask("POST", f"{self._path}/public/jwt/login", json=about)
        _check_there(answer)
        if answer.status in (400, 401, 403):
            raise Denied("the server refuses this account or its password")
        if answer.status != 200:
            raise Garbled(f"login: HTTP status {answer.status}")
        try:
            token = _Token.model_validate_json(answer.body).id_token
        except ValidationError:
            if _refused(answer.body):
                raise Denied("the server refuses this account or its password") from None
            raise Garbled("login: not the JSON of Headwind") from None
        if not 0 < len(token) <= 8192 or not token.isascii() or not token.isprintable():
            raise Garbled("login: a token that no header can hold")
        return token

    def _data(self, what: str, answer: Answer) -> Any:
        if answer.status == 404:
            raise Misconfigured(f"{what}: this server's interface does not have it")
        if answer.status != 200:
            raise Garbled(f"{what}: HTTP status {answer.status}")
        try:
            envelope = _Envelope.model_validate_json(answer.body)
        except ValidationError:
            raise Garbled(f"{what}: not the JSON of Headwind") from None
        if envelope.status == "OK":
            return envelope.data
        said = "".join(filter(str.isprintable, str(envelope.message)))[:100]
        if any(word in said.lower() for word in _DENIED):
            raise Denied(f"{what}: {said}")
        raise Complaint(f"{what}: {said}")


def _check_there(answer: Answer) -> None:
    """Whatever stands before the server answers for it when it is gone. Raises Unreachable."""
    if answer.status in (502, 503, 504):
        raise Unreachable(f"HTTP status {answer.status}")


def _page(data: Any) -> tuple[list[Any], int]:
    """The tablets of a page, and how many there are in all."""
    devices = data.get("devices", data) if isinstance(data, dict) else None
    items = devices.get("items") if isinstance(devices, dict) else None
    if not isinstance(devices, dict) or not isinstance(items, list):
        raise Garbled("devices/search: no list of tablets")
    total = devices.get("totalItemsCount")
    return items, total if type(total) is int else PAGE * MOST_PAGES


def _date(answer: Answer) -> float:
    """The server's clock: its stamps are judged by no other. Ours, where it does not tell."""
    try:
        return parsedate_to_datetime(answer.date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return time.time()


def _refused(body: bytes) -> bool:
    try:
        return _Envelope.model_validate_json(body).status == "ERROR"
    except ValidationError:
        return False
