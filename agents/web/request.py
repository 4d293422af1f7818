"""One request: no proxy, no redirect, no kept connection, a small answer, an end in time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from agents.driver import Garbled, Misconfigured, TimedOut, Unreachable
from agents.messages import Target
from agents.ssh.host_keys import HostKeys
from agents.web.trust import Options, Trust

LARGEST_ANSWER = 256 * 1024

# At DEBUG it tells the header lines of every answer, a login's token among them.
logging.getLogger("httpcore").setLevel(logging.INFO)


@dataclass(frozen=True)
class Answer:
    """`date`: the header of that name, when the other side says what time it is."""

    status: int
    body: bytes
    date: str = ""


class Web:
    """Requests to one place, each over its own connection. `heard`: an answer has begun."""

    def __init__(
        self,
        target: Target,
        options: Options,
        usual_port: int,
        certificates: HostKeys,
        largest: int = LARGEST_ANSWER,
    ) -> None:
        """Raises Misconfigured for an address that makes no sense."""
        scheme = "https" if options.tls else "http"
        port = usual_port if target.port is None else target.port
        try:
            self._url = httpx.URL(scheme=scheme, host=target.address, port=port, path="/")
        except (httpx.InvalidURL, ValueError, TypeError):
            raise Misconfigured("this address cannot exist") from None
        if not 0 < port < 65536:
            raise Misconfigured("this port cannot exist")
        self._trust = Trust(options, (self._url.host, port), certificates)
        self._verify = self._trust.context() if options.tls else False
        self._largest = largest
        self.heard = False

    async def ask(
        self,
        method: str,
        path: str = "/",
        *,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer, whatever its status. Secrets belong in form, json or headers: an address
        is logged."""
        try:
            async with self._client() as client:
                request = client.build_request(
                    method,
                    self._url.copy_with(path=path).copy_merge_params(params or {}),
                    data=form,
                    json=json,
                    headers={
                        "Accept": "application/json",
                        "Accept-Encoding": "identity",
                        **(headers or {}),
                    },
                )
                return await self._exchange(client, request)
        except httpx.RemoteProtocolError as error:
            raise Garbled(f"{path}: {error}"[:200]) from None
        except (httpx.InvalidURL, httpx.LocalProtocolError):
            raise Misconfigured("this address cannot exist, or no header can hold it") from None
        except httpx.HTTPError as error:
            self._trust.explain(error)
            raise Unreachable(str(error)[:200] or type(error).__name__) from None

    async def _exchange(self, client: httpx.AsyncClient, request: httpx.Request) -> Answer:
        response = await client.send(request, stream=True)
        try:
            self.heard = True
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise Garbled("a compressed answer that was not asked for")
            pieces, size = [], 0
            async for piece in response.aiter_raw():
                pieces.append(piece)
                size += len(piece)
                if size > self._largest:
                    raise Garbled(f"more than {self._largest} bytes")
            date = response.headers.get("Date", "")
            return Answer(response.status_code, b"".join(pieces), date)
        finally:
            await response.aclose()

    def _client(self) -> httpx.AsyncClient:
        """The caller bounds the time more tightly."""
        return httpx.AsyncClient(
            verify=self._verify,
            trust_env=False,
            follow_redirects=False,
            timeout=60.0,
            limits=httpx.Limits(max_keepalive_connections=0),
        )


@asynccontextmanager
async def within(timeout: timedelta, web: Web) -> AsyncIterator[None]:
    """Ends what takes too long, and tells silence from slowness."""
    seconds = timeout.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        if web.heard:
            raise TimedOut(f"no end within {seconds:g} s") from None
        raise Unreachable(f"no answer within {seconds:g} s") from None
