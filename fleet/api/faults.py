"""How the JSON API says that it did not do something: problem+json, RFC 9457."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import DataError

from fleet import overrides, resets
from fleet.api.shapes import Fault


def fault(status: int, title: str, code: str = "", **more: Any) -> JSONResponse:
    body = Fault(title=title, status=status, code=code, **more)
    return JSONResponse(body.model_dump(mode="json"), status, media_type="application/problem+json")


class FaultRoute(APIRoute):
    """A route whose errors are `Fault`s."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await inner(request)
            except RequestValidationError as error:
                errors = [{"loc": e["loc"], "msg": e["msg"]} for e in error.errors()]
                return fault(422, "The request is not understood.", "invalid", errors=errors)
            except HTTPException as error:
                answer = fault(error.status_code, str(error.detail))
                answer.headers.update(error.headers or {})
                return answer
            except DataError:  # as a NUL on PostgreSQL: no row can hold it
                return fault(422, "The request is not understood.", "invalid")
            except resets.ResetRefused as refused:
                return fault(409, str(refused), refused.code)
            except overrides.OverrideRefused as refused:
                status = 404 if refused.code == "unknown_place" else 409
                return fault(status, str(refused), refused.code)

        return handle
