"""Error pages in the look of the others; scripts get the same as JSON."""

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from dashboards.view import page
from dashboards.words import N_
from fleet.auth import visitor_of

log = logging.getLogger(__name__)

TEXTS = {
    403: (
        N_("Das dürfen Sie hier nicht"),
        N_("Ihr Konto darf das nicht. Oder die Seite war zu lange offen."),
        N_("Gehen Sie zurück, laden Sie die Seite neu und versuchen Sie es noch einmal."),
    ),
    404: (
        N_("Diese Seite gibt es nicht"),
        N_("Vielleicht wurde das Gerät oder der Raum entfernt."),
        N_("Prüfen Sie die Adresse."),
    ),
    422: (
        N_("Diese Angaben passen nicht"),
        N_("Die Seite hat etwas anderes erwartet."),
        N_("Gehen Sie zurück und versuchen Sie es noch einmal."),
    ),
    500: (
        N_("Etwas ist schiefgegangen"),
        N_("Der Fehler liegt bei uns und ist notiert."),
        N_("Versuchen Sie es in ein paar Minuten noch einmal."),
    ),
}


def register_errors(app: FastAPI) -> None:
    """Answer 403, 404, 405, 422 and 500 with a page; below /api/ with JSON."""
    app.add_exception_handler(HTTPException, _expected)
    app.add_exception_handler(RequestValidationError, _unfit)
    app.add_exception_handler(DataError, _unstorable)
    app.add_exception_handler(Exception, _unexpected)


def _expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code < 400:
        return Response(status_code=error.status_code, headers=error.headers)
    return _answer(request, error.status_code, str(error.detail), dict(error.headers or {}))


def _unfit(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if _is_script(request):
        problems = [
            {"where": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in error.errors()
        ]
        body = {"title": "The request does not fit.", "status": 422, "problems": problems}
        return JSONResponse(body, 422)
    return _answer(request, 422, "", {})


def _unstorable(request: Request, error: Exception) -> Response:
    """Something was asked for that no row can hold, as a NUL on PostgreSQL: the asker's fault."""
    assert isinstance(error, DataError)
    log.warning("%s asks for what cannot be stored: %s", request.url.path, error.orig)
    return _answer(request, 422, "The request does not fit.", {})


def _unexpected(request: Request, _error: Exception) -> Response:
    # Starlette logs the traceback; the page tells nothing about the inside.
    return _answer(request, 500, "Internal error.", {})


def _is_script(request: Request) -> bool:
    return request.url.path.startswith(("/api/", "/metrics", "/healthz"))


def _answer(request: Request, status: int, detail: str, headers: dict[str, str]) -> Response:
    if _is_script(request):
        return JSONResponse({"title": detail, "status": status}, status, headers)
    title, *lines = TEXTS.get(status, TEXTS[404] if status < 500 else TEXTS[500])
    # A database that is down must not hide the page that says so.
    visitor = visitor_of(request) if status < 500 else None
    answer = page(
        request, "error.html", http_status=status, visitor=visitor, title=title, lines=lines
    )
    answer.headers.update(headers)
    return answer
