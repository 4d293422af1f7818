"""What guards every request: headers, a limit on size, limits on how often, and who may scrape."""

import hmac
import ipaddress
from collections import defaultdict, deque
from datetime import datetime, timedelta

from fastapi import HTTPException, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet.settings import Settings

MAX_BODY = 1024 * 1024

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class TooLarge(Exception):
    """The request's body is larger than anything we take."""


class Guard:
    """ASGI middleware: security headers on every answer, no body over 1 MiB."""

    def __init__(self, app: ASGIApp, https: bool) -> None:
        self._app = app
        self._headers = dict(HEADERS)
        if https:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        taken = 0
        begun = refusing = False

        async def receive_limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise TooLarge
            return message

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                # The framework turns any failure to read a body into an answer of its own.
                if taken > MAX_BODY and not refusing:
                    raise TooLarge
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        try:
            await self._app(scope, receive_limited, send_guarded)
        except TooLarge:
            if begun:
                raise
            refusing = True
            answer = PlainTextResponse("The request is too large.", 413)
            await answer(scope, receive, send_guarded)


class RateLimit:
    """At most `count` per `per` for each key. Kept in memory, and no longer than `per`."""

    def __init__(self, count: int, per: timedelta) -> None:
        self._count = count
        self._per = per
        self._seen: defaultdict[str, deque[datetime]] = defaultdict(deque)

    def allow(self, key: str, now: datetime) -> bool:
        """Count one more for this key; False when it is one too many (and then not counted)."""
        for known in list(self._seen) if len(self._seen) > 10_000 else [key]:
            times = self._seen[known]
            while times and now - times[0] >= self._per:
                times.popleft()
            if not times:
                del self._seen[known]
        times = self._seen[key]
        if len(times) >= self._count:
            return False
        times.append(now)
        return True


def may_scrape(request: Request) -> None:
    """FastAPI dependency for /metrics and /healthz: from loopback, or with the token. Else 403.

    A request that a proxy passed on comes from the proxy's address, so it needs the token.
    """
    settings: Settings = request.app.state.settings
    sent = request.headers.get("authorization", "").removeprefix("Bearer ")
    if settings.metrics_token and hmac.compare_digest(
        sent.encode(), settings.metrics_token.encode()
    ):
        return
    passed_on = "x-forwarded-for" in request.headers or "forwarded" in request.headers
    if not passed_on and request.client is not None:
        try:
            address = ipaddress.ip_address(request.client.host)
        except ValueError:
            address = None
        networks = [ipaddress.ip_network(network) for network in settings.metrics_networks]
        if address is not None and any(address in network for network in networks):
            return
    raise HTTPException(403, "Metrics are not open from here.")
