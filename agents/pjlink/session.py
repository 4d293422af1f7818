"""One connection to a projector: connect, sign the first command, ask, close."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from agents.driver import Denied, Garbled, Misconfigured, Unreachable
from agents.messages import Facts
from agents.pjlink import protocol

_MOST_UNASKED = 16
"""Lines that nobody asked for, in one answer, before we stop believing it is a projector."""


class Lost(Unreachable):
    """The projector closed the connection instead of answering."""


class NoLevel2(Denied):
    """The projector does not know security level 2."""


class Session:
    """An open connection.

    `heard`: some byte has come; `said`: something that may change the projector was sent;
    `failing`: it answered ERR4 somewhere.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, password: str | None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._password = password
        self._pending = b""
        self._prefix = ""
        self.heard = False
        self.said = False
        self.failing = False

    async def greet(self, *, strong: bool = False) -> None:
        """Read the greeting and prepare the digest: MD5, or SHA-256 when `strong`.

        Raises Denied when a password is missing, NoLevel2 when it knows only MD5.
        """
        try:
            random = protocol.greeting(await self._line())
        except ValueError as error:
            raise Garbled(str(error)) from None
        except protocol.Forbidden:
            raise Denied("it refuses any session") from None
        if not random:
            return
        if self._password is None:
            raise Denied("it wants a password and the inventory names none")
        if strong:
            self._prefix = protocol.strong_digest(*await self._agree(), self._password)
        else:
            self._prefix = protocol.digest(random, self._password)

    async def _agree(self) -> tuple[str, str]:
        """Ask for security level 2: our random number and the projector's."""
        ours = secrets.token_hex(16)
        self._writer.write(b"PJLINK 2\r")
        await self._writer.drain()
        try:
            return ours, protocol.level_2(await self._line())
        except (ValueError, Lost):
            raise NoLevel2("it knows no security level 2") from None

    async def send(self, command: str, parameter: str = "?", pjclass: str = "1") -> str:
        """One command and the value of its answer; `ERR1` to `ERR4` are values too."""
        self.said = self.said or not parameter.startswith("?")
        self._writer.write(f"{self._prefix}%{pjclass}{command} {parameter}\r".encode())
        self._prefix = ""
        await self._writer.drain()
        for _ in range(_MOST_UNASKED):
            try:
                value = protocol.answer(await self._line(), command, pjclass)
            except ValueError as error:
                raise Garbled(f"{command}: {error}") from None
            except protocol.Forbidden:
                raise Denied("it refuses the password") from None
            if value is not None:
                self.failing = self.failing or value == protocol.FAILURE
                return value
        raise Garbled(f"{command}: many lines and no answer")

    async def facts(self, command: str, pjclass: str = "1") -> Facts:
        """What a query tells; nothing when the projector has no answer to it now."""
        value = await self.send(command, pjclass=pjclass)
        if value in protocol.COMPLAINTS:
            return {}
        try:
            return protocol.facts(command, value)
        except ValueError as error:
            raise Garbled(f"{command}: {error}") from None

    async def optional(self, command: str, pjclass: str = "1") -> Facts:
        """The same of something nice to know: an answer that makes no sense is left out."""
        value = await self.send(command, pjclass=pjclass)
        try:
            return {} if value in protocol.COMPLAINTS else protocol.facts(command, value)
        except ValueError:
            return {}

    async def _line(self) -> str:
        """The next line that is not just padding, without its CR."""
        for _ in range(_MOST_UNASKED):
            while b"\r" not in self._pending:
                await self._more()
            line, _, self._pending = self._pending.partition(b"\r")
            text = line.strip(b"\0\n ").decode(errors="replace")
            if text:
                return text
        raise Garbled("nothing but padding")

    async def _more(self) -> None:
        if len(self._pending) > protocol.LONGEST_LINE:
            raise Garbled("a line without end")
        chunk = await self._reader.read(512)
        if not chunk and self._pending.strip(b"\0\n "):
            raise Garbled("half a line, then the end")
        if not chunk:
            raise Lost
        self.heard = True
        self._pending += chunk


@asynccontextmanager
async def connected(host: str, port: int, password: str | None) -> AsyncIterator[Session]:
    """A connection that is closed at the end, whatever happens. Raises Unreachable."""
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=4096)
    except OSError as error:
        raise Unreachable(_reason(error)) from None
    except (ValueError, OverflowError):
        raise Misconfigured("this address cannot exist") from None
    try:
        yield Session(reader, writer, password)
    except OSError as error:
        raise Lost(_reason(error)) from None
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
