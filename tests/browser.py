"""A real browser (headless Chromium) in front of the real pages, with the real security policy."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from dashboards import vendor
from fleet.auth import COOKIE
from tests.parts import need
from tests.sample import Person

AXE = vendor.MODULES / "axe-core" / "axe.min.js"
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application on a free port of this machine; yields its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield address
        server.should_exit = True
        thread.join(5)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips the calling test when Chromium is not installed."""
    program = need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(program), args=list(QUIET))
        yield browser
        browser.close()


@contextmanager
def visit(
    browser: Browser, address: str, person: Person | None = None, **options: Any
) -> Iterator[BrowserContext]:
    """A fresh browser profile, signed in when a person is given; German unless told otherwise."""
    context = browser.new_context(base_url=address, **{"locale": "de-DE", **options})
    if person:
        context.add_cookies([{"name": COOKIE, "value": person.cookie, "url": address}])
    yield context
    context.close()


def axe(page: Page, script: Path = AXE) -> list[str]:
    """What axe-core finds wrong on the page, one line each."""
    # Evaluated from outside: the page's own policy forbids foreign scripts.
    page.evaluate(script.read_text("utf-8"))
    found = page.evaluate(
        "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}})", RULES
    )
    return [
        f"{violation['id']}: {node['html'][:160]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
