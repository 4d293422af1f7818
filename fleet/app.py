"""Puts the service together: database, bus, clockwork, pages, and an agent of its own."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy import text

import dashboards
from agents.bus import open_bus
from fleet import api, auth, intake, jobs, metrics
from fleet.embedded import EmbeddedAgents
from fleet.security import Guard, may_scrape
from fleet.settings import Settings
from inventory.db import migrate, open_engine, reading, session
from inventory.recipes import ensure_recipes

log = logging.getLogger(__name__)

STALLED = timedelta(seconds=120)
"""A clockwork that has not ticked for this long does not do its work."""

machine = APIRouter()
"""What machines ask: metrics, health, the description of the API."""


@machine.get("/metrics", dependencies=[Depends(may_scrape)])
def read_metrics(request: Request) -> Response:
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    body, headers = metrics.answer(
        request.app.state.engine, request.app.state.clock(), zipped, request.app.state.settings
    )
    return Response(body, headers=headers)


@machine.get("/healthz", dependencies=[Depends(may_scrape)])
def read_health(request: Request) -> JSONResponse:
    """200 while the database answers and the clockwork ticks, else 503; for supervisors."""
    with reading(request.app.state.engine) as opened:
        opened.execute(text("SELECT 1"))
    now: datetime = request.app.state.clock()
    ticked = request.app.state.service.ticked
    stalled = [
        job.name
        for job in jobs.JOBS
        if now - ticked.get(job.name, request.app.state.started)
        > STALLED + timedelta(seconds=job.every_s)
    ]
    stalled += [task.get_name() for task in request.app.state.tasks if task.done()]
    return JSONResponse({"stalled": stalled}, 503 if stalled else 200)


@machine.get("/api/v1/openapi.json", dependencies=[Depends(auth.signed_in)])
def read_openapi(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())


async def ask_to_sign_in(request: Request, _error: Exception) -> Response:
    """Scripts are told 401; a browser is led to the sign-in page and back."""
    if request.url.path.startswith("/api/"):
        return JSONResponse(
            {"title": "Sign in first.", "status": 401}, 401, {"WWW-Authenticate": "Bearer"}
        )
    target = "/anmelden?weiter=" + quote(request.url.path, safe="/")
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def _clock() -> datetime:
    return datetime.now(UTC)


def _told(task: asyncio.Task[None]) -> None:
    """Say at once that a task died of a bug; /healthz says it from then on."""
    if not task.cancelled() and (error := task.exception()):
        log.error("%s ended", task.get_name(), exc_info=error)


def create_app(
    settings: Settings, clock: Callable[[], datetime] = _clock, *, demo: bool = False
) -> FastAPI:
    """The whole service as one ASGI application.

    With `FLEET_BUS=local:` an agent for every site runs inside; with NATS the agents run where
    the devices are. `demo`: whoever comes in by the link needs no password.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        bus = await open_bus(settings.bus)
        write = partial(dashboards.write_letter, settings.public_url)
        service = jobs.Service(app.state.engine, bus, settings, clock, write)
        service.write_fault = partial(dashboards.write_fault, settings.public_url)
        service.started = clock()
        app.state.service = service
        app.state.started = clock()
        tasks = [
            asyncio.create_task(intake.run(bus, service.engine, settings, clock), name="intake")
        ]
        if settings.bus == "local:":
            service.agents = EmbeddedAgents(bus, settings.credentials, settings.home / "agents")
        for task in tasks:
            task.add_done_callback(_told)
        app.state.tasks = tasks
        scheduler = jobs.schedule(service)
        scheduler.start()
        try:
            yield
        finally:
            scheduler.shutdown(wait=False)
            if service.agents:
                await service.agents.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await bus.close()
            service.engine.dispose()

    engine = open_engine(settings.database_url)
    migrate(engine)
    with session(engine) as opened:
        ensure_recipes(opened)

    app = FastAPI(
        title="Raumwart",
        version=metrics.VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.engine = engine
    app.state.settings = settings
    app.state.clock = clock
    app.state.demo = demo
    app.state.key = auth.load_key(settings.home)
    app.include_router(machine, include_in_schema=False)
    app.include_router(api.router)
    dashboards.mount(app)
    app.add_exception_handler(auth.NotSignedIn, ask_to_sign_in)
    app.add_middleware(Guard, https=settings.public_url.startswith("https://"))
    return app
