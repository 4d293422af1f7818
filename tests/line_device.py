"""A small device on a real socket, one line of text per question, and the driver that asks it."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from agents.credentials import Credentials
from agents.driver import Denied, Garbled, NoEnd, Refused, ResetFailed, Unreachable
from agents.messages import Facts, Order, Target


class LineDevice:
    """Answers `LOOK` with JSON and `RESET <id>` with OK, REFUSED or FAILED. 127.0.0.1."""

    def __init__(self, facts: dict[str, Any] | None = None) -> None:
        self.facts: dict[str, Any] = facts or {"serial": "S1", "power": "on"}
        self.resets: list[str] = []
        self.looks = 0
        self.mood = "ok"
        self.gate = asyncio.Event()
        """A reset ends when this is set."""
        self.gate.set()
        self.began = asyncio.Event()
        self.now_connected = 0
        self.most_connected = 0
        self.port = 0

    async def start(self) -> "LineDevice":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.now_connected += 1
        self.most_connected = max(self.most_connected, self.now_connected)
        try:
            words = (await reader.readline()).decode().split()
            writer.write(await self._answer(words) + b"\n")
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.now_connected -= 1
            writer.close()

    async def _answer(self, words: list[str]) -> bytes:
        if self.mood == "denied":
            return b"DENIED"
        if self.mood == "hang":
            await asyncio.sleep(3600)
        if words[0] == "LOOK":
            self.looks += 1
            return b"\xff garbage" if self.mood == "garbage" else json.dumps(self.facts).encode()
        if self.mood == "in use":
            return b"REFUSED in_use"
        self.resets.append(words[1])
        self.began.set()
        await self.gate.wait()
        if self.mood == "fails":
            return b"FAILED"
        self.facts["reset_id"] = words[1]
        return b"" if self.mood == "no end" else b"OK"


CONNECT_S = 2.0


class LineDriver:
    """Satisfies `agents.driver.Driver`."""

    def __init__(self, credentials: Credentials, state: Path) -> None:
        self.closed = False

    async def _ask(self, target: Target, line: str) -> bytes:
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(target.address, target.port)
        except OSError as error:
            raise Unreachable(type(error).__name__) from None
        try:
            writer.write(line.encode() + b"\n")
            answer = (await reader.readline()).rstrip(b"\n")
        finally:
            writer.close()
        if answer == b"DENIED":
            raise Denied
        return answer

    async def poll(self, target: Target, timeout: timedelta) -> Facts:
        answer = await self._ask(target, "LOOK")
        if target.options.get("bug"):
            raise ZeroDivisionError("the secret is s3cret")
        try:
            facts: Facts = json.loads(answer)
        except ValueError:
            raise Garbled from None
        return facts

    async def look(self, target: Target, order: Order, timeout: timedelta) -> Facts:
        return await self.poll(target, timeout)

    async def act(self, target: Target, order: Order, timeout: timedelta) -> None:
        answer = (await self._ask(target, f"RESET {order.id}")).decode()
        if answer.startswith("REFUSED"):
            raise Refused(answer.split()[1])
        if answer == "FAILED":
            raise ResetFailed("step 3")
        if answer != "OK":
            raise NoEnd

    async def close(self) -> None:
        self.closed = True
