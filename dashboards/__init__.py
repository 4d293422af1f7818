"""Dashboards show: the web pages."""

from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards import (
    about,
    calendars,
    canaries,
    caretaker,
    contacts,
    devices,
    discovery,
    feeds,
    incidents,
    insisting,
    more,
    overrides,
    reports,
    resets,
    rooms,
    signin,
    statistics,
    week,
    why,
)
from dashboards.errors import register_errors
from dashboards.letters import write as write_letter
from dashboards.letters import write_fault
from dashboards.limits import Limits

routers = [
    statistics.router,
    week.router,
    why.router,
    rooms.router,
    feeds.router,
    calendars.router,
    devices.router,
    discovery.router,
    resets.router,
    incidents.router,
    insisting.router,
    more.router,
    overrides.router,
    canaries.router,
    reports.router,
    caretaker.router,
    contacts.router,
    signin.router,
    about.router,
]

STATIC = Path(__file__).parent / "static"


def mount(app: FastAPI) -> None:
    """Add the pages, their files and their error pages to the application."""
    app.state.limits = Limits()
    for router in routers:
        app.include_router(router, include_in_schema=False)
    # Only files that are the same for everybody are compressed: a compressed page that holds a
    # secret beside a visitor's own words can give the secret away by its length (BREACH).
    files = GZipMiddleware(StaticFiles(directory=STATIC), minimum_size=500)
    app.mount("/static", _kept_for_ever(files), name="static")
    register_errors(app)


def _kept_for_ever(inner: ASGIApp) -> ASGIApp:
    """Addresses with `?v=…` carry a piece of the file's hash, so browsers need not ask again."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_kept(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                named = scope.get("query_string", b"").startswith(b"v=")
                age = b"public, max-age=31536000, immutable" if named else b"no-cache"
                message["headers"] = [*message["headers"], (b"cache-control", age)]
            await send(message)

        await inner(scope, receive, send_kept)

    return answer


__all__ = ["mount", "register_errors", "routers", "write_fault", "write_letter"]
