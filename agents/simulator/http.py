"""A small HTTP server with a mood, for what is asked by GET and POST."""

import asyncio
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from agents.simulator.tcp import TcpDevice

STATUS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


@dataclass(frozen=True)
class Asked:
    """One request; the names of headers in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body))

    def json(self) -> dict[str, Any]:
        """Empty for what is no object."""
        try:
            told = json.loads(self.body)
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}


@dataclass(frozen=True)
class Said:
    body: dict[str, Any]
    status: int = 200
    headers: tuple[str, ...] = ()


class HttpDevice(TcpDevice, ABC):
    """Base of the simulated devices that speak HTTP: requests come to `answer`."""

    @abstractmethod
    def answer(self, asked: Asked) -> Said: ...

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = request.split("\r\n")
            headers = {
                key.strip().lower(): value.strip()
                for key, _, value in (line.partition(":") for line in lines)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, address, _ = first.split(" ", 2)
            parts = urlsplit(address)
            query = dict(parse_qsl(parts.query))
            said = self.answer(Asked(method, parts.path, query, headers, body.decode()))
            text = json.dumps(said.body).encode()
            head = [
                f"HTTP/1.1 {said.status} {STATUS[said.status]}",
                "Content-Type: application/json; charset=utf-8",
                f"Content-Length: {len(text)}",
                *said.headers,
            ]
            await self.send(reader, writer, "\r\n".join([*head, "", ""]).encode() + text)
            if headers.get("connection", "").lower() == "close":
                return
